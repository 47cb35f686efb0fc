"""The format of a training set on disk: pieces of 8-bit log-mels, an index, a manifest.

A byte b stands for the natural-log mel log(floor) + 0.05 b: steps of 0.434 dB from -100 dB, the
front end's floor, to +10.7 dB of a full-scale sine (the loudest band of the free music reaches
+2.1 dB).
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.mel import MELS, MelConfig, MelScale

STEP = 0.05  # natural log; 0.434 dB


@dataclass(frozen=True, kw_only=True)
class Packed:
    """One row of the index: a piece of a track, nearly always the whole."""

    name: str
    source: str
    package: str = "yours"
    licence: str
    split: str
    frames: int
    tags: tuple[str, ...] = ()


def to_bytes(mel: Tensor, config: MelConfig) -> np.ndarray:
    """Natural-log mels of any shape to uint8, rounded to the nearest step."""
    steps = (mel - np.log(config.floor)) / STEP
    return steps.round().clamp(0, 255).to(torch.uint8).numpy()


def from_bytes(array: np.ndarray, config: MelConfig) -> Tensor:
    """The inverse of `to_bytes`: float32 natural-log mels."""
    return torch.from_numpy(array.astype(np.float32)) * STEP + float(np.log(config.floor))


def write_text(path: Path, text: str) -> None:
    """The file as a whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8", newline="")
    partial.replace(path)


def write_index(rows: list[Packed], folder: Path) -> None:
    """What `read_index` reads."""
    partial = folder / "index.tsv.partial"
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(Packed.__annotations__), delimiter="\t")
        writer.writeheader()
        writer.writerows({**asdict(row), "tags": ",".join(row.tags)} for row in rows)
    partial.replace(folder / "index.tsv")


def _hours(rows: Iterable[Packed], config: MelConfig) -> float:
    return round(sum(r.frames for r in rows) * config.hop / config.sample_rate / 3600, 3)


def manifest(rows: list[Packed], config: MelConfig) -> dict[str, object]:
    """What to say of the data without naming a file: tracks and hours by package and licence."""
    parts: dict[tuple[str, str, str], list[Packed]] = defaultdict(list)
    for row in rows:
        parts[row.package, row.licence, row.split].append(row)
    return {
        "format": f"uint8 log-mels, {STEP} a step from log({config.floor:g})",
        "mel": asdict(config),
        "tags": list(vocabulary(rows)),
        "parts": [
            {
                "package": package,
                "licence": licence,
                "split": split,
                "tracks": len({row.source for row in part}),
                "hours": _hours(part, config),
            }
            for (package, licence, split), part in sorted(parts.items())
        ],
    }


def summary(folder: Path) -> str:
    """One line of JSON for the weights' metadata: tracks, hours a split and licence, index hash."""
    rows, mel = read_index(folder), read_mel(folder)
    told = {
        "tracks": len({row.source for row in rows}),
        "hours": {s: _hours((r for r in rows if r.split == s), mel) for s in ("train", "heldout")},
        "licences": {
            licence: _hours((r for r in rows if r.licence == licence), mel)
            for licence in sorted({row.licence for row in rows})
        },
        "index_sha256": hashlib.sha256((folder / "index.tsv").read_bytes()).hexdigest(),
    }
    return json.dumps(told)


def read_index(folder: Path) -> list[Packed]:
    """The packed pieces. Raises SegueError when `folder` was never packed to the end."""
    try:
        with (folder / "index.tsv").open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t")
            if "frames" in (names := reader.fieldnames or []) and "tags" not in names:
                text = f"{folder} was packed by an older Segue; run `segue data` again"
                raise SegueError(Code.MISSING_FILE, text)
            return [_row(each) for each in reader]
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        text = f"{folder} holds no training data; make it with `segue data MUSIC --out {folder}`"
        raise SegueError(Code.MISSING_FILE, text) from error


def _row(told: dict[str, str]) -> Packed:
    tags = tuple(told["tags"].split(",")) if told["tags"] else ()
    return Packed(**{**told, "frames": int(told["frames"]), "tags": tags})  # type: ignore[arg-type]


def read_mel(folder: Path) -> MelConfig:
    """The front end that a folder was packed with. Raises SegueError when it does not tell."""
    try:
        told = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        return MelConfig(**told["mel"])
    except FileNotFoundError as error:
        text = f"{folder} holds no training data; make it with `segue data MUSIC --out {folder}`"
        raise SegueError(Code.MISSING_FILE, text) from error
    except (OSError, KeyError, TypeError, ValueError) as error:
        text = f"{folder} has no manifest.json that tells its mel; run `segue data` again"
        raise SegueError(Code.MISSING_FILE, text) from error


def claim(folder: Path, config: MelConfig) -> None:
    """Record the mel of a folder before the first piece is in it.

    Raises SegueError when it is another's: pieces of two mels can't be told apart.
    """
    if not (folder / "manifest.json").exists():
        write_text(folder / "manifest.json", json.dumps(manifest([], config), indent=1) + "\n")
    elif (held := read_mel(folder)) != config:
        kind = f"{held.channels} rows a frame, {held.sample_rate} Hz"
        text = f"{folder} holds another mel ({kind}); give --out another folder"
        raise SegueError(Code.BAD_REQUEST, text)


def check_mel(folder: Path, channels: int) -> None:
    """Raises SegueError saying how to pack, when a network of `channels` can't learn from it."""
    held = read_mel(folder).channels
    if held == channels:
        return
    text = f"{folder} holds mels of {held} rows a frame, and the network takes {channels}"
    for name, mel in MELS.items():
        if mel.channels == channels:
            text += f"; make them with `segue data MUSIC --mel {name} --out FOLDER`"
    raise SegueError(Code.BAD_REQUEST, text)


def read_scale(folder: Path) -> MelScale:
    """The statistics of the training split. Raises SegueError when `folder` holds no data."""
    read_mel(folder)
    return MelScale(*torch.from_numpy(np.load(folder / "scale.npy")))


def load_mel(
    folder: Path, row: Packed, config: MelConfig, start: int = 0, frames: int | None = None
) -> Tensor:
    """(channels, frames) float32 natural-log mel of a piece, or of a stretch of it."""
    # opened anew each time: a map that stays open holds one of the process's file handles
    mel = np.load(folder / "mels" / f"{row.name}.npy", mmap_mode="r")
    stop = row.frames if frames is None else start + frames
    return from_bytes(mel[:, start:stop], config)


def vocabulary(rows: Iterable[Packed]) -> tuple[str, ...]:
    """Every tag of the training split, sorted."""
    return tuple(sorted({tag for row in rows if row.split == "train" for tag in row.tags}))
