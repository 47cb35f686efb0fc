"""musicnn (Pons & Serra 2019, ISC licence): what the Fréchet audio distance is measured in.

The 200 values before the tags of the network trained on the Million Song Dataset. Its weights
come from the PyPI package `musicnn`, which needs TensorFlow to run: only its files are read.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import soxr
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segue.export.evaluation.tf_checkpoint import read_checkpoint
from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.mel import LINEAR_HZ_PER_MEL, LOG_START_HZ, LOG_STEP

EMBEDDING = "musicnn MSD penultimate"
INSTALL = "pip install --no-deps musicnn==0.1.0"
SAMPLE_RATE, N_FFT, HOP, BANDS = 16000, 512, 256, 96
PATCH_FRAMES, PATCH_HOP = 187, 92  # 3.1 s half overlapping: three patches of a window of 5.94 s
SIZE = 200
NORM_TINY = 1e-3  # tf.compat.v1.layers.batch_normalization


def find_weights(folder: Path | None = None) -> Path:
    """The folder of the installed package, found without importing it, or `folder` itself.

    Raises SegueError with the command that installs it.
    """
    if folder is None:
        found = importlib.util.find_spec("musicnn")
        places = list(found.submodule_search_locations or []) if found else []
        folder = Path(places[0]) if places else None
    if folder is None or not (folder / "MSD_musicnn" / ".index").is_file():
        where = "is not installed" if folder is None else f"is not in {folder}"
        text = f"the network that measures FAD {where}: {INSTALL}"
        raise SegueError(Code.UNSUPPORTED, text)
    return folder


def slaney_filters() -> np.ndarray:
    """librosa's default mel filters, (BANDS, bins) float64: triangles of equal area."""
    start = LOG_START_HZ / LINEAR_HZ_PER_MEL
    top = start + np.log(SAMPLE_RATE / 2 / LOG_START_HZ) / LOG_STEP
    mels = np.linspace(0.0, top, BANDS + 2)
    above = LOG_START_HZ * np.exp(LOG_STEP * (mels - start))
    edges = np.where(mels < start, mels * LINEAR_HZ_PER_MEL, above)
    hz = np.arange(N_FFT // 2 + 1) * SAMPLE_RATE / N_FFT
    rising = (hz - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - hz) / np.diff(edges)[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None]


class Norm(nn.Module):
    """Batch normalization at rest: a factor and an offset a channel, (batch, channels, ...)."""

    def __init__(self, weights: dict[str, np.ndarray], name: str) -> None:
        super().__init__()
        factor = weights[f"{name}/gamma"] / np.sqrt(weights[f"{name}/moving_variance"] + NORM_TINY)
        offset = weights[f"{name}/beta"] - weights[f"{name}/moving_mean"] * factor
        self.factor: Tensor
        self.offset: Tensor
        self.register_buffer("factor", torch.from_numpy(factor))
        self.register_buffer("offset", torch.from_numpy(offset))

    def forward(self, x: Tensor) -> Tensor:
        """x * factor + offset."""
        shape = [1, -1] + [1] * (x.ndim - 2)
        return x * self.factor.view(shape) + self.offset.view(shape)


def _numbered(name: str, i: int) -> str:
    """How TensorFlow tells layers of one kind apart."""
    return f"{name}_{i}" if i else name


class Convolution(nn.Module):
    """Convolution over (frames, bands), ReLU, norm, then the loudest band: (B, channels, T)."""

    def __init__(self, weights: dict[str, np.ndarray], i: int) -> None:
        super().__init__()
        name = _numbered("conv2d", i)
        kernel = weights[f"{name}/kernel"].transpose(3, 2, 0, 1)  # (out, in, frames, bands)
        self.conv = nn.Conv2d(kernel.shape[1], kernel.shape[0], kernel.shape[2:])
        self.conv.weight.data = torch.from_numpy(kernel.copy())
        self.conv.bias.data = torch.from_numpy(weights[f"{name}/bias"].copy())  # type: ignore[union-attr]
        self.norm = Norm(weights, _numbered("batch_normalization", i + 1))
        frames = kernel.shape[2]
        self.padding = (0, 0, (frames - 1) // 2, frames // 2)  # TensorFlow's "same"

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, 1, frames, bands)."""
        y: Tensor = self.norm(F.relu(self.conv(F.pad(x, self.padding))))
        return y.amax(3)


class Dense(nn.Linear):
    """A fully connected layer of the checkpoint."""

    def __init__(self, weights: dict[str, np.ndarray], i: int) -> None:
        kernel = weights[f"{_numbered('dense', i)}/kernel"]
        super().__init__(*kernel.shape)
        self.weight.data = torch.from_numpy(kernel.T.copy())
        self.bias.data = torch.from_numpy(weights[f"{_numbered('dense', i)}/bias"].copy())


class Musicnn(nn.Module):
    """The network from 16 kHz audio on, frozen. Raises SegueError when it can't be read."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.filters: Tensor
        self.window: Tensor
        self.register_buffer("filters", torch.from_numpy(slaney_filters()).float())
        self.register_buffer("window", torch.hann_window(N_FFT))
        try:
            weights = read_checkpoint(folder / "MSD_musicnn")
            self.enter = Norm(weights, "batch_normalization")
            self.front = nn.ModuleList(Convolution(weights, i) for i in range(5))
            self.middle = nn.ModuleList(Convolution(weights, i) for i in range(5, 8))
            self.pooled = Norm(weights, "batch_normalization_9")
            self.dense = Dense(weights, 0)
            self.leave = Norm(weights, "batch_normalization_10")
            self.tagger = Dense(weights, 1)
        except (OSError, ValueError, KeyError) as error:
            text = f"can't read musicnn's weights in {folder}: {error}; {INSTALL}"
            raise SegueError(Code.UNSUPPORTED, text) from error
        self.requires_grad_(False).eval()

    def log_mel(self, audio: Tensor) -> Tensor:
        """(batch, samples) at 16 kHz to (batch, samples // HOP + 1, BANDS)."""
        spectrum = torch.stft(
            audio,
            N_FFT,
            HOP,
            window=self.window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        power = spectrum.abs().square()
        return torch.log10(1e4 * (self.filters @ power) + 1).transpose(1, 2)

    def penultimate(self, log_mel: Tensor) -> Tensor:
        """(batch, frames, BANDS) to (batch, SIZE)."""
        x = self.enter(log_mel[:, None])
        features = [torch.cat([layer(x) for layer in self.front], dim=1)]
        for layer in self.middle:  # each but the first adds to what came before it
            made = layer(features[-1].transpose(1, 2)[:, None])
            features.append(made + features[-1] if len(features) > 1 else made)
        every = torch.cat(features, dim=1)  # (B, 753, T)
        pools = torch.stack((every.amax(2), every.mean(2)), dim=2).flatten(1)
        embedding: Tensor = self.leave(F.relu(self.dense(self.pooled(pools))))
        return embedding

    def tags(self, embedding: Tensor) -> Tensor:
        """(batch, SIZE) to the probabilities of the package's 50 MSD_LABELS."""
        return torch.sigmoid(self.tagger(embedding))

    @torch.no_grad()
    def embed(self, audio: np.ndarray, sample_rate: int) -> np.ndarray:
        """(samples, channels) to (patches, SIZE) float64, a patch every 92 frames of 16 ms.

        Raises ValueError for audio shorter than one patch.
        """
        mono = soxr.resample(audio.mean(axis=1, dtype=np.float64), sample_rate, SAMPLE_RATE)
        samples = torch.from_numpy(mono.astype(np.float32)).to(self.window.device)
        log_mel = self.log_mel(samples[None])[0]
        if len(log_mel) < PATCH_FRAMES:
            raise ValueError(f"{len(mono) / SAMPLE_RATE:.2f} s of audio are too short to embed")
        patches = log_mel.unfold(0, PATCH_FRAMES, PATCH_HOP).transpose(1, 2)
        embedded: np.ndarray = self.penultimate(patches).double().cpu().numpy()
        return embedded
