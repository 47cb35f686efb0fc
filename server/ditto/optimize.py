"""Inference-time optimization of the starting noise, weights frozen (DITTO-2 section 3.1).

The paper uses Adam. Adam gives every element of x_T the same pace, however little it matters to
the loss, and so pushes the noise of frames that no control speaks of out of its distribution:
what follows an overlap comes out too loud. Here the second moment is one number a clip, the
rest of Adam as it is: elements move in proportion to their gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

BETA_1, BETA_2 = 0.9, 0.999  # Adam's defaults
TINY = 1e-12


@dataclass(frozen=True, slots=True)
class OptStep:
    """One finished iteration; `loss` is the mean over the batch."""

    iteration: int
    iterations: int
    loss: float


@dataclass(frozen=True, slots=True)
class Optimized:
    """The best starting noise seen in each batch row, and the losses on the way."""

    x_T: Tensor
    losses: tuple[float, ...]


class ClipAdam:
    """Adam with one second moment a batch row. `step` returns what to subtract from x."""

    def __init__(self, x: Tensor, learning_rate: float) -> None:
        self.rate = learning_rate
        self.mean = torch.zeros_like(x)
        self.power = x.new_zeros(len(x), *[1] * (x.ndim - 1))
        self.count = 0

    def step(self, gradient: Tensor) -> Tensor:
        """gradient: (batch, ...)."""
        self.count += 1
        rest = tuple(range(1, gradient.ndim))
        self.mean.lerp_(gradient, 1 - BETA_1)
        self.power.lerp_(gradient.square().mean(rest, keepdim=True), 1 - BETA_2)
        mean = self.mean / (1 - BETA_1**self.count)
        power = self.power / (1 - BETA_2**self.count)
        return self.rate * mean / (power.sqrt() + TINY)


def optimize(
    objective: Callable[[Tensor], Tensor],
    x_T: Tensor,
    *,
    iterations: int,
    learning_rate: float,
    on_step: Callable[[OptStep], None] | None = None,
) -> Optimized:
    """Lower `objective` from x_T on, keeping each row's best iterate.

    objective: x_T (batch, ...) to losses (batch,), differentiable. The loop ends early when a
    loss is not finite and returns the best so far; whatever `on_step` raises ends it too.
    Raises FloatingPointError when already the first loss is not finite.
    """
    x = x_T.detach().clone().requires_grad_()
    adam = ClipAdam(x_T, learning_rate)
    best, best_loss = x_T.detach().clone(), x_T.new_full((len(x_T),), torch.inf)
    losses: list[float] = []
    for i in range(iterations):
        with torch.enable_grad():
            loss = objective(x)
            (gradient,) = torch.autograd.grad(loss.sum(), x)
        if not torch.isfinite(loss).all() or not torch.isfinite(gradient).all():
            break
        losses.append(loss.mean().item())
        if on_step is not None:
            on_step(OptStep(i, iterations, losses[-1]))
        with torch.no_grad():
            better = loss < best_loss
            best[better], best_loss[better] = x.detach()[better], loss.detach()[better]
            x -= adam.step(gradient)
    if not losses:
        raise FloatingPointError("the first loss is not finite")
    return Optimized(best, tuple(losses))
