"""Controllers in pairs, registered parameters and MPE."""

from __future__ import annotations

import random

import pytest

from segue.bridge.midi.channels import Channels, Gesture, Moved, NoteShaped, Source
from segue.bridge.midi.codec import Decoder
from segue.bridge.midi.events import ChannelPressure as Pressure
from segue.bridge.midi.events import ControlChange as Control
from segue.bridge.midi.events import Event, NoteOff, NoteOn, PitchBend, PolyPressure


def gestures(*events: Event) -> list[Gesture]:
    """What a fresh set of channels makes of events."""
    channels = Channels()
    return [gesture for event in events for gesture in channels.receive(event)]


def cc(number: int, value: float, bits: int = 7, channel: int = 0) -> Moved:
    """A controller that moved."""
    return Moved(Source(channel, "cc", number, 14 if bits == 14 else 7), value)


def zone(manager: int, members: int) -> list[Event]:
    """The MPE configuration message: RPN 6."""
    return [Control(manager, 101, 0), Control(manager, 100, 6), Control(manager, 6, members)]


def test_a_seven_bit_controller() -> None:
    """127 is 1."""
    assert gestures(Control(0, 1, 0), Control(0, 1, 127)) == [cc(1, 0.0), cc(1, 1.0)]


def test_a_pair_is_fourteen_bits() -> None:
    """High bits set the low ones to 0; low bits alone move a little further."""
    found = gestures(
        Control(0, 1, 64),
        Control(0, 33, 5),
        Control(0, 33, 6),
        Control(0, 1, 127),
        Control(0, 33, 127),
    )
    wide = [g for g in found if isinstance(g, Moved) and g.source.bits == 14]
    values = [64 << 7 | 5, 64 << 7 | 6, 127 << 7, 16383]
    assert wide == [cc(1, value / 16383, 14) for value in values]


def test_a_knob_of_a_low_number_is_itself() -> None:
    """Controllers 32-63 that follow no high bits of theirs are no halves of a pair."""
    assert gestures(Control(0, 33, 5)) == [cc(33, 5 / 127)]
    apart = gestures(Control(0, 1, 9), Control(0, 2, 9), Control(0, 33, 5))
    assert [g.source.bits for g in apart if isinstance(g, Moved)] == [7, 7, 7]


def test_pairs_of_channels_do_not_mix() -> None:
    """High bits of one channel and low bits of another are no pair."""
    assert gestures(Control(0, 1, 9), Control(1, 33, 5)) == [
        cc(1, 9 / 127),
        cc(33, 5 / 127, channel=1),
    ]


def test_bend_and_pressures() -> None:
    """A bend is at 0.5 when it rests and reaches 0 and 1; pressures are seven bits."""
    assert gestures(PitchBend(2, -8192), PitchBend(2, 0), PitchBend(2, 8191)) == [
        Moved(Source(2, "bend", 0, 14), value) for value in (0.0, 0.5, 1.0)
    ]
    assert gestures(Pressure(3, 127)) == [Moved(Source(3, "pressure", 0, 7), 1.0)]
    assert gestures(PolyPressure(3, 60, 127)) == [
        Moved(Source(3, "poly", 60, 7), 1.0),
        NoteShaped(3, 60, "pressure", 1.0),
    ]


def test_parameters_without_a_registered_number() -> None:
    """NRPN 1:2 moves as one source of fourteen bits; null lets data entry be a controller."""
    select: list[Event] = [Control(0, 99, 1), Control(0, 98, 2)]
    source = Source(0, "nrpn", 1 << 7 | 2, 14)
    assert gestures(*select, Control(0, 6, 3), Control(0, 38, 4)) == [
        Moved(source, (3 << 7) / 16383),
        Moved(source, (3 << 7 | 4) / 16383),
    ]
    null: list[Event] = [Control(0, 101, 127), Control(0, 100, 127)]
    assert gestures(*select, *null, Control(0, 6, 3)) == [cc(6, 3 / 127)]


def test_a_bend_without_mpe() -> None:
    """Notes of a channel bend together by two semitones, or by what RPN 0 says."""
    played: list[Event] = [NoteOn(0, 60, 1), NoteOn(0, 64, 1), PitchBend(0, 8191)]
    assert gestures(*played)[1:] == [
        NoteShaped(0, 60, "bend", 2.0),
        NoteShaped(0, 64, "bend", 2.0),
    ]
    twelve: list[Event] = [Control(0, 101, 0), Control(0, 100, 0), Control(0, 6, 12)]
    assert gestures(*twelve, *played)[1:] == [
        NoteShaped(0, 60, "bend", 12.0),
        NoteShaped(0, 64, "bend", 12.0),
    ]


def test_mpe_bends_one_note() -> None:
    """In a zone each note has a channel, 48 semitones wide, to which the manager adds its 2."""
    notes: list[Event] = [NoteOn(1, 60, 1), NoteOn(2, 64, 1)]
    found = gestures(*zone(0, 15), *notes, PitchBend(1, -4096), PitchBend(0, 8191))
    assert [g for g in found if isinstance(g, NoteShaped)] == [
        NoteShaped(1, 60, "bend", -24.0),
        NoteShaped(1, 60, "bend", -22.0),
        NoteShaped(2, 64, "bend", 2.0),
    ]


def test_mpe_pressure_and_timbre_belong_to_the_note() -> None:
    """Pressure and controller 74 of a member channel shape the note that sounds there."""
    found = gestures(*zone(0, 3), NoteOn(1, 60, 1), Pressure(1, 127), Control(1, 74, 127))
    assert [g for g in found if isinstance(g, NoteShaped)] == [
        NoteShaped(1, 60, "pressure", 1.0),
        NoteShaped(1, 60, "timbre", 1.0),
    ]
    after = gestures(*zone(0, 3), NoteOn(1, 60, 1), NoteOff(1, 60, 1), Pressure(1, 127))
    assert after[-1] == Moved(Source(1, "pressure", 0, 7), 1.0)
    assert {type(gesture) for gesture in after} == {Moved}


def zone_moves(*events: Event) -> list[float]:
    """Where the lower zone's pressure stands, each time it is told."""
    return [
        gesture.value
        for gesture in gestures(*zone(0, 15), *events)
        if isinstance(gesture, Moved) and gesture.source == Source(0, "zone", 0, 7)
    ]


def test_the_hardest_pressed_note_is_the_zones() -> None:
    """Of those that sound, on whatever member channel; 0 when none does."""
    notes: list[Event] = [NoteOn(1, 60, 9), Pressure(1, 127), NoteOn(4, 64, 9), Pressure(4, 63)]
    assert zone_moves(*notes) == [0, 1, 1, 1]
    assert zone_moves(*notes, NoteOff(1, 60, 9)) == [0, 1, 1, 1, 63 / 127]
    assert zone_moves(*notes, NoteOff(1, 60, 9), NoteOff(4, 64, 9))[-2:] == [63 / 127, 0]


def test_no_zone_without_one() -> None:
    """Nor of the manager's own pressure, or that of a channel outside."""
    played: list[Event] = [NoteOn(1, 60, 9), Pressure(1, 9), NoteOff(1, 60, 9)]
    moved = [gesture for gesture in gestures(*played) if isinstance(gesture, Moved)]
    assert moved == [Moved(Source(1, "pressure", 0, 7), 9 / 127)]
    assert zone_moves(NoteOn(0, 60, 9), Pressure(0, 9)) == []
    outside = gestures(*zone(0, 3), Pressure(5, 9))
    assert outside == [Moved(Source(5, "pressure", 0, 7), 9 / 127)]


def test_a_note_struck_on_a_bent_channel() -> None:
    """MPE sends a note's bend before the note."""
    found = gestures(*zone(0, 3), PitchBend(1, 8191), NoteOn(1, 60, 1))
    assert found[-1] == NoteShaped(1, 60, "bend", 48.0)


@pytest.mark.parametrize(
    ("first", "second", "bent"),
    [
        ((0, 7), (15, 7), {7: 48.0, 8: 48.0}),
        ((0, 10), (15, 7), {7: 48.0, 8: 48.0}),
        ((15, 10), (0, 15), {7: 48.0, 14: 48.0}),
        ((0, 7), (0, 0), {7: 48.0}),
    ],
)
def test_zones_do_not_overlap(
    first: tuple[int, int], second: tuple[int, int], bent: dict[int, float]
) -> None:
    """The newer zone takes the channels it wants; none remains where a zone has gone."""
    setup = [*zone(*first), *zone(*second)]
    for channel, semitones in bent.items():
        found = gestures(*setup, NoteOn(channel, 60, 1), PitchBend(channel, 8191))
        assert found[-1] == NoteShaped(channel, 60, "bend", semitones)


def test_a_range_holds_for_the_whole_zone() -> None:
    """RPN 0 on one member channel sets all of them."""
    narrow: list[Event] = [Control(1, 101, 0), Control(1, 100, 0), Control(1, 6, 24)]
    found = gestures(*zone(0, 5), *narrow, NoteOn(4, 60, 1), PitchBend(4, 8191))
    assert found[-1] == NoteShaped(4, 60, "bend", 24.0)


@pytest.mark.parametrize("seed", range(5))
def test_random_events_keep_their_ranges(seed: int) -> None:
    """Whatever arrives, a source stays within 0 to 1 and nothing raises."""
    decoder, channels = Decoder(), Channels()
    moved = [
        gesture
        for event in decoder.receive(random.Random(seed).randbytes(20_000))
        for gesture in channels.receive(event)
        if isinstance(gesture, Moved)
    ]
    assert len(moved) > 1000
    assert all(0 <= gesture.value <= 1 for gesture in moved)
