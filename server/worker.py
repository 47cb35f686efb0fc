"""The thread that owns the engine and makes one job at a time."""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, Protocol

from segue.presets.vocabulary import (
    Cancelled,
    Code,
    Event,
    Failure,
    Progress,
    Request,
    Result,
    SegueError,
)
from segue.server.config import may_compile
from segue.server.desk import Desk
from segue.server.jobs import Job

NICENESS = 10  # below the DAW and its audio
REST_SECONDS = 10.0  # without a job, after the first one, before later ones are made faster
TELL_SECONDS = 0.1  # at most so often: news take processor time in three programs
STOP_SECONDS = 5.0  # an iteration takes under a second; loading cannot be interrupted
MAX_TEXT = 500  # characters of a foreign exception

log = logging.getLogger(__name__)


class Engine(Protocol):
    """What the worker needs of `segue.server.engine.Engine`.

    `run` calls `on_progress` about once an iteration; what that raises comes
    out of `run` at once, with nothing left at `out_path`.
    """

    @property
    def device(self) -> str:
        """Where it computes, for people to read."""
        ...

    def run(
        self, request: Request, out_path: Path, on_progress: Callable[[Progress], None]
    ) -> Result:
        """Make the clip at `out_path`. Raises SegueError."""
        ...

    def warm(self) -> None:
        """Do, in a few seconds, what the first run would take longer for than later ones."""
        ...

    def quicken(self) -> Iterator[float]:
        """Make later runs faster, a step of a few seconds at a time while no job waits.

        Yields for how many seconds none should have come before the next step.
        """
        ...


class InterruptedRunError(Exception):
    """Raised inside the engine's progress call to end the run: a cancel or a stop."""


class Worker:
    """Loads the engine, then runs the desk's jobs until told to stop.

    `state`, `device` and `problem` may be read from any thread.
    """

    def __init__(
        self,
        desk: Desk,
        load: Callable[[], Engine],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.state: Literal["loading", "ready", "failed"] = "loading"
        self.device = ""
        self.problem: str | None = None
        self._desk = desk
        self._load = load
        self._clock = clock
        self._engine: Engine | None = None
        self._stopping = False
        self._told: Progress | None = None
        self._told_at = -math.inf
        self._worked = False
        self._quickening: Iterator[float] = iter(())
        self._quiet: float | None = REST_SECONDS  # before the next step of that
        self._thread = threading.Thread(target=self._loop, name="segue-worker", daemon=True)

    def load(self) -> None:
        """Load the engine. Never raises: `state` and `problem` say how it went."""
        try:
            self._engine = self._load()
        except Exception as error:
            said = error.text if isinstance(error, SegueError) else None
            self.problem = said or _foreign(error)
            log.error("the model could not be loaded: %s", self.problem, exc_info=said is None)
            self.state = "failed"
        else:
            self._warm(self._engine)
            self._quickening = self._engine.quicken()
            self.device = self._engine.device
            self.state = "ready"

    def _warm(self, engine: Engine) -> None:
        try:
            engine.warm()
        except Exception:  # the first job will say what is wrong, to whom it concerns
            log.exception("the model could not be warmed up")

    def run_once(self, now: float) -> bool:
        """Run the next job to its end; False when none waits."""
        job = self._desk.next(now)
        if job is None:
            return False
        event = self._run(job)
        latest = self._desk.running
        if latest is not None and latest.cancelling:
            self._desk.discard(job.id)
            event = Cancelled(id=job.id)
        if event is None:
            self._desk.release(job.id, self._clock())
        else:
            self._desk.report(event, self._clock())
        return True

    def start(self) -> None:
        """Begin in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; a running job goes back to the queue. Waits STOP_SECONDS at most."""
        self._stopping = True
        self._desk.work.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def _run(self, job: Job) -> Event | None:
        """How the job ended; None when it was interrupted."""
        if self._engine is None:
            text = f"no model is loaded: {self.problem}"
            return Failure(id=job.id, code=Code.NO_MODEL, text=text)
        try:
            out_path = self._desk.result_path(job.id)
            result = self._engine.run(job.request, out_path, self._on_progress)
            if result.id != job.id:
                raise ValueError(f"the engine answered for {result.id!r}")
            return result
        except InterruptedRunError:
            return None
        except SegueError as error:
            return error.failure(job.id)
        except Exception as error:
            log.exception("job %s failed", job.id)
            text = f"{_foreign(error)} (this is a bug; the server's log has the details)"
            return Failure(id=job.id, code=Code.INTERNAL, text=text)

    def _on_progress(self, progress: Progress) -> None:
        """Pass it on if it says something new or the last one was a while ago."""
        now, told = self._clock(), self._told
        job = self._desk.running
        said = told and (told.id, told.stage, told.preview)
        if said != (progress.id, progress.stage, progress.preview) or (
            now - self._told_at >= TELL_SECONDS
        ):
            job = self._desk.report(progress, now)
            self._told, self._told_at = progress, now
        if self._stopping or (job is not None and job.cancelling):
            raise InterruptedRunError

    def _loop(self) -> None:
        _lower_priority()
        self.load()
        while not self._stopping:
            self._desk.work.clear()
            try:
                worked = self.run_once(self._clock())
            except Exception:
                log.exception("the worker goes on after a bug")
                worked = False
            self._worked = self._worked or worked
            if not worked and not self._stopping:
                self._rest()

    def _rest(self) -> None:
        """Wait for a job; after the first and while none comes, make later ones faster."""
        quiet = self._quiet if self._worked and may_compile() else None
        if self._desk.work.wait(quiet):
            return
        try:
            self._quiet = next(self._quickening, None)
        except Exception:
            log.exception("later jobs will be no faster")
            self._quiet = None


def _foreign(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:MAX_TEXT]}"


def _lower_priority() -> None:
    """Linux gives each thread its own niceness, and threads it starts inherit it."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
