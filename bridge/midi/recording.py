"""Takes over one phrase: armed, begun in time with a clock or without, kept as controls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from segue.bridge.midi.channels import Gesture, Moved, Source
from segue.bridge.midi.clock import SongClock
from segue.bridge.midi.events import Continue, Event, Start
from segue.bridge.midi.song import Follower, Song
from segue.bridge.midi.takes import Plan, Stage, Take, What
from segue.presets.tempo import TempoMap
from segue.presets.vocabulary import Request

RESTED_SECONDS = 0.3  # a knob that stands still for so long may be asked for
OVERSHOT_SECONDS = 0.4  # after a take: a late last note, or a hand that has not stopped yet


@dataclass(frozen=True, slots=True)
class _Timed:
    """A take and what its times are: those of a clock or MTC, or without either the wall's."""

    take: Take
    follows: Follower | None
    bpm: float | None  # its times are beats of this tempo; None: seconds

    def at(self, now: float) -> float:
        """`now` in the take's times."""
        match self.follows:
            case SongClock() as clock:
                return clock.beat(now)
            case None:
                seconds = now
            case code:
                seconds = code.seconds(now) or 0.0
        return seconds if self.bpm is None else seconds * self.bpm / 60

    @property
    def armed(self) -> bool:
        """Whether it has not begun yet."""
        return self.take.stage is Stage.ARMED

    def end(self, now: float) -> None:
        """Nothing carries the take on any more."""
        if self.take.stage is Stage.RECORDING:
            self.take.end(self.at(now))

    def pass_time(self, now: float) -> None:
        """End the take where its length is over, or its song stands still."""
        self.take.pass_time(self.at(now))
        if self.follows is not None and not self.follows.running(now):
            self.end(now)


class Recording:
    """At most one melody and one intensity at a time, each as long as the new music of `base`.

    Times are beats where a tempo was said or a clock runs, whose tempo is then taken over; else
    seconds. A take counts in what runs when it begins: a clock, else MTC (whose song then has one
    tempo from its start), else the time since. With either it begins on a multiple of the
    phrase's length, counted from bar `from_bar` of the song (1: its start), and is over where
    the song stops. Bars are those of the tempo that was said.
    """

    def __init__(self, base: Request, from_bar: int = 1) -> None:
        self.tempo = base.tempo
        self.features: dict[What, dict[str, Any]] = {}  # what was played, as it is asked for
        self._base, self._song = base, Song(base.tempo.changes[0].bpm if base.tempo else None)
        self._offset = base.tempo.seconds_of_bars(0.0, from_bar - 1) if base.tempo else 0.0
        self._takes: dict[What, _Timed] = {}
        self._moved: float | None = None  # when a knob did last, if that is in no feature yet
        self._over: dict[What, float] = {}  # when the last take was, and what went on after it

    def arm_by_hand(self, what: What, now: float) -> None:
        """A take that waits, in place of one that waits or runs already."""
        self._arm(what, now)

    def arm_by_playing(self, what: What, now: float, source: Source | None = None) -> None:
        """A take that begins now, unless one waits or runs, or has just ended.

        What goes on over a take's end would else replace it: a melody by its last note, late, a
        curve by the place where the knob stopped. A knob must have rested meanwhile.
        """
        if what in self._takes:
            return
        if now - self._over.get(what, -OVERSHOT_SECONDS) < OVERSHOT_SECONDS:
            if what == "intensity":
                self._over[what] = now
            return
        self._arm(what, now, source)

    def follow(self, port: str, event: Event, now: float) -> None:
        """Clock and transport. A song of unknown tempo has no lines: its start begins a take."""
        self._song.receive(port, event, now)
        if isinstance(event, Start | Continue):
            self._arm_again(now)
            for timed in self._takes.values():
                if timed.armed and timed.follows is None:
                    timed.take.begin(now)

    def forget(self, port: str, now: float) -> None:
        """A port has gone, and with it the song of those takes that followed it."""
        gone = self._song.forget(port)
        for timed in self._takes.values():
            if timed.follows in gone:
                timed.end(now)

    def receive(self, event: Event | Gesture, now: float) -> None:
        """What is played."""
        self._arm_again(now)
        if isinstance(event, Moved):
            self._moved = now
        for what, timed in self._takes.items():
            if what == "melody" or isinstance(event, Moved):
                timed.take.receive(event, timed.at(now))

    def tick(self, now: float) -> bool:
        """Whether there is something new to ask for: a take is over, or a knob in it rests."""
        new = False
        for what, timed in list(self._takes.items()):
            timed.pass_time(now)
            over = timed.take.stage is Stage.DONE
            if over:
                del self._takes[what]
                self._over[what] = now
            if self._has_moved(over, now) if what == "intensity" else over:
                new |= self._keep(timed)
        return new

    def _has_moved(self, over: bool, now: float) -> bool:
        """Whether a knob has moved and rests, or its take is over; told once a movement."""
        if self._moved is None or not (over or now - self._moved >= RESTED_SECONDS):
            return False
        self._moved = None
        return True

    def song(self, now: float) -> float | None:
        """Where the song is, in seconds at the phrase's tempo from its first bar on, or None."""
        clock, code = self._song.clock(now), self._song.code(now)
        seconds = None if code is None else code.seconds(now)
        if clock is not None and self.tempo is not None:
            seconds = clock.beat(now) * 60 / self.tempo.changes[0].bpm
        return None if seconds is None else seconds - self._offset

    def _arm(self, what: What, now: float, source: Source | None = None) -> None:
        clock, bpm = self._song.clock(now), self._bpm(now)
        follows = self._song.code(now) if clock is None or bpm is None else clock
        each = 1.0 if bpm is None else bpm / 60  # units a second
        length = new_seconds(self._base) * each
        grid, offset = 0.0 if follows is None else length, self._offset * each
        plan = Plan(what=what, length=length, grid=grid, offset=offset, source=source)
        self._takes[what] = _Timed(Take(plan), follows, bpm)

    def _arm_again(self, now: float) -> None:
        """What is armed waits for a song that may have begun, stopped or changed its tempo."""
        for what, timed in list(self._takes.items()):
            if timed.armed:
                self._arm(what, now, timed.take.plan.source)

    def _bpm(self, now: float) -> float | None:
        """The tempo that was said, else the clock's, while it lasts."""
        if self.tempo is not None:
            return self.tempo.changes[0].bpm
        clock = self._song.clock(now)
        return None if clock is None else clock.bpm

    def _keep(self, timed: _Timed) -> bool:
        rows, what = timed.take.rows, timed.take.plan.what
        if not rows:
            return False
        if self.tempo is None and isinstance(timed.follows, SongClock) and timed.follows.bpm:
            self.tempo = TempoMap.steady(round(timed.follows.bpm, 2))
        feature: dict[str, Any] = {
            "kind": what,
            "unit": "seconds" if timed.bpm is None else "beats",
        }
        if what == "melody":
            names = ("start", "length", "pitch")
            feature["notes"] = [dict(zip(names, row, strict=True)) for row in rows]
        else:
            feature |= {"scale": "share", "points": rows}
        self.features[what] = feature
        return True


def new_seconds(request: Request) -> float:
    """How much music a request asks for: the region's length where it says nothing else."""
    if request.new_seconds is not None:
        return request.new_seconds
    if request.new_bars is not None and request.tempo is not None:
        return request.tempo.seconds_of_bars(0.0, request.new_bars)
    return request.region.length_seconds if request.region else 0.0
