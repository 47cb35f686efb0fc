"""Short-time Fourier transform, its inverse and fast Griffin-Lim as matrix products.

A transform of 2048 points is two products with matrices of 32 and 64 points (Cooley-Tukey). Said
that way it exports to plain ONNX MatMul, which every provider runs; ONNX Runtime's own DFT
operator took several times as long. Spectra stay in the order in which the products leave them,
since putting bins in a row took longer than the products themselves.
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

Spectrum = tuple[Tensor, Tensor]  # real and imaginary parts, (classes, rows, frames, b) each


def _turns(steps: Tensor, period: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine of whole numbers of periodths of a turn, float64."""
    angles = (steps % period).double() * (2 * math.pi / period)
    return angles.cos(), angles.sin()


class Stft(nn.Module):
    """STFT on the front end's frames.

    Frequency c + a k of a frame stands at [c, :, :, k] of a spectrum, for the classes c up to
    a / 2. The others are these mirrored, as the signal is real: so frequencies above the middle
    stand for bins below it, and all bins of the first and the last class are there twice. In a
    row, [0, :, :, 0] comes first, then [0, :, :, 1]: these are its `places`.
    """

    def __init__(self, config: MelConfig) -> None:
        super().__init__()
        n = config.n_fft
        self.config = config
        self.a = 2 ** (int(math.log2(n)) // 2)
        self.b = n // self.a
        self.classes = self.a // 2 + 1
        c, i, j, k = (torch.arange(m) for m in (self.classes, self.a, self.b, self.b))
        cos_a, sin_a = _turns(c[:, None] * i, self.a)
        mirrored = torch.full((self.classes, 1), 2.0 / n, dtype=torch.float64)
        mirrored[[0, -1]] = 1.0 / n
        cos_b, sin_b = _turns(j[:, None] * (c[:, None, None] + self.a * k), n)  # (classes, b, b)
        above = torch.cat((cos_b, -sin_b), 2)
        below = torch.cat((sin_b, cos_b), 2)
        window = torch.hann_window(n, dtype=torch.float64)
        self.first: Tensor
        self.last: Tensor
        self.second: Tensor
        self.window: Tensor
        for name, table in (
            ("first", torch.cat((cos_a, -sin_a))),  # (2 classes, a)
            ("last", torch.cat((cos_a * mirrored, -sin_a * mirrored)).T),  # (a, 2 classes)
            ("second", torch.cat((above, below), 1)),  # (classes, 2b, 2b)
            ("window", window * 2 / window.sum()),
        ):
            self.register_buffer(name, table.float().contiguous(), persistent=False)
        frequency = (c[:, None] + self.a * k).flatten()
        self.bins: Tensor
        self.signs: Tensor
        self.register_buffer("bins", torch.minimum(frequency, n - frequency), persistent=False)
        signs = torch.where(frequency > n // 2, -1.0, 1.0)
        self.register_buffer("signs", signs, persistent=False)

    @property
    def shares(self) -> Tensor:
        """(places,) 1 for a bin that is there once, a half each for one that is there twice."""
        return 1 / torch.bincount(self.bins)[self.bins]

    def arranged(self, values: Tensor) -> Tensor:
        """(..., bins) to (..., places)."""
        return values[..., self.bins]

    def blocks(self, values: Tensor) -> Tensor:
        """(rows, frames, places) as a part of a spectrum."""
        return values.unflatten(-1, (self.classes, self.b)).movedim(-2, 0)

    def in_a_row(self, part: Tensor) -> Tensor:
        """The inverse of `blocks`."""
        return part.movedim(0, -2).flatten(-2)

    def polar(self, magnitude: Tensor, phase: Tensor) -> Spectrum:
        """A spectrum from magnitudes and phases of its bins, (rows, frames, places) each."""
        imag = magnitude * phase.sin() * self.signs
        return self.blocks(magnitude * phase.cos()), self.blocks(imag)

    def rfft(self, x: Tensor) -> Spectrum:
        """(rows, frames, n_fft) to a spectrum."""
        y = (self.first @ x.unflatten(-1, (self.a, self.b))).unflatten(-2, (2, self.classes))
        z = y.movedim(-2, 0).flatten(-2) @ self.second[:, None]
        real, imag = z.chunk(2, dim=-1)
        return real, imag

    def irfft(self, spectrum: Spectrum) -> Tensor:
        """A spectrum to (rows, frames, n_fft)."""
        z = torch.cat(spectrum, dim=-1) @ self.second.transpose(1, 2)[:, None]
        y = z.unflatten(-1, (2, self.b)).movedim(0, -2).flatten(-3, -2)
        return (self.last @ y).flatten(-2)

    def forward(self, signal: Tensor) -> Spectrum:
        """(rows, samples) to a spectrum, scaled like `mel.magnitudes`."""
        hop, overlap = self.config.hop, self.config.n_fft // self.config.hop
        pad = (self.config.n_fft - hop) // 2
        hops = F.pad(signal, (pad, pad)).unflatten(-1, (-1, hop))
        count = hops.shape[-2] - overlap + 1
        frames = torch.cat([hops[:, i : i + count] for i in range(overlap)], dim=-1)
        return self.rfft(frames * self.window)

    def inverse(self, spectrum: Spectrum) -> Tensor:
        """A spectrum to (rows, frames * hop): the least-squares inverse."""
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


def lengths(spectrum: Spectrum) -> Tensor:
    """Magnitudes, (classes, rows, frames, b), never 0.

    By a clamp: the exporter takes `+ 1e-16` for `+ 0` and leaves it out, and silence becomes NaN.
    """
    real, imag = spectrum
    return (real * real + imag * imag).clamp(min=TINY**2).sqrt()


def fast_griffin_lim(
    stft: Stft, start: Spectrum, iterations: int, impose: Callable[[Tensor], Tensor]
) -> Tensor:
    """Audio whose spectrum comes near `start` and what `impose` asks: (rows, samples).

    impose: from the magnitudes (rows, frames, places) that audio has to those wanted, the same
    ones always where they are known (Griffin and Lim 1984).
    """
    spectrum, previous = start, start
    for _ in range(iterations):
        consistent = stft(stft.inverse(spectrum))
        real, imag = (
            now + MOMENTUM * (now - before)
            for now, before in zip(consistent, previous, strict=True)
        )
        wanted = impose(stft.in_a_row(lengths(consistent)))
        scale = stft.blocks(wanted) / lengths((real, imag))
        spectrum, previous = (real * scale, imag * scale), consistent
    return stft.inverse(spectrum)
