"""Short-time Fourier transform, its inverse and fast Griffin-Lim as matrix products.

A transform of 2048 points is two products with 32- and 64-point matrices (Cooley-Tukey). Said
that way it exports to plain ONNX MatMul, which every provider runs; ONNX Runtime's own DFT
operator took three times as long for the whole decoder.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segue.server.ditto.mel import MelConfig

MOMENTUM = 0.99  # Perraudin, Balazs, Søndergaard 2013
TINY = 1e-8


def _turns(rows: int, columns: int, period: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine of 2 pi r c / period, (rows, columns) each, float64."""
    steps = torch.outer(torch.arange(rows), torch.arange(columns)) % period
    angles = steps.double() * (2 * math.pi / period)
    return angles.cos(), angles.sin()


class Stft(nn.Module):
    """STFT on the front end's frames, complex numbers as pairs of reals on the last axis."""

    def __init__(self, config: MelConfig) -> None:
        super().__init__()
        n = config.n_fft
        self.config = config
        self.a = 2 ** (int(math.log2(n)) // 2)
        self.b = n // self.a
        self.k = self.b // 2 + 1  # blocks of a bins that hold the one-sided spectrum
        cos_a, sin_a = _turns(self.a, self.a, self.a)
        cos_b, sin_b = _turns(self.b, self.k, self.b)
        twiddle = torch.stack(_turns(self.b, self.a, n))
        weights = torch.full((config.bins,), 2.0 / n, dtype=torch.float64)
        weights[0] = weights[-1] = 1.0 / n
        window = torch.hann_window(n, dtype=torch.float64)
        self.first: Tensor
        self.second: Tensor
        self.twiddle: Tensor
        self.weights: Tensor
        self.window: Tensor
        second = torch.cat((torch.cat((cos_b, -sin_b), 1), torch.cat((sin_b, cos_b), 1)))
        for name, table in (
            ("first", torch.cat((cos_a, -sin_a), 1)),  # (a, 2a)
            ("second", second),  # (2b, 2k)
            ("twiddle", twiddle),  # (2, b, a)
            ("weights", weights[:, None]),
            ("window", window * 2 / window.sum()),
        ):
            self.register_buffer(name, table.float(), persistent=False)

    def rfft(self, x: Tensor) -> Tensor:
        """(..., n_fft) to (..., bins, 2)."""
        y = x.unflatten(-1, (self.a, self.b)).transpose(-1, -2) @ self.first  # (..., b, 2a)
        real, imag = y.chunk(2, dim=-1)
        cos, sin = self.twiddle
        turned = torch.cat((real * cos + imag * sin, imag * cos - real * sin), dim=-2)
        z = turned.transpose(-1, -2) @ self.second  # (..., a, 2k)
        blocks = z.unflatten(-1, (2, self.k)).transpose(-3, -1).transpose(-2, -1)  # (..., k, a, 2)
        return blocks.flatten(-3, -2)[..., : self.config.bins, :]

    def irfft(self, spectrum: Tensor) -> Tensor:
        """(..., bins, 2) to (..., n_fft): the transpose of `rfft`, weighted."""
        extra = self.k * self.a - self.config.bins
        blocks = F.pad(spectrum * self.weights, (0, 0, 0, extra)).unflatten(-2, (self.k, self.a))
        z = blocks.transpose(-3, -2).transpose(-2, -1).flatten(-2)  # (..., a, 2k)
        turned = (z @ self.second.T).transpose(-1, -2)  # (..., 2b, a)
        real, imag = turned.chunk(2, dim=-2)
        cos, sin = self.twiddle
        y = torch.cat((real * cos - imag * sin, real * sin + imag * cos), dim=-1)
        return (y @ self.first.T).transpose(-1, -2).flatten(-2)

    def forward(self, signal: Tensor) -> Tensor:
        """(rows, samples) to (rows, frames, bins, 2), scaled like `mel.magnitudes`."""
        hop, overlap = self.config.hop, self.config.n_fft // self.config.hop
        pad = (self.config.n_fft - hop) // 2
        hops = F.pad(signal, (pad, pad)).unflatten(-1, (-1, hop))
        count = hops.shape[-2] - overlap + 1
        frames = torch.cat([hops[:, i : i + count] for i in range(overlap)], dim=-1)
        return self.rfft(frames * self.window)

    def inverse(self, spectrum: Tensor) -> Tensor:
        """(rows, frames, bins, 2) to (rows, frames * hop): the least-squares inverse."""
        frames = self.irfft(spectrum)
        weights = (self.window**2).expand(1, frames.shape[1], -1)
        return self._overlap_add(frames * self.window) / self._overlap_add(weights)

    def _overlap_add(self, frames: Tensor) -> Tensor:
        hop, overlap = self.config.hop, self.config.n_fft // self.config.hop
        parts = frames.unflatten(-1, (overlap, hop))
        total = F.pad(parts[:, :, 0], (0, 0, 0, overlap - 1))
        for i in range(1, overlap):
            total = total + F.pad(parts[:, :, i], (0, 0, i, overlap - 1 - i))
        pad = (self.config.n_fft - hop) // 2
        return total.flatten(1)[:, pad:-pad]


def lengths(spectrum: Tensor) -> Tensor:
    """Magnitudes of (..., 2), never 0.

    By a clamp: the exporter takes `+ 1e-16` for `+ 0` and leaves it out, and silence becomes NaN.
    """
    return spectrum.square().sum(-1).clamp(min=TINY**2).sqrt()


def fast_griffin_lim(
    stft: Stft, start: Tensor, iterations: int, impose: Callable[[Tensor], Tensor]
) -> Tensor:
    """Audio whose spectrum comes near `start` and what `impose` asks: (rows, samples).

    start: (rows, frames, bins, 2). impose: from the magnitudes (rows, frames, bins) that audio
    has to those wanted, the same ones always where they are known (Griffin and Lim 1984).
    """
    spectrum, previous = start, start
    for _ in range(iterations):
        consistent = stft(stft.inverse(spectrum))
        pushed = consistent + MOMENTUM * (consistent - previous)
        spectrum = pushed * (impose(lengths(consistent)) / lengths(pushed))[..., None]
        previous = consistent
    return stft.inverse(spectrum)
