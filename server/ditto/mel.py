"""The mel front end: stereo audio to normalised log-mels of mid and side, or of mid alone.

Mel frequencies follow Slaney's scale (linear below 1 kHz, logarithmic above), whose lowest
bands are still wider than one STFT bin at these sizes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from segue.presets.vocabulary import Code, SegueError

LINEAR_HZ_PER_MEL = 200.0 / 3.0
LOG_START_HZ = 1000.0
LOG_STEP = math.log(6.4) / 27.0
PIECE_FRAMES = 2048  # that are transformed at a time: 24 s


@dataclass(frozen=True, kw_only=True)
class MelConfig:
    """Sizes of the front end. One frame every `hop` samples, centred on them.

    `sides`: 2 for mid and side, 1 for mid alone.
    """

    sample_rate: int = 44100
    n_fft: int = 2048
    hop: int = 512
    bands: int = 128
    fmin_hz: float = 30.0
    fmax_hz: float = 20000.0
    floor: float = 1e-5  # -100 dB below a full-scale sine
    sides: int = 2

    def __post_init__(self) -> None:
        if self.sides not in (1, 2):
            raise ValueError(f"sides must be 1 (mid) or 2 (mid and side), and is {self.sides}")

    @property
    def channels(self) -> int:
        """Rows of a mel: the bands of mid, then those of side if it has them."""
        return self.sides * self.bands

    @property
    def bins(self) -> int:
        """Bins of the one-sided spectrum."""
        return self.n_fft // 2 + 1

    def frames(self, seconds: float) -> int:
        """Whole frames in `seconds`, rounded to the nearest."""
        return round(seconds * self.sample_rate / self.hop)


def mid_side(stereo: Tensor) -> Tensor:
    """(..., 2, samples): left and right to their sum and difference; halve one way to get back."""
    left, right = stereo.unbind(-2)
    return torch.stack((left + right, left - right), dim=-2)


def frame(signal: Tensor, config: MelConfig) -> Tensor:
    """Cut (..., samples) into overlapping (..., samples // hop, n_fft) frames.

    Frame i is centred on the middle of hop i, the ends padded with zeros, so that
    n frames and n * hop samples cover the same time.
    """
    pad = (config.n_fft - config.hop) // 2
    padded = torch.nn.functional.pad(signal, (pad, pad))
    return padded.unfold(-1, config.n_fft, config.hop)


@lru_cache(maxsize=8)
def window(config: MelConfig, device: torch.device) -> Tensor:
    """Periodic Hann window, (n_fft,), float32."""
    return torch.hann_window(config.n_fft, device=device)


def magnitudes(signal: Tensor, config: MelConfig) -> Tensor:
    """(..., samples) to (..., bins, frames), scaled so that a full-scale sine peaks at 1."""
    return _magnitudes(frame(signal, config), config)


def _magnitudes(frames: Tensor, config: MelConfig) -> Tensor:
    """The same of (..., frames, n_fft)."""
    w = window(config, frames.device)
    spectrum = torch.fft.rfft(frames * w).abs() * (2.0 / w.sum())
    return spectrum.transpose(-1, -2)


def hz_to_mel(hz: Tensor) -> Tensor:
    """Frequencies on Slaney's mel scale, any shape."""
    above = LOG_START_HZ / LINEAR_HZ_PER_MEL + torch.log(hz / LOG_START_HZ) / LOG_STEP
    return torch.where(hz < LOG_START_HZ, hz / LINEAR_HZ_PER_MEL, above)


def mel_to_hz(mel: Tensor) -> Tensor:
    """The inverse of `hz_to_mel`."""
    start = LOG_START_HZ / LINEAR_HZ_PER_MEL
    above = LOG_START_HZ * torch.exp(LOG_STEP * (mel - start))
    return torch.where(mel < start, mel * LINEAR_HZ_PER_MEL, above)


@lru_cache(maxsize=8)
def filterbank(config: MelConfig, device: torch.device) -> Tensor:
    """Triangular mel filters with peak 1, (bands, bins), float32."""
    ends = hz_to_mel(torch.tensor([config.fmin_hz, config.fmax_hz], dtype=torch.float64))
    edges = mel_to_hz(torch.linspace(ends[0], ends[1], config.bands + 2, dtype=torch.float64))
    hz = torch.arange(config.bins, dtype=torch.float64) * config.sample_rate / config.n_fft
    rising = (hz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - hz) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0).float().to(device)


def log_mel(stereo: Tensor, config: MelConfig) -> Tensor:
    """Natural-log mel magnitudes of mid and, with `config.sides` 2, of side.

    stereo: (..., 2, samples), left and right in [-1, 1] at `config.sample_rate`.
    Returns (..., channels, samples // hop), never below log(floor).
    """
    heard = mid_side(stereo)[..., : config.sides, :] / 2
    bank = filterbank(config, stereo.device)
    pieces = frame(heard, config).split(PIECE_FRAMES, dim=-2)  # spectra of minutes take gigabytes
    mels = torch.cat([bank @ _magnitudes(piece, config) for piece in pieces], dim=-1)
    return mels.clamp(min=config.floor).log().flatten(-3, -2)


@dataclass(frozen=True)
class MelScale:
    """Per-band statistics of the training set: (channels,) each, in natural-log units."""

    mean: Tensor
    std: Tensor

    def normalise(self, mel: Tensor) -> Tensor:
        """Log-mel (..., channels, frames) to zero mean and unit variance a band."""
        return (mel - self.mean[:, None]) / self.std[:, None]

    def restore(self, x_0: Tensor) -> Tensor:
        """The inverse of `normalise`."""
        return x_0 * self.std[:, None] + self.mean[:, None]

    def to(self, device: torch.device) -> MelScale:
        """The same statistics on another device."""
        return MelScale(self.mean.to(device), self.std.to(device))


# DITTO-2's (section 4.2), which leaves the lowest frequency open: that is ours.
PAPER = MelConfig(
    sample_rate=22050, n_fft=2048, hop=256, bands=160, fmin_hz=30.0, fmax_hz=11025.0, sides=1
)
MELS = {"segue": MelConfig(), "paper": PAPER}


def mel_named(name: str) -> MelConfig:
    """One of `MELS`. Raises SegueError listing them for any other name."""
    if name not in MELS:
        raise SegueError(Code.BAD_REQUEST, f"no mel {name!r}; there are: {', '.join(MELS)}")
    return MELS[name]
