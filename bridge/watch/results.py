"""What was made of a watched folder: clips, a sheet beside each, and sentences about failures."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from segue.presets.vocabulary import Code, Result, SegueError

FOLDER = "segue"  # of results, inside the watched one
MAX_RESULTS = 100_000  # that are remembered
MAX_STEM_BYTES = 200  # of the 255 that systems allow; more is put behind it


class Results:
    """The folder of results. Raises SegueError(DISK) when it cannot be written.

    `NAME.json` beside `NAME.wav` says from which file, by name and content, it was made; it is
    written last, so whoever sees it can take the clip.
    """

    def __init__(self, watched: Path) -> None:
        self.folder = watched / FOLDER
        self._made: dict[tuple[str, str], None] = {}
        for path in self._listing():
            if path.suffix == ".json":
                self._remember(_source(path))

    def has(self, name: str, digest: str) -> bool:
        """Whether a file of this name and content was made into a clip."""
        return (name, digest) in self._made

    def free(self, stem: str) -> Path:
        """Where the next clip of a name goes: `stem.wav`, `stem-2.wav`, ...; nothing is there."""
        if len(os.fsencode(stem)) > MAX_STEM_BYTES:
            raise SegueError(Code.DISK, "its name is too long: give it a shorter one")
        names = {path.name.casefold() for path in self._listing()}  # as on Windows and macOS
        for number in count(1):
            chosen = stem if number == 1 else f"{stem}-{number}"
            first = chosen.casefold()
            taken = names & {f"{first}.wav", f"{first}.json"}
            further = f"{first}~"  # ~2, ~overlay: more clips
            if not taken and not any(name.startswith(further) for name in names):
                return self.folder / f"{chosen}.wav"
        raise AssertionError("unreachable: numbers do not end")

    def add(self, name: str, digest: str, result: Result) -> None:
        """Write a clip's sheet; the failure that this name once had is forgotten."""
        source = {"name": name, "sha256": digest}
        text = json.dumps({"source": source, "result": result.model_dump(mode="json")}, indent=2)
        clip = Path(result.path)
        _write(clip.with_suffix(".json"), text)
        self._remember((name, digest))
        _failure_of(self.folder, name).unlink(missing_ok=True)

    def fail(self, name: str, text: str) -> None:
        """Leave a sentence about a file that no clip could be made of."""
        self._listing()
        _write(_failure_of(self.folder, name), f"{text}\n")

    def _listing(self) -> list[Path]:
        """What lies there; the folder is made anew should somebody have deleted it."""
        try:
            self.folder.mkdir(exist_ok=True)
            return list(self.folder.iterdir())
        except OSError as error:
            text = f"{self.folder} cannot be used ({error.strerror}): watch another folder"
            raise SegueError(Code.DISK, text) from error

    def _remember(self, source: tuple[str, str] | None) -> None:
        if source is not None:
            self._made[source] = None
        if len(self._made) > MAX_RESULTS:
            del self._made[next(iter(self._made))]


def _failure_of(folder: Path, name: str) -> Path:
    return folder / f"{name}.error.txt"


def _source(sheet: Path) -> tuple[str, str] | None:
    """The name and hash in a sheet; None for a file that is none of ours."""
    try:
        source: Any = json.loads(sheet.read_text(encoding="utf-8"))["source"]
        return str(source["name"]), str(source["sha256"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def _write(path: Path, text: str) -> None:
    """Seen whole or not at all."""
    fresh = path.with_name(f".{path.name}.partial")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise SegueError(Code.DISK, f"{path} cannot be written: {error.strerror}") from error
