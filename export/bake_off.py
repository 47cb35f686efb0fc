"""Which shape of network learns most? Arms of equal cost, trained for equal CPU seconds.

    python -m segue.export.bake_off --minutes 8 --data train/data --out train/bake-off

The cost is that of one optimization iteration (forward, and backward to the input), which is what
a user waits for; steps are not equalised: what learns fast may. The arms take turns, so that
whatever else the machine does slows all of them alike. Writes bake-off.tsv and bake-off.png (mels
made from noise, a row an arm, above held-out music).
"""

from __future__ import annotations

import copy
import statistics
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from segue.export.arms import ARMS, Trunk
from segue.export.dataset import Windows
from segue.export.loop import autocast, optimizers, warmup_cosine
from segue.export.train import base_loss, draw_levels, held_out_error
from segue.server.ditto.ctm import decode_multistep
from segue.server.ditto.network import SegueSmall
from segue.server.ditto.schedule import RectifiedFlow, grid

SAMPLING_STEPS = 20
SAMPLES = 16
TOKEN_FRAMES = 4  # seams between tokens are looked for at this rate, whatever an arm's patch is
FLOW = RectifiedFlow()
CPU = torch.device("cpu")
Row = dict[str, str | int | float]


@dataclass(frozen=True, kw_only=True)
class BakeOff:
    """The recipe all arms share: that of `train`, paced by CPU seconds instead of steps."""

    cpu_seconds: float
    turn_seconds: float = 30.0
    batch: int = 16
    rate: float = 2e-3
    ema_rate: float = 0.995
    gain_db: float = 6.0
    clip: float = 1.0
    warmup: float = 0.04  # of the CPU seconds
    seed: int = 0


@dataclass
class Arm:
    """One network in training, and what it has used. `ema` is what gets measured."""

    name: str
    model: SegueSmall | Trunk
    recipe: BakeOff
    spent: float = 0.0
    steps: int = 0
    ema: SegueSmall | Trunk = field(init=False)

    def __post_init__(self) -> None:
        self.ema = copy.deepcopy(self.model).requires_grad_(False)
        self.generator = torch.Generator().manual_seed(self.recipe.seed + 1)
        self.optimizers = optimizers(self.model, self.model.blocks, self.recipe.rate)

    def turn(self, windows: Windows) -> None:
        """Train until the turn, or the CPU time there is, is used up."""
        stop = min(self.spent + self.recipe.turn_seconds, self.recipe.cpu_seconds)
        while self.spent < stop:
            started = time.process_time()
            self._step(windows)
            self.spent += time.process_time() - started

    def _step(self, windows: Windows) -> None:
        recipe, g = self.recipe, self.generator
        x_0 = windows.draw(recipe.batch, g, gain_db=recipe.gain_db)
        eps = torch.randn(x_0.shape, generator=g)
        t = draw_levels(recipe.batch, g, FLOW)
        with autocast(torch.device("cpu")):
            base_loss(self.model, FLOW, x_0, eps, t).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip)
        thousandth = round(1000 * self.spent / recipe.cpu_seconds)
        factor = warmup_cosine(thousandth, 1000, round(1000 * recipe.warmup))
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = recipe.rate * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.steps += 1
        keep = min(recipe.ema_rate, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            for slow, fast in zip(self.ema.parameters(), self.model.parameters(), strict=True):
                slow.lerp_(fast, 1 - keep)


def iteration_ms(models: Mapping[str, nn.Module], x_t: Tensor, rounds: int) -> dict[str, float]:
    """Median CPU milliseconds of forward and backward to x_t, the models taking turns."""
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds):
        for name, model in models.items():
            started = time.process_time()
            model(x_t.requires_grad_(), torch.full((len(x_t),), FLOW.t_max)).sum().backward()
            times[name].append(1000 * (time.process_time() - started))
    return {name: statistics.median(each) for name, each in times.items()}


def flicker(mels: Tensor) -> float:
    """Mean absolute change from one frame to the next of (batch, channels, frames)."""
    return float(mels.diff(dim=-1).abs().mean())


def token_seams(mels: Tensor) -> float:
    """Mean change at borders of TOKEN_FRAMES over mean change inside them."""
    change = mels.diff(dim=-1).abs().mean(dim=(0, 1))
    border = torch.arange(1, len(change) + 1) % TOKEN_FRAMES == 0
    return float(change[border].mean() / change[~border].mean())


def measure(arm: Arm, windows: Windows, real: Tensor, samples: Tensor) -> Row:
    """The figures of a trained arm; those of samples are shares of the same on `real`."""
    errors = held_out_error(arm.ema, windows, FLOW, CPU)
    return {
        "arm": arm.name,
        "million weights": sum(p.numel() for p in arm.ema.parameters()) / 1e6,
        "steps": arm.steps,
        **{f"x0 error at t = {t}": error for t, error in errors.items()},
        "deviation": float(samples.std() / real.std()),
        "flicker": flicker(samples) / flicker(real),
        "token seams": token_seams(samples) / token_seams(real),
    }


def draw(rows: Mapping[str, Tensor], path: Path, columns: int = 4) -> None:
    """Mels as a PNG, one row a name: the mid channel's bands, all on one scale."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * columns, 2.2 * len(rows)), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), columns, squeeze=False, sharex=True, sharey=True)
    for (name, mels), places in zip(rows.items(), axes, strict=True):
        places[0].set_ylabel(name)
        for mel, place in zip(mels, places, strict=False):
            mid = mel[: len(mel) // 2].numpy()
            place.imshow(mid, origin="lower", aspect="auto", vmin=-2.5, vmax=2.5, cmap="magma")
    figure.savefig(path)


def bake_off(arms: list[Arm], data: Path, folder: Path) -> Iterator[Row]:
    """Train the arms, yield the row of each as it is measured, write table and picture.

    Raises SegueError when `data` holds no tracks to train on or none held out.
    """
    recipe, config = arms[0].recipe, arms[0].model.config
    train, held_out = (Windows(data, split, config.frames) for split in ("train", "heldout"))
    g = torch.Generator().manual_seed(recipe.seed)
    real = held_out.draw(4 * SAMPLES, g)
    x_T = torch.randn((SAMPLES, *real.shape[1:]), generator=g)  # the same for all arms
    costs = iteration_ms({arm.name: arm.ema for arm in arms}, x_T[:1].clone(), rounds=31)
    while arms[0].spent < recipe.cpu_seconds:
        for arm in arms:
            arm.turn(train)
        steps = ", ".join(f"{arm.name} {arm.steps}" for arm in arms)
        print(
            f"{arms[0].spent:.0f} of {recipe.cpu_seconds:.0f} CPU s each; steps: {steps}",
            flush=True,
        )
    pictures, lines = dict[str, Tensor](), list[str]()
    for arm in arms:
        with torch.no_grad():
            made = decode_multistep(arm.ema, FLOW, x_T, grid(FLOW, SAMPLING_STEPS))
        pictures[arm.name] = made
        row = {**measure(arm, held_out, real, made), "iteration ms": costs[arm.name]}
        lines += [line(row)] if lines else ["\t".join(row), line(row)]
        yield row
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bake-off.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    draw({**pictures, "held-out music": real}, folder / "bake-off.png")


def line(row: Row) -> str:
    """A row's values as a line of a TSV file, numbers to four digits."""
    return "\t".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values())


def enter(arms: Mapping[str, Callable[[], SegueSmall | Trunk]], recipe: BakeOff) -> list[Arm]:
    """The arms at the start, all with the recipe's seed."""
    entered = []
    for name, factory in arms.items():
        torch.manual_seed(recipe.seed)  # the initial weights; everything after has its generator
        entered.append(Arm(name, factory(), recipe))
    return entered


if __name__ == "__main__":
    parser = ArgumentParser(description="Train networks of equal cost and compare them.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=8.0, help="CPU time of each arm")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for row in bake_off(
        enter(ARMS, BakeOff(cpu_seconds=60 * given.minutes)), given.data, given.out
    ):
        print(line(row), flush=True)
