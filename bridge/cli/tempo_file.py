"""A song's tempo map from a MIDI file, as DAWs export it, seen from where a region begins."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, replace
from fractions import Fraction
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from segue.bridge.cli.midi_file import read_midi
from segue.bridge.cli.shorthand import bad
from segue.bridge.midi.rounds import new_seconds
from segue.presets.controls import FEATURES, Outpaint
from segue.presets.library import sentence
from segue.presets.tempo import MAX_CHANGES, TempoChange, TempoMap
from segue.presets.vocabulary import (
    MAX_NEW_SECONDS,
    MAX_REGION_SECONDS,
    Code,
    Request,
    SegueError,
)

OPTION = "--tempo"
NEEDED_SECONDS = MAX_REGION_SECONDS + MAX_NEW_SECONDS  # of a map: no request reaches further
MICROSECONDS = 1_000_000  # a second: MIDI says how many a beat lasts
ROUNDED = Fraction(1, MICROSECONDS)  # seconds that a request's floats may be off


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A place in a song, counted from its start in three ways; tempo and metre from there on.

    At first they are what MIDI means where a file does not say: 120 bpm, 4/4.
    """

    beat: Fraction = Fraction(0)
    bar: Fraction = Fraction(0)
    second: Fraction = Fraction(0)
    seconds_a_beat: Fraction = Fraction(1, 2)
    beats_a_bar: Fraction = Fraction(4)

    def after(self, beats: Fraction) -> Moment:
        """So many beats later, or earlier where negative, in the same tempo and metre."""
        return replace(
            self,
            beat=self.beat + beats,
            bar=self.bar + beats / self.beats_a_bar,
            second=self.second + beats * self.seconds_a_beat,
        )

    def is_like(self, other: Moment) -> bool:
        """Whether tempo and metre are the same."""
        same_tempo = self.seconds_a_beat == other.seconds_a_beat
        return same_tempo and self.beats_a_bar == other.beats_a_bar


@dataclass(frozen=True)
class SongMap:
    """All changes of a song, exactly, and where in it a region begins.

    The last tempo and metre hold on, the first ones before them too. A metre that changes inside
    a bar goes on with it at the same part of its length, as in a TempoMap.
    """

    path: Path
    changes: tuple[Moment, ...]
    begin: Moment

    @classmethod
    def read(cls, path: Path, from_bar: int, start_seconds: float = 0.0) -> SongMap:
        """Of a MIDI file of type 0 or 1, for a region so long after a bar's start (1: the first).

        Raises SegueError naming --tempo.
        """
        if not path.is_file():
            raise SegueError(Code.MISSING_FILE, f"{OPTION}: there is no file {path}")
        changes = _changes(read_midi(path, OPTION), path)
        whole = cls(path, changes, changes[0])
        second = whole._at_bar(Fraction(from_bar - 1)).second + Fraction(start_seconds)
        return replace(whole, begin=whole._at_second(second))

    def tempo(self) -> TempoMap:
        """The region's map, as far as any request reaches.

        Raises SegueError naming --tempo for what no TempoMap holds.
        """
        begin, end = self.begin, self.begin.second + NEEDED_SECONDS
        rows = [begin, *(each for each in self.changes if begin.second < each.second <= end)]
        if len(rows) > MAX_CHANGES:
            text = f"{self.path} has {len(rows)} changes from there on, more than {MAX_CHANGES}"
            raise bad(OPTION, f"{text}: draw the tempo with fewer points")
        changes = tuple(self._row(each) for each in rows)
        beats = changes[0].beats_per_bar
        return TempoMap(
            changes=changes, first_beat=float(begin.bar % 1 * begin.beats_a_bar) % beats
        )

    def seconds_before(self, bars: float) -> float:
        """How long the last `bars` before the region are."""
        return float(self.begin.second - self._at_bar(self.begin.bar - Fraction(bars)).second)

    def check_before(self, request: Request) -> None:
        """Refuse to count beats before the region where they are not those that it begins with.

        A request's map begins with the region. Raises SegueError naming --unit.
        """
        place = request.place
        if not isinstance(place, Outpaint) or place.side == "right":
            return
        units = {control.unit for control in request.controls if isinstance(control, FEATURES)}
        if units.isdisjoint({"beats", "bars"}):
            return
        first = self.begin.second - Fraction(new_seconds(request)) + ROUNDED
        if any(first < change.second <= self.begin.second for change in self.changes[1:]):
            text = "the tempo or metre changes before the region, where beats cannot be counted"
            raise bad("--unit", f"{text}: give seconds or shares")

    def _at_bar(self, bar: Fraction) -> Moment:
        last = self._last("bar", bar)
        return last.after((bar - last.bar) * last.beats_a_bar)

    def _at_second(self, second: Fraction) -> Moment:
        last = self._last("second", second)
        return last.after((second - last.second) / last.seconds_a_beat)

    def _last(self, unit: Literal["bar", "second"], place: Fraction) -> Moment:
        after = bisect_right(self.changes, place, key=attrgetter(unit))
        return self.changes[max(after - 1, 0)]

    def _row(self, change: Moment) -> TempoChange:
        bpm, beats = float(60 / change.seconds_a_beat), float(change.beats_a_bar)
        seconds = float(change.second - self.begin.second)
        try:
            return TempoChange(at_seconds=seconds, bpm=bpm, beats_per_bar=beats)
        except ValidationError as error:
            text = f"{self.path} has {bpm:g} bpm and {beats:g} beats a bar in {_bar(change)}"
            raise bad(OPTION, f"{text}, which cannot be followed: {sentence(error)}") from error


def _changes(song: Any, path: Path) -> tuple[Moment, ...]:
    """What mido's file says, each change once; of those at one time the last counts."""
    ticks, found = 0, [Moment()]
    for message in song.merged_track:
        ticks += message.time  # since the message before
        if message.type not in ("set_tempo", "time_signature"):
            continue
        beat = Fraction(ticks, song.ticks_per_beat)
        now = _changed(found[-1].after(beat - found[-1].beat), message, path)
        if beat == found[-1].beat:
            found.pop()
        if not found or not now.is_like(found[-1]):
            found.append(now)
    return tuple(found)


def _changed(now: Moment, message: Any, path: Path) -> Moment:
    if message.type == "set_tempo" and message.tempo:
        return replace(now, seconds_a_beat=Fraction(message.tempo, MICROSECONDS))
    if message.type == "time_signature" and message.numerator:
        return replace(now, beats_a_bar=Fraction(4 * message.numerator, message.denominator))
    text = f"{path} has a {message.type.replace('_', ' ')} of 0 in {_bar(now)}"
    raise bad(OPTION, f"{text}: change it in your DAW, and export it anew")


def _bar(moment: Moment) -> str:
    return f"bar {math.floor(moment.bar) + 1}"
