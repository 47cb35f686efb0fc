"""The DAW's tempo map: seconds, beats and bars of the region's timeline, without rounding.

Second 0 is the region's start on the timeline. A beat is a quarter note. Tempo and metre hold
from one change to the next, the first one before second 0 too. Everything is computed in
fractions (every float is one), and rounded once, when it becomes a float or a sample.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from segue.presets.word import Code, SegueError, Word

MAX_CHANGES = 10_000
FURTHEST = 1e9  # seconds, beats or bars from the region's start
METRE_STEP = 0.125  # beats: a 32nd note, the finest that a metre counts in

Unit = Literal["seconds", "beats", "bars"]


class TempoChange(Word):
    """From `at_seconds` on: so many quarter notes a minute, so many of them to a bar.

    7/8 has 3.5 beats to a bar. A new metre normally starts on a bar line; where it does not,
    the bar under way goes on in it, at the same part of its length.
    """

    at_seconds: float = Field(ge=0, le=FURTHEST)
    bpm: float = Field(ge=10, le=999)
    beats_per_bar: float = Field(default=4.0, ge=0.5, le=32)

    @field_validator("beats_per_bar")
    @classmethod
    def _a_metre(cls, beats: float) -> float:
        if beats % METRE_STEP:
            raise ValueError(f"beats_per_bar must be a multiple of {METRE_STEP}, and is {beats:g}")
        return beats


class TempoMap(Word):
    """Changes in order, the first at 0; `first_beat` is how far into its bar second 0 is, in beats.

    Positions in beats and bars count from the bar line before second 0. Methods raise
    SegueError(BAD_REQUEST) for what is not finite or further than 1e9 away.
    """

    changes: tuple[TempoChange, ...] = Field(min_length=1, max_length=MAX_CHANGES)
    first_beat: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        first = self.changes[0]
        if first.at_seconds != 0:
            raise ValueError(f"the first change must be at 0 s, and is at {first.at_seconds:g} s")
        for earlier, later in pairwise(self.changes):
            if later.at_seconds <= earlier.at_seconds:
                raise ValueError(
                    f"changes must be sorted by time, and {later.at_seconds:g} s"
                    f" follows {earlier.at_seconds:g} s"
                )
        if self.first_beat >= first.beats_per_bar:
            raise ValueError(
                f"first_beat must lie inside a bar of {first.beats_per_bar:g} beats,"
                f" and is {self.first_beat:g}"
            )
        return self

    @classmethod
    def steady(cls, bpm: float, beats_per_bar: float = 4.0) -> Self:
        """One tempo and metre throughout, a bar starting at second 0."""
        return cls(changes=(TempoChange(at_seconds=0, bpm=bpm, beats_per_bar=beats_per_bar),))

    def beat_at(self, seconds: float) -> float:
        """How many beats after the bar line before second 0."""
        return float(self._count(_exact(seconds), "beats"))

    def bar_at(self, seconds: float) -> float:
        """How many bars after the bar line before second 0: 2.5 is half way into the third."""
        return float(self._count(_exact(seconds), "bars"))

    def seconds_at(self, beat: float) -> float:
        """The inverse of `beat_at`."""
        return float(self._time(_exact(beat), "beats"))

    def seconds_at_bar(self, bar: float) -> float:
        """The inverse of `bar_at`."""
        return float(self._time(_exact(bar), "bars"))

    def seconds_of_beats(self, start_seconds: float, beats: float) -> float:
        """How long `beats` last from `start_seconds` on."""
        return float(self._length(_exact(start_seconds), _exact(beats), "beats"))

    def seconds_of_bars(self, start_seconds: float, bars: float) -> float:
        """How long `bars` last from `start_seconds` on, a bar line or not."""
        return float(self._length(_exact(start_seconds), _exact(bars), "bars"))

    def samples_of(self, start_seconds: float, length: float, unit: Unit, rate: int) -> int:
        """The same in whole samples at `rate`, rounded once; a half goes up."""
        exact = self._length(_exact(start_seconds), _exact(length), _known(unit))
        return math.floor(exact * rate + Fraction(1, 2))

    def convert(
        self, times: Iterable[float], unit: Unit, start_seconds: float = 0.0
    ) -> tuple[float, ...]:
        """Times in `unit` from `start_seconds` on, in seconds from there."""
        start = _exact(start_seconds)
        unit = _known(unit)
        return tuple(float(self._length(start, _exact(time), unit)) for time in times)

    @cached_property
    def _starts(self) -> dict[Unit, list[Fraction]]:
        """Where each change is: in seconds, in beats, in bars."""
        rows = [Fraction(change.at_seconds) for change in self.changes]
        starts: dict[Unit, list[Fraction]] = {"seconds": rows}
        for unit in ("beats", "bars"):
            beat = Fraction(self.first_beat)
            passed = [beat / self._per(0, unit, second=False)]
            for i, (earlier, later) in enumerate(pairwise(rows)):
                passed.append(passed[-1] + (later - earlier) * self._per(i, unit))
            starts[unit] = passed
        return starts

    def _per(self, change: int, unit: Unit, second: bool = True) -> Fraction:
        """Units a second under a change; without `second`, beats a unit."""
        at = self.changes[change]
        beats = Fraction(at.beats_per_bar) if unit == "bars" else Fraction(1)
        return Fraction(at.bpm) / 60 / beats if second else beats

    def _count(self, seconds: Fraction, unit: Unit) -> Fraction:
        if unit == "seconds":
            return seconds
        rows = self._starts["seconds"]
        i = max(bisect_right(rows, seconds) - 1, 0)
        return self._starts[unit][i] + (seconds - rows[i]) * self._per(i, unit)

    def _time(self, count: Fraction, unit: Unit) -> Fraction:
        if unit == "seconds":
            return count
        rows = self._starts[unit]
        i = max(bisect_right(rows, count) - 1, 0)
        return self._starts["seconds"][i] + (count - rows[i]) / self._per(i, unit)

    def _length(self, start: Fraction, length: Fraction, unit: Unit) -> Fraction:
        """Seconds from `start` to `length` units later."""
        return self._time(self._count(start, unit) + length, unit) - start


def _exact(number: float) -> Fraction:
    if not abs(number) <= FURTHEST:  # NaN compares false
        raise SegueError(
            Code.BAD_REQUEST,
            f"{number:g} is no time or length on a tempo map; give a number within {FURTHEST:g}",
        )
    return Fraction(number)


def _known(unit: Unit) -> Unit:
    if unit not in ("seconds", "beats", "bars"):
        raise SegueError(Code.BAD_REQUEST, f"no unit {unit!r}; there are: seconds, beats, bars")
    return unit
