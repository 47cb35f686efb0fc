"""Known music beside what is made: outpainting, inpainting and loops (DITTO-2 section 4.2)."""

from __future__ import annotations

from torch import Tensor

HOLD = 0.3  # weight of staying as loud and as bright; real music does so within 1 dB or two
ENOUGH = 0.25  # of the loss, where the known music is put back while the clip is polished


def overlap_error(x_0: Tensor, target: Tensor, pinned: Tensor) -> Tensor:
    """Mean squared difference over the pinned frames, in deviations of a band: (batch,).

    x_0: (batch, channels, frames), normalised; target: the same or without a batch; pinned:
    (frames,), true where the target counts. 0 when none does.
    """
    error = (x_0 - target) ** 2 * pinned
    return error.sum(dim=(-2, -1)) / (x_0.shape[-2] * pinned.sum().clamp(min=1))


def stray(x_0: Tensor, target: Tensor, pinned: Tensor) -> Tensor:
    """How far each band's mean elsewhere is from that over the pinned frames, squared: (batch,).

    0 when nothing or everything is pinned.
    """
    count = pinned.sum()
    known = (target * pinned).sum(dim=-1) / count.clamp(min=1)
    made = (x_0 * ~pinned).sum(dim=-1) / (len(pinned) - count).clamp(min=1)
    both = (count > 0) & (count < len(pinned))
    return ((made - known) ** 2).mean(dim=-1) * both


def loss(x_0: Tensor, target: Tensor, pinned: Tensor, hold: float = HOLD) -> Tensor:
    """The overlap's error, and how far each band's mean strays elsewhere: (batch,)."""
    return overlap_error(x_0, target, pinned) + hold * stray(x_0, target, pinned)
