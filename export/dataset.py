"""A training set on disk: one float16 log-mel file a track, an index, and the statistics.

    FOLDER/index.tsv      name, source, licence, split, frames
    FOLDER/mels/NAME.npy  (2 * bands, frames) float16, natural log, not normalised
    FOLDER/scale.npy      (2, 2 * bands) float32: mean and deviation a band over the training split

Packing resumes: a track whose mel is newer than its audio is not read again.
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

from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.mel import MelConfig, MelScale, log_mel

AUDIO_SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff"}
BLOCK_FRAMES = 4096
MIN_SECONDS = 3.0
SILENT_PEAK = 1e-4
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


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A file that taught nothing."""

    source: str
    why: str


def folder_sources(folder: Path) -> list[Source]:
    """Every audio file below `folder`; about one in twenty is held out, by a hash of its path.

    Raises SegueError when there is none.
    """
    paths = sorted(p for p in folder.resolve().rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    if not paths:
        known = " ".join(sorted(AUDIO_SUFFIXES))
        raise SegueError(Code.MISSING_FILE, f"no audio in {folder}: it needs files in {known}")
    names = [str(p.relative_to(folder.resolve())) for p in paths]
    held = [hashlib.sha256(name.encode()).digest()[0] < 13 for name in names]
    if all(held):  # a folder of one or two files
        held = [False] * len(held)
    return [
        Source(path=p, licence="yours", split="heldout" if out else "train")
        for p, out in zip(paths, held, strict=True)
    ]


def read_stereo(path: Path, sample_rate: int) -> Tensor:
    """(2, samples) float32 at `sample_rate`; mono is doubled.

    Raises soundfile.LibsndfileError, or ValueError for audio there is nothing to learn from.
    """
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    if not np.isfinite(audio).all():
        raise ValueError("it holds NaN or infinite samples")
    if len(audio) < MIN_SECONDS * rate:
        raise ValueError(f"it is shorter than {MIN_SECONDS:g} seconds")
    if np.abs(audio).max() < SILENT_PEAK:
        raise ValueError("it is silent")
    stereo = audio[:, :2] if audio.shape[1] > 1 else np.repeat(audio, 2, axis=1)
    if rate != sample_rate:
        stereo = soxr.resample(stereo, rate, sample_rate)
    return torch.from_numpy(np.ascontiguousarray(stereo.T))


def pack(sources: Iterable[Source], folder: Path, config: MelConfig) -> Iterator[Packed | Skipped]:
    """Compute what is missing and write index and statistics, yielding each track as it is done.

    A file that can't be read is skipped. Raises SegueError when none is left to train on.
    """
    (folder / "mels").mkdir(parents=True, exist_ok=True)
    rows = []
    for source in sources:
        target = folder / "mels" / f"{source.name}.npy"
        try:
            mel = None if _is_current(target, source.path) else _track_mel(source.path, config)
        except (OSError, RuntimeError, ValueError) as error:  # LibsndfileError is a RuntimeError
            yield Skipped(source=str(source.path), why=str(error))
            continue
        if mel is not None:
            _save(target, mel)
        row = Packed(
            name=source.name,
            source=str(source.path),
            licence=source.licence,
            split=source.split,
            frames=np.load(target, mmap_mode="r").shape[1],
        )
        rows.append(row)
        yield row
    _save(folder / "scale.npy", _statistics(rows, folder))
    _write_index(rows, folder)


def _is_current(mel: Path, audio: Path) -> bool:
    return mel.exists() and mel.stat().st_mtime >= audio.stat().st_mtime


def _track_mel(path: Path, config: MelConfig) -> np.ndarray:
    """The whole track's mel, made in blocks that see past their ends: memory stays bounded."""
    audio = read_stereo(path, config.sample_rate)
    frames, margin, blocks = audio.shape[-1] // config.hop, config.n_fft // config.hop, []
    for start in range(0, frames, BLOCK_FRAMES):
        stop, first = min(start + BLOCK_FRAMES, frames), max(0, start - margin)
        last = min(stop + margin, frames)
        mel = log_mel(audio[:, first * config.hop : last * config.hop], config)
        blocks.append(mel[:, start - first : stop - first].half().numpy())
    return np.concatenate(blocks, axis=1)


def _save(path: Path, array: np.ndarray) -> None:
    """The file as a whole or not at all."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.save(file, array)
    partial.replace(path)


def _write_index(rows: list[Packed], folder: Path) -> None:
    partial = folder / "index.partial"
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(Packed.__annotations__), delimiter="\t")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    partial.replace(folder / "index.tsv")


def _statistics(rows: list[Packed], folder: Path) -> np.ndarray:
    total = count = squares = 0.0
    for row in rows:
        if row.split == "train":
            mel = np.load(folder / "mels" / f"{row.name}.npy").astype(np.float64)
            total, squares = total + mel.sum(1), squares + (mel**2).sum(1)
            count += mel.shape[1]
    if not count:
        text = f"none of the audio can be learned from: it needs {MIN_SECONDS:g} seconds or more"
        raise SegueError(Code.NOT_AUDIO, text)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, MIN_STD**2))
    return np.stack((mean, std)).astype(np.float32)


def read_index(folder: Path) -> list[Packed]:
    """The packed tracks. Raises SegueError when `folder` was never packed to the end."""
    try:
        with (folder / "index.tsv").open(encoding="utf-8", newline="") as file:
            return [
                Packed(**{**row, "frames": int(row["frames"])})  # type: ignore[arg-type]
                for row in csv.DictReader(file, delimiter="\t")
            ]
    except (OSError, KeyError, TypeError, ValueError) as error:
        text = f"{folder} holds no training data; make it with `segue data MUSIC --out {folder}`"
        raise SegueError(Code.MISSING_FILE, text) from error


def read_scale(folder: Path) -> MelScale:
    """The statistics of the training split."""
    return MelScale(*torch.from_numpy(np.load(folder / "scale.npy")))


class Windows:
    """Random windows of one split, drawn with a generator: normalised mels ready to learn from.

    Raises SegueError when no track is long enough.
    """

    def __init__(self, folder: Path, split: str, frames: int) -> None:
        self.rows = [r for r in read_index(folder) if r.split == split and r.frames >= frames]
        if not self.rows:
            mel = MelConfig()
            seconds = frames * mel.hop / mel.sample_rate
            text = (
                f"{folder} holds no {split} track of {seconds:.1f} seconds or more; add longer ones"
            )
            raise SegueError(Code.MISSING_FILE, text)
        self.folder = folder
        self.frames = frames
        self.chances = torch.tensor([float(r.frames) for r in self.rows])
        self.scale = read_scale(folder)

    def draw(self, n: int, generator: torch.Generator, *, gain_db: float = 0.0) -> Tensor:
        """(n, 2 * bands, frames) normalised mels, each with a random gain of up to ±`gain_db`."""
        tracks = torch.multinomial(self.chances, n, replacement=True, generator=generator)
        windows = torch.stack([self._window(self.rows[i], generator) for i in tracks])
        gains = (torch.rand(n, 1, 1, generator=generator) * 2 - 1) * gain_db / 20 * np.log(10)
        floor = np.log(MelConfig().floor)
        return self.scale.normalise((windows + gains).clamp(min=floor))

    def _window(self, row: Packed, generator: torch.Generator) -> Tensor:
        # opened anew each time: a map that stays open holds one of the process's file handles
        mel = np.load(self.folder / "mels" / f"{row.name}.npy", mmap_mode="r")
        start = int(torch.randint(row.frames - self.frames + 1, (1,), generator=generator))
        return torch.from_numpy(mel[:, start : start + self.frames].astype(np.float32))
