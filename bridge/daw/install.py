"""Putting Segue's scripts into a DAW's folder, and nothing over what is not Segue's."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources.abc import Traversable
from pathlib import Path

from segue.presets.vocabulary import Code, SegueError

MARKER = "Segue: placed by `segue install`"
MARKER_WITHIN_BYTES = 2048  # of a file's beginning


class Fate(StrEnum):
    """What became of a file, or would in a dry run."""

    WRITTEN = "written"
    REPLACED = "replaced"  # an earlier one of ours
    ADDED = "added to what is there"
    SAME = "already there"
    FULL = "left as it is, for it has no room: register the scripts by hand"
    KEPT = "kept, it is not Segue's"


@dataclass(frozen=True, slots=True)
class Placed:
    """One file of a DAW's folder."""

    path: Path
    fate: Fate


def copy_scripts(source: Traversable, target: Path, *, dry_run: bool = False) -> list[Placed]:
    """Copy a file, or a folder with all that is in it, of the package to `target`.

    `target` is the name it gets. Every file must hold MARKER near its beginning. Raises
    SegueError(DISK) naming what cannot be written.
    """
    if source.is_file():
        return [place(source.read_bytes(), target, dry_run=dry_run)]
    placed = []
    for each in sorted(source.iterdir(), key=lambda entry: entry.name):
        if each.name != "__pycache__" and not each.name.endswith(".pyc"):
            placed += copy_scripts(each, target / each.name, dry_run=dry_run)
    return placed


def place(data: bytes, target: Path, *, dry_run: bool = False) -> Placed:
    """Write one file of ours, unless somebody else's is there. Raises as `copy_scripts`."""
    if not _is_ours(data):
        raise ValueError(f"{target.name} lacks the line that says whose it is: {MARKER!r}")
    try:
        fate = _fate(data, target)
        if fate in (Fate.WRITTEN, Fate.REPLACED) and not dry_run:
            write(data, target)
    except OSError as error:
        text = f"{target} cannot be written ({error.strerror}): see to it, then install again"
        raise SegueError(Code.DISK, text) from error
    return Placed(target, fate)


def _fate(data: bytes, target: Path) -> Fate:
    if not os.path.lexists(target):
        return Fate.WRITTEN
    if not target.is_file():
        return Fate.KEPT
    there = target.read_bytes()
    if there == data:
        return Fate.SAME
    return Fate.REPLACED if _is_ours(there) else Fate.KEPT


def _is_ours(data: bytes) -> bool:
    return MARKER.encode() in data[:MARKER_WITHIN_BYTES]


def write(data: bytes, target: Path) -> None:
    """All of it or nothing: a DAW may be running. Raises OSError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f"{target.name}.segue-new")
    try:
        fresh.write_bytes(data)
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)
