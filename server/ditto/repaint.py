"""Painting over what a window has, from some noise level down, with what is known kept in mind.

RePaint (arXiv 2201.09865) with deterministic steps and without going back; from pure noise it is
masked re-noising, from a lower level SDEdit (arXiv 2108.01073) of the clip that was noised.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from segue.server.ditto.ctm import Denoiser, jump
from segue.server.ditto.schedule import Schedule, add_noise


@torch.no_grad()
def repaint(
    denoiser: Denoiser,
    schedule: Schedule,
    x_t: Tensor,
    known: Tensor,
    pinned: Tensor,
    ts: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """x_0 (batch, channels, frames), at every level the known frames noised in place.

    x_t: the state at ts[0], the first of the levels on the way down. known: as x_t, or one row of
    it; pinned: (frames,), where known counts, though no frame is exactly that in the end.
    """
    for t, s in pairwise(ts.tolist()):
        eps = torch.randn(known.shape, generator=generator).to(known)
        x_t = torch.where(pinned, add_noise(schedule, known, eps, t), x_t)
        x_t = jump(denoiser, schedule, x_t, t, s)
    return x_t
