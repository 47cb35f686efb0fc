"""How made music is joined to known music: the quietest of a few fades and alignments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import correlate, find_peaks

FADES_SECONDS = (0.2, 0.16, 0.13, 0.1, 0.08, 0.06, 0.045, 0.03)
ALIGNMENTS = 6  # listened to, the likeliest
LIKELY = 0.4  # of the best one's correlation; where one alone has it, nothing else is listened to
HEARD, STEP = 1024, 256  # samples of a spectrum, and from one to the next


@dataclass(frozen=True, slots=True)
class Join:
    """A fade of so many samples, on the known side of a gap; `shift`: samples of what was made
    that are skipped (or, below 0, repeated) so that it lines up.
    """

    fade: int
    shift: int


def quietest(
    known: np.ndarray, made: np.ndarray, at: int, limit: int, rate: int, *, before: bool
) -> Join:
    """The join in which the spectrum rises least at once: an onset that is in neither stands out.

    known: (n, channels), not empty, which ends (`before`) or begins at sample `at` of made,
    (samples, channels); made has `limit` samples, the furthest shift, beyond what is faded.
    """
    longest = min(round(max(FADES_SECONDS) * rate), max(1, len(known) // 2))
    found = []
    for fade in sorted({min(round(f * rate), longest) for f in FADES_SECONDS}, reverse=True):
        own = known[-fade:] if before else known[:fade]
        first = at - fade if before else at
        for shift in alignments(own, made[first - limit : first + fade + limit])[:ALIGNMENTS]:
            found.append(Join(fade=fade, shift=shift - limit))
    beside = known[-longest - HEARD :] if before else known[: longest + HEARD]
    return min(found, key=lambda join: _rise(_heard(beside, made, at, join, before)))


def alignments(reference: np.ndarray, made: np.ndarray) -> list[int]:
    """Where the reference (n, channels) may lie in made (n or more, channels), the likeliest first.

    The high peaks of their cross-correlation; the middle when nothing correlates.
    """
    scores = sum(
        correlate(made[:, c], reference[:, c], mode="valid") for c in range(reference.shape[1])
    )
    edged = np.concatenate(([-np.inf], scores, [-np.inf]))
    least = LIKELY * scores.max()
    peaks = [int(p) for p in find_peaks(edged)[0] - 1 if scores[p] >= least > 0]
    return sorted(peaks, key=lambda peak: -scores[peak]) or [(len(made) - len(reference)) // 2]


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


def _heard(known: np.ndarray, made: np.ndarray, at: int, join: Join, before: bool) -> np.ndarray:
    """What a join sounds like: the known samples given, and as many made ones as a spectrum has."""
    n, at = join.fade, at + join.shift
    if before:
        fade = crossfade(known[-n:], made[at - n : at])
        return np.concatenate((known[:-n], fade, made[at : at + HEARD]))
    fade = crossfade(made[at : at + n], known[:n])
    return np.concatenate((made[max(0, at - HEARD) : at], fade, known[n:]))


def _rise(audio: np.ndarray) -> float:
    """The largest step up of the spectrum (log magnitudes, all bins) from one to the next."""
    if len(audio) < HEARD + STEP:
        return 0.0
    frames = np.lib.stride_tricks.sliding_window_view(audio.mean(axis=1), HEARD)[::STEP]
    spectra = np.log1p(np.abs(np.fft.rfft(frames * np.hanning(HEARD), axis=1)))
    return float(np.maximum(np.diff(spectra, axis=0), 0).sum(axis=1).max())
