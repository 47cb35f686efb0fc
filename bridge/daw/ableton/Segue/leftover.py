# Segue: placed by `segue install`
"""Jobs that were under way when the set was closed, or Live ended: the next start asks for them.

Their orders are kept whole, for Segue answers the same order with what came of it.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import NamedTuple

from .region import Region, RowList
from .wish import Wish

FILE = "live-jobs.json"  # in the folder of ports
MAX_BYTES = 1 << 20


class Left(NamedTuple):
    """What was asked for: of which clip, in which set."""

    name: str
    set_name: str
    region: Region
    wish: Wish


class Leftovers:
    """The file of jobs that were accepted and have not ended; without a path it keeps none."""

    def __init__(self, path: str = "") -> None:
        self._path = path
        self.jobs = _read(path)

    def add(self, job_id: str, left: Left) -> None:
        """A job is under way."""
        if job_id not in self.jobs:
            self.jobs[job_id] = left
            self._write()

    def remove(self, job_id: str) -> None:
        """It has ended, and the producer knows."""
        if self.jobs.pop(job_id, None) is not None:
            self._write()

    def _write(self) -> None:
        if self._path:
            with suppress(OSError):  # then nothing is told after a crash
                os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
                with open(self._path + ".part", "w", encoding="utf-8") as file:
                    json.dump(self.jobs, file)
                os.replace(self._path + ".part", self._path)


def _read(path: str) -> dict[str, Left]:
    try:
        with open(path, encoding="utf-8") as file:
            jobs = json.loads(file.read(MAX_BYTES))
        return {job_id: _left(*fields) for job_id, fields in jobs.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _left(name: str, set_name: str, region: list[object], wish: list[object]) -> Left:
    whole = Region(*region)  # type: ignore[arg-type]
    lists = tuple(RowList(*rows) for rows in whole.lists)
    return Left(name, set_name, whole._replace(lists=lists), Wish(*wish))  # type: ignore[arg-type]
