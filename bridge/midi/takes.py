"""What a player does over a region, kept as rows: a melody, or a knob's movement.

Times are seconds of a song, or of the wall, as who records has it; they are passed in.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

from segue.bridge.midi.channels import Gesture, Moved, NoteShaped, Source
from segue.bridge.midi.events import Event, NoteOff, NoteOn
from segue.presets.controls import MAX_NOTES

MAX_MOVES = 20_000  # of a knob in one take
MAX_POINTS = 512  # of its curve
TOLERANCE = 0.005  # share of the knob's way that a curve may stray from it
HOLD = 0.05  # seconds: a knob that rested longer moves from where it rested
EARLY = 0.125  # seconds before a grid line that still mean it

What = Literal["melody", "intensity"]
Row = tuple[float, ...]


class Stage(Enum):
    """Where a take stands."""

    ARMED = auto()
    RECORDING = auto()
    DONE = auto()


class Cue(Enum):
    """What moves a take on."""

    BEGIN = auto()
    END = auto()


TRANSITIONS: dict[Stage, dict[Cue, Stage]] = {
    Stage.ARMED: {Cue.BEGIN: Stage.RECORDING, Cue.END: Stage.DONE},
    Stage.RECORDING: {Cue.END: Stage.DONE},
    Stage.DONE: {},
}


class IllegalCueError(Exception):
    """A bug of ours: a take was told what its stage does not allow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to record, for how many seconds, and from which lines on it may begin.

    The first note or movement begins it, or `begin`. With a grid it begins on the line before
    (or just after), so that what is played in time with a loop stays in phase with it. Lines are
    counted from where new music begins in each `turn` of the loop, `lead` behind the turn's own
    start; no take goes on over its end.
    """

    what: What
    length: float
    grid: float = 0.0
    turn: float = 0.0  # 0: none ends
    lead: float = 0.0
    source: Source | None = None  # the knob of an intensity


class Take:
    """One recording: armed, begun, ended by its length. `rows` are the wire's lists."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.stage = Stage.ARMED
        self.full = False  # a limit was met: what came later is not in it
        self._origin, self._length = 0.0, plan.length
        self._sounding: dict[tuple[int, int], list[tuple[float, int]]] = defaultdict(list)
        self._bends: dict[tuple[int, int], float] = {}
        self._notes: list[Row] = []
        self._moves: list[tuple[float, float]] = []

    def begin(self, at: float) -> None:
        """Begin at a place that is known, such as the song's start."""
        self._cue(Cue.BEGIN)
        self._origin = at

    def pass_time(self, at: float) -> None:
        """End the take when its length is over; a song that jumped back ends it too."""
        passed = at - self._origin
        if self.stage is Stage.RECORDING and not -EARLY <= passed < self._length:
            self.end(at if passed > 0 else self._origin + self._length)

    def end(self, at: float) -> None:
        """Close what still sounds, at the take's end at the latest."""
        self._cue(Cue.END)
        time = min(max(at - self._origin, 0.0), self._length)
        for key, struck in self._sounding.items():
            for note in struck:
                self._close(key, note, time)
        self._sounding.clear()
        self._notes.sort()

    def receive(self, event: Event | Gesture, at: float) -> None:
        """A note or gesture at `at`; what the take is not about passes by."""
        self.pass_time(at)
        if self.stage is Stage.DONE:
            return
        if self.plan.what == "intensity":
            if isinstance(event, Moved) and event.source == self.plan.source:
                self._move(event.value, self._time(at))
        else:
            self._play(event, at)

    @property
    def rows(self) -> tuple[Row, ...]:
        """Notes (start, length, pitch) or points (time, level 0 to 1), from the take's start."""
        if self.plan.what == "melody":
            return tuple(self._notes)
        return tuple(thinned(self._curve(), MAX_POINTS, TOLERANCE))

    def _cue(self, cue: Cue) -> None:
        after = TRANSITIONS[self.stage].get(cue)
        if after is None:
            raise IllegalCueError(f"a take that is {self.stage.name} cannot {cue.name}")
        self.stage = after

    def _time(self, at: float) -> float:
        """Seconds since the take's start, which this may be."""
        if self.stage is Stage.ARMED:
            self._begin_before(at)
        return max(at - self._origin, 0.0)

    def _begin_before(self, at: float) -> None:
        grid, turn, lead = self.plan.grid, self.plan.turn, self.plan.lead
        soon = at + EARLY
        zero = (soon + lead) // turn * turn if turn else 0.0  # of this turn's lines
        self.begin(zero + (soon - zero) // grid * grid if grid else at)
        if turn:
            self._length = min(self.plan.length, zero - lead + turn - self._origin)

    def _play(self, event: Event | Gesture, at: float) -> None:
        match event:
            case NoteOn(channel, note):
                self._strike((channel, note), self._time(at))
            case NoteOff(channel, note):
                self._release((channel, note), at)
            case NoteShaped(channel, note, "bend", semitones):
                self._bend((channel, note), semitones, at)

    def _strike(self, key: tuple[int, int], time: float) -> None:
        if len(self._notes) + sum(map(len, self._sounding.values())) >= MAX_NOTES:
            self.full = True
            return
        self._sounding[key].append((time, self._pitch(key)))

    def _release(self, key: tuple[int, int], at: float) -> None:
        """Of a note struck twice the first one struck ends first."""
        self._bends.pop(key, None)
        if self._sounding[key]:
            self._close(key, self._sounding[key].pop(0), self._time(at))

    def _bend(self, key: tuple[int, int], semitones: float, at: float) -> None:
        """A note that is bent to another pitch goes on as that one."""
        self._bends[key] = semitones
        for i, (start, pitch) in enumerate(self._sounding[key]):
            if pitch != self._pitch(key) and len(self._notes) < MAX_NOTES:
                time = self._time(at)
                self._close(key, (start, pitch), time)
                self._sounding[key][i] = (time, self._pitch(key))

    def _pitch(self, key: tuple[int, int]) -> int:
        return min(max(key[1] + round(self._bends.get(key, 0.0)), 0), 127)

    def _close(self, key: tuple[int, int], note: tuple[float, int], time: float) -> None:
        start, pitch = note
        if time > start:
            self._notes.append((start, time - start, pitch))

    def _move(self, value: float, time: float) -> None:
        if len(self._moves) >= MAX_MOVES:
            self.full = True
            return
        if self._moves and time - self._moves[-1][0] > HOLD:
            self._moves.append((time - HOLD, self._moves[-1][1]))
        self._moves.append((time, value))

    def _curve(self) -> list[tuple[float, float]]:
        """The knob from the take's start to its end; of movements at one time the last counts."""
        if not self._moves:
            return []
        last: dict[float, float] = {0.0: self._moves[0][1]} | dict(self._moves)
        return [*last.items(), (self.plan.length, self._moves[-1][1])]


def thinned(
    points: list[tuple[float, float]], limit: int, tolerance: float
) -> list[tuple[float, float]]:
    """The points that matter, at most `limit` (2 or more), in order of time.

    As Ramer, Douglas and Peucker, but the worst stretch of all first, so that a limit leaves
    the best curve of that many points. Distances are those of levels at one time.
    """
    if len(points) <= 2:
        return points
    kept = {0, len(points) - 1}
    stretches = [_worst(points, 0, len(points) - 1)]
    while stretches and len(kept) < limit:
        distance, middle, first, last = heapq.heappop(stretches)
        if -distance <= tolerance:
            break
        kept.add(middle)
        for left, right in ((first, middle), (middle, last)):
            if right - left > 1:
                heapq.heappush(stretches, _worst(points, left, right))
    return [points[i] for i in sorted(kept)]


def _worst(points: list[tuple[float, float]], first: int, last: int) -> tuple[float, int, int, int]:
    """The point furthest from the line between two others: (-distance, point, first, last)."""
    (begin, low), (end, high) = points[first], points[last]
    slope = (high - low) / (end - begin) if end > begin else 0.0
    furthest = max(
        range(first + 1, last),
        key=lambda i: abs(points[i][1] - low - slope * (points[i][0] - begin)),
        default=first,
    )
    time, level = points[furthest]
    return -abs(level - low - slope * (time - begin)), furthest, first, last
