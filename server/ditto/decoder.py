"""The decoder: log-mel of mid and side to 44.1 kHz stereo, all of it exportable to ONNX.

A ConvNeXt at frame rate estimates magnitudes and phases (the shape of Vocos, arXiv 2306.00814);
below 2.1 kHz, where partials stand apart, phases follow those instead. From there fast Griffin-Lim
iterations (Perraudin et al. 2013) alternate between spectra that audio can have and spectra that
have the mel asked for: only the mel is known, so the network's magnitudes are where they start and
no more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segue.server.ditto.mel import MelConfig, MelScale, filterbank, mid_side
from segue.server.ditto.partials import UNKNOWN, followed
from segue.server.ditto.stft import TINY, Spectrum, Stft, fast_griffin_lim

LOW_FIT = 8  # iterations that bring low magnitudes to the mel: their peaks are the partials


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Sizes of the decoder.

    `fit` iterations bring magnitudes to the mel, once at the start and in each of the
    `griffin_lim` ones. Below bin `partials` phases are those of partials.
    """

    width: int = 256
    depth: int = 6
    fit: int = 2
    griffin_lim: int = 12
    partials: int = 100


class Block(nn.Module):
    """ConvNeXt block over frames (Liu et al. 2022)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 3 * width)
        self.down = nn.Linear(3 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, frames, width)."""
        y = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        return x + self.scale * self.down(F.gelu(self.up(self.norm(y))))


class Decoder(nn.Module):
    """(batch, 2 * bands, frames) natural-log mel to (batch, 2, frames * hop) left and right."""

    def __init__(self, config: DecoderConfig, mel: MelConfig, scale: MelScale) -> None:
        super().__init__()
        self.config, self.mel = config, mel
        self.stft = Stft(mel)
        self.mean: Tensor
        self.std: Tensor
        self.spread: Tensor
        self.register_buffer("mean", scale.mean[:, None].clone())
        self.register_buffer("std", scale.std[:, None].clone())
        self.bank: Tensor
        linear = filterbank(mel, torch.device("cpu"))
        spread = self.stft.arranged(spread_matrix(linear).T).T
        bank = self.stft.arranged(linear) * self.stft.shares
        self.register_buffer("spread", spread.contiguous(), persistent=False)
        self.register_buffer("bank", bank.contiguous(), persistent=False)
        self.low_bank: Tensor
        self.low_spread: Tensor
        low_bank = bands_over(linear, config.partials).double()
        self.register_buffer("low_bank", low_bank, persistent=False)
        self.register_buffer("low_spread", spread_matrix(low_bank), persistent=False)
        self.enter = nn.Conv1d(mel.channels, config.width, 7, padding=3)
        self.blocks = nn.ModuleList(Block(config.width) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        self.leave = nn.Linear(config.width, 4 * mel.bins)
        nn.init.normal_(self.leave.weight, std=0.01)

    def estimate(self, mel: Tensor) -> Tensor:
        """Log-correction and phase a bin, (batch, frames, 4 * bins): all that has weights."""
        x = self.enter((mel - self.mean) / self.std).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        return self.leave(self.norm(x))

    def assemble(self, estimate: Tensor, mel: Tensor) -> tuple[Tensor, Spectrum]:
        """Magnitudes (batch * 2, frames, places), and with their phases."""
        out = estimate.unflatten(-1, (2, 2, -1))  # (batch, frames, mid or side, what, bins)
        correction, phase = out.transpose(1, 2).flatten(0, 1).unbind(2)
        bands = mel_bands(mel)
        rough = (bands @ self.spread.T).clamp(min=TINY)
        correction = self.stft.arranged(correction).clamp(-6, 3).exp()
        magnitude = fit_mel(rough * correction, bands, self.bank, self.config.fit)
        low = self._low_phase(mel)
        phase = torch.cat((low, phase[..., low.shape[-1] :]), dim=-1)
        return magnitude, self.stft.polar(magnitude, self.stft.arranged(phase))

    def _low_phase(self, mel: Tensor) -> Tensor:
        """Of partials, (rows, frames, bins), from a mel in which each frame is by itself.

        In float64: products of matrices round otherwise in each runtime, and what is a peak by a
        rounding is another's bin in the next. Without a gradient: a turn that a thousand frames
        add up says nothing of where to go.
        """
        bands = mel_bands(mel.detach().double())[..., : len(self.low_bank)]
        magnitude = fit_mel(bands @ self.low_spread.T, bands, self.low_bank, LOW_FIT)
        height = magnitude[..., : self.config.partials].clamp(min=math.exp(UNKNOWN)).log()
        return followed(height, 2 * math.pi * self.mel.hop / self.mel.n_fft).to(mel)

    def spectra(self, mel: Tensor) -> tuple[Tensor, Spectrum]:
        """What `assemble` makes of the network's own estimate."""
        return self.assemble(self.estimate(mel), mel)

    def forward(self, mel: Tensor) -> Tensor:
        """Stereo audio, left and right."""
        _, spectrum = self.spectra(mel)
        bands = mel_bands(mel)

        def impose(length: Tensor) -> Tensor:
            return fit_mel(length, bands, self.bank, self.config.fit)

        signal = fast_griffin_lim(self.stft, spectrum, self.config.griffin_lim, impose)
        return mid_side(signal.unflatten(0, (-1, 2)))


def mel_bands(mel: Tensor) -> Tensor:
    """(batch, 2 * bands, frames) natural-log mel to magnitudes (batch * 2, frames, bands)."""
    return mel.unflatten(1, (2, -1)).flatten(0, 1).transpose(1, 2).exp()


def fit_mel(magnitude: Tensor, bands: Tensor, bank: Tensor, iterations: int) -> Tensor:
    """Scale magnitudes, place by place, until their mel is `bands`: Lee and Seung's update (2001).

    magnitude: (..., frames, places); bands: (..., frames, bands); bank: (bands, places). Places
    outside all bands stay as they are.
    """
    covering = bank.sum(0)
    outside = (covering <= 0).to(bank.dtype)
    shares, heard = bank / (covering + outside), bank.T
    for _ in range(iterations):
        ratio = bands / (magnitude @ heard).clamp(min=TINY)
        magnitude = magnitude * (ratio @ shares + outside)
    return magnitude


def spread_matrix(bank: Tensor) -> Tensor:
    """(bins, bands) of a bank (bands, bins): from a mel to a first guess of the magnitudes."""
    sums = bank.sum(1, keepdim=True)
    shares = bank / sums
    return (shares / shares.sum(0).clamp(min=TINY) / sums).T


def bands_over(bank: Tensor, bins: int) -> Tensor:
    """The part of a bank (bands, bins) that says how large the first bins are."""
    bands = int(bank[:, :bins].any(1).sum())
    return bank[:bands, : max(bins, int(bank[:bands].any(0).nonzero().max()) + 1)]
