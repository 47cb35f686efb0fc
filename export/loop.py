"""A training loop that stops and goes on: one checkpoint, one curve, the same steps either way."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn

from segue.export import ranks
from segue.export.curve import Curve
from segue.export.muon import Muon
from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.search_network import half_pays

CHECKPOINT_SECONDS = 120.0
LOG_STEPS = 20
M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Length and pace of a run. Raises SegueError when a value cannot work.

    `batch` counts the windows of one process; at each of `snapshots` the weights are kept apart.
    `compiled` is for `in_the_loss`.
    """

    steps: int
    batch: int
    rate: float
    ema_rate: float
    warmup: int = 100
    clip: float = 1.0
    seed: int = 0
    snapshots: tuple[int, ...] = ()
    compiled: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or not 0 < self.rate < 1:
            text = "steps and batch must be at least 1, the rate above 0 and below 1"
            raise SegueError(Code.BAD_REQUEST, text)
        if any(not 1 <= step <= self.steps for step in self.snapshots):
            text = f"snapshots must be at steps from 1 to {self.steps}"
            raise SegueError(Code.BAD_REQUEST, text)


class Stateful(Protocol):
    """What has a state to keep: a network, an optimizer."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that has to be kept."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Be as what `state_dict` came from was."""
        ...


def device_of(name: str | None) -> torch.device:
    """The device asked for, or CUDA when there is one. Raises SegueError if it can't be had."""
    if name not in (None, "cpu", "cuda"):
        raise SegueError(Code.BAD_REQUEST, f"no device {name!r}; there are: cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise SegueError(Code.BAD_REQUEST, "PyTorch finds no CUDA device here; use --device cpu")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return ranks.own_cuda_device()


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 where it is safe, unless the device is no faster with it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=half_pays(device))


def in_the_loss(network: M, compiled: bool) -> M:
    """The network as a loss calls it: itself, or compiled, with the same weights.

    That takes minutes to begin; in bfloat16 a step then took two thirds of its time on an
    Intel Xeon, in float32 it gained nothing on an AMD EPYC. Raises SegueError where nothing can
    be compiled.
    """
    if not compiled:
        return network
    try:
        torch.compile(torch.square)(torch.zeros(1))
    except Exception as error:  # whatever a compiler lacks
        text = "nothing can be compiled here; leave out --compiled, or install a C++ compiler"
        raise SegueError(Code.BAD_REQUEST, f"{text}: {error}") from error
    return cast("M", torch.compile(network))


def warmup_cosine(step: int, steps: int, warmup: int) -> float:
    """Factor of the learning rate: linear up over `warmup` steps, then half a cosine to 0."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def optimizers(model: nn.Module, matrices: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the 2-D weights inside `matrices`, AdamW for all other weights of `model`."""
    muon = [p for p in matrices.parameters() if p.ndim == 2 and min(p.shape) > 16]
    taken = {id(p) for p in muon}
    rest = [p for p in model.parameters() if id(p) not in taken]
    adam = torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.95), weight_decay=0.01)
    if not muon:
        return [adam]
    return [Muon(muon, rate, weight_decay=0.01), adam]


@dataclass
class Learner(Generic[M]):
    """Everything a run needs to stop and go on. `model` learns, `ema` is what ships.

    `matrices` is the part of `model` whose 2-D weights Muon takes. `companions` (a discriminator,
    its optimizer) are kept in the checkpoint under their names; the recipe alone updates them.
    `origin` says, by name, what makes this run another than one whose network has the same sizes.

    A checkpoint in `folder` is gone on from, and a companion it does not know yet stays as given;
    raises SegueError when the checkpoint is another model's, of another origin (one that tells
    none is taken) or of another number of processes.
    """

    folder: Path
    model: M
    matrices: nn.Module
    pace: Pace
    companions: Mapping[str, Stateful] = field(default_factory=dict)
    origin: Mapping[str, str] = field(default_factory=dict)
    step: int = 0
    seconds: float = 0.0
    ema: M = field(init=False)
    generator: torch.Generator = field(init=False)
    optimizers: list[torch.optim.Optimizer] = field(init=False)

    def __post_init__(self) -> None:
        ranks.join()
        ranks.share(self.model)
        self.ema = copy.deepcopy(self.model).requires_grad_(False)
        # torch takes the lower 32 bits of a seed, so the ranks are told apart in those.
        seed = self.pace.seed + 1 + 1_000_003 * ranks.rank()
        self.generator = torch.Generator().manual_seed(seed)
        self.optimizers = optimizers(self.model, self.matrices, self.pace.rate)
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._checkpoint.exists():
            self._restore()
        if len(ranks.gather(torch.tensor(self.step)).unique()) > 1:
            text = f"not every process sees the same {self._checkpoint}; they must share --out"
            raise SegueError(Code.BAD_REQUEST, text)

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def _restore(self) -> None:
        try:
            state: dict[str, Any] = torch.load(
                self._checkpoint, map_location="cpu", weights_only=True
            )
            generators = torch.atleast_2d(state["generator"])
            told = state.get("origin", {})
            others = [name for name in told if self.origin.get(name) != told[name]]
            if len(generators) == ranks.count() and not others:
                self._take(state, generators[ranks.rank()])
        except Exception as error:  # unpickling raises nearly anything
            text = f"{self._checkpoint} is not of this training; give --out another folder"
            raise SegueError(Code.BAD_REQUEST, text) from error
        if others:
            text = (
                f"{self._checkpoint} is of a run with another {others[0]}; go on with what it "
                f"began with, or give --out another folder"
            )
            raise SegueError(Code.BAD_REQUEST, text)
        if len(generators) != ranks.count():
            text = (
                f"{self._checkpoint} is of {len(generators)} processes, and now there are "
                f"{ranks.count()}; go on with as many as before, or give --out another folder"
            )
            raise SegueError(Code.BAD_REQUEST, text)

    def _take(self, state: dict[str, Any], generator: Tensor) -> None:
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for name, saved in state.get("companions", {}).items():
            self.companions[name].load_state_dict(saved)
        self.generator.set_state(generator.clone())  # of a row that is a view, it crashes
        self.step, self.seconds = state["step"], state["seconds"]

    def save(self) -> None:
        """Write the checkpoint; an older one stays whole until the new one is.

        All processes call it, the first one writes. Raises SegueError(DISK).
        """
        generators = ranks.gather(self.generator.get_state())
        if not ranks.first():
            return
        partial = self._checkpoint.with_suffix(".partial")
        state = {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "companions": {name: each.state_dict() for name, each in self.companions.items()},
            "origin": dict(self.origin),
            "generator": generators,
            "step": self.step,
            "seconds": self.seconds,
        }
        try:
            torch.save(state, partial)
            partial.replace(self._checkpoint)
        except (OSError, RuntimeError) as error:
            partial.unlink(missing_ok=True)
            text = f"can't write {self._checkpoint}: {error}; the one before it is whole"
            raise SegueError(Code.DISK, text) from error

    def update(self, loss: Tensor) -> None:
        """One step down `loss` (its mean over all processes), then the moving average.

        Raises SegueError before anything changes when loss or gradient is not finite.
        """
        pace = self.pace
        loss.backward()
        ranks.average_gradients(self.model.parameters())
        size = nn.utils.clip_grad_norm_(self.model.parameters(), pace.clip)
        if not torch.isfinite(loss + size):
            text = (
                f"loss {loss.item()}, gradient {size.item()} at step {self.step}: training came "
                f"apart; the last checkpoint is whole, go on from it with a lower --rate"
            )
            raise SegueError(Code.BAD_REQUEST, text)
        factor = warmup_cosine(self.step, pace.steps, pace.warmup)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = pace.rate * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        keep = min(pace.ema_rate, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for slow, fast in zip(self.ema.parameters(), self.model.parameters(), strict=True):
                slow.lerp_(fast, 1 - keep)


def learn(
    learner: Learner[M],
    loss: Callable[[], Tensor],
    *,
    on_snapshot: Callable[[int], None] | None = None,
    measure: Callable[[], Mapping[str, float]] | None = None,
    every: int = 500,
) -> bool:
    """Run to the last step, printing progress and appending to FOLDER/curve.tsv.

    `on_snapshot(step)` is called at the steps of `pace.snapshots`, to write `learner.ema` away.
    `measure()` is called every `every` steps and after the last one, and its values go to
    FOLDER/heldout.tsv; neither may draw from the learner's generator. Checkpoints fall between
    lines of the curve, so that a run that was killed repeats whole lines. Returns whether this
    is the process that writes the weights. Raises SegueError when the loss is not finite or the
    disk is full.
    """
    curve = Curve(learner.folder, learner.step) if ranks.first() else None
    if curve and learner.step:
        print(_told(learner), flush=True)
    if curve and on_snapshot and (gone := _gone_by(learner)):
        print(gone, flush=True)
    pace, saved, recent, shown = learner.pace, time.monotonic(), list[float](), learner.seconds
    while learner.step < pace.steps:
        started = time.monotonic()
        value = loss()
        learner.update(value)
        recent.append(value.item())
        now = time.monotonic()
        learner.seconds += now - started
        if curve and on_snapshot and learner.step in pace.snapshots:
            on_snapshot(learner.step)
        if curve and measure and (learner.step % every == 0 or learner.step == pace.steps):
            values = curve.add_held_out(learner.step, measure())
            print(f"step {learner.step} held out: {values}", flush=True)
        if learner.step % LOG_STEPS and learner.step < pace.steps:
            continue
        mean = float(ranks.gather(torch.tensor(recent)).mean())
        due = ranks.gather(torch.tensor(now - saved > CHECKPOINT_SECONDS))[0]
        if curve:
            line = curve.add(learner.step, mean, learner.seconds)
            windows = len(recent) * pace.batch * ranks.count()
            speed = windows / max(learner.seconds - shown, 1e-9)
            print(f"step {line} s\t{speed:.1f} windows/s", flush=True)
        recent.clear()
        shown = learner.seconds
        if due:
            _keep(learner, curve)
            saved = now
    _keep(learner, curve)
    return ranks.first()


def snapshot(folder: Path, step: int) -> Path:
    """Where the weights after `step` steps are kept apart."""
    return folder / f"step-{step:05d}.safetensors"


def _told(learner: Learner[M]) -> str:
    if learner.step < learner.pace.steps:
        return f"going on from step {learner.step} in {learner.folder}"
    done = f"{learner.folder} has had {learner.step} steps, and nothing is left to do"
    return f"{done}; give more --steps, or --out another folder to begin anew"


def _gone_by(learner: Learner[M]) -> str | None:
    """What to say of snapshots asked for too late."""
    asked = (n for n in learner.pace.snapshots if n <= learner.step)
    steps = [str(n) for n in asked if not snapshot(learner.folder, n).exists()]
    if not steps:
        return None
    text = f"{learner.folder} is past step {', '.join(steps)}, and what it was then was not kept"
    return f"{text}; give --out another folder to have that snapshot"


def _keep(learner: Learner[M], curve: Curve | None) -> None:
    learner.save()
    why_not = curve.draw() if curve else None
    if why_not:
        print(why_not, flush=True)
