"""A look-ahead limiter: what is made peaks no higher than a file can hold."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import minimum_filter1d, uniform_filter1d

LOOK_SECONDS = 0.01  # to either side of a peak; shorter, and a bass would be bent


def limited(samples: np.ndarray, most: float, rate: int) -> np.ndarray:
    """Samples (n, channels) turned down, all channels alike, around those beyond `most`.

    The gain falls and rises evenly within `LOOK_SECONDS`. What is within `most` stays as it is.
    """
    peaks = np.abs(samples).max(axis=1, initial=0.0)
    if not len(samples) or peaks.max() <= most:
        return samples
    needed = most / np.maximum(peaks, most)
    size = 2 * round(LOOK_SECONDS / 2 * rate) + 1
    gain = uniform_filter1d(minimum_filter1d(needed, size), size)
    made: np.ndarray = np.clip(samples * gain[:, None], -most, most)  # rounding only
    return made
