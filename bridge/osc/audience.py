"""Who is told what: those who asked for a job hear of it, subscribers hear of all."""

from __future__ import annotations

from collections.abc import Iterable

from segue.bridge.osc.commands import Sender
from segue.bridge.osc.leases import Leases

MAX_OPEN_JOBS = 1024
MAX_LISTENERS = 8  # senders told about one job


class Audience:
    """Remembers who waits for which unfinished job, and who subscribed. A job ends once."""

    def __init__(self) -> None:
        self.leases = Leases()
        self._listeners: dict[str, tuple[Sender, ...]] = {}
        self._ended: dict[str, None] = {}  # those that a subscriber has heard the end of

    def open_ids(self) -> list[str]:
        """Jobs someone still waits for, oldest first."""
        return list(self._listeners)

    def listen(self, job_id: str, sender: Sender) -> str | None:
        """Tell this sender too; the job that must go to make room, if there are too many."""
        others = tuple(to for to in self._listeners.get(job_id, ()) if to != sender)
        self._listeners[job_id] = (*others, sender)[-MAX_LISTENERS:]
        self._ended.pop(job_id, None)
        return next(iter(self._listeners)) if len(self._listeners) > MAX_OPEN_JOBS else None

    def beside(self, sender: Sender, job_id: str, now: float) -> list[Sender]:
        """Who hears an answer to this sender: it, where else it listens, of jobs everyone."""
        others = self.leases.held(now) if job_id else self.leases.taken_by(sender, now)
        return _once([sender, *others])

    def of(self, job_id: str, now: float) -> list[Sender]:
        """Who hears of a job that goes on."""
        subscribers = [] if job_id in self._ended else self.leases.held(now)
        return _once([*self._listeners.get(job_id, ()), *subscribers])

    def close(self, job_id: str, now: float) -> list[Sender]:
        """Who hears of a job's end, each of them once."""
        found = self.of(job_id, now)
        self._listeners.pop(job_id, None)
        self._ended[job_id] = None
        if len(self._ended) > MAX_OPEN_JOBS:
            del self._ended[next(iter(self._ended))]
        return found

    def leave(self, sender: Sender) -> None:
        """A connection is closed: nobody is there to be told."""
        self.leases.leave(sender)
        for job_id, listeners in list(self._listeners.items()):
            left = tuple(to for to in listeners if to != sender)
            if left:
                self._listeners[job_id] = left
            else:
                del self._listeners[job_id]


def _once(senders: Iterable[Sender]) -> list[Sender]:
    return list(dict.fromkeys(senders))
