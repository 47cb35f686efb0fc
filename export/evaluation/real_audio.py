"""Stretches of the real music that training data was made from, whole windows side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from segue.export.packed import read_index
from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.mel import MelConfig

SPARE_SAMPLES = 64  # for the resampler's edges


@dataclass(frozen=True)
class Stretch:
    """Part of an audio file: where it lies, and for how long."""

    path: Path
    start_seconds: float
    length_seconds: float

    def read(self, mel: MelConfig) -> Tensor:
        """(2, samples) at the front end's rate, whole frames; mono is doubled.

        Raises SegueError when the file can't be read any more.
        """
        samples = mel.frames(self.length_seconds) * mel.hop
        try:
            with soundfile.SoundFile(self.path) as file:
                ratio = file.samplerate / mel.sample_rate
                file.seek(min(round(self.start_seconds * file.samplerate), file.frames))
                need = int(np.ceil(samples * ratio)) + SPARE_SAMPLES
                audio = file.read(need, dtype="float32", always_2d=True)
        except (OSError, RuntimeError) as error:  # LibsndfileError is a RuntimeError
            text = f"can't read {self.path}: {error}; run `segue data` again"
            raise SegueError(Code.NOT_AUDIO, text) from error
        if ratio != 1:
            audio = soxr.resample(audio, ratio, 1)
        stereo = np.zeros((2, samples), np.float32)
        stereo[:, : len(audio)] = audio[:samples, :2].T  # a mono file fills both rows
        return torch.from_numpy(stereo)


def tracks(data: Path, split: str, frames: int, mel: MelConfig) -> list[list[Stretch]]:
    """Each track of a split, cut into stretches of `frames` that do not overlap.

    Tracks whose audio is gone or too short are left out. Raises SegueError when none is left.
    """
    seconds = frames * mel.hop / mel.sample_rate
    lengths: dict[str, int] = {}
    for row in read_index(data):  # a long track may be packed in pieces
        if row.split == split and Path(row.source).is_file():
            lengths[row.source] = lengths.get(row.source, 0) + row.frames
    cut = [
        [Stretch(Path(source), i * seconds, seconds) for i in range(length // frames)]
        for source, length in lengths.items()
        if length >= frames
    ]
    if not cut:
        text = f"{data} names no {split} audio of {seconds:.1f} s that is still there"
        more = "longer ones" if split == "train" else "more: about one in twenty is held out"
        raise SegueError(Code.MISSING_FILE, f"{text}; add {more}; then run `segue data` again")
    return cut


def choose(cut: list[list[Stretch]], n: int, generator: torch.Generator) -> list[Stretch]:
    """`n` stretches of all tracks in random order, none twice; fewer when there are fewer."""
    flat = [stretch for stretches in cut for stretch in stretches]
    order = torch.randperm(len(flat), generator=generator)[:n]
    return [flat[i] for i in order.tolist()]


def halves(
    cut: list[list[Stretch]], generator: torch.Generator
) -> tuple[list[list[Stretch]], list[list[Stretch]]]:
    """Two sets of whole tracks of about the same length, longest tracks dealt out first.

    Ties and the order of equals are drawn. Raises SegueError for a single track.
    """
    if len(cut) < 2:
        text = "there is one held-out track only; two or more make the halves of the floor"
        raise SegueError(Code.BAD_REQUEST, text)
    order = torch.randperm(len(cut), generator=generator).tolist()
    sides: tuple[list[list[Stretch]], list[list[Stretch]]] = ([], [])
    for track in sorted((cut[i] for i in order), key=len, reverse=True):
        min(sides, key=lambda side: sum(map(len, side))).append(track)
    return sides
