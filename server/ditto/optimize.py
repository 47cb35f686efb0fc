"""Inference-time optimization of the starting noise, weights frozen (DITTO-2 section 3.1).

Adam as in the paper, on the noise's cosine transform instead of its elements. White noise stays
white there, but a coefficient is one wave over the whole clip: a step of 0.03 moves it by 0.03
of its deviation. A step of 0.03 in all elements at once moves their mean by ten deviations, noise
that no model has seen, and what follows an overlap came out far too loud or too quiet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

import torch
from torch import Tensor

from segue.server.ditto.replay import Replay

GAIN = 0.999  # a loss above this share of the best one is no gain
PACE = 8  # iterations on a GPU between two looks at what they tell


@dataclass(frozen=True, slots=True)
class OptStep:
    """One finished iteration; `loss` is the mean over the batch, `x_T` each row's best so far."""

    iteration: int
    iterations: int
    loss: float
    x_T: Tensor


@dataclass(frozen=True, slots=True)
class Optimized:
    """The best starting noise seen in each batch row, its loss (batch,), the means on the way."""

    x_T: Tensor
    best: Tensor
    losses: tuple[float, ...]


def cosines(n: int) -> Tensor:
    """Orthonormal DCT-II matrix, (n, n), float32."""
    k, i = torch.arange(n)[:, None], torch.arange(n)[None]
    matrix = torch.cos(math.pi * k * (i + 0.5) / n) * math.sqrt(2 / n)
    matrix[0] /= math.sqrt(2)
    return matrix


class Waves:
    """Noise (batch, sides * bands, frames) as coefficients of cosines, and back."""

    def __init__(self, bands: int, frames: int, device: torch.device) -> None:
        self.down, self.along = cosines(bands).to(device), cosines(frames).to(device)

    def of(self, x: Tensor) -> Tensor:
        """(batch, sides, bands, frames): the clip's mean first, faster waves behind."""
        return self.down @ x.unflatten(1, (-1, len(self.down))) @ self.along.T

    def back(self, z: Tensor) -> Tensor:
        """The inverse of `of`, and its transpose."""
        return (self.down.T @ z @ self.along).flatten(1, 2)


Objective = Callable[[Tensor], Tensor]  # x_T (batch, ...) to losses (batch,), differentiable


@dataclass(frozen=True, kw_only=True)
class Stop:
    """When to end early: after `patience` iterations in which no row gained one part in a
    thousand, once every row has met `target` with the last objective (an earlier one then gives
    way to the next), or when `now_due` says so.
    """

    patience: int | None = None
    target: float | None = None
    now_due: Callable[[], bool] = lambda: False


class Row(NamedTuple):
    """What an iteration tells: the mean loss; whether all is finite yet, any row gained, and every
    row's best loss meets the target.
    """

    loss: float
    finite: float
    gained: float
    met: float


class Iteration:
    """A step of Adam on the noise, each row's best noise, and what was last told: all in place.

    `step` neither waits for the device nor copies to it, so that a CUDA graph can hold it.
    """

    def __init__(
        self, x_T: Tensor, learning_rate: float, waves: Waves | None, target: float | None
    ) -> None:
        self.best, self.best_loss = x_T.detach().clone(), x_T.new_full((len(x_T),), torch.inf)
        self._before = self.best_loss.clone()  # of the objective before
        self._waves = waves
        self._z = (waves.of(x_T) if waves else x_T.clone()).detach().requires_grad_()
        self._z.grad = torch.zeros_like(self._z)
        self._adam = torch.optim.Adam([self._z], lr=learning_rate, capturable=x_T.is_cuda)
        self._target = -math.inf if target is None else target
        self._finite = torch.ones((), dtype=torch.bool, device=x_T.device)
        self._told = x_T.new_zeros((PACE, len(Row._fields)), dtype=torch.float64)

    def step(self, objective: Objective) -> None:
        """Once forwards and back. What is not finite changes no best, then or later."""
        assert self._z.grad is not None, "it has been there from the beginning"
        with torch.enable_grad():
            x = self._waves.back(self._z) if self._waves else self._z
            loss = objective(x)
            (gradient,) = torch.autograd.grad(loss.sum(), self._z)
        x, loss = x.detach(), loss.detach()
        self._finite &= loss.isfinite().all() & gradient.isfinite().all()
        gained = (loss < self.best_loss * GAIN).any()
        better = (loss < self.best_loss) & self._finite
        self.best.copy_(torch.where(better.reshape(-1, *[1] * (x.ndim - 1)), x, self.best))
        self.best_loss.copy_(torch.where(better, loss, self.best_loss))
        met = (self.best_loss <= self._target).all()
        told = torch.stack([each.double() for each in (loss.mean(), self._finite, gained, met)])
        self._told.copy_(torch.cat((self._told[1:], told[None])))
        self._z.grad.copy_(gradient)
        self._adam.step()

    def seek_anew(self) -> None:
        """Losses to come can't be compared with those before."""
        self._before = self.least
        self.best_loss.fill_(torch.inf)

    @property
    def least(self) -> Tensor:
        """The loss of each row's best noise, (batch,)."""
        return torch.where(self.best_loss.isfinite(), self.best_loss, self._before)

    def read(self, count: int) -> list[Row]:
        """What the last iterations told, at most `PACE`; waits for the device."""
        return [Row(*row) for row in self._told[-count:].tolist()]


def optimize(
    objectives: Sequence[Objective],
    x_T: Tensor,
    *,
    learning_rate: float,
    waves: Waves | None = None,
    stop: Stop = Stop(),
    on_step: Callable[[OptStep], None] | None = None,
) -> Optimized:
    """Lower each iteration's objective from x_T on, keeping each row's best iterate.

    One objective an iteration, often the same; where it changes, the best is sought anew, since
    losses of different objectives can't be compared. Adam moves the coefficients of `waves`, or
    the elements without. The loop ends early when a loss is not finite and returns the best so
    far; whatever `on_step` raises ends it too. On a GPU all this is looked at a few iterations
    at a time. Raises FloatingPointError when already the first
    loss is not finite.
    """
    state = Iteration(x_T, learning_rate, waves, stop.target)
    step, pace = (Replay(state.step), PACE) if x_T.is_cuda else (state.step, 1)
    losses: list[float] = []
    i, gained, last = 0, 0, None
    while i < len(objectives):
        objective = objectives[i]
        if objective is not last:
            state.seek_anew()
            gained, last = i, objective
        alike = objectives[i:].count(objective)
        for _ in range(min(pace, alike)):
            step(objective)
        rows = state.read(min(pace, alike))
        for row in takewhile(lambda row: row.finite, rows):
            losses.append(row.loss)
            if on_step is not None:
                on_step(OptStep(i, len(objectives), row.loss, state.best))
            gained = i if row.gained else gained
            i += 1
        if not rows[-1].finite or _over(stop, i - 1 - gained):
            break
        if rows[-1].met:
            i += alike - len(rows)
    if not losses:
        raise FloatingPointError("the first loss is not finite")
    return Optimized(state.best, state.least, tuple(losses))


def _over(stop: Stop, idle: int) -> bool:
    return (stop.patience is not None and idle >= stop.patience) or stop.now_due()
