"""A gap as the model sees it: a mel with the known music beside it, filled window by window."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

CUT_FRAMES = 2  # known frames whose analysis window reaches into the gap
SPARE_FRAMES = 4  # made beyond an open end: rounding, the resampler's edges and the seam's shift


@dataclass
class Canvas:
    """Normalised mel (batch, channels, frames), some of its frames known.

    head: frames before the gap; new: frames of the gap itself. pinned: (frames,) those that what
    is made has to match; kept: (frames,) those that are not made over but faded into.
    backwards: filled from the right to the left, because only the right is known.
    """

    mel: Tensor
    head: int
    new: int
    pinned: Tensor
    kept: Tensor
    backwards: bool = False

    @property
    def frames(self) -> int:
        """Of the gap and what is beside it."""
        return self.mel.shape[-1]

    def starts(self, window: int, overlap: int) -> list[int]:
        """First frames of the windows that fill it, in order, evenly spread.

        They share at least `overlap` frames. A window may reach over an end of the canvas.
        """
        if self.frames <= window:
            return [self.frames - window if self.backwards else 0]
        count = math.ceil((self.frames - overlap) / (window - overlap))
        room = self.frames - window
        starts = [round(i * room / (count - 1)) for i in range(count)]
        return starts[::-1] if self.backwards else starts

    def cut(self, start: int, window: int) -> tuple[Tensor, Tensor]:
        """What a window there has to match: its mel (batch, channels, window), pinned (window,)."""
        return self.part(self.mel, start, window), self.part(self.pinned, start, window)

    def part(self, values: Tensor, start: int, window: int) -> Tensor:
        """A window of values (..., frames) of the canvas, zero where it has none: (..., window)."""
        lo, hi = self._reach(start, window)
        made = values.new_zeros((*values.shape[:-1], window))
        made[..., lo - start : hi - start] = values[..., lo:hi]
        return made

    def drawn(self, x_0: Tensor, start: int) -> Tensor:
        """The whole mel with a window (batch, channels, window) on it. Differentiable in `x_0`."""
        return self.drawing(start, x_0.shape[-1])(x_0)

    def drawing(self, start: int, window: int) -> Callable[[Tensor], Tensor]:
        """`drawn` for a window there, with all worked out that does not depend on x_0."""
        lo, hi = self._reach(start, window)
        before, there, behind = self.mel.tensor_split((lo, hi), dim=-1)
        weights = self._weights(lo, hi)

        def draw(x_0: Tensor) -> Tensor:
            inside = torch.lerp(there, x_0[..., lo - start : hi - start], weights)
            return torch.cat((before, inside, behind), dim=-1)

        return draw

    def made(self, start: int, window: int) -> slice:
        """The gap's frames that are there when a window has been drawn, counted from its first."""
        lo, hi = self._reach(start, window)
        if self.backwards:
            return slice(max(lo - self.head, 0), self.new)
        return slice(0, min(hi - self.head, self.new))

    def fill(self, x_0: Tensor, start: int) -> None:
        """Draw a window for good; the windows to come match it where they meet it."""
        lo, hi = self._reach(start, x_0.shape[-1])
        self.mel = self.drawn(x_0, start)
        self.pinned[lo:hi] = True
        self.kept[lo:hi] = True

    def _reach(self, start: int, window: int) -> tuple[int, int]:
        return max(start, 0), min(start + window, self.frames)

    def _weights(self, lo: int, hi: int) -> Tensor:
        """How much of a window's frames to take: all where nothing was, fading in beside it."""
        kept = self.kept[lo:hi]
        weights = (~kept).float()
        if kept.all():
            return torch.ones_like(weights)
        left = int(kept.int().argmin())
        right = int(kept.flip(0).int().argmin())
        weights[:left] = torch.linspace(0, 1, left + 2, device=weights.device)[1:-1]
        if right:
            weights[-right:] = torch.linspace(1, 0, right + 2, device=weights.device)[1:-1]
        return weights
