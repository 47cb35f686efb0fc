"""What MIDI 1.0 says: one frozen event a message. Channels count from 0."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NoteOff:
    """A key let go. Values go up to 127, here and below, unless said."""

    channel: int
    note: int
    velocity: int


@dataclass(frozen=True, slots=True)
class NoteOn:
    """A key struck, velocity 1 to 127: with 0 it is a NoteOff."""

    channel: int
    note: int
    velocity: int


@dataclass(frozen=True, slots=True)
class PolyPressure:
    """How hard one key is held."""

    channel: int
    note: int
    value: int


@dataclass(frozen=True, slots=True)
class ControlChange:
    """One controller's seven bits; `channels` puts pairs together."""

    channel: int
    number: int
    value: int


@dataclass(frozen=True, slots=True)
class ProgramChange:
    """Another sound."""

    channel: int
    program: int


@dataclass(frozen=True, slots=True)
class ChannelPressure:
    """How hard all keys of a channel are held."""

    channel: int
    value: int


@dataclass(frozen=True, slots=True)
class PitchBend:
    """-8192 to 8191, 0 at rest."""

    channel: int
    value: int


@dataclass(frozen=True, slots=True)
class SysEx:
    """What stood between F0 and F7."""

    data: bytes


@dataclass(frozen=True, slots=True)
class QuarterFrame:
    """A piece (0 to 7) of an MTC time, and its four bits."""

    piece: int
    value: int


@dataclass(frozen=True, slots=True)
class SongPosition:
    """Where a Continue will go on, in sixteenth notes (six clocks each), 0 to 16383."""

    sixteenths: int


@dataclass(frozen=True, slots=True)
class SongSelect:
    """Another song."""

    song: int


@dataclass(frozen=True, slots=True)
class TuneRequest:
    """For analogue synthesizers."""


@dataclass(frozen=True, slots=True)
class Clock:
    """A 24th of a quarter note has passed."""


@dataclass(frozen=True, slots=True)
class Start:
    """The next Clock is the song's first."""


@dataclass(frozen=True, slots=True)
class Continue:
    """The next Clock is at the song position."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The song stands still."""


@dataclass(frozen=True, slots=True)
class ActiveSensing:
    """The cable is still there."""


@dataclass(frozen=True, slots=True)
class Reset:
    """As after switching on."""


Event = (
    NoteOff | NoteOn | PolyPressure | ControlChange | ProgramChange | ChannelPressure | PitchBend
    | SysEx | QuarterFrame | SongPosition | SongSelect | TuneRequest
    | Clock | Start | Continue | Stop | ActiveSensing | Reset
)  # fmt: skip
