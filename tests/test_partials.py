"""Phases that follow partials, against sinusoids whose phases are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from segue.server.ditto.mel import MelConfig, frame
from segue.server.ditto.partials import BLOCK_FRAMES, REACH, UNKNOWN, followed

MEL = MelConfig()
TURN = 2 * math.pi * MEL.hop / MEL.n_fft
BINS = 120


def spectrum(signal: Tensor) -> Tensor:
    """(rows, samples) to (rows, frames, bins), complex."""
    return torch.fft.rfft(frame(signal, MEL) * torch.hann_window(MEL.n_fft))[..., :BINS]


def sinusoid(bin_: float, frames: int, phase: float = 0.0) -> Tensor:
    """Of a frequency in bins, (1, samples)."""
    samples = torch.arange(frames * MEL.hop, dtype=torch.float64)
    return (2 * math.pi * bin_ / MEL.n_fft * samples + phase).sin().float()[None]


def wrapped(angle: Tensor) -> Tensor:
    """Between -pi and pi."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


@pytest.mark.parametrize("bin_", [20.0, 20.3, 20.49, 63.8])
def test_a_sinusoid_turns_as_it_does(bin_: float) -> None:
    """From frame to frame, within what a parabola is off; and its lobe's bins as one."""
    true = spectrum(sinusoid(bin_, 80))[0, 4:-4]
    lobe = slice(round(bin_) - 1, round(bin_) + 2)
    off = (followed(true.abs().log()[None], TURN)[0] - true.angle())[:, lobe]
    assert float(wrapped(off.diff(dim=0)).abs().max()) < 0.02 * TURN
    assert float(wrapped(off - off[:, :1]).abs().max()) < 0.01


@pytest.mark.parametrize("bin_", [1.9, 2.4])
def test_the_lowest_partial_is_followed_by_what_is_known(bin_: float) -> None:
    """Where no band reaches the bin below it: as it would be with that bin."""
    true = spectrum(sinusoid(bin_, 40))[0, 4:-4].abs().log()[None]
    known = true.clone()
    known[..., :2] = UNKNOWN
    off = followed(known, TURN)[0, :, 2].diff() - followed(true, TURN)[0, :, 2].diff()
    assert float(wrapped(off).abs().max()) < 0.1 * TURN


def test_two_sinusoids_turn_each_by_itself() -> None:
    """Where their lobes do not meet."""
    low, high = sinusoid(20.3, 60), sinusoid(41.7, 60, 1.0)
    true = spectrum(low + 0.3 * high)[0, 4:-4]
    off = followed(true.abs().log()[None], TURN)[0] - true.angle()
    assert float(wrapped(off[:, [20, 42]].diff(dim=0)).abs().max()) < 0.03 * TURN


def test_louder_is_the_same() -> None:
    """Phases do not depend on level, down to what counts as silence."""
    height = torch.randn(2, 30, BINS)
    off = followed(height + 2, TURN) - followed(height, TURN)
    assert float(wrapped(off).abs().max()) < 1e-3


def test_blocks_begin_anew() -> None:
    """What a frame has does not depend on the blocks before its own."""
    height = torch.randn(1, 3 * BLOCK_FRAMES + 7, BINS)
    whole, rest = followed(height, TURN), followed(height[:, BLOCK_FRAMES:], TURN)
    assert float(wrapped(whole[:, BLOCK_FRAMES:] - rest).abs().max()) < 1e-3


@pytest.mark.parametrize("level", [UNKNOWN, 0.0])
def test_without_peaks_phases_are_finite(level: float) -> None:
    """Silence, and what is as loud everywhere."""
    assert bool(followed(torch.full((1, 9, BINS), level), TURN).isfinite().all())


def test_a_peak_has_the_bins_within_reach() -> None:
    """They turn with it, one beyond by itself."""
    height = torch.full((1, 2, BINS), -7.0)
    height[..., 50] = 0.0
    phase = followed(height, TURN)[0]
    turned = wrapped(phase[1] - phase[0])
    own = turned[50 - REACH : 50 + REACH + 1]
    assert float((own - own[0]).abs().max()) < 1e-4
    assert abs(float(turned[50 + REACH + 2] - own[0])) > 0.1
