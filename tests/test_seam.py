"""The seam: shifts, fades and gains that are known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from segue.server import seam

RATE = 44100
RNG = np.random.default_rng(0)


def music(n: int, channels: int = 2) -> np.ndarray:
    """Noise with a slow swell: (n, channels)."""
    swell = 0.2 + 0.1 * np.sin(np.arange(n) / 3000)[:, None]
    return RNG.standard_normal((n, channels)) * swell


@pytest.mark.parametrize("shift", [0, 37, 100, 200])
def test_best_shift_finds_a_known_delay(shift: int) -> None:
    """The stretch of `made` that equals the reference is found to the sample."""
    made = music(5000)
    assert seam.best_shift(made[shift : shift + 4800], made, 100) == shift


def test_best_shift_of_silence_is_none() -> None:
    """Nothing to line up with: stay in the middle."""
    assert seam.best_shift(np.zeros((100, 1)), np.zeros((140, 1)), 20) == 20


def test_crossfade_of_a_signal_with_itself_is_the_signal() -> None:
    """Fully correlated material does not swell."""
    x = music(4000)
    np.testing.assert_allclose(seam.crossfade(x, x), x, atol=1e-12)


def test_crossfade_of_strangers_keeps_the_power() -> None:
    """Uncorrelated material of one level keeps it in the middle of the fade, within 0.5 dB."""
    made = seam.crossfade(RNG.standard_normal((40000, 1)), RNG.standard_normal((40000, 1)))
    level = np.sqrt((made[15000:25000] ** 2).mean())
    assert abs(20 * np.log10(level)) < 0.5


def test_gain_brings_loudness_over() -> None:
    """Half the level is made up for; further than 6 dB is not followed."""
    x = music(RATE)
    assert seam.loudness_gain(x, x / 1.5, RATE) == pytest.approx(1.5, rel=1e-6)
    assert seam.loudness_gain(x, x / 100, RATE) == pytest.approx(10 ** (6 / 20))
    assert seam.loudness_gain(x * 0, x, RATE) == 1.0
    assert seam.loudness_gain(x[:1000], x[:1000] / 2, RATE) == 1.0


@pytest.mark.parametrize(("overlap", "new"), [(44100, 100000), (22050, 1), (11025, 44100)])
def test_join_keeps_the_region_and_the_length(overlap: int, new: int) -> None:
    """Exactly `new` samples more; every sample before the fade is the region's own."""
    region, made = music(60000), music(overlap + new + 500)
    joined = seam.join(region, made, overlap, new, RATE)
    fade = min(round(0.2 * RATE), overlap // 2)
    assert joined.shape == (60000 + new, 2)
    assert np.array_equal(joined[: 60000 - fade], region[: 60000 - fade])


def test_join_of_the_true_continuation_is_seamless() -> None:
    """When `made` is the music itself, shifted a little, the result is the music itself."""
    whole = music(150000)
    region = whole[:60000]
    made = whole[60000 - 44100 - 50 :]  # 50 samples late
    joined = seam.join(region, made, 44100, 40000, RATE)
    np.testing.assert_allclose(joined, whole[:100000], atol=0.02)
