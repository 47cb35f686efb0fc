# Segue: placed by `segue install`
"""One job as Live sees it: what to send, what the bridge answers, what to do about silence.

No socket and no clock: time is passed in. Every message may be sent again without harm, so a
bridge that was away, or is another one by now, is simply told everything once more.
"""

from __future__ import annotations

import enum
from typing import Any, Callable, List, NamedTuple, Sequence, Tuple

from .osc import encode
from .region import Region, announce, order, repeat
from .wish import Wish

ANSWER_SECONDS = 1.0  # until a message that nobody answered is sent again
START_SECONDS = 6.0  # of silence, until nobody seems to be there
QUIET_SECONDS = 5.0  # of a job that runs, until it is asked about
GONE_SECONDS = 600.0  # of such silence, until it is given up
MAX_CLIPS = 64  # as many as a preset may keep
# Of a job that runs, these say that the server is away for now, and nothing about the job.
PASSING = ("server-unreachable", "queue-full")

NOBODY = "Segue does not answer: start it with `segue up`, then ask again"
GONE = "no word from Segue for ten minutes; when it is done the clip is in its folder"


class State(enum.Enum):
    """How far the conversation is."""

    TELLING = "telling"  # rows are on their way
    ORDERED = "ordered"
    RUNNING = "running"
    ENDED = "ended"


# What an answer, by the last part of its address, leads to. What is not listed changes nothing.
TRANSITIONS: dict[State, dict[str, State]] = {
    State.TELLING: {
        "ready": State.ORDERED,  # no address: all lists are acknowledged
        "done": State.ENDED,
        "cancelled": State.ENDED,
        "error": State.ENDED,
    },
    State.ORDERED: {
        "silence": State.TELLING,
        "accepted": State.RUNNING,
        "progress": State.RUNNING,
        "done": State.ENDED,
        "cancelled": State.ENDED,
        "error": State.ENDED,
    },
    State.RUNNING: {
        "silence": State.TELLING,
        "done": State.ENDED,
        "cancelled": State.ENDED,
        "error": State.ENDED,
    },
    State.ENDED: {},
}


class Clip(NamedTuple):
    """A file to place, and the second of the region's file at which it starts."""

    path: str
    start_seconds: float
    overlay_path: str
    overlay_start_seconds: float


class Result(NamedTuple):
    """What was made: the best clip first; all end at the same second."""

    clips: tuple[Clip, ...]
    end_seconds: float
    seed: int


class Progress(NamedTuple):
    """How far the job is, from 0 to 1."""

    fraction: float


class Waiting(NamedTuple):
    """What is away for now; the job goes on when it is back."""

    text: str


class Failed(NamedTuple):
    """Why there will be no clip."""

    text: str


class Job:
    """One order. `packets` says what to send now, `hear` what an answer means."""

    def __init__(self, job_id: str, region: Region, wish: Wish, now: float) -> None:
        self.id = job_id
        self.region = region
        self.wish = wish
        self.state = State.TELLING
        self.accepted = False
        self._stopping = False
        self._stop_sent: float | None = None
        self._variations: list[Clip] = []
        self._unheard: set[str] = set()
        self._heard = now
        self._stirred: float | None = None  # when something was last sent or heard

    def packets(self, now: float) -> list[bytes]:
        """What is due: everything at first and after a silence, nothing otherwise."""
        if self.state is State.ENDED:
            return []
        if self._stopping:
            return self._stop_packets(now)
        wait = QUIET_SECONDS if self.state is State.RUNNING else ANSWER_SECONDS
        if not _due(self._stirred, wait, now):
            return []
        self._stirred = now
        self._move("silence")
        lists = self.region.all_lists()
        self._unheard = {rows.what for rows in lists}
        return [packet for rows in lists for packet in announce(self.id, rows)]

    def _stop_packets(self, now: float) -> list[bytes]:
        """Whatever else is heard meanwhile: a job that runs tells of progress all the time."""
        if not _due(self._stop_sent, ANSWER_SECONDS, now):
            return []
        self._stop_sent = now
        return [encode("/segue/cancel", "s", self.id)]

    def overdue(self, now: float) -> Failed | None:
        """The end of patience."""
        if self.state is State.ENDED:
            return None
        patience, why = (GONE_SECONDS, GONE) if self.accepted else (START_SECONDS, NOBODY)
        if now - self._heard <= patience:
            return None
        self.state = State.ENDED
        return Failed(why)

    def cancel(self) -> None:
        """From now on it is asked to stop; the answer ends the conversation."""
        self._stopping = True

    def hear(self, address: str, args: Sequence[Any], now: float) -> tuple[list[bytes], Any]:
        """Packets to send in answer, and a Progress, Waiting, Result or Failed, or None.

        Raises IndexError, TypeError or ValueError for arguments that are not the bridge's.
        """
        self._stirred = now
        name = address.rpartition("/")[2]
        if name == "error" and self.accepted and args[1] in PASSING:
            return [], Waiting(str(args[2]))
        self._heard = now
        packets, event = _ANSWERS.get(name, _nothing)(self, args)
        if name in ("accepted", "progress"):
            self.accepted = True
        self._move(name)
        return packets, event

    def _move(self, name: str) -> None:
        self.state = TRANSITIONS[self.state].get(name, self.state)

    def _ack(self, args: Sequence[Any]) -> tuple[list[bytes], Any]:
        self._unheard.discard(args[1])
        if self._unheard or self.state is not State.TELLING or self._stopping:
            return [], None
        self._move("ready")
        return [order(self.id, self.region, self.wish)], None

    def _missing(self, args: Sequence[Any]) -> tuple[list[bytes], Any]:
        firsts = [int(first) for first in args[2:]]
        lists = [rows for rows in self.region.all_lists() if rows.what == args[1]]
        return [packet for rows in lists for packet in repeat(self.id, rows, firsts)], None

    def _progress(self, args: Sequence[Any]) -> tuple[list[bytes], Any]:
        return [], Progress(float(args[1]))

    def _variation(self, args: Sequence[Any]) -> tuple[list[bytes], Any]:
        clip = Clip(str(args[2]), 0.0, str(args[3]), float(args[4]))
        known = [each.path for each in self._variations]
        if clip.path not in known and len(known) < MAX_CLIPS - 1:
            self._variations.append(clip)
        return [], None

    def _done(self, args: Sequence[Any]) -> tuple[list[bytes], Any]:
        path, start, length, rate, seed = args[1:6]
        overlay, overlay_start = args[6:8] if len(args) > 7 else ("", 0.0)
        first = Clip(str(path), float(start), str(overlay), float(overlay_start))
        others = [each._replace(start_seconds=first.start_seconds) for each in self._variations]
        end = first.start_seconds + int(length) / int(rate)
        return [], Result((first, *others), end, int(seed))

    def _cancelled(self, args: Sequence[Any]) -> tuple[list[bytes], Any]:
        return [], Failed("stopped")

    def _error(self, args: Sequence[Any]) -> tuple[list[bytes], Any]:
        return [], Failed(str(args[2]))


def _due(last: float | None, wait: float, now: float) -> bool:
    return last is None or now - last >= wait


def _nothing(job: Job, args: Sequence[Any]) -> tuple[list[bytes], Any]:
    return [], None


_Answer = Callable[[Job, Sequence[Any]], Tuple[List[bytes], Any]]
_ANSWERS: dict[str, _Answer] = {
    "ack": Job._ack,
    "missing": Job._missing,
    "progress": Job._progress,
    "variation": Job._variation,
    "done": Job._done,
    "cancelled": Job._cancelled,
    "error": Job._error,
}
