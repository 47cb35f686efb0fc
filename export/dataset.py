"""A training set on disk: one float16 log-mel file a track, an index, and the statistics.

    FOLDER/index.tsv      name, source, licence, split, frames
    FOLDER/mels/NAME.npy  (2 * bands, frames) float16, natural log, not normalised
    FOLDER/scale.npy      (2, 2 * bands) float32: mean and deviation a band over the training split

Packing resumes: a track whose mel is there is not read again.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from segue.server.ditto.mel import MelConfig, MelScale, log_mel

AUDIO_SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff"}
BLOCK_FRAMES = 4096
MIN_STD = 0.25


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file to learn from."""

    path: Path
    licence: str
    split: str

    @property
    def name(self) -> str:
        """A file name for its mel that no other path shares."""
        digest = hashlib.sha256(str(self.path).encode()).hexdigest()[:12]
        return f"{self.path.stem[:40]}-{digest}"


@dataclass(frozen=True, kw_only=True)
class Packed:
    """One row of the index."""

    name: str
    source: str
    licence: str
    split: str
    frames: int


def folder_sources(folder: Path) -> list[Source]:
    """Every audio file below `folder`; about one in twenty is held out, by a hash of its path."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    splits = [hashlib.sha256(str(p.relative_to(folder)).encode()).digest()[0] < 13 for p in paths]
    return [
        Source(path=p, licence="yours", split="heldout" if held else "train")
        for p, held in zip(paths, splits, strict=True)
    ]


def read_stereo(path: Path, sample_rate: int) -> Tensor:
    """(2, samples) float32 at `sample_rate`; mono is doubled. Raises soundfile.LibsndfileError."""
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    stereo = audio[:, :2] if audio.shape[1] > 1 else np.repeat(audio, 2, axis=1)
    if rate != sample_rate:
        stereo = soxr.resample(stereo, rate, sample_rate)
    return torch.from_numpy(np.ascontiguousarray(stereo.T))


def pack(sources: Iterable[Source], folder: Path, config: MelConfig) -> Iterator[str]:
    """Compute what is missing and write index and statistics, yielding a line a track.

    A file that can't be read is reported in its line and left out.
    """
    (folder / "mels").mkdir(parents=True, exist_ok=True)
    rows = []
    for source in sources:
        target = folder / "mels" / f"{source.name}.npy"
        try:
            if not target.exists():
                _write_mel(source.path, target, config)
            frames = np.load(target, mmap_mode="r").shape[1]
        except (OSError, soundfile.LibsndfileError, ValueError) as error:
            yield f"skipped {source.path}: {error}"
            continue
        rows.append(
            Packed(
                name=source.name,
                source=str(source.path),
                licence=source.licence,
                split=source.split,
                frames=frames,
            )
        )
        yield f"packed {source.path.name}: {frames * config.hop / config.sample_rate:.0f} s"
    _write_index(rows, folder)
    np.save(folder / "scale.npy", _statistics(rows, folder))


def _write_mel(path: Path, target: Path, config: MelConfig) -> None:
    audio = read_stereo(path, config.sample_rate)
    if not torch.isfinite(audio).all():
        raise ValueError("it holds NaN or infinite samples")
    if audio.shape[-1] < config.hop * BLOCK_FRAMES // 16:
        raise ValueError("it is shorter than three seconds")
    step = BLOCK_FRAMES * config.hop
    blocks = [log_mel(block, config).half().numpy() for block in audio.split(step, dim=-1)]
    partial = target.with_suffix(".partial")
    with partial.open("wb") as file:
        np.save(file, np.concatenate(blocks, axis=1))
    partial.rename(target)


def _write_index(rows: list[Packed], folder: Path) -> None:
    with (folder / "index.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(Packed.__annotations__), delimiter="\t")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def _statistics(rows: list[Packed], folder: Path) -> np.ndarray:
    total = count = squares = 0.0
    for row in rows:
        if row.split == "train":
            mel = np.load(folder / "mels" / f"{row.name}.npy").astype(np.float64)
            total, squares = total + mel.sum(1), squares + (mel**2).sum(1)
            count += mel.shape[1]
    if not count:
        raise ValueError("no file in the training split could be read")
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, MIN_STD**2))
    return np.stack((mean, std)).astype(np.float32)


def read_index(folder: Path) -> list[Packed]:
    """The packed tracks. Raises FileNotFoundError when `folder` was never packed."""
    with (folder / "index.tsv").open(encoding="utf-8", newline="") as file:
        return [
            Packed(**{**row, "frames": int(row["frames"])})  # type: ignore[arg-type]
            for row in csv.DictReader(file, delimiter="\t")
        ]


class Windows:
    """Random windows of one split, drawn with a generator: normalised mels ready to learn from."""

    def __init__(self, folder: Path, split: str, frames: int) -> None:
        rows = [r for r in read_index(folder) if r.split == split and r.frames >= frames]
        if not rows:
            raise ValueError(f"no {split} track in {folder} holds {frames} frames")
        self.frames = frames
        self.rows = rows
        self.mels = [np.load(folder / "mels" / f"{r.name}.npy", mmap_mode="r") for r in rows]
        self.chances = torch.tensor([float(r.frames) for r in rows])
        self.scale = MelScale(*torch.from_numpy(np.load(folder / "scale.npy")))

    def draw(self, n: int, generator: torch.Generator, *, gain_db: float = 0.0) -> Tensor:
        """(n, 2 * bands, frames) normalised mels, each with a random gain of up to ±`gain_db`."""
        tracks = torch.multinomial(self.chances, n, replacement=True, generator=generator)
        windows = torch.stack([self._window(int(i), generator) for i in tracks])
        gains = (torch.rand(n, 1, 1, generator=generator) * 2 - 1) * gain_db / 20 * np.log(10)
        floor = np.log(MelConfig().floor)
        return self.scale.normalise((windows + gains).clamp(min=floor))

    def _window(self, track: int, generator: torch.Generator) -> Tensor:
        mel = self.mels[track]
        start = int(torch.randint(mel.shape[1] - self.frames + 1, (1,), generator=generator))
        return torch.from_numpy(mel[:, start : start + self.frames].astype(np.float32))
