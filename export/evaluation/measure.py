"""What is measured of a set of clips, real or made: embeddings, statistics, coherence, a sketch.

Everything is kept per clip in one dict of arrays, so that a set is measured once and every
table drawn from it:

    embeddings  (clips, patches, size)                 mean, deviation  (clips,) of x_0
    sketch      (clips, 2 * bands / 8, frames / 8)     pulse, flicker, r(...)  (clips,)
    mel_error   (clips,) mean |log-mel of the audio - log-mel it was made from|
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from segue.export.evaluation.coherence import coherence
from segue.export.evaluation.real_audio import Stretch
from segue.server.ditto.mel import MelConfig, MelScale, log_mel

Measured = dict[str, np.ndarray]
Decode = Callable[[np.ndarray], np.ndarray]  # (channels, frames) log-mel to (samples, 2)
Embed = Callable[[np.ndarray, int], np.ndarray]  # (samples, channels), rate to (patches, size)
POOL = 8  # bands and frames of a sketch's cell
SAID_EVERY = 16
LAYOUT = "1"  # of what the cache holds; a new one makes old files useless


def flat(measured: Measured) -> np.ndarray:
    """All embeddings of a set, (clips * patches, size)."""
    patches: np.ndarray = measured["embeddings"]
    return patches.reshape(-1, patches.shape[-1])


def part(measured: Measured, rows: list[int] | slice) -> Measured:
    """Some clips of a set."""
    return {name: values[rows] for name, values in measured.items()}


def sketch(x_0: Tensor) -> Tensor:
    """Normalised mels (batch, channels, frames) in cells of 8 bands and 8 frames, averaged."""
    return F.avg_pool2d(x_0[:, None], POOL)[:, 0]


@dataclass(frozen=True)
class Bench:
    """The instruments. `scale` is the training data's, the same for every set.

    `embedding` names what `embed` computes.
    """

    embed: Embed
    embedding: str
    scale: MelScale
    cache: Path
    say: Callable[[str], None]
    mel: MelConfig = field(default_factory=MelConfig)

    def real(self, name: str, stretches: list[Stretch]) -> Measured:
        """Measure real music, read from its files."""
        audio = (stretch.read(self.mel) for stretch in stretches)
        pairs = ((stereo.T.numpy(), log_mel(stereo, self.mel)) for stereo in audio)
        return self.kept(name, repr(stretches), pairs, len(stretches))

    def made(
        self, name: str, key: str, mels: Callable[[], Iterable[Tensor]], decode: Decode, n: int
    ) -> Measured:
        """Measure `n` natural-log mels (channels, frames) and what `decode` makes of them.

        `key` names all that `mels` depends on; they are not asked for when it was measured before.
        """

        def pairs() -> Iterator[tuple[np.ndarray, Tensor]]:
            for mel in mels():
                yield decode(mel.numpy()), mel

        return self.kept(name, key, pairs(), n)

    def kept(
        self, name: str, key: str, pairs: Iterable[tuple[np.ndarray, Tensor]], n: int
    ) -> Measured:
        """Measure pairs of audio (samples, 2) and mel, or remember what was measured."""
        path = self._place(name, key)
        if path.exists():
            with np.load(path) as file:
                return dict(file)
        rows = []
        for i, (audio, mel) in enumerate(pairs, start=1):
            rows.append(self.clip(audio, mel))
            if i % SAID_EVERY == 0 or i == n:
                self.say(f"{name}: {i} of {n}")
        measured = {field: np.stack([row[field] for row in rows]) for field in rows[0]}
        _save(path, measured)
        return measured

    def _place(self, name: str, key: str) -> Path:
        scale = torch.stack((self.scale.mean, self.scale.std)).numpy().tobytes()
        text = "\n".join((LAYOUT, self.embedding, name, key)).encode()
        return self.cache / f"{hashlib.sha256(text + scale).hexdigest()[:24]}.npz"

    def clip(self, audio: np.ndarray, mel: Tensor) -> Measured:
        """One clip: audio (samples, 2) and natural-log mel (channels, frames)."""
        x_0 = self.scale.normalise(mel)
        stereo = torch.from_numpy(np.ascontiguousarray(audio.T, dtype=np.float32))
        return {
            "embeddings": self.embed(audio, self.mel.sample_rate),
            "mean": x_0.double().mean().numpy(),
            "deviation": x_0.double().std().numpy(),
            "mel_error": (log_mel(stereo, self.mel) - mel).abs().mean().double().numpy(),
            "sketch": sketch(x_0[None])[0].numpy(),
            **{k: v[0].double().numpy() for k, v in coherence(mel[None], self.mel).items()},
        }


def _save(path: Path, measured: Measured) -> None:
    """The file as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, **measured)  # type: ignore[arg-type]
    partial.replace(path)


def nearest(queries: Tensor, library: Iterable[Tensor]) -> Tensor:
    """Cosine distance of each sketch's middle half to the most similar stretch of any window.

    queries: (n, channels, cells); library: batches of sketches of the same shape, in which
    every offset is tried. Returns (n,).
    """
    half = queries.shape[-1] // 2
    middle = queries[..., half // 2 : half // 2 + half]
    wanted = F.normalize(middle.flatten(1), dim=1)
    best = torch.full((len(queries),), -torch.inf)
    for windows in library:
        stretches = windows.unfold(-1, half, 1).transpose(1, 2).flatten(0, 1).flatten(1)
        best = torch.maximum(best, (wanted @ F.normalize(stretches, dim=1).T).amax(1))
    return 1 - best
