"""MIDI 1.0 bytes in and out, by a table of statuses.

Decoding is our own: of mido 1.3.3 we measured that running status loses every message after the
first, that a clock byte inside a note loses the note, and that a sysex without end is kept whole
(5 MB of it). Files are left to mido.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass

from segue.bridge.midi.events import (
    ActiveSensing,
    ChannelPressure,
    Clock,
    Continue,
    ControlChange,
    Event,
    NoteOff,
    NoteOn,
    PitchBend,
    PolyPressure,
    ProgramChange,
    QuarterFrame,
    Reset,
    SongPosition,
    SongSelect,
    Start,
    Stop,
    SysEx,
    TuneRequest,
)

MAX_SYSEX_BYTES = 4096  # between F0 and F7; MTC's longest message has 8
RELEASE_VELOCITY = 64  # of a note-on with velocity 0 (MIDI 1.0, "Note Off")
BEND_CENTRE = 8192


@dataclass(frozen=True, slots=True)
class Layout:
    """How many data bytes, and how they become an event's numbers and back."""

    length: int
    read: Callable[[bytes], tuple[int, ...]]
    write: Callable[..., bytes]


_NONE = Layout(0, lambda data: (), lambda: b"")
_ONE = Layout(1, tuple, lambda a: bytes([a]))
_TWO = Layout(2, tuple, lambda a, b: bytes([a, b]))
_WIDE = Layout(2, lambda d: (d[0] | d[1] << 7,), lambda v: bytes([v & 127, v >> 7]))
_BEND = Layout(
    2,
    lambda d: ((d[0] | d[1] << 7) - BEND_CENTRE,),
    lambda v: bytes([(v + BEND_CENTRE) & 127, (v + BEND_CENTRE) >> 7]),
)
_NIBBLES = Layout(1, lambda d: (d[0] >> 4, d[0] & 15), lambda a, b: bytes([a << 4 | b]))

SYSEX, SYSEX_END, SYSTEM, REAL_TIME = 0xF0, 0xF7, 0xF0, 0xF8
# MIDI 1.0, tables I, III and V; the low four bits of a channel's status are the channel.
STATUSES: dict[int, tuple[Callable[..., Event], Layout]] = {
    0x80: (NoteOff, _TWO),
    0x90: (NoteOn, _TWO),
    0xA0: (PolyPressure, _TWO),
    0xB0: (ControlChange, _TWO),
    0xC0: (ProgramChange, _ONE),
    0xD0: (ChannelPressure, _ONE),
    0xE0: (PitchBend, _BEND),
    0xF1: (QuarterFrame, _NIBBLES),
    0xF2: (SongPosition, _WIDE),
    0xF3: (SongSelect, _ONE),
    0xF6: (TuneRequest, _NONE),
    0xF8: (Clock, _NONE),
    0xFA: (Start, _NONE),
    0xFB: (Continue, _NONE),
    0xFC: (Stop, _NONE),
    0xFE: (ActiveSensing, _NONE),
    0xFF: (Reset, _NONE),
}
_STATUS_OF = {made: status for status, (made, _) in STATUSES.items()}


def encode(event: Event) -> bytes:
    """One message with its status byte. Raises ValueError where a number does not fit."""
    if isinstance(event, SysEx):
        return bytes([SYSEX, *_seven_bit(event.data), SYSEX_END])
    status = _STATUS_OF[type(event)]
    numbers = astuple(event)
    channel, rest = (numbers[0], numbers[1:]) if status < SYSTEM else (0, numbers)
    if not 0 <= channel <= 15:
        raise ValueError(f"channels are 0 to 15, not {channel}")
    return bytes([status | channel]) + _seven_bit(STATUSES[status][1].write(*rest))


def _seven_bit(data: bytes) -> bytes:
    if any(byte > 127 for byte in data):
        raise ValueError("data bytes of MIDI are 0 to 127")
    return data


class Decoder:
    """Bytes as they come, in pieces of any size; nothing is an error, `dropped` counts.

    A byte is dropped that belongs to no message: stray data, a message or sysex cut off by
    another status, a sysex longer than MAX_SYSEX_BYTES, a status that MIDI 1.0 leaves undefined.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._status = 0  # running, or of the message under way; 0: none
        self._data = bytearray()

    def receive(self, data: bytes) -> list[Event]:
        """The events that these bytes complete, in the order of their last byte."""
        found: list[Event] = []
        for byte in data:
            event = self._byte(byte)
            if event is not None:
                found.append(event)
        return found

    def _byte(self, byte: int) -> Event | None:
        if byte >= REAL_TIME:  # may stand anywhere and changes nothing around it
            return self._complete(byte, b"")
        if byte < 0x80:
            return self._datum(byte)
        whole = byte == SYSEX_END and self._status == SYSEX
        data, begun = bytes(self._data), self._status
        self._data.clear()
        self._status = 0 if byte == SYSEX_END else byte
        if whole:
            return SysEx(data)
        # The status of a running message was used before; only a sysex's own is lost.
        self.dropped += len(data) + (begun == SYSEX) + (byte == SYSEX_END)
        return self._complete_if_bare(byte)

    def _complete_if_bare(self, status: int) -> Event | None:
        if status in (SYSEX, SYSEX_END) or _length(status) != 0:
            return None
        self._status = 0
        return self._complete(status, b"")

    def _datum(self, byte: int) -> Event | None:
        if self._status == 0:
            self.dropped += 1
            return None
        self._data.append(byte)
        if self._status == SYSEX:
            self._limit_sysex()
            return None
        if len(self._data) < _length(self._status):
            return None
        status, data = self._status, bytes(self._data)
        self._data.clear()
        if status >= SYSTEM:  # only messages of channels have a running status
            self._status = 0
        return self._complete(status, data)

    def _limit_sysex(self) -> None:
        if len(self._data) > MAX_SYSEX_BYTES:
            self.dropped += len(self._data) + 1
            self._data.clear()
            self._status = 0

    def _complete(self, status: int, data: bytes) -> Event | None:
        row = STATUSES.get(status if status >= SYSTEM else status & 0xF0)
        if row is None:
            self.dropped += 1
            return None
        made, layout = row
        channel = (status & 15,) if status < SYSTEM else ()
        event = made(*channel, *layout.read(data))
        if isinstance(event, NoteOn) and event.velocity == 0:
            return NoteOff(event.channel, event.note, RELEASE_VELOCITY)
        return event


def _length(status: int) -> int:
    row = STATUSES.get(status if status >= SYSTEM else status & 0xF0)
    return 0 if row is None else row[1].length
