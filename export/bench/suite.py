"""One run of the benchmark: everything timed, one after the other, and the tables of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from segue.export.bench import floor, machine, picture, tables, tasks
from segue.export.bench.paper import network_cost, paper_table
from segue.export.bench.runs import Job, Measured, repeated
from segue.export.bench.tasks import CM, CONTINUED, DITTO, OURS, SHIPPED, TASKS, K
from segue.export.evaluation.tables import Line, Table, draw_lines
from segue.presets.vocabulary import MAX_NEW_SECONDS, MAX_SEEDS, Code, SegueError
from segue.server.asked import ITERATIONS, fitting_iterations
from segue.server.ditto.paper_unet import PaperUnetConfig
from segue.server.ditto.search_network import SearchNetwork
from segue.server.ditto.weights import load_generator
from segue.server.engine import Engine

SMALL_UNET = PaperUnetConfig(
    channels=32, frames=64, widths=(8, 8, 8), layers=(1, 1, 1), inner=8, groups=4, guided=True
)


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """How much is timed. `ditto_iterations`: None runs DITTO in full, once after its first run.

    Raises SegueError for what can't be timed.
    """

    tasks: tuple[str, ...] = tuple(TASKS)
    repeat: int = 3
    iterations: int = K
    ditto_iterations: int | None = 3
    seeds: tuple[int, ...] = (1, 4, 16)
    lengths: tuple[float, ...] = (6.0, 12.0, 24.0)
    products: tuple[int, ...] | None = None  # sizes of matrices; None: those of the device
    unet: PaperUnetConfig = field(default_factory=lambda: PaperUnetConfig(guided=True))

    def __post_init__(self) -> None:
        for task in self.tasks:
            if task not in TASKS:
                text = f"no task {task!r}; there are: {', '.join(TASKS)}"
                raise SegueError(Code.BAD_REQUEST, text)
        if self.repeat < 1 or self.iterations < 1:
            raise SegueError(Code.BAD_REQUEST, "give at least one run of one iteration")
        if not all(1 <= seeds <= MAX_SEEDS for seeds in self.seeds):
            raise SegueError(Code.BAD_REQUEST, f"give numbers of seeds from 1 to {MAX_SEEDS}")
        if not all(0 < length <= MAX_NEW_SECONDS for length in self.lengths):
            text = f"give lengths above 0 and up to {MAX_NEW_SECONDS:g} seconds"
            raise SegueError(Code.BAD_REQUEST, text)

    def quick(self) -> BenchConfig:
        """A little of everything."""
        return replace(
            self,
            tasks=self.tasks[:1] if self.tasks != tuple(TASKS) else (CONTINUED,),
            repeat=1,
            iterations=3,
            ditto_iterations=1,
            seeds=(1, 2),
            lengths=(1.0, 2.0),
            products=(64, 128),
            unet=SMALL_UNET,
        )


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Times an engine on a recording and writes into `out`. `base`: with it there is DITTO.

    `transport`: seconds between OSC and engine by task and method, where measured. `say` hears
    of every row. `compiled`: whether the engines call compiled networks, as an idle server does;
    several seeds at once are not compiled for. `busy`: what else ran when it was made.
    """

    engine: Engine
    base: Engine | None
    region: Path
    out: Path
    config: BenchConfig
    say: Callable[[str], None]
    transport: dict[tuple[str, str], float] = field(default_factory=dict)
    compiled: bool = False
    busy: str = field(default_factory=machine.load)

    def run(self) -> Iterator[Table]:
        """Write each table, and the pictures, as soon as it is known; that of the tasks first."""
        for table in self._measured():
            table.write(self.out)
            yield table

    def _measured(self) -> Iterator[Table]:
        device, config, note = self.engine.torch_device, self.config, self.note()
        now = machine.clock(device)
        with TemporaryDirectory(prefix="segue-bench-") as scratch:
            path = Path(scratch) / "clip.wav"

            def timed(jobs: Iterable[Job]) -> list[Measured]:
                return [self._timed(job, path, now) for job in jobs]

            main = timed(self._jobs())
            picture.draw(main, self.out / "bench.png", f"What a clip costs on {self._device}")
            yield tables.task_table(main, self.transport, note)
            sizes = config.products or machine.PRODUCTS[device.type]
            rate, size = machine.matmul_rate(device, sizes, now)
            half, _ = machine.matmul_rate(device, sizes, now, torch.bfloat16)
            flops = [floor.count(each.job.engine, each.job.request, path) for each in main]
            yield tables.floor_table(zip(main, flops, strict=True), rate, size, half, note)
            seeds = timed(self._seeds())
            self._draw_seeds(seeds)
            yield tables.seed_table(seeds, note)
            lengths = timed(self._lengths())
            self._draw_lengths(lengths)
            yield tables.length_table(lengths, note)
        unet = network_cost(config.unet, device, config.repeat, now)
        yield paper_table(main, unet, rate, note)

    def _timed(self, job: Job, path: Path, now: Callable[[], float]) -> Measured:
        full = job.method == DITTO and not job.extrapolated
        measured = repeated(job, 1 if full else self.config.repeat, path, now)
        settings = job.request.settings
        text = f"{job.task}, {job.method}, {settings.seeds} seeds: {measured.seconds[0]:.4g} s"
        self.say(f"{text}, {tables.how(measured)}")
        return measured

    def _jobs(self) -> Iterator[Job]:
        """Ours, the CM-like, and DITTO where there are base weights."""
        for task in self.config.tasks:
            yield self._job(task, OURS)
            if self._shipped(task) < ITERATIONS:
                yield self._job(task, SHIPPED)
            yield self._job(task, CM)
        if self.base is not None:  # slow, so last
            for task in self.config.tasks:
                yield self._job(task, DITTO)

    def _seeds(self) -> Iterator[Job]:
        return (self._job(CONTINUED, OURS, seeds=seeds) for seeds in self.config.seeds)

    def _lengths(self) -> Iterator[Job]:
        for method in (OURS, CM):
            for length in self.config.lengths:
                yield self._job(CONTINUED, method, new_seconds=length)

    def _job(
        self, task: str, method: str, *, seeds: int = 1, new_seconds: float | None = None
    ) -> Job:
        most = self.config.iterations
        count = min(most, self._shipped(task)) if method == SHIPPED else most
        chosen = tasks.settings(method, iterations=count, seeds=seeds)
        asked = tasks.request(TASKS[task], self.region, chosen, new_seconds=new_seconds)
        slow = method == DITTO
        engine = self.base if slow and self.base is not None else self.engine
        on_cpu = self.engine.torch_device.type == "cpu"  # elsewhere all are soon done
        timed = self.config.ditto_iterations if slow and on_cpu else None
        return Job(task=task, method=method, engine=engine, request=asked, timed=timed)

    def _shipped(self, task: str) -> int:
        """The product's own K."""
        kinds = {control.kind for control in TASKS[task].controls}
        return fitting_iterations(kinds, polished=self.engine.base is not None)

    @property
    def _device(self) -> str:
        return f"{self.engine.device}, {machine.name()}"

    def note(self) -> str:
        """What holds for every figure."""
        weights = f"model {self.engine.model}, its own base for DITTO"
        search = "compiled for one seed" if self.compiled else "not compiled"
        return f"{self._device}, {self.busy} before; {weights}; search {search}; seed {tasks.SEED}"

    def _draw_seeds(self, seeds: list[Measured]) -> None:
        x = tuple(float(each.job.request.settings.seeds) for each in seeds)
        one = seeds[0].seconds[0] / x[0]
        curves = (
            Line(label="side by side", x=x, y=tuple(each.seconds[0] for each in seeds)),
            Line(label="one after the other", x=x, y=tuple(one * count for count in x)),
        )
        draw_lines(
            curves,
            self.out / "bench-seeds.png",
            title=f"What seeds side by side cost on {self.engine.device}",
            x_label="seeds",
            y_label="s to make them",
            log_x=False,
        )

    def _draw_lengths(self, lengths: list[Measured]) -> None:
        curves = []
        for method in (OURS, CM):
            own = [each for each in lengths if each.job.method == method]
            x = tuple(each.runs[0].music_seconds for each in own)
            y = tuple(each.seconds[0] for each in own)
            curves.append(Line(label=method, x=x, y=y))
        curves.append(Line(label="real time", x=curves[0].x, y=curves[0].x))
        draw_lines(
            curves,
            self.out / "bench-length.png",
            title=f"What longer clips cost on {self.engine.device}",
            x_label="s of new music",
            y_label="s to make it",
            log_x=False,
        )


def with_base(engine: Engine, path: Path) -> Engine | None:
    """The same engine with a base model's weights, which it also searches with.

    None without the file. Raises SegueError for weights that can't be used.
    """
    if not path.is_file():
        return None
    network, scale = load_generator(path)
    device = engine.torch_device
    network = network.to(device)
    search = SearchNetwork(network) if engine.search else None
    return replace(engine, network=network, search=search, scale=scale.to(device))
