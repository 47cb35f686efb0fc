"""Structure as it is heard: self-similarity of finished audio, on its own path from samples.

The measure is the control's (MFCCs without the first, in cells of 0.19 s, normalised across
time, similarity (1 + cosine) / 2, Savitzky-Golay smoothing), and shares no code with it: another
STFT, 64 HTK mel bands of power, scipy's DCT and filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.signal import get_window, savgol_filter

Floats = NDArray[np.float64]

CELL_SECONDS = 16 * 512 / 44100  # 16 frames of the mel that the control reads
LOOKS = 8  # spectra in a cell
WINDOW_SECONDS = 0.046
BANDS = 64
LOW_HZ, HIGH_HZ = 30.0, 16000.0
COEFFICIENTS = 20
FLOOR = 1e-10  # power: -100 dB below a full-scale sine
STILL = 1e-4  # variance of an MFCC below which nothing is heard to change
SMOOTH_CELLS, SMOOTH_ORDER = 5, 2


@lru_cache(maxsize=8)
def mel_filters(rate: int, size: int) -> Floats:
    """Triangles that are equally wide on HTK's mel scale, (BANDS, size // 2 + 1)."""
    ends = 2595 * np.log10(1 + np.array([LOW_HZ, min(HIGH_HZ, rate / 2)]) / 700)
    edges = 700 * (10 ** (np.linspace(ends[0], ends[1], BANDS + 2) / 2595) - 1)
    hz = np.fft.rfftfreq(size, 1 / rate)
    triangles = [np.interp(hz, edges[i : i + 3], [0, 1, 0]) for i in range(BANDS)]
    return np.stack(triangles) + 1e-12  # a band narrower than a bin hears nothing, not NaN


def cell_count(samples: int, rate: int) -> int:
    """Cells in so many samples, a last one that is half full included."""
    return max(1, int(samples / rate / CELL_SECONDS + 0.5))


def timbre(audio: NDArray[np.floating], rate: int) -> Floats:
    """MFCCs 1 to 19 of the mean of the channels, averaged in cells: (cells, 19)."""
    mono = np.asarray(audio, dtype=np.float64).reshape(len(audio), -1).mean(axis=1)
    size = 2 * round(WINDOW_SECONDS * rate / 2)
    step = CELL_SECONDS * rate / LOOKS
    looks = min(cell_count(len(mono), rate) * LOOKS, max(1, int(len(mono) / step)))
    starts = np.round((np.arange(looks) + 0.5) * step).astype(int)  # of the padded signal
    padded = np.pad(mono, size // 2)
    window = get_window("hann", size)
    frames = padded[starts[:, None] + np.arange(size)] * (2 * window / window.sum())
    power = np.abs(np.fft.rfft(frames)) ** 2 @ mel_filters(rate, size).T
    mfcc = dct(np.log(power + FLOOR) / 2, norm="ortho")[:, 1:COEFFICIENTS]
    return np.stack([mfcc[i : i + LOOKS].mean(axis=0) for i in range(0, looks, LOOKS)])


def self_similarity(
    audio: NDArray[np.floating], rate: int, asked: NDArray[np.bool_] | None = None
) -> Floats:
    """How alike the cells of (samples, channels) audio are: (cells, cells), 0 to 1, unsmoothed.

    asked: (cells,), the cells to look at and to normalise over; None means all.
    """
    cells = timbre(audio, rate)
    if asked is not None:
        cells = cells[asked]
    normal = (cells - cells.mean(axis=0)) / np.sqrt(cells.var(axis=0) + STILL)
    lengths = np.sqrt((normal**2).sum(axis=1, keepdims=True) + STILL)
    return (1 + (normal / lengths) @ (normal / lengths).T) / 2


def block_matrix(letters: Sequence[int] | NDArray[np.integer]) -> Floats:
    """Ones where letters are equal; elsewhere 0 for two letters, (k - 2) / (2 k - 2) for k.

    That is as unlike as k timbres can all be to each other, measured from their mean.
    """
    numbers = np.asarray(letters)
    k = len(np.unique(numbers))
    level = (k - 2) / (2 * k - 2) if k > 1 else 1.0
    return np.where(numbers[:, None] == numbers, 1.0, level)


def section_cells(sections: str, cells: int) -> NDArray[np.int64]:
    """Sections of even length over so many cells: (cells,), -1 for a cell that has two of them."""
    numbers = {letter: i for i, letter in enumerate(dict.fromkeys(sections))}
    edges = np.arange(cells + 1) * len(sections) / cells
    first = np.floor(edges[:-1] + 1e-9).astype(int)
    last = np.ceil(edges[1:] - 1e-9).astype(int) - 1
    pairs = zip(first, last, strict=True)
    return np.array([numbers[sections[a]] if a == b else -1 for a, b in pairs], dtype=np.int64)


def structure_mse(
    audio: NDArray[np.floating],
    rate: int,
    wanted: str | Sequence[int] | NDArray[np.number],
) -> float:
    """Mean squared difference from what was asked for.

    wanted: letters that share the time evenly ("ABA"); or a section number a cell, (cells,), -1
    where nothing is asked; both are compared smoothed on either side. Or a similarity matrix
    (cells, cells), NaN rows where nothing is asked, compared as it is. NaN if nothing is asked.
    """
    cells = cell_count(len(audio), rate)
    plan = section_cells(wanted, cells) if isinstance(wanted, str) else np.asarray(wanted)
    if plan.shape not in ((cells,), (cells, cells)):
        raise ValueError(f"the audio has {cells} cells, and the plan is {plan.shape}")
    asked = np.asarray(plan >= 0 if plan.ndim == 1 else ~np.isnan(plan).all(axis=1))
    if not asked.any():
        return float("nan")
    made = self_similarity(audio, rate, asked)
    if plan.ndim == 1:
        return float(((smoothed(made) - smoothed(block_matrix(plan[asked]))) ** 2).mean())
    return float(np.nanmean((made - plan[np.ix_(asked, asked)]) ** 2))


def smoothed(matrix: Floats) -> Floats:
    """A parabola over five cells, along both axes; less than five are left alone."""
    if len(matrix) < SMOOTH_CELLS:
        return matrix
    for axis in (0, 1):
        matrix = savgol_filter(matrix, SMOOTH_CELLS, SMOOTH_ORDER, axis=axis)
    return matrix
