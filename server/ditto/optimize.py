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

import torch
from torch import Tensor

GAIN = 0.999  # a loss above this share of the best one is no gain


@dataclass(frozen=True, slots=True)
class OptStep:
    """One finished iteration; `loss` is the mean over the batch."""

    iteration: int
    iterations: int
    loss: float


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
    far; whatever `on_step` raises ends it too. Raises FloatingPointError when already the first
    loss is not finite.
    """
    z = (waves.of(x_T) if waves else x_T.clone()).detach().requires_grad_()
    adam = torch.optim.Adam([z], lr=learning_rate)
    best, best_loss = x_T.detach().clone(), x_T.new_full((len(x_T),), torch.inf)
    losses: list[float] = []
    gained, last = 0, None
    i = 0
    while i < len(objectives):
        objective = objectives[i]
        if objective is not last:
            best_loss, gained, last = torch.full_like(best_loss, torch.inf), i, objective
        with torch.enable_grad():
            x = waves.back(z) if waves else z
            loss = objective(x)
            (z.grad,) = torch.autograd.grad(loss.sum(), z)
        if not torch.isfinite(loss).all() or not torch.isfinite(z.grad).all():
            break
        losses.append(loss.mean().item())
        if on_step is not None:
            on_step(OptStep(i, len(objectives), losses[-1]))
        gained = i if bool((loss < best_loss * GAIN).any()) else gained
        better = loss.detach() < best_loss
        best[better], best_loss[better] = x.detach()[better], loss.detach()[better]
        adam.step()
        i += 1
        if _over(stop, i - 1 - gained):
            break
        if stop.target is not None and bool((best_loss <= stop.target).all()):
            i += sum(later is objective for later in objectives[i:])
    if not losses:
        raise FloatingPointError("the first loss is not finite")
    return Optimized(best, best_loss, tuple(losses))


def _over(stop: Stop, idle: int) -> bool:
    return (stop.patience is not None and idle >= stop.patience) or stop.now_due()
