"""A training loop that stops and goes on: one checkpoint, one curve, the same steps either way."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

CHECKPOINT_SECONDS = 120.0
LOG_STEPS = 20
M = TypeVar("M", bound=nn.Module)


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
    """Everything a run needs to stop and go on. `model` learns, `ema` is what ships."""

    folder: Path
    model: M
    optimizers: list[torch.optim.Optimizer]
    generator: torch.Generator
    steps: int
    ema_rate: float
    warmup: int = 100
    clip: float = 1.0
    step: int = 0
    seconds: float = 0.0
    ema: M = field(init=False)
    rates: list[float] = field(init=False)

    def __post_init__(self) -> None:
        self.ema = copy.deepcopy(self.model).requires_grad_(False)
        self.rates = [o.param_groups[0]["lr"] for o in self.optimizers]
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._checkpoint.exists():
            self._restore()

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def _restore(self) -> None:
        state = torch.load(self._checkpoint, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.generator.set_state(state["generator"])
        self.step, self.seconds = state["step"], state["seconds"]

    def save(self) -> None:
        """Write the checkpoint; an older one stays whole until the new one is."""
        partial = self._checkpoint.with_suffix(".partial")
        state = {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "generator": self.generator.get_state(),
            "step": self.step,
            "seconds": self.seconds,
        }
        torch.save(state, partial)
        partial.replace(self._checkpoint)

    def update(self, loss: Tensor) -> None:
        """One step down `loss`, then the moving average of the weights."""
        factor = warmup_cosine(self.step, self.steps, self.warmup)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        for optimizer, rate in zip(self.optimizers, self.rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        keep = min(self.ema_rate, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for slow, fast in zip(self.ema.parameters(), self.model.parameters(), strict=True):
                slow.lerp_(fast, 1 - keep)


def learn(learner: Learner[M], loss: Callable[[], Tensor], batch: int) -> None:
    """Run to the last step, printing progress and appending to FOLDER/curve.tsv.

    Raises FloatingPointError when the loss is no longer finite; the checkpoint before it stays.
    """
    saved, total = time.monotonic(), 0.0
    curve = learner.folder / "curve.tsv"
    while learner.step < learner.steps:
        started = time.monotonic()
        value = loss()
        if not torch.isfinite(value):
            raise FloatingPointError(f"loss is {value.item()} at step {learner.step}")
        learner.update(value)
        total += value.item()
        now = time.monotonic()
        learner.seconds += now - started
        if learner.step % LOG_STEPS == 0:
            speed = batch / (now - started)
            line = f"{learner.step}\t{total / LOG_STEPS:.5f}\t{learner.seconds:.0f}"
            with curve.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
            print(f"step {line} s\t{speed:.1f} windows/s", flush=True)
            total = 0.0
        if now - saved > CHECKPOINT_SECONDS:
            learner.save()
            saved = now
    learner.save()
