"""A training set on disk: 8-bit log-mels in pieces, an index, a manifest and the statistics.

    FOLDER/index.tsv      name, source, package, licence, split, frames, tags
    FOLDER/manifest.json  the mel's sizes; tracks and hours a package, licence and split
    FOLDER/mels/NAME.npy  (channels, frames) uint8, at most 60 MiB
    FOLDER/scale.npy      (2, channels) float32: mean and deviation a band over the training split

What a byte stands for is in `packed`. A track of more than 60 MiB (47 minutes) is several pieces
of equal length, each with its row in the index. Packing resumes: a track whose pieces are newer
than its audio is not read again, and nothing is lost before what replaces it is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from segue.export.augment import NEPERS_A_DB, Augment, augmented, draw_change
from segue.export.packed import (
    STEP,
    Packed,
    claim,
    load_mel,
    manifest,
    read_index,
    read_mel,
    read_scale,
    summary,
    to_bytes,
    vocabulary,
    write_index,
    write_text,
)
from segue.export.sources import MIN_SECONDS, Skipped, Source, folder_sources, read_stereo
from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.mel import MelConfig, log_mel

__all__ = [
    "Packed",
    "Skipped",
    "Source",
    "Windows",
    "folder_sources",
    "load_mel",
    "pack",
    "read_index",
    "read_scale",
    "summary",
]

BLOCK_FRAMES = 4096
PIECE_BYTES = 60 * 2**20
HEADER_BYTES = 128  # of a .npy file
MIN_STD = 0.25


def pack(
    sources: Iterable[Source | Skipped], folder: Path, config: MelConfig
) -> Iterator[Packed | Skipped]:
    """Compute what is missing and write index and statistics, yielding each piece as it is done.

    A file that can't be read is skipped; none is held out where nothing else would be left.
    Raises SegueError when none is left to train on, or when the folder holds another mel.
    """
    (folder / "mels").mkdir(parents=True, exist_ok=True)
    claim(folder, config)
    rows: list[Packed] = []
    for source in sources:
        done = source if isinstance(source, Skipped) else _packed(source, folder, config)
        if isinstance(done, Skipped):
            yield done
            continue
        rows += done
        yield from done
    if not any(row.split == "train" for row in rows):  # of a few files all may be held out
        rows = [replace(row, split="train") for row in rows]
    _save(folder / "scale.npy", _statistics(rows, folder, config))
    write_text(folder / "manifest.json", json.dumps(manifest(rows, config), indent=1) + "\n")
    write_index(rows, folder)


def _packed(source: Source, folder: Path, config: MelConfig) -> list[Packed] | Skipped:
    try:
        str(source.path).encode()  # a name that is not Unicode can't be written to the index
        pieces = _current_pieces(source, folder, config)
        mel = None if pieces else _track_mel(source.path, config)
    except (OSError, RuntimeError, ValueError) as error:  # LibsndfileError is a RuntimeError
        said = str(source.path).encode(errors="replace").decode()
        return Skipped(source=said, why=str(error))
    if mel is not None:
        pieces = _save_pieces(mel, source, folder, config)
    return [
        Packed(
            name=path.stem,
            source=str(source.path),
            package=source.package,
            licence=source.licence,
            split=source.split,
            frames=np.load(path, mmap_mode="r").shape[1],
            tags=tuple(sorted(source.tags)),
        )
        for path in pieces
    ]


def _piece_path(folder: Path, source: Source, number: int) -> Path:
    name = source.name if number == 1 else f"{source.name}.{number}"
    return folder / "mels" / f"{name}.npy"


def _pieces_there(folder: Path, source: Source) -> list[Path]:
    pieces: list[Path] = []
    while (path := _piece_path(folder, source, len(pieces) + 1)).exists():
        pieces.append(path)
    return pieces


def _current_pieces(source: Source, folder: Path, config: MelConfig) -> list[Path]:
    """The pieces of a track when all are as new as its audio and of today's format, else none."""
    changed = _last_changed(source.path)
    pieces = _pieces_there(folder, source)
    for path in pieces:
        mel = np.load(path, mmap_mode="r")
        current = mel.dtype == np.uint8 and len(mel) == config.channels
        if _last_changed(path) < changed or not current:
            return []
    return pieces


def _last_changed(path: Path) -> float:
    """When its content changed, or, where the system tells, an older file was moved to its name."""
    told = path.stat()
    return max(told.st_mtime, told.st_ctime)


def _save_pieces(mel: np.ndarray, source: Source, folder: Path, config: MelConfig) -> list[Path]:
    """Pieces of equal length; the first is written last, so that where it is all are."""
    most = (PIECE_BYTES - HEADER_BYTES) // config.channels
    parts = np.array_split(mel, -(-mel.shape[1] // most), axis=1)
    paths = [_piece_path(folder, source, number + 1) for number in range(len(parts))]
    for path, part in reversed(list(zip(paths, parts, strict=True))):
        _save(path, np.asfortranarray(part))  # frame after frame: a window is one stretch of it
    for path in _pieces_there(folder, source)[len(parts) :]:  # of a longer file of that name
        path.unlink()
    return paths


def _track_mel(path: Path, config: MelConfig) -> np.ndarray:
    """The whole track's mel, made in blocks that see past their ends."""
    audio = read_stereo(path, config.sample_rate)
    frames, margin, blocks = audio.shape[-1] // config.hop, config.n_fft // config.hop, []
    for start in range(0, frames, BLOCK_FRAMES):
        stop, first = min(start + BLOCK_FRAMES, frames), max(0, start - margin)
        last = min(stop + margin, frames)
        mel = log_mel(audio[:, first * config.hop : last * config.hop], config)
        blocks.append(to_bytes(mel[:, start - first : stop - first], config))
    return np.concatenate(blocks, axis=1)


def _save(path: Path, array: np.ndarray) -> None:
    """The file as a whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            np.save(file, array)
        partial.replace(path)
    except OSError:  # a full disk gets its space back
        partial.unlink(missing_ok=True)
        raise


def _statistics(rows: list[Packed], folder: Path, config: MelConfig) -> np.ndarray:
    """Mean and deviation a band, from how often each byte occurs in it."""
    counts = np.zeros((config.channels, 256), np.int64)
    for row in rows:
        if row.split == "train":
            mel = np.load(folder / "mels" / f"{row.name}.npy", mmap_mode="r")
            for band, values in enumerate(mel):
                counts[band] += np.bincount(values, minlength=256)
    total = counts[0].sum()
    if not total:
        text = f"none of the audio can be learned from: it needs {MIN_SECONDS:g} seconds or more"
        raise SegueError(Code.NOT_AUDIO, text)
    values = np.arange(256) * STEP + np.log(config.floor)
    mean = counts @ values / total
    variance = (counts * (values - mean[:, None]) ** 2).sum(1) / total
    return np.stack((mean, np.sqrt(np.maximum(variance, MIN_STD**2)))).astype(np.float32)


class Windows:
    """Random windows of one split, drawn with a generator: normalised mels ready to learn from.

    `tags` are those of the training split, for both splits. Raises SegueError when no piece is
    long enough.
    """

    def __init__(self, folder: Path, split: str, frames: int) -> None:
        index = read_index(folder)
        self.rows = [r for r in index if r.split == split and r.frames >= frames]
        self.mel = read_mel(folder)
        if not self.rows:
            seconds = frames * self.mel.hop / self.mel.sample_rate
            more = "longer ones" if split == "train" else "more: about one in twenty is held out"
            text = f"{folder} holds no {split} track of {seconds:.1f} seconds or more; add {more}"
            raise SegueError(Code.MISSING_FILE, text)
        self.folder = folder
        self.frames = frames
        self.tags = vocabulary(index)
        self.chances = torch.tensor([float(r.frames) for r in self.rows])
        self.scale = read_scale(folder)

    def draw(self, n: int, generator: torch.Generator, *, gain_db: float = 0.0) -> Tensor:
        """(n, channels, frames) normalised mels, each with a random gain of up to ±`gain_db`."""
        tracks = torch.multinomial(self.chances, n, replacement=True, generator=generator)
        windows = torch.stack([self._stretch(self.rows[i], generator) for i in tracks])
        gains = (torch.rand(n, 1, 1, generator=generator) * 2 - 1) * gain_db * NEPERS_A_DB
        floor = np.log(self.mel.floor)
        return self.scale.normalise((windows + gains).clamp(min=floor))

    def draw_tagged(
        self, n: int, generator: torch.Generator, augment: Augment | None = None
    ) -> tuple[Tensor, Tensor]:
        """(n, channels, frames) normalised mels and (n, len(tags)) float, 1 for a tag it has."""
        tracks = torch.multinomial(self.chances, n, replacement=True, generator=generator)
        rows = [self.rows[i] for i in tracks]
        windows = torch.stack([self._window(row, generator, augment) for row in rows])
        hot = torch.tensor([[float(tag in row.tags) for tag in self.tags] for row in rows])
        return self.scale.normalise(windows), hot.reshape(n, len(self.tags))

    def _window(self, row: Packed, generator: torch.Generator, augment: Augment | None) -> Tensor:
        if augment is None:
            return self._stretch(row, generator)
        change = draw_change(augment, generator)
        need = min(change.frames_read(self.frames), row.frames)
        return augmented(self._stretch(row, generator, need), change, self.frames, self.mel)

    def _stretch(
        self, row: Packed, generator: torch.Generator, frames: int | None = None
    ) -> Tensor:
        frames = frames or self.frames
        start = int(torch.randint(row.frames - frames + 1, (1,), generator=generator))
        return load_mel(self.folder, row, self.mel, start, frames)
