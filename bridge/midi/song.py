"""Where a DAW's song is: by the MIDI clock and the MTC of whichever ports send them."""

from __future__ import annotations

from collections import defaultdict

from segue.bridge.midi.clock import SongClock
from segue.bridge.midi.events import Event
from segue.bridge.midi.timecode import TimeCode

Follower = SongClock | TimeCode


class Song:
    """Of several ports whose songs run, the one that was heard of first counts.

    `bpm` is the tempo that was said, if any: for a clock that has not told its own yet.
    """

    def __init__(self, bpm: float | None = None) -> None:
        self._bpm = bpm
        self._clocks: dict[str, SongClock] = defaultdict(SongClock)
        self._codes: dict[str, TimeCode] = defaultdict(TimeCode)

    def receive(self, port: str, event: Event, now: float) -> None:
        """Take any event of a port at `now` seconds."""
        self._clocks[port].receive(event, now)
        self._codes[port].receive(event, now)
        clock, code = self.clock(now), self.code(now)
        bpm = self._bpm if clock is None else clock.bpm or self._bpm
        if clock is not None and code is not None and bpm is not None:
            clock.check((code.seconds(now) or 0.0) * bpm / 60, now)

    def clock(self, now: float) -> SongClock | None:
        """The clock that runs."""
        return next((each for each in self._clocks.values() if each.running(now)), None)

    def code(self, now: float) -> TimeCode | None:
        """The time code that runs."""
        return next((each for each in self._codes.values() if each.running(now)), None)

    def forget(self, port: str) -> list[Follower]:
        """A port has gone: what followed it."""
        found = self._clocks.pop(port, None), self._codes.pop(port, None)
        return [each for each in found if each is not None]
