"""Outpainting: the clip's first frames match the region's last ones (DITTO-2 section 4.2)."""

from __future__ import annotations

from torch import Tensor

HOLD = 0.3  # weight of staying as loud and as bright; real music does so within 1 dB or two


def overlap_error(x_0: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference over the overlap, in deviations of a band: (batch,).

    x_0: (batch, channels, frames), normalised; target: (channels, overlap) or with a batch.
    """
    return ((x_0[..., : target.shape[-1]] - target) ** 2).mean(dim=(-2, -1))


def loss(x_0: Tensor, target: Tensor) -> Tensor:
    """The overlap's error, and how far each band's mean strays behind it: (batch,)."""
    strays = x_0[..., target.shape[-1] :].mean(dim=-1) - target.mean(dim=-1)
    return overlap_error(x_0, target) + HOLD * (strays**2).mean(dim=-1)
