"""MIDI clock: song position in beats and a tempo that jitter does not move; time is passed in."""

from __future__ import annotations

from collections import deque
from statistics import median

from segue.bridge.midi.events import Clock, Continue, Event, SongPosition, Start, Stop

CLOCKS_A_BEAT = 24  # MIDI 1.0: 24 a quarter note
CLOCKS_A_SIXTEENTH = 6
LEAST_CLOCKS = 24  # before a tempo is believed
WINDOW_CLOCKS = 96  # four beats, the most that the tempo is taken from
STALLED_SECONDS = 1.0  # longer than a clock of 10 bpm takes four times: the sender has gone


class SongClock:
    """Follows the clock of a DAW, sequencer or drum machine.

    `bpm` is None until LEAST_CLOCKS have come. It is the median of clock distances half a window
    apart (as Theil and Sen): a sender that is up to 96 ms late now and then does not move it.
    """

    def __init__(self) -> None:
        self.bpm: float | None = None
        self._playing = False
        self._heard = 0.0  # the newest clock, or what began the song
        self._times: deque[float] = deque(maxlen=WINDOW_CLOCKS + 1)
        self._clocks = 0  # passed in the song before the newest one
        self._next = 0  # where the next clock stands in the song
        self._excess = 0  # how far it would be behind, had the song position counted clocks
        self._first = 0.0  # when the window's first clock should have come

    def receive(self, event: Event, now: float) -> None:
        """Take any event at `now` seconds; all but clock and transport pass by."""
        match event:
            case Clock():
                self._tick(now)
            case Start():
                self._next = self._excess = 0
                self._begin(now)
            case Continue():
                self._begin(now)
            case Stop():
                self._playing = False
            case SongPosition(sixteenths):
                self._next = sixteenths * CLOCKS_A_SIXTEENTH
                self._excess = self._next - sixteenths

    def running(self, now: float) -> bool:
        """Whether the song plays; a clock that was away begins it anew by Start or Continue."""
        return self._playing and now - self._heard < STALLED_SECONDS

    def beat(self, now: float) -> float:
        """Quarter notes from the song's start; between clocks it goes on at the tempo."""
        if not self._playing or not self._times or self._clocks != self._next - 1:
            return self._next / CLOCKS_A_BEAT  # stopped, or waiting for the first clock
        if self.bpm is None:
            return self._clocks / CLOCKS_A_BEAT
        passed = (now - self._smooth_newest()) / self._interval()
        # A sender that stops without a word must not carry the position away.
        limit = STALLED_SECONDS / self._interval()
        return max(0.0, self._clocks + min(passed, limit)) / CLOCKS_A_BEAT

    def check(self, beat: float, now: float) -> None:
        """By its time code the song is near `beat`.

        Ardour 7's song positions count clocks, not sixteenths: six times too far.
        """
        excess, self._excess = self._excess, 0
        if abs(self.beat(now) - excess / CLOCKS_A_BEAT - beat) < abs(self.beat(now) - beat):
            self._next -= excess
            self._clocks -= excess

    def seconds(self, now: float) -> float | None:
        """The same in seconds, as if the tempo had always been this one."""
        return None if self.bpm is None else self.beat(now) * 60 / self.bpm

    def _begin(self, now: float) -> None:
        """The tempo stays; the clocks to come need not be in step with those before."""
        self._playing, self._heard = True, now
        self._times.clear()

    def _tick(self, now: float) -> None:
        if self._times and not 0 <= now - self._times[-1] < STALLED_SECONDS:
            self._times.clear()
            self.bpm, self._playing = None, False
        self._times.append(now)
        self._heard = now
        if self._playing:
            self._clocks, self._next = self._next, self._next + 1
        if len(self._times) > LEAST_CLOCKS:
            self._estimate_tempo()
        if self.bpm is not None:
            interval = self._interval()
            self._first = median(time - i * interval for i, time in enumerate(self._times))

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

    def _smooth_newest(self) -> float:
        """When the newest clock should have come, by all of the window."""
        return self._first + (len(self._times) - 1) * self._interval()
