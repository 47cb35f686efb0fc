"""The one place where jobs, their store and those who listen change together."""

from __future__ import annotations

import logging
import secrets
import threading
from pathlib import Path

from segue.presets.vocabulary import MAX_SEED, Code, Event, Request, SegueError, State, Status
from segue.server.events import Hub
from segue.server.jobs import (
    HISTORY_LIMIT,
    TERMINAL,
    Job,
    Jobs,
    check_request,
    recovered,
    same_again,
    unknown,
)
from segue.server.store import Store

log = logging.getLogger(__name__)


class Desk:
    """Takes requests from HTTP on one side, hands jobs to the worker on the other.

    Every method may be called from any thread. `work` is set when there may be
    something to run. What a caller is told has been kept on disk before.
    """

    def __init__(self, store: Store, hub: Hub, *, queue_limit: int, now: float) -> None:
        self.work = threading.Event()
        self._store = store
        self._hub = hub
        self._lock = threading.Lock()
        self._jobs = Jobs(queue_limit=queue_limit)
        for stored in store.load(HISTORY_LIMIT):
            job = recovered(stored, now)
            if job.state is not stored.state:
                store.save(job)
            self._jobs.restore(job)
        self.work.set()

    @property
    def queued(self) -> int:
        """How many jobs wait; does not block."""
        return self._jobs.queued

    @property
    def running(self) -> Job | None:
        """The job being made; does not block."""
        return self._jobs.running

    def submit(self, request: Request, now: float) -> tuple[Status, bool]:
        """The job of this request, and whether it is new; draws the seed when none is given.

        Jobs of its slot that still wait are cancelled.

        Raises SegueError: BAD_REQUEST, ID_TAKEN, QUEUE_FULL, DISK.
        """
        check_request(request)
        with self._lock:
            if (known := self._find(request.id)) is not None:
                return same_again(known, request).status(), False
            if self._store.result_path(request.id).exists():
                text = f"id {request.id!r} has a result from before that would be overwritten"
                raise SegueError(Code.ID_TAKEN, f"{text}: choose a new one")
            if request.seed is None:
                request = request.model_copy(update={"seed": secrets.randbelow(MAX_SEED + 1)})
            job = self._jobs.submit(request, now)
            try:
                self._store.save(job)
            except SegueError:
                self._jobs.forget(job.id)
                raise
            self._hub.publish(job.event)
            # Kept first: a newer job that is refused takes nobody's place.
            for older in self._jobs.outdated_by(request):
                self._tell(self._jobs.cancel(older.id, now), keep=True)
        self.work.set()
        return job.status(), True

    def cancel(self, job_id: str, now: float) -> Status:
        """Cancel, or ask to stop; changes nothing about a finished job.

        Raises SegueError: UNKNOWN_ID, DISK.
        """
        with self._lock:
            before = self._get(job_id)
            if before.state in TERMINAL:
                return before.status()
            job = self._jobs.cancel(job_id, now)
            self._store.save(job)
            if job.state is State.CANCELLED:
                self._hub.publish(job.event)
            return job.status()

    def status(self, job_id: str) -> Status:
        """A job, however old. Raises SegueError(UNKNOWN_ID)."""
        with self._lock:
            return self._get(job_id).status()

    def statuses(self) -> list[Status]:
        """The jobs in memory, newest first."""
        with self._lock:
            return [job.status() for job in self._jobs.newest_first()]

    def result_path(self, job_id: str) -> Path:
        """Where the WAV of a job belongs."""
        return self._store.result_path(job_id)

    def discard(self, job_id: str) -> None:
        """Remove the files of a job that was cancelled when they were done."""
        self._store.discard(job_id)

    def next(self, now: float) -> Job | None:
        """Start the next job, if one waits."""
        with self._lock:
            job = self._jobs.next(now)
            return None if job is None else self._tell(job, keep=True)

    def report(self, event: Event, now: float) -> Job:
        """Note an event of the running job and pass it on."""
        with self._lock:
            before = self._jobs.running
            job = self._jobs.report(event, now)
            return self._tell(job, keep=before is None or before.state is not job.state)

    def release(self, job_id: str, now: float) -> Job:
        """Put the running job back in the queue for the next start of the server."""
        with self._lock:
            return self._tell(self._jobs.release(job_id, now), keep=True)

    def stop(self, now: float) -> None:
        """Put a job that its worker did not let go of back in the queue."""
        if (job := self.running) is not None:
            self.release(job.id, now)

    def _tell(self, job: Job, *, keep: bool) -> Job:
        """Pass on what the worker did. A full disk must not stop it: memory still knows."""
        if keep:
            try:
                self._store.save(job)
            except SegueError as error:
                log.error("job %s is %s, but could not be kept: %s", job.id, job.state, error)
        self._hub.publish(job.event)
        return job

    def _get(self, job_id: str) -> Job:
        job = self._find(job_id)
        if job is None or job.id != job_id:
            raise unknown(job_id)
        return job

    def _find(self, job_id: str) -> Job | None:
        return self._jobs.get(job_id) or self._store.find(job_id)
