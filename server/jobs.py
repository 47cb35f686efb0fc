"""The queue and the life of a job: pure, with the time passed in."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from segue.presets.vocabulary import (
    Cancelled,
    Code,
    Event,
    Failure,
    Progress,
    Request,
    Result,
    SegueError,
    State,
    Status,
)

HISTORY_LIMIT = 200  # finished jobs kept in memory; the store keeps all
MAX_ATTEMPTS = 2

RUNNING = frozenset({State.OPTIMIZING, State.DECODING})
TERMINAL = frozenset({State.DONE, State.FAILED, State.CANCELLED})

# A long clip is made window by window, so decoding may go back to optimizing;
# an engine need not announce every stage, so optimizing may end the job.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.OPTIMIZING, State.FAILED, State.CANCELLED}),
    State.OPTIMIZING: RUNNING | TERMINAL | {State.QUEUED},
    State.DECODING: RUNNING | TERMINAL | {State.QUEUED},
    State.DONE: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}

# Windows opens a device, not a file, for these names with any extension.
RESERVED_NAMES = frozenset(
    ["con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(1, 10))]
)


class IllegalMoveError(Exception):
    """A bug of ours: a job was told to do what its state does not allow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One request and how far it is.

    `place` orders jobs by arrival. `attempts` counts the starts that were not
    ended by a clean stop. `changed` is when it last gave news, in seconds of
    the clock that is passed in.
    """

    request: Request
    event: Event
    state: State
    place: int
    attempts: int = 0
    cancelling: bool = False
    changed: float = 0.0

    @property
    def id(self) -> str:
        """The id its sender chose."""
        return self.request.id

    def status(self) -> Status:
        """The job as the world sees it."""
        return Status(id=self.id, state=self.state, request=self.request, event=self.event)


def state_after(event: Event) -> State:
    """The state that an event announces."""
    match event:
        case Progress(stage=stage):
            if stage in TERMINAL:
                raise IllegalMoveError(f"progress cannot announce {stage.value}")
            return stage
        case Result():
            return State.DONE
        case Failure():
            return State.FAILED
        case Cancelled():
            return State.CANCELLED


def advance(job: Job, event: Event, now: float) -> Job:
    """The job after an event. Raises IllegalMoveError where TRANSITIONS has no such move."""
    after = state_after(event)
    if after not in TRANSITIONS[job.state]:
        raise IllegalMoveError(f"job {job.id} cannot go from {job.state.value} to {after.value}")
    return replace(job, event=event, state=after, changed=now)


def check_request(request: Request) -> None:
    """Refuse what the vocabulary cannot see: relative paths, names that are devices."""
    regions = {"region": request.region}
    for i, control in enumerate(request.controls):
        for key in ("audio", "like"):
            regions[f"controls.{i}.{key}"] = getattr(control, key, None)
    for key, region in regions.items():
        if region is not None and not os.path.isabs(region.path):
            text = f"{key}.path: give an absolute path, not {region.path!r}"
            raise SegueError(Code.BAD_REQUEST, text)
    if request.id.split(".")[0].lower() in RESERVED_NAMES:
        text = f"id: {request.id!r} is a device name on Windows, choose another"
        raise SegueError(Code.BAD_REQUEST, text)


def same_again(job: Job, request: Request) -> Job:
    """The known job, if the request asks for exactly it; else SegueError(ID_TAKEN).

    A request without a seed asks for whichever seed the job has.
    """
    if request.seed is None:
        request = request.model_copy(update={"seed": job.request.seed})
    if request == job.request:
        return job
    if request.id != job.id:
        text = f"id {request.id!r} differs from the known id {job.id!r} by case only"
    else:
        text = f"id {request.id!r} belongs to another request"
    raise SegueError(Code.ID_TAKEN, f"{text}: choose a new one")


def recovered(job: Job, now: float) -> Job:
    """What becomes of a job whose server died; a finished one stays as it is."""
    if job.state in TERMINAL:
        return job
    if job.cancelling:
        return advance(job, Cancelled(id=job.id), now)
    if job.state is State.QUEUED:
        return replace(job, changed=now)
    if job.attempts < MAX_ATTEMPTS:
        return advance(job, _waiting(job.id), now)
    text = (
        f"the server stopped {job.attempts} times while this job ran, so it is not tried again; "
        "send it with a new id to try once more"
    )
    return advance(job, Failure(id=job.id, code=Code.INTERRUPTED, text=text), now)


class Jobs:
    """Every job that is waiting or running, and the newest finished ones.

    Ids that differ by case only are the same id here, because on some file
    systems their results are the same file.
    """

    def __init__(self, *, queue_limit: int, history_limit: int = HISTORY_LIMIT) -> None:
        self._queue_limit = queue_limit
        self._history_limit = history_limit
        self._jobs: dict[str, Job] = {}
        self._next_place = 1
        self.queued = 0
        self.running: Job | None = None

    def restore(self, job: Job) -> None:
        """Take in a job from before a restart; the queue limit does not hold for these."""
        self._put(job)

    def submit(self, request: Request, now: float) -> Job:
        """Queue a request that carries a seed, or return the job it already is.

        Raises SegueError: ID_TAKEN, QUEUE_FULL; those whose place it takes do not count as waiting.
        """
        known = self._jobs.get(request.id.lower())
        if known is not None:
            return same_again(known, request)
        waiting = self.queued - len(self.outdated_by(request))
        if waiting >= self._queue_limit:
            text = f"{waiting} jobs are waiting already: try again when one has finished"
            raise SegueError(Code.QUEUE_FULL, text)
        return self._put(
            Job(
                request=request,
                event=_waiting(request.id),
                state=State.QUEUED,
                place=self._next_place,
                changed=now,
            )
        )

    def outdated_by(self, request: Request) -> list[Job]:
        """Other waiting jobs of the request's slot, oldest first: there the newest wins."""
        slot = request.settings.slot
        if slot is None:
            return []
        return [
            job
            for job in reversed(self.newest_first())
            if job.state is State.QUEUED
            and job.request.settings.slot == slot
            and job.id != request.id
        ]

    def forget(self, job_id: str) -> None:
        """Drop a job that could not be kept."""
        self._jobs.pop(job_id.lower(), None)
        self._recount()

    def next(self, now: float) -> Job | None:
        """Start the job that has waited longest; None when none waits or one still runs."""
        waiting = [job for job in self._jobs.values() if job.state is State.QUEUED]
        if self.running is not None or not waiting:
            return None
        job = min(waiting, key=lambda job: job.place)
        begun = Progress(id=job.id, fraction=0.0, stage=State.OPTIMIZING)
        return self._put(replace(advance(job, begun, now), attempts=job.attempts + 1))

    def report(self, event: Event, now: float) -> Job:
        """Note what the worker says of the running job."""
        return self._put(advance(self._known(event.id), event, now))

    def release(self, job_id: str, now: float) -> Job:
        """Put the running job back to its place in the queue: the server stops, by request."""
        job = self._known(job_id)
        if job.cancelling:
            return self._put(advance(job, Cancelled(id=job.id), now))
        return self._put(replace(advance(job, _waiting(job.id), now), attempts=job.attempts - 1))

    def cancel(self, job_id: str, now: float) -> Job:
        """Cancel a waiting job at once, ask a running one to stop, leave a finished one alone.

        Raises SegueError(UNKNOWN_ID).
        """
        job = self._known(job_id)
        if job.state is State.QUEUED:
            return self._put(advance(job, Cancelled(id=job.id), now))
        if job.state in RUNNING:
            return self._put(replace(job, cancelling=True))
        return job

    def get(self, job_id: str) -> Job | None:
        """The job of exactly this id, if it is in memory."""
        job = self._jobs.get(job_id.lower())
        return job if job is not None and job.id == job_id else None

    def newest_first(self) -> list[Job]:
        """All jobs in memory, the latest to arrive first."""
        return sorted(self._jobs.values(), key=lambda job: -job.place)

    def _known(self, job_id: str) -> Job:
        job = self.get(job_id)
        if job is None:
            raise unknown(job_id)
        return job

    def _put(self, job: Job) -> Job:
        self._jobs[job.id.lower()] = job
        self._next_place = max(self._next_place, job.place + 1)
        if job.state in TERMINAL:
            finished = [old for old in self.newest_first() if old.state in TERMINAL]
            for old in finished[self._history_limit :]:
                del self._jobs[old.id.lower()]
        self._recount()
        return job

    def _recount(self) -> None:
        jobs = self._jobs.values()
        self.queued = sum(job.state is State.QUEUED for job in jobs)
        self.running = next((job for job in jobs if job.state in RUNNING), None)


def unknown(job_id: str) -> SegueError:
    """The answer to an id that nobody submitted."""
    return SegueError(Code.UNKNOWN_ID, f"no job has the id {job_id[:64]!r}")


def _waiting(job_id: str) -> Progress:
    return Progress(id=job_id, fraction=0.0, stage=State.QUEUED)
