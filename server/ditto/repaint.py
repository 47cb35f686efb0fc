"""Painting over what a window has, from some noise level down, with what is asked kept in mind.

RePaint (arXiv 2201.09865) with deterministic steps and without going back; from pure noise it is
masked re-noising, from a lower level SDEdit (arXiv 2108.01073) of the clip that was noised.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from segue.server.ditto.ctm import Denoiser
from segue.server.ditto.schedule import Schedule, add_noise


@torch.no_grad()
def repaint(
    denoiser: Denoiser,
    schedule: Schedule,
    x_t: Tensor,
    known: Tensor,
    pinned: Tensor,
    ts: Tensor,
    draw: Callable[[], Tensor],
    lead: Callable[[Tensor], Tensor] = lambda D_x: D_x,
) -> Tensor:
    """x_0 (batch, channels, frames), at every level the known frames noised in place.

    x_t: the state at ts[0], the first of the levels on the way down. known: as x_t, or one row of
    it; pinned: (frames,), where known counts, though no frame is exactly that in the end. draw:
    fresh unit noise, shaped as known. lead: from each estimate of x_0 to one that is nearer to
    what is asked; the noise that goes with it stays what the denoiser said.
    """
    for t, s in pairwise(ts.to(x_t)):
        x_t = torch.where(pinned, add_noise(schedule, known, draw(), t), x_t)
        D_x = denoiser(x_t, t.expand(len(x_t)))
        eps = (x_t - schedule.alpha(t) * D_x) / schedule.sigma(t)
        x_t = schedule.alpha(s) * lead(D_x) + schedule.sigma(s) * eps
    return x_t
