"""`segue watch` at work: looks into the folder, has clips made one after the other."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from segue.bridge.offline import Run
from segue.bridge.watch.ready import Job, Stamp, Watch, is_remarkable
from segue.bridge.watch.results import Results
from segue.bridge.watch.sheet import digest_of, request_of
from segue.presets.vocabulary import Code, Progress, Result, SegueError

POLL_SECONDS = 0.5
MAX_FILES = 10_000  # that are looked at; more wait until some are gone

Say = Callable[[str], None]


class WatchedFolder:
    """A folder whose audio files become clips, by the sheets beside them or else by `options`.

    `options` are words of a sheet, see `request_of_sheet`. `say` gets one line for people at a
    time.
    """

    def __init__(
        self, folder: Path, options: Mapping[str, Any], run: Run, say: Say = print
    ) -> None:
        if not folder.is_dir():
            raise SegueError(Code.MISSING_FILE, f"there is no folder {folder}: make it first")
        self._folder, self._options, self._run = folder.absolute(), options, run
        self._say = say
        self._results = Results(self._folder)
        self._told: set[str] = set()
        self._watch = Watch()
        self.making = ""  # the file whose clip is being made

    def step(self, now: float) -> bool:
        """Look into the folder and make one clip, if there is one to make; says whether."""
        jobs = self._watch.scan(self._listing(), now)
        if jobs:
            self._watch.begin(jobs[0])
            self._make(jobs[0])
        return bool(jobs)

    def _listing(self) -> dict[str, Stamp]:
        try:
            with os.scandir(self._folder) as entries:
                found = [entry for entry, _ in zip(entries, range(MAX_FILES + 1), strict=False)]
        except OSError as error:
            text = f"{self._folder} cannot be read any more ({error.strerror}): is it still there?"
            raise SegueError(Code.DISK, text) from error
        self._told &= {entry.name for entry in found} | {""}
        if len(found) > MAX_FILES:
            self._tell("", f"more than {MAX_FILES} files: take some out, the rest wait")
        stamps = ((entry.name, self._stamp(entry)) for entry in found[:MAX_FILES])
        return {name: stamp for name, stamp in stamps if stamp is not None}

    def _stamp(self, entry: os.DirEntry[str]) -> Stamp | None:
        """None for what is left alone, with a line for what somebody may wonder about."""
        try:
            if entry.is_dir(follow_symlinks=False):
                return None
            if not entry.is_file(follow_symlinks=False):
                self._tell(entry.name, "a link or device: left alone")
                return None
            if is_remarkable(entry.name):
                self._tell(entry.name, "no audio file: left alone")
                return None
            # Not entry.stat(): on Windows its size is that of before the file was opened.
            status = os.stat(entry.path, follow_symlinks=False)
        except OSError:  # gone meanwhile
            return None
        return Stamp(status.st_size, status.st_mtime_ns)

    def _tell(self, name: str, text: str) -> None:
        """Once, as long as it is there."""
        if name not in self._told:
            self._told.add(name)
            self._line(name or self._folder.name, text)

    def _line(self, name: str, text: str) -> None:
        self._say(f"{printable(name)}: {printable(text)}")

    def _make(self, job: Job) -> None:
        self.making = job.audio
        try:
            result = self._result(job)
        except SegueError as error:
            self._fail(job, error.text)
        except Exception as error:  # one file must not end the watch
            self._fail(job, f"{type(error).__name__}: {error}: this is a bug; please report it")
        else:
            if result is not None:
                made = result.new_samples / result.sample_rate
                where = f"{self._results.folder.name}/{Path(result.path).name}"
                self._line(job.audio, f"{where}, {made:.1f} s new in {result.taken_seconds:.1f} s")
        self.making = ""

    def _result(self, job: Job) -> Result | None:
        """The clip of a job; None if there is one already."""
        digest = digest_of(self._folder, job)
        if self._results.has(job.audio, digest):
            return None
        request = request_of(self._folder, job, self._options)
        out = self._results.free(Path(job.audio).stem)
        self._line(job.audio, "being made")
        result = self._run(request, out, _ignore)
        self._results.add(job.audio, digest, result)
        return result

    def _fail(self, job: Job, text: str) -> None:
        sentence = f"{printable(job.audio)}: {text}"
        self._say(printable(sentence))
        try:
            self._results.fail(job.audio, sentence)
        except SegueError as error:
            self._say(printable(error.text))


def run_watch(
    watched: WatchedFolder,
    say: Say = print,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Watch until Ctrl-C. Raises SegueError when the folder cannot be read any more."""
    try:
        while True:
            if not watched.step(clock()):
                sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        left = printable(watched.making)
        say(f"stopped; {left} is made when you watch again" if left else "stopped")


def printable(text: str) -> str:
    """On one line and in Unicode, whatever a file is called."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _ignore(progress: Progress) -> None:
    """Nobody looks."""
