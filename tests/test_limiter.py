"""What is made peaks no higher than it may, against answers known in advance."""

from __future__ import annotations

import numpy as np
import pytest

from segue.server.limiter import LOOK_SECONDS, limited

RATE = 48000
TIMES = np.arange(RATE) / RATE
NOISE = np.random.default_rng(0).standard_normal((RATE, 2))


@pytest.mark.parametrize("samples", [NOISE / 10, np.zeros((0, 2)), np.zeros((5, 1))])
def test_what_is_within_stays(samples: np.ndarray) -> None:
    """To the bit."""
    assert np.array_equal(limited(samples, 1.0, RATE), samples)


@pytest.mark.parametrize("samples", [NOISE, 30 * NOISE, NOISE[:7], NOISE[:, :1]])
def test_no_sample_is_beyond(samples: np.ndarray) -> None:
    """However loud, long or wide; what leads the way is just within."""
    made = limited(samples, 0.9, RATE)
    assert 0.89 < np.abs(made).max() <= 0.9
    assert np.array_equal(np.sign(made), np.sign(samples))


def test_a_peak_is_turned_down_around_itself() -> None:
    """By half, both channels alike; a hundredth of a second away nothing is touched."""
    samples = 0.1 * np.stack((np.sin(2000 * TIMES), np.cos(2000 * TIMES)), axis=1)
    samples[24000, 0] = 2.0
    gain = limited(samples, 1.0, RATE)[:, 1] / samples[:, 1]
    assert gain[24000] == pytest.approx(0.5)
    reach = round(LOOK_SECONDS * RATE)
    assert np.array_equal(np.flatnonzero(gain < 1 - 1e-9)[[0, -1]], [24000 - reach, 24000 + reach])
    assert np.abs(np.diff(gain)).max() < 1.1 * 0.5 / (reach + 1)


def test_a_loud_bass_stays_a_sine() -> None:
    """Of 50 Hz: its harmonics stay 40 dB below it, where they do not if it is cut off."""
    bass = 1.5 * np.sin(2 * np.pi * 50 * TIMES)[:, None]
    assert harmonics_db(limited(bass, 1.0, RATE)) < -40 < harmonics_db(bass.clip(-1, 1))


def harmonics_db(samples: np.ndarray) -> float:
    """The strongest partial of 100 Hz and more beside that of 50 Hz."""
    spectrum = np.abs(np.fft.rfft(samples[:, 0]))
    return float(20 * np.log10(spectrum[100:].max() / spectrum[50]))
