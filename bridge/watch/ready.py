"""Which files of a watched folder are ready to be made into clips; no disk and no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

SETTLE_SECONDS = 2.0  # without a change, after which a file counts as written
AUDIO = frozenset({".wav", ".wave", ".w64", ".rf64", ".flac", ".aif", ".aiff", ".aifc", ".caf"})
AUDIO |= {".ogg", ".oga", ".opus", ".mp3"}
SHEETS = (".toml", ".json")  # the first one there counts


@dataclass(frozen=True, slots=True)
class Stamp:
    """What shows that a file has changed."""

    size: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class Job:
    """An audio file of the folder, the sheet that says what to make of it, and both as seen."""

    audio: str
    audio_stamp: Stamp
    sheet: str | None = None
    sheet_stamp: Stamp | None = None


class Watch:
    """Remembers what it saw when, and what was begun; `now` is in seconds of any clock."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Stamp, float]] = {}
        self._begun: dict[str, Job] = {}

    def scan(self, listing: Mapping[str, Stamp], now: float) -> list[Job]:
        """Jobs whose files are written and were not begun as they are now, oldest file first."""
        self._look(listing, now)
        self._begun = {name: job for name, job in self._begun.items() if name in listing}
        jobs = (self._job(name) for name in listing if is_audio(name))
        ready = [job for job in jobs if self._is_written(job, now) and not self._is_begun(job)]
        return sorted(ready, key=lambda job: (job.audio_stamp.modified_ns, job.audio))

    def begin(self, job: Job) -> None:
        """Do not offer this job again, until one of its files changes."""
        self._begun[job.audio] = job

    def _look(self, listing: Mapping[str, Stamp], now: float) -> None:
        before = self._seen
        self._seen = {}
        for name, stamp in listing.items():
            known = before.get(name)
            self._seen[name] = known if known is not None and known[0] == stamp else (stamp, now)

    def _job(self, name: str) -> Job:
        stamp = self._seen[name][0]
        for ending in SHEETS:
            sheet = f"{PurePath(name).stem}{ending}"
            if sheet in self._seen:
                return Job(name, stamp, sheet, self._seen[sheet][0])
        return Job(name, stamp)

    def _is_written(self, job: Job, now: float) -> bool:
        """An empty file is one that somebody is about to write."""
        names = (job.audio,) if job.sheet is None else (job.audio, job.sheet)
        still = all(now - self._seen[name][1] >= SETTLE_SECONDS for name in names)
        return still and job.audio_stamp.size > 0

    def _is_begun(self, job: Job) -> bool:
        return self._begun.get(job.audio) == job


def is_audio(name: str) -> bool:
    """Whether a file is to be made into a clip, by its name; hidden ones are not."""
    return PurePath(name).suffix.lower() in AUDIO and not name.startswith(".")


def is_remarkable(name: str) -> bool:
    """Whether to say that a file is left alone: not of hidden files and sheets."""
    hidden = name.startswith(".")
    return not (hidden or is_audio(name) or PurePath(name).suffix.lower() in SHEETS)
