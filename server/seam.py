"""The seam: where the producer's own samples end and the made ones begin."""

from __future__ import annotations

import numpy as np
import pyloudnorm

from segue.server.join import FADES_SECONDS, Join, crossfade, quietest
from segue.server.limiter import limited

FADE_SECONDS = max(FADES_SECONDS)
CHANGE_SECONDS = 0.1  # in the middle of a gap, from one side's alignment to the other's
MAX_SHIFT_SECONDS = 0.005
MAX_GAIN_DB = 6.0
FULL_SCALE = 1.0
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


def carries(carry: bool, new: int, rate: int) -> bool:
    """Whether a gap is long enough to have the loudness of the music beside it carried into it."""
    return carry and new >= BLOCK_SECONDS * rate


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
    beside it. Returns the patch and how many of its samples lie before the gap. Everything
    outside the patch stays the producer's own samples.
    """
    sides = _carried if carries(carry, new, rate) else _rendered
    made = made * _gains(*sides(before, made, behind, lead, new, rate), len(made), lead, new, rate)
    known = max(np.abs(side).max(initial=0.0) for side in (before, behind))
    made = limited(made, max(FULL_SCALE, known), rate)
    reach = max(1, round(FADE_SECONDS * rate))
    first, last = lead - min(reach, len(before)), lead + new + min(reach, len(behind))
    limit = max(0, min(round(MAX_SHIFT_SECONDS * rate), first, len(made) - last))
    left = quietest(before, made, lead, limit, rate, before=True) if len(before) else None
    right = quietest(behind, made, lead + new, limit, rate, before=False) if len(behind) else None
    patch = _aligned(made, lead, new, left, right, rate)
    if left:
        patch[: left.fade] = crossfade(before[-left.fade :], patch[: left.fade])
    if right:
        patch[-right.fade :] = crossfade(patch[-right.fade :], behind[: right.fade])
    return patch, left.fade if left else 0


def _aligned(
    made: np.ndarray, lead: int, new: int, left: Join | None, right: Join | None, rate: int
) -> np.ndarray:
    """The gap and its fades, lined up on either side."""
    sides = [side for side in (left, right) if side] or [Join(fade=0, shift=0)]
    fade_in, fade_out = (side.fade if side else 0 for side in (left, right))
    start, length = lead - fade_in, fade_in + new + fade_out
    one, other = (made[start + side.shift :][:length] for side in (sides[0], sides[-1]))
    if sides[0].shift == sides[-1].shift:
        return one.copy()
    change = min(round(CHANGE_SECONDS * rate), new)
    first = fade_in + (new - change) // 2
    here = slice(first, first + change)
    return np.concatenate((one[:first], crossfade(one[here], other[here]), other[here.stop :]))


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
