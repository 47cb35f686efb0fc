"""`segue bench`: what things cost on this machine, in one run."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from segue.bridge.cli.disk_trouble import disk_trouble_said
from segue.presets.vocabulary import MAX_NEW_SECONDS, MAX_SEEDS, Code, SegueError

if TYPE_CHECKING:  # torch and the rooms are imported when the command runs
    from segue.bridge.cli.bench_transport import Served
    from segue.export.bench.suite import BenchConfig
    from segue.export.evaluation.tables import Table

BENCH = Path("bench")
PRESET, QUICK_PRESET = "continue", "sketch"  # of the server's clips; the first is our default
QUICK_SECONDS, QUICK_QUEUE = 1.0, 3

Number = TypeVar("Number", int, float)


def bench(
    model: Annotated[str, typer.Option(help="A model's name, or its folder.")] = "segue-small",
    tasks: Annotated[
        str | None, typer.Option(help="E.g. 'intensity,melody'.", show_default="all")
    ] = None,
    repeat: Annotated[int, typer.Option(min=1, help="Runs that count; 1 if quick.")] = 3,
    seeds: Annotated[str, typer.Option(help="Numbers of seeds side by side.")] = "1,4,16",
    lengths: Annotated[str, typer.Option(help="Seconds of new music.")] = "6,12,24",
    ditto_iterations: Annotated[
        int, typer.Option(min=1, help="Iterations of plain DITTO to extrapolate from.")
    ] = 3,
    ditto_full: Annotated[
        bool, typer.Option("--ditto-full", help="Run DITTO's 70: minutes a clip on a CPU.")
    ] = False,
    compiled: Annotated[
        bool, typer.Option("--compiled", help="Compile the search first, as an idle server does.")
    ] = False,
    server: Annotated[
        bool, typer.Option("--server/--no-server", help="Start one, and ask it over OSC.")
    ] = True,
    queue: Annotated[
        int, typer.Option(min=0, max=100, help="Short clips that the server is asked for at once.")
    ] = 20,
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = BENCH,
    quick: Annotated[bool, typer.Option("--quick", help="A little of everything.")] = False,
) -> None:
    """Time clips by task, method and part, seeds, lengths and the server; tables and pictures.

    Where another program computes at the same time, the times are of both.
    """
    from segue.bridge.cli.demo import prepare_region
    from segue.export.bench.suite import BenchConfig
    from segue.export.bench.tasks import TASKS

    config = BenchConfig(
        tasks=tuple(name.strip() for name in tasks.split(",")) if tasks else tuple(TASKS),
        repeat=repeat,
        ditto_iterations=None if ditto_full else ditto_iterations,
        seeds=_numbers(seeds, MAX_SEEDS, int),
        lengths=_numbers(lengths, MAX_NEW_SECONDS, float),
    )
    config = config.quick() if quick else config
    with disk_trouble_said():
        region = prepare_region(out)
        queue = min(queue, QUICK_QUEUE) if quick else queue
        served = _served(model, region, out, config.repeat, queue, quick=quick) if server else None
        for table in _in_a_worker(lambda: _tables(model, region, out, config, served, compiled)):
            _show(table)
    typer.echo(f"wrote {out}")


def _numbers(text: str, most: float, read: type[Number]) -> tuple[Number, ...]:
    """Raises SegueError unless all are from 1 to `most`, and whole where `read` is int."""
    try:
        numbers = tuple(read(each) for each in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or not all(1 <= each <= most for each in numbers):
        text = f"{text!r} is no list of numbers from 1 to {most:g} such as 1,4,16"
        raise SegueError(Code.BAD_REQUEST, text)
    return numbers


def _served(model: str, region: Path, out: Path, repeat: int, queue: int, *, quick: bool) -> Served:
    from tempfile import TemporaryDirectory

    from segue.bridge.cli.bench_transport import Order, serve_clips
    from segue.export.bench.machine import resident_mib
    from segue.export.evaluation.control_targets import ON_SECONDS, REGION_SECONDS

    order = Order(
        region=region,
        length_seconds=REGION_SECONDS,
        new_seconds=QUICK_SECONDS if quick else ON_SECONDS,
        preset=QUICK_PRESET if quick else PRESET,
    )
    with TemporaryDirectory(prefix="segue-bench-") as data:
        options = ("--model", model, "--data", data)
        with (out / "server.log").open("w", encoding="utf-8") as log:
            served = serve_clips(options, order, 1 + repeat, queue, log, resident_mib)
    _draw_queue(served.queued, out)
    typer.echo(f"the server's first clip: {served.first_sound:.4g} s after its start")
    return served


def _draw_queue(ends: tuple[float, ...], out: Path) -> None:
    from segue.export.evaluation.tables import Line, draw_lines

    if not ends:
        return
    x = tuple(float(i + 1) for i in range(len(ends)))
    even = tuple(i * ends[-1] / len(ends) for i in x)
    draw_lines(
        (Line(label="measured", x=x, y=ends), Line(label="all alike", x=x, y=even)),
        out / "bench-queue.png",
        title="A queue of short clips",
        x_label="clips",
        y_label="s from asking to the last of them",
        log_x=False,
    )


def _in_a_worker(work: Callable[[], list[Table]]) -> list[Table]:
    """In a thread of its own, as low in priority as the server's."""
    from concurrent.futures import ThreadPoolExecutor

    from segue.export.bench.machine import lower_priority

    with ThreadPoolExecutor(1, initializer=lower_priority) as pool:
        return pool.submit(work).result()


def _tables(
    model: str,
    region: Path,
    out: Path,
    config: BenchConfig,
    served: Served | None,
    compiled: bool,
) -> list[Table]:
    import time

    from segue.export.bench.machine import resident_mib
    from segue.export.bench.suite import Bench, with_base
    from segue.export.bench.tables import start_table
    from segue.export.bench.tasks import CONTINUED, OURS
    from segue.presets.library import model_folder
    from segue.server.engine import Engine

    begun = time.perf_counter()
    engine = Engine.load(model)
    load_seconds, idle = time.perf_counter() - begun, resident_mib()
    path = model_folder(model) / "base.safetensors"
    base = with_base(engine, path)
    if base is None:
        typer.echo(f"left out: DITTO, there is no {path}")
    for each in (engine, base):
        if compiled and each is not None and each.search is not None:
            each.search.compile()
    suite = Bench(
        engine=engine,
        base=base,
        region=region,
        out=out,
        config=config,
        say=typer.echo,
        transport={(CONTINUED, OURS): served.transport} if served is not None else {},
        compiled=compiled,
    )
    found = list(suite.run())
    table = start_table(load_seconds, idle, _figures(served), suite.note())
    table.write(out)
    return [*found, table]


def _figures(served: Served | None) -> dict[str, float | None]:
    """What a server cost, by name, in seconds or MiB."""
    if served is None:
        return {}
    first, steady = served.answers[0], served.steady
    waits = [answer.waited for answer in steady]
    return {
        "server and bridge: until both listen, s": served.start,
        "server: from there until the model is loaded, s": served.load,
        "server: memory when loaded and idle, MiB": served.idle_mib,
        "server: first clip, OSC to OSC, s": first.waited,
        "server: first clip, without the engine, s": first.transport,
        "server: first sound after its start, s": served.first_sound,
        "server: later clips, OSC to OSC, median s": statistics.median(waits),
        "server: later clips, least s": min(waits),
        "server: later clips, most s": max(waits),
        "server: later clips, without the engine, median s": served.transport,
        **_queue(served.queued),
    }


def _queue(ends: tuple[float, ...]) -> dict[str, float | None]:
    """What a short clip costs at the beginning of a queue and at its end."""
    if len(ends) < 2:
        return {}
    costs = [after - before for before, after in zip((0.0, *ends), ends, strict=False)]
    half, name = len(costs) // 2, f"server: queue of {len(ends)} short clips"
    return {
        f"{name}, s in all": ends[-1],
        f"{name}, median s of its first half": statistics.median(costs[:half]),
        f"{name}, median s of its second half": statistics.median(costs[half:]),
    }


def _show(table: Table) -> None:
    from rich.console import Console
    from rich.table import Table as Grid

    from segue.export.bench.tables import brief

    shown = brief(table)
    grid = Grid(*shown.columns, title=shown.title, caption=shown.note)
    for row in shown.texts():
        grid.add_row(*row)
    Console().print(grid, markup=False)
