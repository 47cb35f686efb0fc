"""The audio side of the small text score: a mel to what can be said of its music.

Music is described on axes: one a tag, from a small network (`Tower`) that heard labelled tracks,
and seven that are plain arithmetic on the mel (`measures`). Each is in deviations from the average
of the training music. In whitened coordinates, where the axes no longer move together, a cosine
with what a text asks for is an audio-text score in the manner of CLAP (arXiv 2211.06687).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segue.server.ditto.mel import MelConfig, filterbank
from segue.server.ditto.weights_file import check_tensors, read, refusing, write

KIND = "text tower"
MEASURES = ("loudness", "brightness", "bass", "density", "dynamics", "noise", "width")
BASS_HZ = 150.0
GROUP = 8  # bands whose level rises together at an onset, while the noise in them does not
SMOOTH = 0.1  # nepers; where a rise becomes a fall
TINY = 1e-5  # -100 dB, the front end's floor
WINDOW_FRAMES = 512  # what the network learned from: 5.94 s


@dataclass(frozen=True, kw_only=True)
class TowerConfig:
    """Sizes of the network: its tags, bands in, channels a layer, values pooled over time."""

    tags: tuple[str, ...]
    bands: int = 128
    channels: tuple[int, ...] = (16, 32, 64, 96)
    width: int = 128


class Tower(nn.Module):
    """(batch, bands, frames) log-mel of mid, in deviations a band, to logits (batch, tags).

    Smooth everywhere (SiLU, no maximum), so that its gradient leads somewhere; any number of
    frames from 1 up.
    """

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.config = config
        widths = (1, *config.channels)
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, 5 if a == 1 else 3, stride=2, padding=2 if a == 1 else 1)
            for a, b in pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(4, b) for b in config.channels)
        rows = -(-config.bands // 2 ** len(config.channels))
        self.gather = nn.Conv1d(config.channels[-1] * rows, config.width, 1)
        self.drop = nn.Dropout(0.3)
        self.leave = nn.Linear(2 * config.width, len(config.tags))

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, bands, frames) to (batch, tags)."""
        y = x[:, None]
        for layer, norm in zip(self.layers, self.norms, strict=True):
            y = F.silu(norm(layer(y)))
        y = F.silu(self.gather(self.drop(y.flatten(1, 2))))  # (B, width, T / 16)
        deviation = (y.var(-1, unbiased=False) + TINY).sqrt()
        return self.leave(self.drop(torch.cat((y.mean(-1), deviation), dim=1)))


def measures(mel: Tensor, config: MelConfig) -> Tensor:
    """What can be computed without learning: (batch, channels, frames) to (batch, MEASURES).

    mel: natural log, 2 frames or more. In order: mean level (log), centre of gravity of the
    spectrum (bands), level below 150 Hz beside the whole (log), mean rise of eight bands in a frame
    (log), deviation of the level over time (log), how flat the spectrum is (log), and level of
    side beside mid (log; 0 for a mel without side).
    """
    mid, power = mel[:, : config.bands], (2 * mel[:, : config.bands]).exp()
    level = (power.sum(1) + TINY**2).log() / 2  # (B, T)
    loud = (power.sum(1) + TINY**2).sqrt()
    share = loud / loud.sum(1, keepdim=True)  # silent frames have no colour
    bands = torch.arange(config.bands, device=mel.device, dtype=mel.dtype)
    magnitude = mid.exp()
    centre = (magnitude * bands[:, None]).sum(1) / magnitude.sum(1)
    low = power[:, : _bands_below(BASS_HZ, config)].sum((1, 2))
    groups = power.unflatten(1, (-1, GROUP)).sum(2).clamp(min=TINY**2).log() / 2
    change = groups.diff(dim=-1)
    rises = (change + (change.square() + SMOOTH**2).sqrt()) / 2
    flatness = mid.mean(1) - (magnitude.mean(1)).log()
    side = (2 * mel[:, config.bands :]).exp().sum((1, 2)) if config.sides == 2 else None
    whole = power.sum((1, 2)) + TINY**2
    width = torch.zeros_like(whole) if side is None else ((side + TINY**2) / whole).log() / 2
    return torch.stack(
        (
            level.mean(1),
            (centre * share).sum(1),
            ((low + TINY**2) / whole).log() / 2,
            rises.mean((1, 2)),
            (level.var(1, unbiased=False) + TINY).sqrt(),
            (flatness * share).sum(1),
            width,
        ),
        dim=1,
    )


@lru_cache(maxsize=8)
def _bands_below(hz: float, config: MelConfig) -> int:
    """How many bands have their peak below `hz`."""
    peaks = filterbank(config, torch.device("cpu")).argmax(1) * config.sample_rate / config.n_fft
    return max(1, int((peaks < hz).sum()))


class TextModel(nn.Module):
    """Mels to a unit vector in whitened coordinates; texts come as weights on `axes`.

    mean, std: (bands,) of the training mels. centre, spread: (axes,) of the axes over training
    windows. covariance: (axes, axes) of the axes once in deviations, shrunk towards the identity.
    """

    def __init__(self, config: TowerConfig, mel: MelConfig) -> None:
        super().__init__()
        self.mel, self.axes = mel, (*config.tags, *MEASURES)
        self.tower = Tower(config)
        n = len(self.axes)
        self.mean: Tensor
        self.std: Tensor
        self.centre: Tensor
        self.spread: Tensor
        self.covariance: Tensor
        self.register_buffer("mean", torch.zeros(config.bands))
        self.register_buffer("std", torch.ones(config.bands))
        self.register_buffer("centre", torch.zeros(n))
        self.register_buffer("spread", torch.ones(n))
        self.register_buffer("covariance", torch.eye(n))
        self.whiten: Tensor
        self.colour: Tensor
        self.register_buffer("whiten", torch.eye(n), persistent=False)
        self.register_buffer("colour", torch.eye(n), persistent=False)

    def set_covariance(self, covariance: Tensor) -> None:
        """How the axes move together. Raises ValueError unless it is positive definite."""
        values, vectors = torch.linalg.eigh(covariance.double())
        if not bool((values > 0).all()):
            raise ValueError("its covariance is not positive definite")
        self.covariance.copy_(covariance)
        self.whiten.copy_((vectors / values.sqrt()) @ vectors.T)
        self.colour.copy_((vectors * values.sqrt()) @ vectors.T)

    def raw(self, mel: Tensor) -> Tensor:
        """(batch, channels, frames) natural log to (batch, axes), not yet in deviations.

        More than `WINDOW_FRAMES` are read as windows of that length, evenly spread, and averaged.
        """
        frames = mel.shape[-1]
        n = -(-frames // WINDOW_FRAMES)
        starts = [round(i * (frames - WINDOW_FRAMES) / (n - 1)) for i in range(n)] if n > 1 else [0]
        windows = torch.cat([mel[..., i : i + WINDOW_FRAMES] for i in starts])
        mid = (windows[:, : self.mel.bands] - self.mean[:, None]) / self.std[:, None]
        said = torch.cat((self.tower(mid), measures(windows, self.mel)), dim=1)
        return said.unflatten(0, (n, -1)).mean(0)

    def describe(self, mel: Tensor) -> Tensor:
        """(batch, channels, frames) to (batch, axes), in deviations from average music."""
        return (self.raw(mel) - self.centre) / self.spread

    def embed_mel(self, mel: Tensor) -> Tensor:
        """(batch, channels, frames) to unit vectors (batch, axes)."""
        return F.normalize(self.describe(mel) @ self.whiten, dim=-1)

    def embed_weights(self, weights: Mapping[str, float]) -> Tensor:
        """What is asked of axes, by name, to a unit vector (axes,).

        The music nearest to it has the other axes where they usually are in such music.
        """
        asked = torch.zeros(len(self.axes), device=self.centre.device)
        for name, weight in weights.items():
            asked[self.axes.index(name)] = weight
        return F.normalize(asked @ self.colour, dim=-1)


def save(path: Path, model: TextModel, notes: Mapping[str, str]) -> None:
    """One safetensors file with the sizes in its metadata."""
    config = {"tower": asdict(model.tower.config), "mel": asdict(model.mel)}
    write(path, model.state_dict(), KIND, config, notes)


def load(path: Path) -> TextModel:
    """Frozen, ready to use. Raises SegueError(NO_MODEL) for a file that is no such model."""
    with refusing(path):
        _, config, tensors = read(path, [KIND])
        sizes = config["tower"]
        sizes |= {name: tuple(sizes[name]) for name in ("tags", "channels")}
        model = TextModel(TowerConfig(**sizes), MelConfig(**config["mel"]))
        check_tensors(tensors, model.state_dict())
        model.load_state_dict(tensors)
        model.set_covariance(tensors["covariance"])
    return model.requires_grad_(False).eval()
