# Segue: placed by `segue install`
"""What leaves Live, as plain numbers, and the messages that say so.

Nothing here knows Live: whatever else can fill in a `Region`, such as an extension of
Ableton's SDK that renders a time selection, can send these messages.
"""

from __future__ import annotations

import bisect
from typing import NamedTuple, Sequence, Tuple

from .osc import encode
from .wish import Wish

ROWS_A_MESSAGE = 64
BEGIN_ITSELF = -1  # among the numbers of missing rows
DRAW_SEED = -1

Rows = Tuple[Tuple[float, ...], ...]


class RefusedError(Exception):
    """What cannot be done, as a sentence that says what to do instead."""


class Timeline(NamedTuple):
    """Where the file's seconds lie on the timeline: (second, beat) at points of the region.

    Between points the clip is warped evenly, and outside them as in the nearest piece. A single
    point says no more than where one second lies: time passes as it does.
    """

    points: tuple[tuple[float, float], ...]

    def beat_at(self, second: float, bpm: float) -> float:
        """The beat of a second of the file."""
        if len(self.points) == 1:
            ((known_second, known_beat),) = self.points
            return known_beat + (second - known_second) * bpm / 60
        after = bisect.bisect_right(self.points, (second, float("inf")))
        after = min(max(1, after), len(self.points) - 1)
        (s0, b0), (s1, b1) = self.points[after - 1 : after + 1]
        return b0 + (second - s0) * (b1 - b0) / (s1 - s0)


class RowList(NamedTuple):
    """Rows that belong to an order and go before it: of `what`, in a unit, on a scale."""

    what: str
    rows: Rows
    unit: str = ""
    scale: str = ""
    first_beat: float = 0.0


class Region(NamedTuple):
    """A stretch of an audio file, what the set says about it, and how the new music should go.

    `bpm` is the file's tempo where the region starts; `changes` are later ones, (second of the
    region, bpm). `first_beat` is how far into its bar the region starts. Rows are those of the
    wire, see `RowList`.
    """

    path: str
    start_seconds: float
    length_seconds: float
    bpm: float
    beats_per_bar: float
    first_beat: float
    lists: tuple[RowList, ...] = ()
    changes: tuple[tuple[float, float], ...] = ()

    def all_lists(self) -> tuple[RowList, ...]:
        """The tempo too."""
        tempi = ((0.0, self.bpm), *self.changes)
        tempo = tuple((second, bpm, self.beats_per_bar) for second, bpm in tempi)
        return (RowList("tempo", tempo, first_beat=self.first_beat), *self.lists)


def order(job_id: str, region: Region, wish: Wish) -> bytes:
    """The message that asks for a clip."""
    place = (region.path, region.start_seconds, region.length_seconds, wish.preset)
    rest = (0.0, wish.bars, 0.0, DRAW_SEED, wish.text)  # no seconds; the bpm is in a list
    return encode("/segue/make", "ssddsdddis", job_id, *(place + rest))


def announce(job_id: str, rows: RowList) -> list[bytes]:
    """Begin, add and end: a whole list."""
    firsts = [BEGIN_ITSELF, *range(0, len(rows.rows), ROWS_A_MESSAGE)]
    return repeat(job_id, rows, firsts)


def repeat(job_id: str, rows: RowList, firsts: Sequence[int]) -> list[bytes]:
    """The parts of a list that start at these rows, and its end."""
    total = len(rows.rows)
    parts = [_part(job_id, rows, first) for first in firsts if BEGIN_ITSELF <= first < total]
    return [*parts, encode("/segue/rows/end", "ssi", job_id, rows.what, total)]


def _part(job_id: str, rows: RowList, first: int) -> bytes:
    head = (job_id, rows.what)
    if first == BEGIN_ITSELF:
        heading = (len(rows.rows), rows.unit, rows.scale, rows.first_beat)
        return encode("/segue/rows/begin", "ssissd", *(head + heading))
    numbers = [n for row in rows.rows[first : first + ROWS_A_MESSAGE] for n in row]
    return encode("/segue/rows/add", "ssi" + "d" * len(numbers), *head, first, *numbers)
