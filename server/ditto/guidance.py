"""Leading an estimate of x_0 to what is asked of it, without going back through the network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

STEPS = 6
FARTHEST = 0.5  # that an element is moved; where few have all the slope they get 100 dB loud
LEAST = 1e-12  # a slope squared; where it ends, a step would be endless


def lowered(x_0: Tensor, loss: Callable[[Tensor], Tensor], steps: int = STEPS) -> Tensor:
    """x_0 (batch, channels, frames) after some steps down a loss (batch,) that is never below 0.

    Manifold preserving guidance (MPGD, arXiv 2311.16424) moves a sampler's estimates so. Steps
    are Polyak's: as long as it takes the loss to become 0 if it went on as steeply. No element ends
    farther than FARTHEST from where it was, and what is not finite moves nothing.
    """
    least, most = x_0 - FARTHEST, x_0 + FARTHEST
    for _ in range(steps):
        with torch.enable_grad():
            here = x_0.detach().requires_grad_()
            value = loss(here)
            (slope,) = torch.autograd.grad(value.sum(), here)
        steep = slope.square().sum(dim=(1, 2), keepdim=True).clamp(min=LEAST)
        step = value.detach()[:, None, None] / steep * slope
        x_0 = (x_0 - step.nan_to_num(0.0, 0.0, 0.0)).clamp(least, most)
    return x_0
