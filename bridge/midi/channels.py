"""What MIDI channels remember: pairs of controllers, registered parameters, MPE zones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from segue.bridge.midi.codec import BEND_CENTRE
from segue.bridge.midi.events import (
    ChannelPressure,
    ControlChange,
    Event,
    NoteOff,
    NoteOn,
    PitchBend,
    PolyPressure,
)

Kind = Literal["cc", "nrpn", "bend", "pressure", "poly", "zone"]
Bits = Literal[7, 14]

PAIRED = 32  # controllers 0-31 have their low bits at 32-63
DATA, DATA_LOW = 6, 38
NRPN_LOW, NRPN_HIGH, RPN_LOW, RPN_HIGH = 98, 99, 100, 101
RESET_CONTROLLERS = 121
TIMBRE = 74  # the third dimension of MPE
NULL = 0x3FFF  # "no parameter is selected"
BEND_RANGE, MPE_ZONE = 0, 6  # registered parameters
BEND_SEMITONES, MPE_BEND_SEMITONES = 2.0, 48.0  # until something else is said
LOWER, UPPER = 0, 15  # manager channels of the two zones
MEMBERS = 15  # of both zones together, less the other zone's manager
WIDEST = 0x3FFF


@dataclass(frozen=True, slots=True)
class Source:
    """One thing that moves: a knob, wheel or pedal. `number` is 0 where there is only one.

    A `zone` is the pressure of all notes of an MPE zone, on its manager's channel: that of the
    note that is pressed hardest, 0 when none sounds.
    """

    channel: int
    kind: Kind
    number: int
    bits: Bits


@dataclass(frozen=True, slots=True)
class Moved:
    """A source stands at `value`, 0 to 1; a bend rests at 0.5."""

    source: Source
    value: float


@dataclass(frozen=True, slots=True)
class NoteShaped:
    """A note that sounds is bent by semitones, or has a pressure or timbre of 0 to 1."""

    channel: int
    note: int
    kind: Literal["bend", "pressure", "timbre"]
    value: float


Gesture = Moved | NoteShaped


@dataclass(slots=True)
class _Channel:
    high: dict[int, int] = field(default_factory=dict)  # of controllers 0-31
    paired: set[int] = field(default_factory=set)  # those whose low bits have come
    last: int = -1  # controller that came last
    parameter: int = NULL
    registered: bool = True
    data: int = 0
    bend: float = 0.0  # -1 to 1
    semitones: float = BEND_SEMITONES
    pressure: float = 0.0
    notes: dict[int, None] = field(default_factory=dict)  # at most 128


class Channels:
    """Turns single messages into gestures.

    A pair of controllers is two seven-bit sources and one of fourteen bits; who asks chooses.
    The pair is known once its low bits follow its high ones, which set the low ones to 0. The
    lower zone has so many `members` until the controller says how many.
    """

    def __init__(self, members: int = 0) -> None:
        self._channels: dict[int, _Channel] = defaultdict(_Channel)
        self._zones = {LOWER: 0, UPPER: 0}  # how many members each has
        if members:
            self._make_zone(LOWER, members)

    def receive(self, event: Event) -> list[Gesture]:
        """What an event moves; notes themselves only change which notes sound."""
        match event:
            case NoteOn(channel, note):
                return self._strike(channel, note)
            case NoteOff(channel, note):
                self._channels[channel].notes.pop(note, None)
                return self._zone_pressure(channel)
            case ControlChange(channel, number, value):
                return self._controller(channel, number, value)
            case PitchBend(channel, value):
                return self._bend(channel, value)
            case ChannelPressure(channel, value):
                pressure = self._channels[channel].pressure = value / 127
                moved = Moved(Source(channel, "pressure", 0, 7), pressure)
                shaped = self._shaped(channel, "pressure", pressure)
                return [*self._zone_pressure(channel), moved, *shaped]
            case PolyPressure(channel, note, value):
                moved = Moved(Source(channel, "poly", note, 7), value / 127)
                return [moved, NoteShaped(channel, note, "pressure", value / 127)]
        return []

    def _strike(self, channel: int, note: int) -> list[Gesture]:
        """A note is struck on a channel that may be bent already."""
        self._channels[channel].notes[note] = None
        semitones = self._semitones(channel)
        bent: list[Gesture] = [NoteShaped(channel, note, "bend", semitones)] if semitones else []
        return [*self._zone_pressure(channel), *bent]

    def _zone_pressure(self, channel: int) -> list[Gesture]:
        """What a member channel's note or pressure does to its zone."""
        manager = self._manager(channel)
        if manager is None:
            return []
        members = (self._channels[each] for each in self._members(manager))
        pressed = max((each.pressure for each in members if each.notes), default=0.0)
        return [Moved(Source(manager, "zone", 0, 7), pressed)]

    def _controller(self, channel: int, number: int, value: int) -> list[Gesture]:
        state = self._channels[channel]
        before, state.last = state.last, number
        if number in (NRPN_HIGH, NRPN_LOW, RPN_HIGH, RPN_LOW):
            self._select(state, number, value)
            return []
        if number in (DATA, DATA_LOW) and state.parameter != NULL:
            return self._enter(channel, number, value)
        if number == RESET_CONTROLLERS:
            state.bend, state.parameter = 0.0, NULL
        found: list[Gesture] = [Moved(Source(channel, "cc", number, 7), value / 127)]
        found += self._pair(channel, number, value, before)
        if number == TIMBRE:
            found += self._shaped(channel, "timbre", value / 127)
        return found

    def _pair(self, channel: int, number: int, value: int, before: int) -> list[Gesture]:
        state = self._channels[channel]
        if number < PAIRED:
            known = number in state.paired
            state.high[number] = value
            wide = value << 7
        else:
            number -= PAIRED
            # High bits of anything else in between: then this is a knob of its own.
            if number not in state.high or before not in (number, number + PAIRED):
                return []
            known = True
            state.paired.add(number)
            wide = state.high[number] << 7 | value
        return [Moved(Source(channel, "cc", number, 14), wide / WIDEST)] if known else []

    @staticmethod
    def _select(state: _Channel, number: int, value: int) -> None:
        high, low = state.parameter >> 7, state.parameter & 127
        if number in (NRPN_HIGH, RPN_HIGH):
            high = value
        else:
            low = value
        state.parameter = high << 7 | low
        state.registered = number in (RPN_HIGH, RPN_LOW)
        state.data = 0

    def _enter(self, channel: int, number: int, value: int) -> list[Gesture]:
        state = self._channels[channel]
        state.data = value << 7 if number == DATA else (state.data & ~127) | value
        if not state.registered:
            return [Moved(Source(channel, "nrpn", state.parameter, 14), state.data / WIDEST)]
        if state.parameter == BEND_RANGE:
            self._set_range(channel, (state.data >> 7) + (state.data & 127) / 100)
        elif state.parameter == MPE_ZONE and channel in self._zones and number == DATA:
            self._make_zone(channel, value)
        return []

    def _set_range(self, channel: int, semitones: float) -> None:
        """A range said on one member channel holds for all of its zone (MPE 2.4)."""
        manager = self._manager(channel)
        together = [channel] if manager is None else self._members(manager)
        for each in together:
            self._channels[each].semitones = semitones

    def _make_zone(self, manager: int, members: int) -> None:
        """A zone takes channels from the other one where both want them (MPE 2.1.1)."""
        other = UPPER if manager == LOWER else LOWER
        self._zones[manager] = min(members, MEMBERS)
        self._zones[other] = max(0, min(self._zones[other], MEMBERS - 1 - self._zones[manager]))
        self._channels[manager].semitones = BEND_SEMITONES
        for each in self._members(manager):
            self._channels[each].semitones = MPE_BEND_SEMITONES

    def _members(self, manager: int) -> list[int]:
        count = self._zones[manager]
        return list(range(1, 1 + count) if manager == LOWER else range(UPPER - count, UPPER))

    def _manager(self, channel: int) -> int | None:
        """The manager of the zone that a channel is a member of."""
        return next((m for m in self._zones if channel in self._members(m)), None)

    def _bend(self, channel: int, value: int) -> list[Gesture]:
        state = self._channels[channel]
        state.bend = value / BEND_CENTRE if value < 0 else value / (BEND_CENTRE - 1)
        found: list[Gesture] = [Moved(Source(channel, "bend", 0, 14), (state.bend + 1) / 2)]
        for each in self._spoken_for(channel):
            semitones = self._semitones(each)
            found += [NoteShaped(each, n, "bend", semitones) for n in self._channels[each].notes]
        return found

    def _spoken_for(self, channel: int) -> Iterator[int]:
        """The channel itself, and the members of the zone it manages."""
        yield channel
        if channel in self._zones:
            yield from self._members(channel)

    def _semitones(self, channel: int) -> float:
        """A note's bend: its channel's and, in a zone, its manager's (MPE 2.4)."""
        manager = self._manager(channel)
        heard = [channel] if manager is None else [channel, manager]
        return sum(self._channels[each].bend * self._channels[each].semitones for each in heard)

    def _shaped(
        self, channel: int, kind: Literal["pressure", "timbre"], value: float
    ) -> list[Gesture]:
        return [NoteShaped(channel, note, kind, value) for note in self._channels[channel].notes]
