"""MIDI bytes and the events they are."""

from __future__ import annotations

import random

import pytest

from segue.bridge.midi import events as midi
from segue.bridge.midi.codec import MAX_SYSEX_BYTES, Decoder, encode
from segue.bridge.midi.events import Event

# Every data byte distinct, so that none can stand in for another.
TABLE: list[tuple[Event, bytes]] = [
    (midi.NoteOff(0, 60, 1), bytes([0x80, 60, 1])),
    (midi.NoteOn(15, 61, 2), bytes([0x9F, 61, 2])),
    (midi.PolyPressure(2, 62, 3), bytes([0xA2, 62, 3])),
    (midi.ControlChange(3, 7, 4), bytes([0xB3, 7, 4])),
    (midi.ProgramChange(4, 5), bytes([0xC4, 5])),
    (midi.ChannelPressure(5, 6), bytes([0xD5, 6])),
    (midi.PitchBend(6, -8192), bytes([0xE6, 0, 0])),
    (midi.PitchBend(7, 0), bytes([0xE7, 0, 64])),
    (midi.PitchBend(8, 8191), bytes([0xE8, 127, 127])),
    (midi.PitchBend(9, 1), bytes([0xE9, 1, 64])),
    (midi.SysEx(b"\x7f\x7e\x01\x02"), bytes([0xF0, 0x7F, 0x7E, 1, 2, 0xF7])),
    (midi.SysEx(b""), bytes([0xF0, 0xF7])),
    (midi.QuarterFrame(5, 11), bytes([0xF1, 0x5B])),
    (midi.SongPosition(257), bytes([0xF2, 1, 2])),
    (midi.SongSelect(9), bytes([0xF3, 9])),
    (midi.TuneRequest(), b"\xf6"),
    (midi.Clock(), b"\xf8"),
    (midi.Start(), b"\xfa"),
    (midi.Continue(), b"\xfb"),
    (midi.Stop(), b"\xfc"),
    (midi.ActiveSensing(), b"\xfe"),
    (midi.Reset(), b"\xff"),
]
NOTE = midi.NoteOn(0, 60, 1)


def whole(data: bytes) -> tuple[list[Event], int]:
    """The events of bytes that come at once, and how many bytes were dropped."""
    decoder = Decoder()
    return decoder.receive(data), decoder.dropped


def one_by_one(data: bytes) -> tuple[list[Event], int]:
    """The same, byte by byte."""
    decoder = Decoder()
    found = [event for byte in data for event in decoder.receive(bytes([byte]))]
    return found, decoder.dropped


@pytest.mark.parametrize(("event", "data"), TABLE)
def test_the_table_both_ways(event: Event, data: bytes) -> None:
    """Each row encodes to its bytes, which are that event, whole or byte by byte."""
    assert encode(event) == data
    assert whole(data) == one_by_one(data) == ([event], 0)


def test_the_table_in_one_stream() -> None:
    """All rows after one another are all events in order."""
    stream = b"".join(data for _, data in TABLE)
    events = [event for event, _ in TABLE]
    assert whole(stream) == one_by_one(stream) == (events, 0)


@pytest.mark.parametrize(
    ("data", "events", "dropped"),
    [
        pytest.param("90 3c 01 3d 02", [NOTE, midi.NoteOn(0, 61, 2)], 0, id="running status"),
        pytest.param("90 f8 3c fa 01", [midi.Clock(), midi.Start(), NOTE], 0, id="clock in a note"),
        pytest.param(
            "90 3c 01 f8 3d 02",
            [NOTE, midi.Clock(), midi.NoteOn(0, 61, 2)],
            0,
            id="running status outlives a clock",
        ),
        pytest.param("f0 01 f8 02 f7", [midi.Clock(), midi.SysEx(b"\1\2")], 0, id="clock in sysex"),
        pytest.param("90 3c 00", [midi.NoteOff(0, 60, 64)], 0, id="velocity 0"),
        pytest.param("90 3c 01 f6 3d 02", [NOTE, midi.TuneRequest()], 2, id="common ends running"),
        pytest.param("90 3c 01 f0 05 f7 3d 02", [NOTE, midi.SysEx(b"\5")], 2, id="sysex ends it"),
        pytest.param("f1 15 16", [midi.QuarterFrame(1, 5)], 1, id="common does not run"),
        pytest.param("01 02 90 3c 01", [NOTE], 2, id="stray data"),
        pytest.param("80 3c 90 3c 01", [NOTE], 1, id="cut off by another status"),
        pytest.param("f0 01 02 90 3c 01", [NOTE], 3, id="sysex without end"),
        pytest.param("f0 01 f0 02 f7", [midi.SysEx(b"\2")], 2, id="sysex within sysex"),
        pytest.param("f7 f4 f5 f9 fd 90 3c 01", [NOTE], 5, id="undefined statuses"),
        pytest.param("90 f9 3c 01", [NOTE], 1, id="undefined real time in a note"),
        pytest.param("90 3c 01 f4 3d 02", [NOTE], 3, id="undefined common ends running"),
    ],
)
def test_what_streams_really_hold(data: str, events: list[Event], dropped: int) -> None:
    """Nothing good is lost around what is odd, and every byte that is lost is counted."""
    stream = bytes.fromhex(data)
    assert whole(stream) == one_by_one(stream) == (events, dropped)


def test_a_sysex_has_a_limit() -> None:
    """One of MAX_SYSEX_BYTES arrives; one more byte, or no end at all, and it is dropped."""
    longest = b"\1" * MAX_SYSEX_BYTES
    assert whole(b"\xf0" + longest + b"\xf7") == ([midi.SysEx(longest)], 0)
    too_long = b"\xf0" + longest + b"\1\xf7" + encode(NOTE)
    assert whole(too_long) == ([NOTE], MAX_SYSEX_BYTES + 3)
    decoder = Decoder()
    assert decoder.receive(b"\xf0" + bytes(1_000_000)) == []
    assert decoder.dropped == 1_000_001
    assert decoder.receive(encode(NOTE)) == [NOTE]


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_are_harmless(seed: int) -> None:
    """No bytes raise anything, however they are cut, and events found encode to themselves."""
    dice = random.Random(seed)
    stream = dice.randbytes(20_000)
    found, dropped = whole(stream)
    assert one_by_one(stream) == (found, dropped)
    assert 0 < dropped < len(stream)
    again = b"".join(map(encode, found))
    assert whole(again) == (found, 0)


@pytest.mark.parametrize(
    "event",
    [midi.NoteOn(16, 0, 1), midi.NoteOn(0, 128, 1), midi.SysEx(b"\x80"), midi.PitchBend(0, 8192)],
)
def test_what_does_not_fit_is_our_mistake(event: Event) -> None:
    """Encoding refuses numbers that MIDI has no room for."""
    with pytest.raises(ValueError, match=r"0 to|byte"):
        encode(event)
