"""Phases of partials, followed from frame to frame.

A peak of a frame's magnitudes is a partial, which turns from one frame to the next as its
frequency says; the bins beside it turn with it (after single-pass spectrogram inversion,
Beauregard, Harish, Wyse 2015, but each bin sums what turned it, whichever peak that was).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

UNKNOWN = -30.0  # natural log of a magnitude, where nothing says how large it is
REACH = 3  # bins on either side of a peak that are its own: a Hann window's main lobe has two
BLOCK_FRAMES = 768  # after which all begin anew, so that a long clip can be made in pieces


def followed(height: Tensor, turn: float) -> Tensor:
    """Phases (..., frames, bins) of frames that were multiplied with a symmetric window.

    height: natural log of magnitudes, the same shape, from bin 0 on, `UNKNOWN` where nothing says
    it; turn: by how much bin 1 turns in a hop, radians.
    """
    below = torch.cat((height[..., 1:2], height[..., :-1]), dim=-1)  # mirrored at 0
    above = torch.cat((height[..., 1:], height[..., -2:-1]), dim=-1)
    below = torch.where(below > UNKNOWN, below, _across(height, above))
    peak = (height > below) & (height >= above)
    bins = torch.arange(height.shape[-1], device=height.device, dtype=height.dtype)
    whole = torch.remainder(turn * bins.double(), 2 * math.pi).to(bins)  # turns are left out
    advance = _of_peak(whole + turn * _offset(below, height, above), peak).double()
    phase = _since_the_block_began(advance.cumsum(-2)).to(bins)
    return _of_peak(phase, peak) - math.pi * (bins % 2)  # counted from a frame's first sample


def _across(here: Tensor, above: Tensor) -> Tensor:
    """What a sinusoid under a Hann window has below its peak, by what it has above."""
    share = (above - here).clamp(max=0).exp()
    return here + ((2 - share) / (1 + 4 * share)).log()


def _since_the_block_began(total: Tensor) -> Tensor:
    """Running sums (..., frames, bins) less what each was at its block's first frame, whole turns
    left out.
    """
    frames = torch.arange(total.shape[-2], device=total.device)
    since = total - total[..., frames // BLOCK_FRAMES * BLOCK_FRAMES, :]
    return torch.remainder(since, 2 * math.pi)


def _offset(below: Tensor, here: Tensor, above: Tensor) -> Tensor:
    """Where the peak of a parabola through three log magnitudes lies, in bins from the middle."""
    bend = (2 * here - below - above).clamp(min=1e-6)
    return (0.5 * (above - below) / bend).clamp(-0.5, 0.5)


def _of_peak(values: Tensor, peak: Tensor) -> Tensor:
    """The value of the nearest peak within reach, else a bin's own."""
    width = values.shape[-1]
    padded, peaks = F.pad(values, (REACH, REACH)), F.pad(peak, (REACH, REACH))
    found = values
    for distance in range(REACH, 0, -1):
        for side in (distance, -distance):
            there = slice(REACH + side, REACH + side + width)
            found = torch.where(peaks[..., there], padded[..., there], found)
    return torch.where(peak, values, found)
