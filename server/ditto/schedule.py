"""Noise levels, and the words for them that all the maths uses.

x_T   starting noise, what DITTO optimizes        x_0  clean, normalised mel
x_t   state at noise level t: alpha(t) * x_0 + sigma(t) * eps, eps unit noise
t     current noise level, 0 = clean, t_max = start; s target level, 0 <= s <= t
ts    a descending grid of levels, its first t_max and its last 0
D_x   the network's estimate of x_0                gamma  CTM stochasticity in [0, 1]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Schedule(Protocol):
    """Any pair (alpha, sigma) of noise level; `t_max` is where sampling starts."""

    @property
    def t_max(self) -> float:
        """Level of the starting noise; below 1 so that alpha stays above 0."""

    def alpha(self, t: Tensor) -> Tensor:
        """Factor of the clean signal."""

    def sigma(self, t: Tensor) -> Tensor:
        """Factor of the noise."""

    def level(self, share: Tensor) -> Tensor:
        """Noise level after this share (1 = all) of the way from clean to t_max."""


@dataclass(frozen=True)
class RectifiedFlow:
    """Straight lines from data to noise: x_t = (1 - t) x_0 + t eps (Liu et al. 2022).

    A mel's loudness and colour are shared by thousands of its elements, so they show through
    noise that hides each of them: most of a clip is decided above t = 0.9. `shift` crowds the
    levels there (Esser et al. 2024, section 5.3.2), and at t_max even the sum over all elements
    tells nothing, so that pure noise is a fair start.
    """

    t_max: float = 0.999
    shift: float = 10.0

    def alpha(self, t: Tensor) -> Tensor:
        """1 - t."""
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        """The level t itself."""
        return t

    def level(self, share: Tensor) -> Tensor:
        """shift u / (1 + (shift - 1) u), with u running from 0 to where this is t_max."""
        u = share * self.t_max / (self.shift - (self.shift - 1) * self.t_max)
        return self.shift * u / (1 + (self.shift - 1) * u)


def grid(schedule: Schedule, steps: int) -> Tensor:
    """`steps` steps from t_max down to 0, even in share: (steps + 1,), float64."""
    if steps < 1:
        raise ValueError(f"a grid needs at least one step, not {steps}")
    return schedule.level(torch.linspace(1, 0, steps + 1, dtype=torch.float64))


def even_grid(schedule: Schedule, steps: int) -> Tensor:
    """`steps` steps of one size from t_max down to 0: (steps + 1,), float64.

    For decoding optimized noise: a late second step refines what the first one was optimized
    to say, where an early one would say much of it anew.
    """
    return torch.linspace(schedule.t_max, 0, steps + 1, dtype=torch.float64)


def levels(value: Tensor | float, like: Tensor) -> Tensor:
    """A level a batch row, shaped to multiply `like`: (batch, 1, ..., 1), in its dtype."""
    if not isinstance(value, Tensor):  # filled in on the device, not copied to it
        value = like.new_full((), value)
    rows = value.to(like).expand(like.shape[0])
    return rows.reshape(-1, *[1] * (like.ndim - 1))


def add_noise(schedule: Schedule, x_0: Tensor, eps: Tensor, t: Tensor | float) -> Tensor:
    """x_t = alpha(t) x_0 + sigma(t) eps, t a number or (batch,)."""
    level = levels(t, x_0)
    return schedule.alpha(level) * x_0 + schedule.sigma(level) * eps
