"""One list of rows as far as it has come: where each belongs, and what is missing."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field

from segue.bridge.osc.addresses import BEGIN_ITSELF, MAX_MISSING, MAX_ROWS_A_MESSAGE
from segue.presets.controls import MAX_GAPS, MAX_NOTES, MAX_POINTS
from segue.presets.tempo import MAX_CHANGES

NOT_HERE = array("d", [math.nan])  # no number on the wire is one


@dataclass(frozen=True, slots=True)
class Kind:
    """How many numbers a row has, and how many rows a list."""

    columns: int
    most: int


KINDS = {
    "intensity": Kind(2, MAX_POINTS),
    "melody": Kind(3, MAX_NOTES),
    "tempo": Kind(3, MAX_CHANGES),
    "gaps": Kind(2, MAX_GAPS),
}


@dataclass(frozen=True, slots=True)
class Heading:
    """What a begin says; an empty unit or scale is the default."""

    total: int
    unit: str = ""
    scale: str = ""
    first_beat: float = 0.0


@dataclass(slots=True)
class RowList:
    """One list, as far as it has come."""

    kind: Kind
    heading: Heading | None = None
    ended: int | None = None  # the total of an end that waits for its ack
    here: int = 0
    _numbers: array[float] = field(default_factory=lambda: array("d"))  # NOT_HERE: none came yet

    def begin(self, heading: Heading) -> None:
        """Take the heading; one that differs from the last, or is too short, begins anew."""
        if self.heading not in (None, heading) or len(self) > heading.total:
            self._numbers, self.here, self.ended = array("d"), 0, None
        if self.ended != heading.total:
            self.ended = None
        self.heading = heading

    def add(self, first: int, numbers: array[float]) -> None:
        """Put rows in their place."""
        columns = self.kind.columns
        start, stop = first * columns, first * columns + len(numbers)
        self._numbers.extend(NOT_HERE * (stop - len(self._numbers)))
        self.here += sum(math.isnan(old) for old in self._numbers[start:stop:columns])
        self._numbers[start:stop] = numbers

    def holds(self, first: int, numbers: array[float]) -> bool:
        """Whether these very rows are there."""
        start = first * self.kind.columns
        return self._numbers[start : start + len(numbers)] == numbers

    def missing(self, total: int) -> list[int]:
        """Where to send from again, a message's worth each."""
        found = [] if self.heading else [BEGIN_ITSELF]
        row = 0
        while row < total and len(found) < MAX_MISSING:
            here = row < len(self) and not math.isnan(self._numbers[row * self.kind.columns])
            if not here:
                found.append(row)
            row += 1 if here else MAX_ROWS_A_MESSAGE
        return found

    def rows(self) -> list[tuple[float, ...]]:
        """All rows in order."""
        columns = [self._numbers[i :: self.kind.columns] for i in range(self.kind.columns)]
        return list(zip(*columns, strict=True))

    @property
    def whole(self) -> bool:
        """Whether the begin and all its rows are there."""
        return self.heading is not None and self.here == self.heading.total

    def __len__(self) -> int:
        """One more than the last row's number."""
        return len(self._numbers) // self.kind.columns
