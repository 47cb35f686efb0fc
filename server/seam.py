"""The seam: where the producer's own samples end and the made ones begin."""

from __future__ import annotations

import numpy as np
import pyloudnorm
from scipy.signal import correlate

FADE_SECONDS = 0.2
MAX_SHIFT_SECONDS = 0.005
MAX_GAIN_DB = 6.0
BLOCK_SECONDS = 0.4  # ITU-R BS.1770 gating block: shorter audio has no loudness
CARRIED_SECONDS = 1.0  # of new music that are brought to the loudness of the music beside them


def loudness_gain(reference: np.ndarray, made: np.ndarray, rate: int) -> float:
    """Factor that brings `made` to the loudness of `reference`, at most MAX_GAIN_DB either way.

    Both (samples, channels). 1 when either is too short or silent.
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


def fill(
    before: np.ndarray,
    made: np.ndarray,
    behind: np.ndarray,
    lead: int,
    new: int,
    rate: int,
    *,
    carry: bool = False,
) -> tuple[np.ndarray, int]:
    """What goes into a gap of `new` samples, with the fades into the music beside it.

    before, behind: (n, channels) known samples on either side, none where an end is open;
    made: (samples, channels), the gap beginning `lead` samples in, the known music rendered
    around it. Its loudness is corrected by how it renders the known music; or, with `carry` and
    where it is long enough, so that the gap's own music begins (and ends) as loud as the music
    beside it. Returns the patch
    and how many of its samples lie before the gap. Everything outside the patch stays the
    producer's own samples.
    """
    fade_in, fade_out = (min(round(FADE_SECONDS * rate), len(n) // 2) for n in (before, behind))
    sides = _carried if carry and new >= BLOCK_SECONDS * rate else _rendered
    made = made * _gains(*sides(before, made, behind, lead, new, rate), len(made), lead, new, rate)
    start, length = lead - fade_in, fade_in + new + fade_out
    limit = min(round(MAX_SHIFT_SECONDS * rate), start, len(made) - start - length)
    at = start
    if fade_in or fade_out:
        known, place = (before[-fade_in:], start) if fade_in else (behind[:fade_out], lead + new)
        around = made[place - limit : place + len(known) + limit]
        at = start - limit + best_shift(known, around, limit)
    patch = made[at : at + length].copy()
    if fade_in:
        patch[:fade_in] = crossfade(before[-fade_in:], patch[:fade_in])
    if fade_out:
        patch[-fade_out:] = crossfade(patch[-fade_out:], behind[:fade_out])
    return patch, fade_in


Gains = tuple[float | None, float | None]  # of the gap's two ends; None beside an open one


def _rendered(
    before: np.ndarray, made: np.ndarray, behind: np.ndarray, lead: int, new: int, rate: int
) -> Gains:
    """From what was made where the music is known."""
    left = made[lead - len(before) : lead]
    right = made[lead + new : lead + new + len(behind)]
    return (
        loudness_gain(before, left, rate) if len(before) else None,
        loudness_gain(behind, right, rate) if len(behind) else None,
    )


def _carried(
    before: np.ndarray, made: np.ndarray, behind: np.ndarray, lead: int, new: int, rate: int
) -> Gains:
    """From what was made inside the gap, beside the music that is known."""
    beside = round(CARRIED_SECONDS * rate)
    gap = made[lead : lead + new]
    return (
        loudness_gain(before[-beside:], gap[:beside], rate) if len(before) else None,
        loudness_gain(behind[:beside], gap[-beside:], rate) if len(behind) else None,
    )


def _gains(
    left: float | None, right: float | None, samples: int, lead: int, new: int, rate: int
) -> np.ndarray:
    """Factor of each made sample, (samples, 1): from one end's to the other's in even dB.

    The ends' own are held for as long as loudness was carried over, or a third of the gap.
    """
    held = min(CARRIED_SECONDS * rate, new / 3)
    ends = np.log([left or right or 1.0, right or left or 1.0])
    return np.exp(np.interp(np.arange(samples), [lead + held, lead + new - held], ends))[:, None]
