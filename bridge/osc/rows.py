"""Lists of numbers that come before their order: rows in any order and again, until all are there.

Whatever is lost on the way is named and sent once more, so a list may be longer than a datagram.
"""

from __future__ import annotations

import copy
import logging
from array import array
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from segue.bridge.osc import codec
from segue.bridge.osc.addresses import ACK, ADD, BEGIN, END, MAX_ROWS_A_MESSAGE, MISSING
from segue.bridge.osc.grammar import Row, read, read_many
from segue.bridge.osc.row_list import KINDS, Heading, Kind, RowList
from segue.presets.vocabulary import Code, SegueError

MAX_JOBS = 64  # with lists at the same time; the oldest of more are forgotten

LOGGER = logging.getLogger("segue.bridge")

ADDRESSES = frozenset(row.address for row in (BEGIN, ADD, END))


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply about a job's list."""

    row: Row
    values: tuple[str | int, ...]

    @property
    def job_id(self) -> str:
        """The job it is about."""
        return str(self.values[0])


class Rows:
    """The lists of all jobs, whoever sent them.

    What a job that has begun was made of stays as it is: the same rows are welcome again, others
    are refused.
    """

    def __init__(self, jobs: Mapping[str, dict[str, RowList]] | None = None) -> None:
        self._jobs = dict(jobs or {})

    def draft(self, ids: Iterable[str]) -> Rows:
        """A copy in which these jobs' lists can be changed without changing ours."""
        return Rows(self._jobs | {i: copy.deepcopy(self._jobs[i]) for i in ids if i in self._jobs})

    def of(self, job_id: str) -> Mapping[str, RowList]:
        """A job's lists by their kind."""
        return self._jobs.get(job_id, {})

    def receive(
        self, row: Row, args: tuple[codec.Value, ...], begun: Container[str]
    ) -> Answer | None:
        """Take in one message of its three; `begun` are the ids of jobs that have begun.

        Raises SegueError, and then nothing has changed.
        """
        values = read(row, args)
        job_id, what = str(values["id"]), str(values["what"])
        has_begun = job_id in begun
        if row is BEGIN:
            return self._begin(job_id, what, _heading(values), has_begun)
        if row is ADD:
            first = int(values["first"])
            return self._add(job_id, what, first, read_many(row, args), has_begun)
        return self._end(job_id, what, int(values["total"]), has_begun)

    def release(self, job_id: str) -> None:
        """The job has ended: should room be needed, its lists go first."""
        if job_id in self._jobs:
            self._jobs = {job_id: self._jobs.pop(job_id), **self._jobs}

    def _begin(self, job_id: str, what: str, heading: Heading, begun: bool) -> Answer | None:
        _check_total(heading.total, _kind(what))
        _check_heading(what, heading)
        found = self._jobs.get(job_id, {}).get(what)
        if begun and (found is None or found.heading != heading):
            raise _taken(what)
        found = self._list(job_id, what)
        found.begin(heading)
        return _acknowledged(job_id, what, found)

    def _add(
        self, job_id: str, what: str, first: int, numbers: tuple[float, ...], begun: bool
    ) -> Answer | None:
        kind, rows = _kind(what), array("d", numbers)
        found = self._jobs.get(job_id, {}).get(what)
        most = kind.most if found is None or found.heading is None else found.heading.total
        _check_place(first, rows, kind, most)
        if begun and (found is None or not found.holds(first, rows)):
            raise _taken(what)
        found = self._list(job_id, what)
        found.add(first, rows)
        return _acknowledged(job_id, what, found)

    def _end(self, job_id: str, what: str, total: int, begun: bool) -> Answer | None:
        _check_total(total, _kind(what))
        found = self._jobs.get(job_id, {}).get(what)
        if begun and found is None:
            raise _taken(what)
        if found is not None and found.heading is not None and found.heading.total != total:
            text = f"total: the begin of {what} said {found.heading.total}, its end says {total}"
            raise SegueError(Code.BAD_REQUEST, text)
        found = self._list(job_id, what)
        found.ended = total
        if found.whole:
            return _acknowledged(job_id, what, found)
        return Answer(MISSING, (job_id, what, *found.missing(total)))

    def _list(self, job_id: str, what: str) -> RowList:
        """The list, made if need be, and now the last to be forgotten."""
        lists = self._jobs[job_id] = self._jobs.pop(job_id, {})
        if len(self._jobs) > MAX_JOBS:
            oldest = next(iter(self._jobs))
            LOGGER.warning("rows of more than %d jobs: those of %s are gone", MAX_JOBS, oldest)
            del self._jobs[oldest]
        return lists.setdefault(what, RowList(KINDS[what]))


def _heading(values: Mapping[str, str | int | float]) -> Heading:
    unit, scale = str(values.get("unit", "")), str(values.get("scale", ""))
    return Heading(int(values["total"]), unit, scale, float(values.get("first_beat", 0)))


def _acknowledged(job_id: str, what: str, found: RowList) -> Answer | None:
    if found.ended is None or not found.whole:
        return None
    total, found.ended = found.ended, None
    return Answer(ACK, (job_id, what, total))


def _kind(what: str) -> Kind:
    if what not in KINDS:
        text = f"what: no rows of {what!r}; there are: {', '.join(KINDS)}"
        raise SegueError(Code.BAD_REQUEST, text)
    return KINDS[what]


def _check_total(total: int, kind: Kind) -> None:
    if not 1 <= total <= kind.most:
        raise SegueError(Code.BAD_REQUEST, f"total: send 1 to {kind.most} rows, not {total}")


def _check_heading(what: str, heading: Heading) -> None:
    if heading.scale and what != "intensity":
        raise SegueError(Code.BAD_REQUEST, f"scale: {what} has none; leave it empty")
    if heading.first_beat and what != "tempo":
        raise SegueError(Code.BAD_REQUEST, f"first_beat: it belongs to tempo, not to {what}")
    if heading.unit not in ("", "seconds") and what == "tempo":
        raise SegueError(Code.BAD_REQUEST, "unit: rows of tempo are in seconds; leave it empty")


def _check_place(first: int, rows: array[float], kind: Kind, most: int) -> None:
    if not rows or len(rows) % kind.columns:
        text = f"numbers: a row has {kind.columns} of them, and here are {len(rows)}"
        raise SegueError(Code.BAD_REQUEST, text)
    count = len(rows) // kind.columns
    if count > MAX_ROWS_A_MESSAGE:
        text = f"numbers: send at most {MAX_ROWS_A_MESSAGE} rows in a message, not {count}"
        raise SegueError(Code.BAD_REQUEST, text)
    if first < 0 or first + count > most:
        text = (
            f"first: rows {first} to {first + count - 1} are not among those from 0 to {most - 1}"
        )
        raise SegueError(Code.BAD_REQUEST, text)


def _taken(what: str) -> SegueError:
    text = f"what: the job of this id has begun with other rows of {what}; choose a new id"
    return SegueError(Code.ID_TAKEN, text)
