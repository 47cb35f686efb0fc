"""The seam: where the producer's own samples end and the made ones begin."""

from __future__ import annotations

import numpy as np
import pyloudnorm
from scipy.signal import correlate

FADE_SECONDS = 0.2
MAX_SHIFT_SECONDS = 0.005
MAX_GAIN_DB = 6.0
BLOCK_SECONDS = 0.4  # ITU-R BS.1770 gating block: shorter audio has no loudness


def loudness_gain(reference: np.ndarray, made: np.ndarray, rate: int) -> float:
    """Factor that brings `made` to the loudness of `reference`, at most MAX_GAIN_DB either way.

    Both (samples, channels) and the same stretch of time. 1 when either is too short or silent.
    """
    if min(len(reference), len(made)) < BLOCK_SECONDS * rate:
        return 1.0
    meter = pyloudnorm.Meter(rate)
    with np.errstate(divide="ignore"):
        step_db = meter.integrated_loudness(reference) - meter.integrated_loudness(made)
    if not np.isfinite(step_db):
        return 1.0
    return float(10 ** (np.clip(step_db, -MAX_GAIN_DB, MAX_GAIN_DB) / 20))


def best_shift(reference: np.ndarray, made: np.ndarray, limit: int) -> int:
    """Samples to skip in `made` so that it lines up best with `reference`.

    reference: (n, channels); made: (n + 2 * limit, channels), whose middle is meant to match.
    Returns 0 to 2 * limit; `limit` (no shift) when nothing correlates.
    """
    scores = sum(
        correlate(made[:, c], reference[:, c], mode="valid") for c in range(reference.shape[1])
    )
    best = int(np.argmax(scores))
    return best if scores[best] > 0 else limit


def crossfade(leaving: np.ndarray, entering: np.ndarray) -> np.ndarray:
    """Fade between two (n, channels) stretches at constant power.

    The equal-power law is corrected by their correlation, so that what they share does not
    swell: with fades a, b and correlation r the power is a^2 + b^2 + 2 r a b.
    """
    phase = (np.arange(len(leaving)) + 0.5) / len(leaving) * (np.pi / 2)
    a, b = np.cos(phase)[:, None], np.sin(phase)[:, None]
    energy = np.sqrt(np.sum(leaving**2) * np.sum(entering**2))
    r = max(0.0, float(np.sum(leaving * entering) / energy)) if energy > 0 else 0.0
    return (a * leaving + b * entering) / np.sqrt(1 + 2 * r * a * b)


def join(region: np.ndarray, made: np.ndarray, overlap: int, new: int, rate: int) -> np.ndarray:
    """The region followed by `new` samples of `made`: (len(region) + new, channels).

    made: (at least overlap + new + the shift's reach, channels), its first `overlap` samples
    being another rendering of the region's last ones. Everything before the fade is the
    region's own samples.
    """
    fade = min(round(FADE_SECONDS * rate), overlap // 2)
    limit = min(round(MAX_SHIFT_SECONDS * rate), len(made) - overlap - new)
    made = made * loudness_gain(region[-overlap:], made[:overlap], rate)
    tail = region[len(region) - fade :]
    around = made[overlap - fade - limit : overlap + limit]
    start = overlap - fade - limit + best_shift(tail, around, limit)
    faded = crossfade(tail, made[start : start + fade])
    rest = made[start + fade : start + fade + new]
    return np.concatenate((region[: len(region) - fade], faded, rest))
