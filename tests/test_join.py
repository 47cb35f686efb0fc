"""Joins of known and made music: fades and alignments that are known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from segue.server import join

RATE = 44100
RNG = np.random.default_rng(0)


def music(n: int, channels: int = 2) -> np.ndarray:
    """Noise with a slow swell: (n, channels)."""
    swell = 0.2 + 0.1 * np.sin(np.arange(n) / 3000)[:, None]
    return RNG.standard_normal((n, channels)) * swell


@pytest.mark.parametrize("shift", [0, 37, 100, 200])
def test_alignment_finds_a_known_delay(shift: int) -> None:
    """The stretch of `made` that equals the reference is the likeliest, to the sample."""
    made = music(5000)
    assert join.alignments(made[shift : shift + 4800], made)[0] == shift


def test_alignments_of_a_tone_are_its_periods() -> None:
    """A sine of 100 samples fits at every period; nothing is found in between."""
    tone = np.sin(2 * np.pi * np.arange(5000) / 100)[:, None]
    assert sorted(join.alignments(tone[200:4200], tone[:4501]))[:4] == [0, 100, 200, 300]


def test_alignment_of_silence_is_none() -> None:
    """Nothing to line up with: stay in the middle."""
    assert join.alignments(np.zeros((100, 1)), np.zeros((140, 1))) == [20]


def test_crossfade_of_a_signal_with_itself_is_the_signal() -> None:
    """Fully correlated material does not swell."""
    x = music(4000)
    np.testing.assert_allclose(join.crossfade(x, x), x, atol=1e-12)


def test_crossfade_of_strangers_keeps_the_power() -> None:
    """Uncorrelated material of one level keeps it in the middle of the fade, within 0.5 dB."""
    made = join.crossfade(RNG.standard_normal((40000, 1)), RNG.standard_normal((40000, 1)))
    level = np.sqrt((made[15000:25000] ** 2).mean())
    assert abs(20 * np.log10(level)) < 0.5


@pytest.mark.parametrize("before", [True, False])
def test_a_click_in_what_is_made_is_faded_away(before: bool) -> None:
    """A click inside the longest fade alone: a shorter one, which leaves it out, is chosen."""
    known = np.repeat(0.1 * np.sin(2 * np.pi * 220 * np.arange(RATE) / RATE)[:, None], 2, axis=1)
    made = np.concatenate((known, known))
    far = round(0.15 * RATE)
    at = RATE
    made[at - far if before else at + far] += 1.0
    found = join.quietest(known, made, at, 0, RATE, before=before)
    assert found.fade < far
    made = np.concatenate((known, known))
    assert join.quietest(known, made, at, 150, RATE, before=before).shift == 0
