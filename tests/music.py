"""A folder of short made-up tracks, and the training data packed from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from segue.export.dataset import Packed, Skipped, Source, pack
from segue.server.ditto.mel import MelConfig

MEL = MelConfig()


def write_track(path: Path, seconds: float, rate: int = 44100, channels: int = 2) -> Path:
    """A tone with noise over it; its pitch and noise follow from the file's name."""
    rng = np.random.default_rng(sum(path.name.encode()))
    t = np.arange(round(seconds * rate)) / rate
    tone = 0.3 * np.sin(2 * np.pi * rng.uniform(100, 1000) * t)
    noise = rng.standard_normal((len(t), channels)) * 0.02
    soundfile.write(path, tone[:, None] + noise, rate)
    return path


def pack_all(sources: list[Source], folder: Path, mel: MelConfig = MEL) -> list[Packed | Skipped]:
    """Pack to the end."""
    return list(pack(sources, folder, mel))


def write_data(folder: Path, seconds: float = 3.5, mel: MelConfig = MEL) -> Path:
    """Training data of two tracks to learn from and one held out."""
    splits = {"a.wav": "train", "b.wav": "train", "c.wav": "heldout"}
    folder.mkdir(parents=True, exist_ok=True)
    sources = [
        Source(path=write_track(folder / name, seconds), licence="CC0", split=split)
        for name, split in splits.items()
    ]
    pack_all(sources, folder, mel)
    return folder
