"""A training loop that stops and goes on: one checkpoint, one curve, the same steps either way."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from segue.presets.vocabulary import Code, SegueError

CHECKPOINT_SECONDS = 120.0
LOG_STEPS = 20
M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Length and pace of a run. Raises SegueError when a value cannot work."""

    steps: int
    batch: int
    rate: float
    ema_rate: float
    warmup: int = 100
    clip: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or not 0 < self.rate < 1:
            text = "steps and batch must be at least 1, the rate above 0 and below 1"
            raise SegueError(Code.BAD_REQUEST, text)


def device_of(name: str | None) -> torch.device:
    """The device asked for, or CUDA when there is one. Raises SegueError if it can't be had."""
    if name not in (None, "cpu", "cuda"):
        raise SegueError(Code.BAD_REQUEST, f"no device {name!r}; there are: cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise SegueError(Code.BAD_REQUEST, "PyTorch finds no CUDA device here; use --device cpu")
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


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
    return [
        torch.optim.Muon(muon, lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        adam,
    ]


@dataclass
class Learner(Generic[M]):
    """Everything a run needs to stop and go on. `model` learns, `ema` is what ships.

    `matrices` is the part of `model` whose 2-D weights Muon takes. A checkpoint in `folder` is
    gone on from; raises SegueError when it is another model's.
    """

    folder: Path
    model: M
    matrices: nn.Module
    pace: Pace
    step: int = 0
    seconds: float = 0.0
    ema: M = field(init=False)
    generator: torch.Generator = field(init=False)
    optimizers: list[torch.optim.Optimizer] = field(init=False)

    def __post_init__(self) -> None:
        self.ema = copy.deepcopy(self.model).requires_grad_(False)
        self.generator = torch.Generator().manual_seed(self.pace.seed + 1)
        self.optimizers = optimizers(self.model, self.matrices, self.pace.rate)
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._checkpoint.exists():
            self._restore()

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def _restore(self) -> None:
        try:
            state: dict[str, Any] = torch.load(
                self._checkpoint, map_location="cpu", weights_only=True
            )
            self.model.load_state_dict(state["model"])
            self.ema.load_state_dict(state["ema"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            self.generator.set_state(state["generator"])
            self.step, self.seconds = state["step"], state["seconds"]
        except Exception as error:  # unpickling raises nearly anything
            text = f"{self._checkpoint} is not of this training; give --out another folder"
            raise SegueError(Code.BAD_REQUEST, text) from error

    def save(self) -> None:
        """Write the checkpoint; an older one stays whole until the new one is.

        Raises SegueError(DISK).
        """
        partial = self._checkpoint.with_suffix(".partial")
        state = {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "generator": self.generator.get_state(),
            "step": self.step,
            "seconds": self.seconds,
        }
        try:
            torch.save(state, partial)
            partial.replace(self._checkpoint)
        except (OSError, RuntimeError) as error:
            text = f"can't write {self._checkpoint}: {error}; the one before it is whole"
            raise SegueError(Code.DISK, text) from error

    def update(self, loss: Tensor) -> None:
        """One step down `loss`, then the moving average of the weights.

        Raises SegueError before anything changes when loss or gradient is not finite.
        """
        pace = self.pace
        loss.backward()
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


def learn(learner: Learner[M], loss: Callable[[], Tensor]) -> None:
    """Run to the last step, printing progress and appending to FOLDER/curve.tsv.

    Checkpoints fall between lines of the curve, so that a run that was killed repeats whole
    lines. Raises SegueError when the loss is not finite or the disk is full.
    """
    curve = learner.folder / "curve.tsv"
    _forget_after(learner.step, curve)
    saved, recent = time.monotonic(), list[float]()
    while learner.step < learner.pace.steps:
        started = time.monotonic()
        value = loss()
        learner.update(value)
        recent.append(value.item())
        now = time.monotonic()
        learner.seconds += now - started
        if learner.step % LOG_STEPS:
            continue
        speed = learner.pace.batch / (now - started)
        line = f"{learner.step}\t{sum(recent) / len(recent):.5f}\t{learner.seconds:.0f}"
        with curve.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        print(f"step {line} s\t{speed:.1f} windows/s", flush=True)
        recent.clear()
        if now - saved > CHECKPOINT_SECONDS:
            learner.save()
            saved = now
    learner.save()


def _forget_after(step: int, curve: Path) -> None:
    """Drop the lines of steps that a killed run made after its last checkpoint."""
    if curve.exists():
        lines = curve.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if int(line.split("\t")[0]) <= step]
        curve.write_text("".join(kept), encoding="utf-8")
