"""The seam: shifts, fades and gains that are known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from segue.server import seam
from segue.server.join import FADES_SECONDS

RATE = 44100
RNG = np.random.default_rng(0)


def music(n: int, channels: int = 2) -> np.ndarray:
    """Noise with a slow swell: (n, channels)."""
    swell = 0.1 + 0.05 * np.sin(np.arange(n) / 3000)[:, None]
    return RNG.standard_normal((n, channels)) * swell


def test_gain_brings_loudness_over() -> None:
    """Half the level is made up for; further than 6 dB is not followed."""
    x = music(RATE)
    assert seam.loudness_gain(x, x / 1.5, RATE) == pytest.approx(1.5, rel=1e-6)
    assert seam.loudness_gain(x, x / 100, RATE) == pytest.approx(10 ** (6 / 20))
    assert seam.loudness_gain(x * 0, x, RATE) == 1.0
    assert seam.loudness_gain(x[:1000], x[:1000] / 2, RATE) == 1.0


NOTHING = np.zeros((0, 2))


@pytest.mark.parametrize(
    ("left", "new", "right"), [(44100, 9000, 22050), (9000, 1, 22050), (11025, 1, 8)]
)
def test_a_patch_covers_the_gap_and_its_fades(left: int, new: int, right: int) -> None:
    """The gap and, on either side, one of the fades there are or half of what is known."""
    made = music(left + new + right + 1000)
    patch, fade = seam.fill(music(left), made, music(right), left, new, RATE)
    assert fade in {min(round(f * RATE), max(1, left // 2)) for f in FADES_SECONDS}
    behind = len(patch) - fade - new
    assert behind in {min(round(f * RATE), max(1, right // 2)) for f in FADES_SECONDS}


@pytest.mark.parametrize("late", [0, 50, 200])
@pytest.mark.parametrize("sides", ["left", "right"])
def test_the_true_music_is_seamless(late: int, sides: str) -> None:
    """When what was made is the music itself, shifted a little, the gap becomes the music."""
    whole = music(150_000)
    before = whole[20_000:60_000] if sides == "left" else NOTHING
    behind = whole[100_000:140_000] if sides == "right" else NOTHING
    made = whole[20_000 - late : 145_000 - late]
    patch, fade = seam.fill(before, made, behind, 40_000, 40_000, RATE)
    np.testing.assert_allclose(patch, whole[60_000 - fade :][: len(patch)], atol=0.02)


def test_each_side_is_lined_up_on_its_own() -> None:
    """Music made 40 samples late on the left and 60 early on the right meets both sides."""
    whole = music(150_000)
    made = np.concatenate((whole[:40], whole[: 75_000 - 40], whole[75_000 + 60 :], whole[-60:]))
    before, behind = whole[20_000:60_000], whole[100_000:140_000]
    patch, fade = seam.fill(before, made, behind, 60_000, 40_000, RATE)
    at = 60_000 - fade
    np.testing.assert_allclose(patch[:10_000], whole[at : at + 10_000], atol=0.02)
    np.testing.assert_allclose(
        patch[-10_000:], whole[at + len(patch) - 10_000 : at + len(patch)], atol=0.02
    )


def test_a_gap_between_two_levels_ramps() -> None:
    """Twice too soft on the left, right on the right: even decibels from one to the other."""
    before, behind = np.full((44100, 1), 0.2), np.full((44100, 1), 0.1)
    before[::2], behind[::2] = -0.2, -0.1
    made = np.tile([[-0.1], [0.1]], (90_000, 1))
    patch, fade = seam.fill(before, made, behind, 44100, 44100, RATE)
    level = np.abs(patch[fade : fade + 44100, 0])
    assert level[0] == pytest.approx(0.2, rel=0.02)
    assert level[14000] == pytest.approx(0.2, rel=0.02)
    assert level[22050] == pytest.approx(0.1 * 2**0.5, rel=0.02)
    assert level[-1] == pytest.approx(0.1, rel=0.02)


def test_a_gap_too_short_to_have_a_loudness_takes_that_beside_it() -> None:
    """Known music rendered at half its level, and a tenth of a second to fill."""
    known, rng = RATE, np.random.default_rng(3)
    before = 0.1 * rng.standard_normal((known, 1))
    made = np.concatenate((before / 1.5, 0.1 * rng.standard_normal((RATE, 1))))
    patch, fade = seam.fill(before, made, np.zeros((0, 1)), known, RATE // 10, RATE, carry=True)
    np.testing.assert_allclose(patch[fade:], 1.5 * made[known : known + RATE // 10], rtol=1e-3)


@pytest.mark.parametrize("sides", ["left", "right", "both"])
def test_the_loudness_beside_a_gap_is_carried_into_it(sides: str) -> None:
    """A gap made too soft although the known music was rendered well begins and ends as loud.

    Its own course, here down by 3 dB from half to half, stays where one side alone is known.
    """
    known, rng = 44100, np.random.default_rng(3)
    before = 0.1 * rng.standard_normal((known * (sides != "right"), 2))
    behind = 0.1 * rng.standard_normal((known * (sides != "left"), 2))
    new = 3 * RATE
    made = 0.1 * rng.standard_normal((len(before) + new + len(behind) + 1000, 2))
    gap = made[len(before) : len(before) + new]
    gap *= np.repeat([[0.15 / 0.2], [0.15 / 0.2 * 10 ** (-3 / 20)]], [new // 2, new - new // 2], 0)
    patch, fade = seam.fill(before, made, behind, len(before), new, RATE, carry=True)
    inside = patch[fade : fade + new]
    first, last = inside[:RATE], inside[-RATE:]
    if len(before):
        assert seam.loudness_gain(before, first, RATE) == pytest.approx(1, abs=0.005)
    if len(behind):
        assert seam.loudness_gain(behind, last, RATE) == pytest.approx(1, abs=0.005)
    if sides != "both":
        fall = seam.loudness_gain(last, first, RATE)
        assert fall == pytest.approx(10 ** (-3 / 20), rel=0.01)
