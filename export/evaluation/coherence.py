"""Does a mel hang together in time: its pulse, how long its sound lasts, how much it flickers.

All functions take natural-log mels of mid and side, (batch, 2 * bands, frames), and return one
value a row. Only mid is looked at.
"""

from __future__ import annotations

import torch
from torch import Tensor

from segue.server.ditto.mel import MelConfig

PULSE_SECONDS = (0.25, 2.0)  # between 240 and 30 beats a minute
LAGS_SECONDS = (0.5, 1.0, 2.0)
TINY = 1e-12


def _mid(log_mel: Tensor) -> Tensor:
    return log_mel[:, : log_mel.shape[1] // 2]


def onset_strength(log_mel: Tensor) -> Tensor:
    """Mean rise of the bands from frame to frame: (batch, frames - 1)."""
    return _mid(log_mel).diff(dim=-1).clamp(min=0).mean(dim=1)


def autocorrelation(signal: Tensor, lag: int) -> Tensor:
    """Correlation of (batch, ..., frames) with itself `lag` frames later: (batch,).

    Each series less its own mean; the products of all series of a row are summed first, so that
    series count by their power. 0 where nothing changes.
    """
    x = signal - signal.mean(dim=-1, keepdim=True)
    early, late = x[..., :-lag].flatten(1), x[..., lag:].flatten(1)
    size = (early.square().sum(1) * late.square().sum(1)).sqrt()
    return torch.where(size > TINY, (early * late).sum(1) / size.clamp(min=TINY), 0.0)


def pulse(log_mel: Tensor, config: MelConfig) -> Tensor:
    """The highest autocorrelation of the onset strength at a lag of 0.25 to 2 s: (batch,)."""
    strength = onset_strength(log_mel)
    first, last = (config.frames(seconds) for seconds in PULSE_SECONDS)
    lags = range(first, min(last, strength.shape[-1] // 2) + 1)
    return torch.stack([autocorrelation(strength, lag) for lag in lags]).amax(0)


def persistence(log_mel: Tensor, config: MelConfig, seconds: float) -> Tensor:
    """Autocorrelation of the mid bands at a lag of `seconds`: (batch,)."""
    return autocorrelation(_mid(log_mel), config.frames(seconds))


def flicker(log_mel: Tensor) -> Tensor:
    """Mean |frame-to-frame change| of the partials, in natural-log units: (batch,).

    Partials are the bands louder, on average over the clip, than both their neighbours.
    """
    mid = _mid(log_mel)
    level = mid.mean(dim=-1)
    peaks = (level[:, 1:-1] > level[:, :-2]) & (level[:, 1:-1] > level[:, 2:])
    change = mid[:, 1:-1].diff(dim=-1).abs().mean(dim=-1)
    return (change * peaks).sum(1) / peaks.sum(1).clamp(min=1)


def coherence(log_mel: Tensor, config: MelConfig) -> dict[str, Tensor]:
    """All of the above by name, (batch,) each."""
    lags = {f"r({s:g} s)": persistence(log_mel, config, s) for s in LAGS_SECONDS}
    return {"pulse": pulse(log_mel, config), **lags, "flicker": flicker(log_mel)}
