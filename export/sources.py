"""What a training set is made from: files with a licence, a split and tags."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from segue.presets.vocabulary import Code, SegueError

AUDIO_SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff"}
MIN_SECONDS = 3.0
MAX_SECONDS = 7200.0  # a whole track is in memory as it is packed
SILENT_PEAK = 1e-4
MAX_PEAK = 3.0  # 9.5 dB over full scale: louder is not audio but integers written as floats
HELD_OUT_OF_256 = 13  # about 5 %
TAGS_FILE = "tags.tsv"
TAG = re.compile(r"[a-z0-9][a-z0-9 &-]{0,31}")


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file to learn from. `package` says where it is from, in words that may be published."""

    path: Path
    licence: str
    split: str
    package: str = "yours"
    tags: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """A file name for its mel that no other path shares."""
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]
        return f"{self.path.stem[:40]}-{digest}"


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A file, or a line of a file, that taught nothing."""

    source: str
    why: str


def split_of(name: str) -> str:
    """`train`, or `heldout` for about one name in twenty, by its hash: stable as a list grows."""
    first = hashlib.sha256(os.fsencode(name)).digest()[0]
    return "heldout" if first < HELD_OUT_OF_256 else "train"


def folder_sources(
    folder: Path, tags: Mapping[Path, tuple[str, ...]] | None = None
) -> list[Source]:
    """Every audio file below `folder`; about one in twenty is held out, by a hash of its path.

    tags: what `read_tags` gives. Raises SegueError when there is no audio.
    """
    root = folder.resolve()
    paths = sorted(p for p in root.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    if not paths:
        known = " ".join(sorted(AUDIO_SUFFIXES))
        raise SegueError(Code.MISSING_FILE, f"no audio in {folder}: it needs files in {known}")
    splits = [split_of(str(p.relative_to(root))) for p in paths]
    if "train" not in splits:  # a folder of one or two files
        splits = ["train"] * len(splits)
    given = tags or {}
    return [
        Source(path=p, licence="yours", split=split, tags=given.get(p, ()))
        for p, split in zip(paths, splits, strict=True)
    ]


def read_tags(folder: Path) -> tuple[dict[Path, tuple[str, ...]], list[Skipped]]:
    """The tags in `folder`/tags.tsv by file, and the lines of it that are of no use.

    A line is a path relative to the folder, a tab, and names joined by commas, in letters,
    digits, spaces, `&` and `-`. Empty lines and those that start with # are comments.
    """
    root, found, problems = folder.resolve(), {}, []
    if not (root / TAGS_FILE).is_file():
        return {}, []
    text = (root / TAGS_FILE).read_text(encoding="utf-8-sig", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            path, tags = _tag_line(line, root)
            found[path] = tags
        except ValueError as error:
            problems.append(Skipped(source=f"{TAGS_FILE} line {number}", why=str(error)))
    return found, problems


def _tag_line(line: str, root: Path) -> tuple[Path, tuple[str, ...]]:
    name, tab, listed = line.partition("\t")
    if not tab:
        raise ValueError("it needs a path, a tab and tags joined by commas")
    path = root / name.strip().replace("\0", "")
    if not path.is_file():
        raise ValueError(f"there is no file {name.strip()!r}")
    return path, tag_names(listed)


def tag_names(listed: str) -> tuple[str, ...]:
    """Names joined by commas, sorted, each once. Raises ValueError for what is not a name."""
    tags = {each.strip().lower() for each in listed.split(",")} - {""}
    wrong = sorted(tag for tag in tags if not TAG.fullmatch(tag))
    if wrong:
        text = f"{wrong[0]!r} is no tag: up to 32 letters, digits, spaces, & and -"
        raise ValueError(text)
    return tuple(sorted(tags))


def read_stereo(path: Path, sample_rate: int) -> Tensor:
    """(2, samples) float32 at `sample_rate`; mono is doubled.

    Raises soundfile.LibsndfileError, or ValueError for audio there is nothing to learn from.
    """
    if (seconds := soundfile.info(path).duration) > MAX_SECONDS:
        hours = f"{seconds / 3600:.1f} hours"
        raise ValueError(f"it is {hours} long; cut it into files of up to {MAX_SECONDS / 3600:g}")
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    if len(audio) < MIN_SECONDS * rate:
        raise ValueError(f"it is shorter than {MIN_SECONDS:g} seconds")
    peak = max(float(audio.max()), -float(audio.min()))  # NaN when any sample is
    if not np.isfinite(peak):
        raise ValueError("it holds NaN or infinite samples")
    if peak < SILENT_PEAK:
        raise ValueError("it is silent")
    if peak > MAX_PEAK:
        raise ValueError(f"its peak is {peak:.3g} of full scale: integers written as floats?")
    stereo = audio[:, :2] if audio.shape[1] > 1 else np.repeat(audio, 2, axis=1)
    if rate != sample_rate:
        stereo = soxr.resample(stereo, rate, sample_rate)
    return torch.from_numpy(np.ascontiguousarray(stereo.T))
