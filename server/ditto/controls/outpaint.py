"""Outpainting: the clip's first frames match the region's last ones (DITTO-2 section 4.2)."""

from __future__ import annotations

from torch import Tensor


def feature(x_0: Tensor, overlap_frames: int) -> Tensor:
    """The frames that must match: (batch, channels, frames) to (batch, channels, overlap)."""
    return x_0[..., :overlap_frames]


def loss(x_0: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference over the overlap, in deviations of a band: (batch,).

    x_0: (batch, channels, frames), normalised; target: (channels, overlap) or with a batch.
    """
    made = feature(x_0, target.shape[-1])
    return ((made - target) ** 2).mean(dim=(-2, -1))
