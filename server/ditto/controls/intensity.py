"""Intensity: the clip's smoothed level follows a curve in dB (DITTO-2 section 4.2).

The paper smooths the RMS of decoded audio with a Savitzky-Golay filter of one second. Here the
RMS is estimated from the mel alone, so that no decoder runs in the loop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.mel import MelConfig, filterbank

SMOOTH_SECONDS = 1.0
# The paper leaves the polynomial open. 2 is the lowest that is more than a moving average, so a
# swell keeps its top; 3 is the same filter but for the ends, which it makes a third less steady.
ORDER = 2
MAX_POINTS = 100_000
MOST_GAIN_DB = 12.0
RANGE_DB = (-100.0, 6.0)
TINY = 1e-14  # power, well below that of a mel at its floor
DB_PER_NEPER = 10 / math.log(10)  # of power
# How much more power real music has than noise of the same mel, in dB at Hz. Fitted to the RMS of
# one-second stretches of free music; it halves the mean error of another set of it, to 0.3 dB.
CORRECTION_HZ = (60.0, 150.0, 400.0, 1000.0, 2500.0, 6000.0, 16000.0)
CORRECTION_DB = (1.8, 0.0, 0.7, 0.5, 0.1, 0.9, -0.6)


@lru_cache(maxsize=8)
def power_weights(config: MelConfig, device: torch.device) -> Tensor:
    """Power of a signal per squared band magnitude, (bands,), float32: sum w_b m_b^2 = RMS^2.

    For noise, whose bins are Rayleigh distributed: E|X_i||X_j| = pi/4 2F1(-1/2, -1/2; 1; r^2) S,
    r being 1, 2/3 and 1/6 for bins 0, 1 and 2 apart under a Hann window. A band answers for the
    share of the power that its triangle weighs. Then the correction for real music.
    """
    bank = filterbank(config, torch.device("cpu")).double()
    r2 = torch.zeros(config.bins, dtype=torch.float64)
    r2[1], r2[2] = 4 / 9, 1 / 36
    correlation = math.pi / 4 * (1 + r2 / 4 + r2**2 / 64)
    correlation[0] = 1.0
    lags = (torch.arange(config.bins)[:, None] - torch.arange(config.bins)).abs()
    squared = ((bank @ correlation[lags]) * bank).sum(1)
    share = bank.sum(1) / 3  # the squared bins of a signal under a Hann window sum to 3 RMS^2
    centre = (bank @ torch.arange(config.bins).double()) / bank.sum(1)
    hz = (centre * config.sample_rate / config.n_fft).numpy()
    db = np.interp(np.log(hz), np.log(CORRECTION_HZ), CORRECTION_DB)
    return (share / squared * torch.from_numpy(10 ** (db / 10))).float().to(device)


def level(mel: Tensor, config: MelConfig) -> Tensor:
    """RMS over both channels of each frame in dB: (batch, frames). 0 dB is an RMS of 1.

    mel: (batch, channels, frames), natural log. The mean square of left and right is that of
    mid and that of side added. A tone alone in a wide band reads low, by 3 dB at 3 kHz; a mel at
    its floor reads -84 dB.
    """
    power = (2 * mel).exp().unflatten(-2, (config.sides, config.bands)).sum(-3)
    return DB_PER_NEPER * (power_weights(config, mel.device) @ power + TINY).log()


@lru_cache(maxsize=64)
def _fit(size: int, order: int, device: torch.device) -> Tensor:
    """Values of the polynomial fitted to `size` samples, as rows: (size, size), float32."""
    at = torch.linspace(-1, 1, size, dtype=torch.float64)
    basis, _ = torch.linalg.qr(at[:, None] ** torch.arange(order + 1))
    return (basis @ basis.T).float().to(device)


def smooth(db: Tensor, config: MelConfig) -> Tensor:
    """Savitzky-Golay filter of a second over (batch, frames); scipy's with mode "interp".

    Fewer frames than a second are smoothed over the longest odd number of them.
    """
    frames = db.shape[-1]
    half = round(SMOOTH_SECONDS * config.sample_rate / config.hop / 2)
    half = min(half, (frames - 1) // 2)
    size = 2 * half + 1
    fit = _fit(size, min(ORDER, size - 1), db.device)
    offset = db.mean(dim=-1, keepdim=True)  # the filter keeps constants; float32 is finer near 0
    db = db - offset
    inner = F.conv1d(db[:, None], fit[None, None, half])[:, 0]
    first = db[:, :size] @ fit[:half].T
    last = db[:, frames - size :] @ fit[half + 1 :].T
    return torch.cat((first, inner, last), dim=-1) + offset


def feature(mel: Tensor, config: MelConfig) -> Tensor:
    """The smoothed level curve in dB, (batch, frames); 0 dB is an RMS of 1 (a square wave's).

    mel: (batch, channels, frames), natural log.
    """
    return smooth(level(mel, config), config)


def gain(mel: Tensor, target: Tensor, config: MelConfig) -> Tensor:
    """What the asked frames lack to be as loud as `target`, to be added to them: (batch, frames).

    As slow as the filter, and at most `MOST_GAIN_DB` either way. mel: (batch, channels, frames),
    natural log; target: (frames,), NaN where not asked.
    """
    missing = (target - feature(mel, config)).nan_to_num(0.0)
    return missing.clamp(-MOST_GAIN_DB, MOST_GAIN_DB) / (2 * DB_PER_NEPER)


def limiting_gain(mel: Tensor, most_db: float, config: MelConfig) -> Tensor:
    """What brings a clip that is louder than `most_db` as a whole down to it, to be added to its
    frames: (batch, frames), the same in all of them; 0 for one that is not.

    mel: (batch, channels, frames), natural log.
    """
    powers = level(mel, config) / DB_PER_NEPER
    whole = powers.logsumexp(dim=-1, keepdim=True) - math.log(mel.shape[-1])
    return ((most_db / DB_PER_NEPER - whole).clamp(max=0) / 2).expand_as(powers)


def _checked(points: Sequence[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Times and levels of `points`, or the SegueError that says what is wrong with them."""
    if not len(points):
        raise SegueError(Code.BAD_REQUEST, "the intensity curve has no points; give at least one")
    if len(points) > MAX_POINTS:
        many = f"the intensity curve has {len(points)} points; give at most {MAX_POINTS}"
        raise SegueError(Code.BAD_REQUEST, many)
    times, levels = np.asarray(points, dtype=np.float64).reshape(-1, 2).T
    if not (np.isfinite(times).all() and np.isfinite(levels).all()):
        raise SegueError(Code.BAD_REQUEST, "the intensity curve has a point that is not a number")
    if (np.diff(times) < 0).any():
        raise SegueError(Code.BAD_REQUEST, "the intensity curve goes back in time; sort its points")
    low, high = RANGE_DB
    if levels.min() < low or levels.max() > high:
        beyond = f"the intensity curve leaves {low:g} to {high:g} dB; keep its points inside"
        raise SegueError(Code.BAD_REQUEST, beyond)
    return times, levels


def target(
    points: Sequence[tuple[float, float]],
    frames: int,
    config: MelConfig,
    *,
    start_seconds: float = 0.0,
    length_seconds: float | None = None,
) -> Tensor:
    """The curve through `points` in dB at each frame's centre: (frames,), NaN where not asked.

    points: (seconds from the beginning of the new music, dB), sorted, linear between, held before
    the first and after the last; two at the same time are a step. Asked are the frames centred
    inside [start_seconds, start_seconds + length_seconds), to the end without a length.
    Raises SegueError for no or too many points, unsorted, not finite or beyond `RANGE_DB`, and
    where no frame is asked.
    """
    times, levels = _checked(points)
    at = (np.arange(frames) + 0.5) * config.hop / config.sample_rate
    end = math.inf if length_seconds is None else start_seconds + length_seconds
    asked = (at >= start_seconds) & (at < end)
    if not asked.any():
        outside = "the intensity curve lies outside the clip; move its start into it"
        raise SegueError(Code.BAD_REQUEST, outside)
    curve = np.where(asked, np.interp(at, times, levels), np.nan)
    return torch.from_numpy(curve).float()


def loss(mel: Tensor, target: Tensor, config: MelConfig) -> Tensor:
    """Mean squared difference of the level from `target` over the asked frames, dB^2: (batch,).

    mel: (batch, channels, frames); target: (frames,), NaN where not asked. 0 where none is.
    """
    asked = ~target.isnan()
    error = (feature(mel, config) - target.nan_to_num()) * asked
    return error.square().sum(-1) / asked.sum().clamp(min=1)
