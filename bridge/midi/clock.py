"""MIDI clock: song position in beats, and in the clocks' own seconds; time is passed in."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from statistics import median

from segue.bridge.midi.events import Clock, Continue, Event, SongPosition, Start, Stop

CLOCKS_A_BEAT = 24  # MIDI 1.0: 24 a quarter note
CLOCKS_A_SIXTEENTH = 6
LEAST_CLOCKS = 24  # before a tempo is believed
WINDOW_CLOCKS = 96  # four beats, the most that the tempo is taken from
FURTHEST_CLOCKS = 16383 * CLOCKS_A_SIXTEENTH  # a song position cannot say more
STALLED_SECONDS = 1.0  # longer than a clock of 10 bpm takes four times: the sender has gone


class SongClock:
    """Follows the clock of a DAW, sequencer or drum machine.

    The clocks say where the song is, whatever its tempo does; from one to the next it goes
    straight. `bpm` is for where none were heard, and None until LEAST_CLOCKS have come: the median
    of clock distances half a window apart (as Theil and Sen), which a sender that is up to 96 ms
    late now and then does not move.
    """

    def __init__(self) -> None:
        self.bpm: float | None = None
        self._playing = False
        self._heard = 0.0  # the newest clock, or what began or stopped the song
        self._times: deque[float] = deque(maxlen=WINDOW_CLOCKS + 1)
        self._clocks = 0  # passed in the song before the newest one
        self._next = 0  # where the next clock stands in the song
        self._excess = 0  # how far it would be behind, had the song position counted clocks
        self._zero: float | None = None  # when second 0 would have been; None after a jump
        self._reached = {0: 0.0}  # at which second each sixteenth came, by its clocks

    def receive(self, event: Event, now: float) -> None:
        """Take any event at `now` seconds; all but clock and transport pass by."""
        match event:
            case Clock():
                self._tick(now)
            case Start():
                self._next, self._excess, self._zero = 0, 0, None
                self._begin(now)
            case Continue():
                if self._zero is not None and not self._playing:
                    self._zero += now - self._heard
                self._begin(now)
            case Stop():
                if self._playing:
                    self._playing, self._heard = False, now
            case SongPosition(sixteenths):
                if self._next != sixteenths * CLOCKS_A_SIXTEENTH:
                    self._zero = None
                self._next = sixteenths * CLOCKS_A_SIXTEENTH
                self._excess = self._next - sixteenths

    def running(self, now: float) -> bool:
        """Whether the song plays; a clock that was away begins it anew by Start or Continue."""
        return self._playing and now - self._heard < STALLED_SECONDS

    def beat(self, at: float) -> float:
        """Quarter notes from the song's start at a time, which may lie between the last clocks."""
        if not self._counts:
            return self._next / CLOCKS_A_BEAT
        times = self._times
        after = max(bisect_right(times, at), 1)
        clock, early = self._clocks - len(times) + after, times[after - 1]
        passed = max(at - early, 0.0)
        if after == len(times):
            return (clock + self._since_newest(passed)) / CLOCKS_A_BEAT
        return (clock + passed / (times[after] - early)) / CLOCKS_A_BEAT

    def seconds(self, at: float) -> float | None:
        """The same in seconds, by the clocks' own times; None where they do not tell them yet.

        After a jump to where the song has not been, the tempo fills what was not heard.
        """
        if self._zero is None:
            return self._second_of(self._next)
        return min(at, self._heard + self._playing * STALLED_SECONDS) - self._zero

    def passed(self, at: float) -> bool:
        """Whether a clock has come since, so that the place at that time is known."""
        return bool(self._times) and at <= self._times[-1]

    def check(self, beat: float, now: float) -> None:
        """By its time code the song is near `beat`.

        Ardour 7's song positions count clocks, not sixteenths: six times too far.
        """
        excess, self._excess = self._excess, 0
        if abs(self.beat(now) - excess / CLOCKS_A_BEAT - beat) < abs(self.beat(now) - beat):
            self._next -= excess
            self._clocks -= excess
            self._zero, self._reached = None, {0: 0.0}

    @property
    def _counts(self) -> bool:
        """Not where it is stopped, or waits for its first clock."""
        return self._playing and bool(self._times) and self._clocks == self._next - 1

    def _begin(self, now: float) -> None:
        """The tempo stays; the clocks to come need not be in step with those before."""
        self._playing, self._heard = True, now
        self._times.clear()

    def _tick(self, now: float) -> None:
        if self._times and not 0 <= now - self._times[-1] < STALLED_SECONDS:
            self._times.clear()
            self.bpm, self._playing = None, False
            self._zero, self._reached = None, {0: 0.0}
        if self._playing and not self._counts:  # a jump
            self._times.clear()
        self._times.append(now)
        if len(self._times) > LEAST_CLOCKS:
            self._estimate_tempo()
        if self._playing:
            self._heard = now
            self._clocks, self._next = self._next, self._next + 1
            self._keep_second(now)

    def _keep_second(self, now: float) -> None:
        if self._zero is None:
            second = self._second_of(self._clocks)
            self._zero = None if second is None else now - second
        if self._zero is None or self._clocks % CLOCKS_A_SIXTEENTH:
            return
        if self._clocks <= FURTHEST_CLOCKS:
            self._reached[self._clocks] = now - self._zero

    def _second_of(self, clock: int) -> float | None:
        """When a clock came, or else when it should, at the tempo, from the last one before."""
        before = max(each for each in self._reached if each <= clock)
        if before == clock:
            return self._reached[clock]
        if self.bpm is None:
            return None
        return self._reached[before] + (clock - before) * self._interval()

    def _since_newest(self, seconds: float) -> float:
        """Clocks that are due: one at the last one's pace, further ones at the tempo.

        A sender that stops without a word must not carry the position away.
        """
        last = self._times[-1] - self._times[-2] if len(self._times) > 1 else 0.0
        if seconds < last:
            return seconds / last
        first = 1.0 if last else 0.0
        if self.bpm is None:
            return first
        return first + (min(seconds, STALLED_SECONDS) - last) / self._interval()

    def _estimate_tempo(self) -> None:
        times = list(self._times)
        half = len(times) // 2
        distances = (late - early for early, late in zip(times, times[half:], strict=False))
        interval = median(distances) / half
        if interval > 0:
            self.bpm = 60 / (CLOCKS_A_BEAT * interval)

    def _interval(self) -> float:
        assert self.bpm is not None
        return 60 / (CLOCKS_A_BEAT * self.bpm)
