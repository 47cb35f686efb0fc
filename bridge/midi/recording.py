"""Takes over one phrase: armed, begun in time with a clock or without, kept as controls."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from segue.bridge.midi.channels import Gesture, Moved, Source
from segue.bridge.midi.events import Continue, Event, SongPosition, Start, Stop
from segue.bridge.midi.rounds import SONG_START, InSong, Rounds
from segue.bridge.midi.song import Follower, Song
from segue.bridge.midi.takes import Plan, Stage, Take, What
from segue.presets.vocabulary import Request

RESTED_SECONDS = 0.3  # a knob that stands still for so long may be asked for
OVERSHOT_SECONDS = 0.4  # after a take: a late last note, or a hand that has not stopped yet


@dataclass(frozen=True, slots=True)
class _Timed:
    """A take and the song that it follows; without one its times are the wall's."""

    take: Take
    rounds: Rounds
    follows: Follower | None

    def at(self, time: float) -> float:
        """A time in the take's times."""
        return time if self.follows is None else self.rounds.played(self.follows, time)

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

    Times are seconds. A take counts in what runs when it begins: a clock, MTC, or neither, the
    time since. With a song it begins where the new music does in the loop that is heard beside it,
    or whole lengths of it earlier or later in that round, and is over where the song stops.
    """

    def __init__(self, base: Request, begins: InSong = SONG_START) -> None:
        self.features: dict[What, dict[str, Any]] = {}  # what was played, as it is asked for
        self._rounds = Rounds.of(base, begins)
        self._song = Song(base.tempo.changes[0].bpm if base.tempo else None)
        self._takes: dict[What, _Timed] = {}
        self._waiting: list[tuple[Event | Gesture, float]] = []  # for the clock after them
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
        """Clock and transport. A song of unknown place has no lines: its start begins a take."""
        if isinstance(event, Start | Continue | Stop | SongPosition):
            self._place(now, jumps=True)
        self._song.receive(port, event, now)
        if isinstance(event, Start | Continue):
            self._arm_again(now)
            for timed in self._takes.values():
                if timed.armed and timed.follows is None:
                    timed.take.begin(now)

    def forget(self, port: str, now: float) -> None:
        """A port has gone, and with it the song of those takes that followed it."""
        self._place(now, jumps=True)
        gone = self._song.forget(port)
        for timed in self._takes.values():
            if timed.follows in gone:
                timed.end(now)

    def receive(self, event: Event | Gesture, now: float) -> None:
        """What is played."""
        if isinstance(event, Moved):
            self._moved = now
        self._waiting.append((event, now))

    def tick(self, now: float) -> bool:
        """Whether there is something new to ask for: a take is over, or a knob in it rests."""
        new = False
        self._place(now)
        for what, timed in list(self._takes.items()):
            timed.pass_time(self._waiting[0][1] if self._waiting else now)
            over = timed.take.stage is Stage.DONE
            if over:
                del self._takes[what]
                self._over[what] = now
            if self._has_moved(over, now) if what == "intensity" else over:
                new |= self._keep(timed)
        return new

    def _place(self, now: float, jumps: bool = False) -> None:
        """Give takes what was played before a running clock's newest, or before the song jumps."""
        clock = self._song.clock(now)
        while self._waiting and (jumps or clock is None or clock.passed(self._waiting[0][1])):
            event, time = self._waiting.pop(0)
            self._arm_again(time)
            for what, timed in self._takes.items():
                if what == "melody" or isinstance(event, Moved):
                    timed.take.receive(event, timed.at(time))

    def _has_moved(self, over: bool, now: float) -> bool:
        """Whether a knob has moved and rests, or its take is over; told once a movement."""
        if self._moved is None or not (over or now - self._moved >= RESTED_SECONDS):
            return False
        self._moved = None
        return True

    def song(self, now: float) -> float | None:
        """Where the song is, in seconds of clips from the first one's start on, or None."""
        follows = self._follows(now)
        return None if follows is None else self._rounds.heard(follows, now)

    def _follows(self, now: float) -> Follower | None:
        """A clock whose place is known, else MTC. Beats always are; seconds have to be told."""
        clock = self._song.clock(now)
        if clock is not None and (self._rounds.tempo or clock.seconds(now) is not None):
            return clock
        return self._song.code(now)

    def _arm(self, what: What, now: float, source: Source | None = None) -> None:
        follows, length = self._follows(now), self._rounds.new.seconds
        plan = Plan(what=what, length=length, source=source)
        if follows is not None:
            turn, lead = self._rounds.turn(follows)
            plan = replace(plan, grid=length, turn=turn, lead=lead)
        self._takes[what] = _Timed(Take(plan), self._rounds, follows)

    def _arm_again(self, now: float) -> None:
        """What is armed waits for a song that may have begun, stopped or told where it is."""
        for what, timed in list(self._takes.items()):
            if timed.armed:
                self._arm(what, now, timed.take.plan.source)

    def _keep(self, timed: _Timed) -> bool:
        rows, what = timed.take.rows, timed.take.plan.what
        if not rows:
            return False
        feature: dict[str, Any] = {"kind": what, "unit": "seconds"}
        if what == "melody":
            names = ("start", "length", "pitch")
            feature["notes"] = [dict(zip(names, row, strict=True)) for row in rows]
        else:
            feature |= {"scale": "share", "points": rows}
        self.features[what] = feature
        return True
