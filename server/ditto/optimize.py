"""Inference-time optimization: Adam on the starting noise, weights frozen (DITTO-2 section 3.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


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


def optimize(
    objective: Callable[[Tensor], Tensor],
    x_T: Tensor,
    *,
    iterations: int,
    learning_rate: float,
    on_step: Callable[[OptStep], None] | None = None,
) -> Optimized:
    """Lower `objective` by Adam on x_T, keeping each row's best iterate.

    objective: x_T (batch, ...) to losses (batch,), differentiable. The loop ends early when a
    loss is not finite and returns the best so far; whatever `on_step` raises ends it too.
    Raises FloatingPointError when already the first loss is not finite.
    """
    x = x_T.detach().clone().requires_grad_()
    adam = torch.optim.Adam([x], lr=learning_rate)
    best, best_loss = x_T.detach().clone(), x_T.new_full((len(x_T),), torch.inf)
    losses: list[float] = []
    for i in range(iterations):
        with torch.enable_grad():
            loss = objective(x)
            (gradient,) = torch.autograd.grad(loss.sum(), x)
        if not torch.isfinite(loss).all() or not torch.isfinite(gradient).all():
            break
        with torch.no_grad():
            better = loss < best_loss
            best[better], best_loss[better] = x.detach()[better], loss.detach()[better]
        losses.append(loss.mean().item())
        if on_step is not None:
            on_step(OptStep(i, iterations, losses[-1]))
        x.grad = gradient
        adam.step()
    if not losses:
        raise FloatingPointError("the first loss is not finite")
    return Optimized(best, tuple(losses))
