"""How loud final audio is over time, measured on its waveform, and how far that is from a curve.

Music ControlNet (2311.07069): the energy of frames in dB, smoothed with a Savitzky-Golay filter
of one second. It leaves the polynomial's order open; 2 is the lowest that is more than a moving
average.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import savgol_filter

Floats = NDArray[np.floating]

FRAME_SECONDS = 2048 / 44100
HOP_SECONDS = 512 / 44100
SMOOTH_SECONDS = 1.0
ORDER = 2
FLOOR = 1e-5  # RMS below which all is silence, -100 dB


def frame_levels(audio: Floats, rate: int) -> tuple[Floats, Floats]:
    """RMS over all channels in frames of 46 ms every 11.6 ms: (times in seconds, dB), (frames,).

    audio: (samples, channels). 0 dB is an RMS of 1, a full-scale square wave. Frames lie wholly
    inside the audio; their times are their centres. Raises ValueError for less than one frame.
    """
    size = round(FRAME_SECONDS * rate)
    if len(audio) < size:
        raise ValueError(f"{len(audio)} samples are less than a frame of {size}")
    power = np.cumsum(np.mean(np.asarray(audio, np.float64) ** 2, axis=1))
    count = int((len(audio) - size) / (HOP_SECONDS * rate)) + 1
    starts = np.round(np.arange(count) * HOP_SECONDS * rate).astype(int)
    mean = np.diff(np.concatenate(([0.0], power))[np.stack((starts, starts + size))], axis=0)[0]
    times = (starts + size / 2) / rate
    return times, 20 * np.log10(np.maximum(np.sqrt(np.maximum(mean, 0) / size), FLOOR))


def level(audio: Floats, rate: int) -> tuple[Floats, Floats]:
    """The smoothed level curve: (times in seconds, dB), (frames,) each; see `frame_levels`.

    Audio of less than a second is smoothed over all of it.
    """
    times, db = frame_levels(audio, rate)
    longest = len(db) - (len(db) + 1) % 2
    size = min(2 * round(SMOOTH_SECONDS / HOP_SECONDS / 2) + 1, longest)
    return times, savgol_filter(db, size, min(ORDER, size - 1), mode="interp")


def intensity_mse(audio: Floats, rate: int, times_seconds: Floats, db: Floats) -> float:
    """Mean squared difference of the level curve from a wanted one, in dB^2.

    times_seconds, db: (points,), linear between; frames outside the points or where `db` is NaN
    are not asked. Raises ValueError where none is.
    """
    times, heard = level(audio, rate)
    wanted = np.interp(times, times_seconds, db, left=np.nan, right=np.nan)
    asked = np.isfinite(wanted)
    if not asked.any():
        raise ValueError("the curve asks for no frame of the audio")
    return float(np.mean((heard - wanted)[asked] ** 2))
