"""MIDI time code: the song's position in seconds; time is passed in."""

from __future__ import annotations

from segue.bridge.midi.events import Event, QuarterFrame, SysEx

PIECES = 8
# MTC: the bits above the hours; 29.97 frames a second drop numbers, not frames.
RATES = {0: 24.0, 1: 25.0, 2: 30000 / 1001, 3: 30.0}
DROP_FRAME = 2
FULL_FRAME = b"\x01\x01"  # after 7F and the device: real time, MTC
FULL_FRAME_BYTES = 8
STALLED_SECONDS = 0.25  # no quarter-frame for so long (30 are due): the song stands still


class TimeCode:
    """Follows MTC, quarter-frames and full frames. `seconds` is None until either came whole."""

    def __init__(self) -> None:
        self._pieces: list[int] = []
        self._seconds: float | None = None
        self._at = 0.0  # when the song was there
        self._heard: float | None = None  # the newest quarter-frame

    def receive(self, event: Event, now: float) -> None:
        """Take any event at `now` seconds; all but MTC pass by."""
        match event:
            case QuarterFrame(piece, value):
                self._piece(piece, value, now)
            case SysEx(data):
                self._full(data, now)

    def running(self, now: float) -> bool:
        """Whether quarter-frames come, as they do while the song plays, and say where it is."""
        if self._seconds is None or self._heard is None:
            return False
        return now - self._heard < STALLED_SECONDS

    def seconds(self, now: float) -> float | None:
        """Where the song is."""
        if self._seconds is None or self._heard is None:
            return self._seconds
        # Stalled: held where the song was when its last quarter-frame came.
        return self._seconds + (now if self.running(now) else self._heard) - self._at

    def _piece(self, piece: int, value: int, now: float) -> None:
        if not self.running(now):  # the song begins: where a full frame said, or somewhere else
            self._seconds, self._at = self._seconds if self._heard is None else None, now
        self._heard = now
        if piece != len(self._pieces):  # a piece was lost, or the tape runs backwards
            self._pieces = []
        if piece == len(self._pieces):
            self._pieces.append(value)
        if len(self._pieces) == PIECES:
            numbers = [low | high << 4 for low, high in zip(*[iter(self._pieces)] * 2, strict=True)]
            frame, second, minute, hour = numbers
            rate = hour >> 5 & 3
            # The time is that of the first piece, seven quarters of a frame ago.
            self._seconds = _seconds(hour & 31, minute, second, frame, rate) + 1.75 / RATES[rate]
            self._at = now
            self._pieces = []

    def _full(self, data: bytes, now: float) -> None:
        if len(data) != FULL_FRAME_BYTES or data[0] != 0x7F or data[2:4] != FULL_FRAME:
            return
        hour, minute, second, frame = data[4:]
        self._seconds = _seconds(hour & 31, minute, second, frame, hour >> 5 & 3)
        self._at, self._heard, self._pieces = now, None, []


def _seconds(hour: int, minute: int, second: int, frame: int, rate: int) -> float:
    """Of a time code, in real seconds: drop-frame leaves out two numbers nine minutes in ten."""
    nominal = round(RATES[rate])
    minutes = hour * 60 + minute
    frames = (minutes * 60 + second) * nominal + frame
    if rate == DROP_FRAME:
        frames -= 2 * (minutes - minutes // 10)
    return frames / RATES[rate]
