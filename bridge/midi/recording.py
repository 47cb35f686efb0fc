"""Takes over one phrase: armed, begun in time with a clock or without, kept as controls."""

from __future__ import annotations

from typing import Any, Literal

from segue.bridge.midi.channels import Gesture, Moved, Source
from segue.bridge.midi.clock import SongClock
from segue.bridge.midi.events import Event, Start, Stop
from segue.bridge.midi.takes import Plan, Stage, Take, What
from segue.bridge.midi.timecode import TimeCode
from segue.presets.tempo import TempoMap
from segue.presets.vocabulary import Request

Unit = Literal["seconds", "beats"]

OVERSHOT_SECONDS = 0.4  # after a take: a late last note, or a hand that has not stopped yet


class Recording:
    """At most one melody and one intensity at a time, each as long as the new music of `base`.

    Times are beats where a tempo was said or a clock runs, whose tempo is then taken over; else
    seconds, those of MTC while it runs. With either running a take begins on a multiple of the
    phrase's length, in phase.
    """

    def __init__(self, base: Request) -> None:
        self.clock, self.code = SongClock(), TimeCode()
        self.tempo = base.tempo
        self.features: dict[What, dict[str, Any]] = {}  # what the takes that are over hold
        self._base = base
        self._takes: dict[What, tuple[Take, Unit]] = {}
        self._over: dict[What, float] = {}  # when the last take was, and what went on after it

    def arm_by_hand(self, what: What, now: float) -> None:
        """A take that waits, in place of one that waits or runs already."""
        self._takes.pop(what, None)
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

    def _arm(self, what: What, now: float, source: Source | None = None) -> None:
        seconds, bpm = new_seconds(self._base), self._bpm
        length = seconds if bpm is None else seconds * bpm / 60
        in_phase = self.code.running(now) if bpm is None else self.clock.running
        grid = length if in_phase else 0.0
        plan = Plan(what=what, length=length, grid=grid, source=source)
        self._takes[what] = Take(plan), "seconds" if bpm is None else "beats"

    def follow(self, event: Event, now: float) -> None:
        """Clock and transport: a song's start begins what is armed, its stop ends what runs."""
        if isinstance(event, Stop):
            for take, unit in self._takes.values():
                if take.stage is Stage.RECORDING and unit == "beats":
                    take.end(self._at(unit, now))
        self.clock.receive(event, now)
        self.code.receive(event, now)
        if isinstance(event, Start):
            for take, unit in self._takes.values():
                if take.stage is Stage.ARMED:
                    take.begin(self._at(unit, now))

    def receive(self, event: Event | Gesture, now: float) -> None:
        """What is played."""
        for what, (take, unit) in self._takes.items():
            if what == "melody" or isinstance(event, Moved):
                take.receive(event, self._at(unit, now))

    def tick(self, now: float) -> bool:
        """Whether a take that holds something is over by now."""
        over = False
        for what, (take, unit) in list(self._takes.items()):
            take.pass_time(self._at(unit, now))
            if take.stage is Stage.DONE:
                del self._takes[what]
                self._over[what] = now
                over |= self._keep(take, unit)
        return over

    @property
    def _bpm(self) -> float | None:
        """The tempo that was said, else the clock's, while it lasts."""
        if self.tempo is not None:
            return self.tempo.changes[0].bpm
        return self.clock.bpm if self.clock.running else None

    def _at(self, unit: Unit, now: float) -> float:
        if unit == "seconds":
            song = self.code.seconds(now) if self.code.running(now) else None
            return now if song is None else song
        if self.clock.running:
            return self.clock.beat(now)
        return now * (self._bpm or 60) / 60

    def _keep(self, take: Take, unit: Unit) -> bool:
        rows, what = take.rows, take.plan.what
        if not rows:
            return False
        if unit == "beats" and self.tempo is None and self.clock.bpm is not None:
            self.tempo = TempoMap.steady(round(self.clock.bpm, 2))
        feature: dict[str, Any] = {"kind": what, "unit": unit}
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
