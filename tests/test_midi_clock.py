"""MIDI clock and MTC against an offline clock."""

from __future__ import annotations

import random

import pytest

from segue.bridge.midi.clock import LEAST_CLOCKS, STALLED_SECONDS, SongClock
from segue.bridge.midi.events import (
    Clock,
    Continue,
    Event,
    QuarterFrame,
    SongPosition,
    Start,
    Stop,
    SysEx,
)
from segue.bridge.midi.song import Song
from segue.bridge.midi.timecode import TimeCode


def ticking(clock: SongClock, count: int, bpm: float, start: float = 0.0) -> float:
    """Give so many clocks; the time after the last one's interval."""
    interval = 60 / (24 * bpm)
    for i in range(count):
        clock.receive(Clock(), start + i * interval)
    return start + count * interval


@pytest.mark.parametrize("bpm", [30.0, 60.0, 124.0, 174.5, 300.0])
def test_the_tempo_of_an_even_clock(bpm: float) -> None:
    """It is known after LEAST_CLOCKS intervals, and not before."""
    clock = SongClock()
    after = ticking(clock, LEAST_CLOCKS, bpm)
    assert clock.bpm is None
    ticking(clock, 1, bpm, after)
    assert clock.bpm == pytest.approx(bpm, rel=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_jitter_of_96_ms_does_not_break_the_tempo(seed: int) -> None:
    """Clocks up to 96 ms late, at 120 bpm, where they are 21 ms apart: within 4 bpm."""
    dice = random.Random(seed)
    clock, newest = SongClock(), 0.0
    for i in range(192):
        newest = max(newest, i / 48 + dice.uniform(0, 0.096))  # a port keeps the order
        clock.receive(Clock(), newest)
    assert clock.bpm == pytest.approx(120, abs=4)


@pytest.mark.parametrize("seed", range(20))
def test_clocks_that_come_in_bursts(seed: int) -> None:
    """One in ten held up for 96 ms, with those behind it: within 3 bpm."""
    dice = random.Random(seed)
    clock, newest = SongClock(), 0.0
    for i in range(192):
        late = 0.096 if dice.random() < 0.1 else 0.001 * dice.random()
        newest = max(newest, i / 48 + late)
        clock.receive(Clock(), newest)
    assert clock.bpm == pytest.approx(120, abs=3)


def test_a_new_tempo_is_followed() -> None:
    """Four beats after a change nothing is left of the old tempo."""
    clock = SongClock()
    ticking(clock, 97, 140, ticking(clock, 97, 100))
    assert clock.bpm == pytest.approx(140, rel=1e-9)


def test_the_position_counts_from_the_start() -> None:
    """The first clock after Start is beat 0, the 25th beat 1; between them the tempo goes on."""
    clock = SongClock()
    start = ticking(clock, 48, 120)
    assert clock.beat(start) == 0
    clock.receive(Start(), start)
    assert clock.beat(start + 5) == 0
    end = ticking(clock, 25, 120, start)
    assert clock.beat(start + 0.5) == pytest.approx(1)
    assert clock.beat(end) == pytest.approx(25 / 24)
    assert clock.seconds(start + 0.5) == pytest.approx(0.5)


def test_clocks_before_start_do_not_count() -> None:
    """Senders tick while they stand, for the tempo's sake."""
    clock = SongClock()
    ticking(clock, 100, 120)
    assert (clock.running(2.0), clock.beat(10.0)) == (False, 0)


def test_stop_and_continue() -> None:
    """Stop holds the position; Continue goes on from there, or from a song position."""
    clock = SongClock()
    clock.receive(Start(), 0.0)
    end = ticking(clock, 48, 120)
    clock.receive(Stop(), end)
    assert clock.beat(end + 100) == 2
    clock.receive(Continue(), end)
    ticking(clock, 1, 120, end)
    assert clock.beat(end) == pytest.approx(2)
    clock.receive(Stop(), end)
    clock.receive(SongPosition(16), end)
    assert clock.beat(end) == 4
    clock.receive(Continue(), end)
    ticking(clock, 13, 120, end)
    assert clock.beat(end + 0.25) == pytest.approx(4.5)


def test_a_loop_that_jumps_back() -> None:
    """A song position while the clock runs is where the next clock stands."""
    clock = SongClock()
    clock.receive(Start(), 0.0)
    end = ticking(clock, 96, 120)
    clock.receive(SongPosition(0), end)
    end = ticking(clock, 25, 120, end)
    assert clock.beat(end - 60 / (24 * 120)) == pytest.approx(1)


def test_a_jump_to_where_nobody_has_listened() -> None:
    """Its second is that of the last place heard, and the tempo from there; unknown without one."""
    clock = SongClock()
    clock.receive(Start(), 0.0)
    clock.receive(SongPosition(16), 0.0)
    assert clock.seconds(0.0) is None
    clock.receive(SongPosition(0), 0.0)
    end = ticking(clock, 49, 90)
    clock.receive(SongPosition(16), end)
    assert clock.seconds(end) == pytest.approx(4 * 60 / 90)
    end = ticking(clock, 1, 90, end)
    assert clock.seconds(end) == pytest.approx((4 + 1 / 24) * 60 / 90)


def test_a_sender_that_goes_away() -> None:
    """The position stays within STALLED_SECONDS, and a new sender's tempo is its own."""
    clock = SongClock()
    clock.receive(Start(), 0.0)
    end = ticking(clock, 48, 120)
    assert clock.running(end - 1 / 48 + 0.99 * STALLED_SECONDS)
    assert not clock.running(end - 1 / 48 + 1.01 * STALLED_SECONDS)
    assert clock.beat(end + 1000) == pytest.approx(47 / 24 + STALLED_SECONDS * 2, abs=1e-6)
    after = ticking(clock, 25, 90, end + 1000)
    assert clock.bpm == pytest.approx(90, rel=1e-9)
    assert not clock.running(after)  # where its song is nobody knows
    clock.receive(Start(), after)
    assert clock.running(after)


def place(song: Song, now: float) -> float:
    """The beat where its clock is."""
    clock = song.clock(now)
    assert clock is not None
    return clock.beat(now)


@pytest.mark.parametrize("sent", [16, 96])
@pytest.mark.parametrize("said", [120.0, None])
def test_a_song_position_in_clocks_is_seen(sent: int, said: float | None) -> None:
    """Where MTC runs beside it: 96, as Ardour 7 says at beat 4, and 16, as MIDI 1.0 has it."""
    song = Song(said)
    song.receive("clock", SongPosition(sent), 0.0)
    song.receive("clock", Continue(), 0.0)
    song.receive("code", full_frame(0, 0, 2, 0, 3), 0.0)
    played: list[tuple[float, str, Event]] = [(i / 48, "clock", Clock()) for i in range(49)]
    for i in range(120):
        numbers = [i // 8 * 2, 2, 0, 3 << 5]
        value = numbers[i % 8 // 2] >> 4 * (i % 2) & 15
        played.append((i / 120, "code", QuarterFrame(i % 8, value)))
    for now, port, event in sorted(played, key=lambda each: each[0]):
        song.receive(port, event, now)
        if said and now == 0.25:
            assert place(song, now) == pytest.approx(4.5)
    assert place(song, 1.0) == pytest.approx(6)


def test_a_song_position_without_time_code_is_believed() -> None:
    """Sixteenths, as MIDI 1.0 has it."""
    song = Song(120)
    for event in (SongPosition(96), Continue(), Clock()):
        song.receive("clock", event, 0.0)
    assert place(song, 0.0) == 24


def test_clocks_all_at_once_are_no_tempo() -> None:
    """A hundred clocks at one time say nothing, and divide by nothing."""
    clock = SongClock()
    for _ in range(100):
        clock.receive(Clock(), 1.0)
    assert clock.bpm is None


def full_frame(hour: int, minute: int, second: int, frame: int, rate: int) -> SysEx:
    """An MTC full frame to all devices."""
    return SysEx(bytes([0x7F, 0x7F, 1, 1, rate << 5 | hour, minute, second, frame]))


@pytest.mark.parametrize(
    ("time", "rate", "seconds"),
    [
        ((0, 0, 2, 0), 3, 2.0),
        ((1, 0, 0, 0), 1, 3600.0),
        ((0, 1, 1, 12), 0, 61.5),
        ((0, 1, 0, 2), 2, 1800 * 1001 / 30000),  # the first number after 0:0:59:29
        ((0, 10, 0, 0), 2, 17982 * 1001 / 30000),
        ((23, 59, 59, 29), 3, 86399 + 29 / 30),
    ],
)
def test_a_full_frame_is_a_place(
    time: tuple[int, int, int, int], rate: int, seconds: float
) -> None:
    """The song stands there, however long."""
    code = TimeCode()
    assert code.seconds(0.0) is None
    code.receive(full_frame(*time, rate), 5.0)
    assert code.seconds(500.0) == pytest.approx(seconds)
    assert not code.running(5.0)


def quarter_frames(
    code: TimeCode, frame: int, rate: int, now: float, pieces: range = range(8)
) -> None:
    """The pieces of a whole frame's number, a quarter-frame apart, the first at `now`."""
    per = (24, 25, 30, 30)[rate]
    second, frames = divmod(frame, per)
    numbers = [frames, second % 60, second // 60 % 60, rate << 5 | second // 3600]
    for i in pieces:
        value = numbers[i // 2] >> 4 * (i % 2) & 15
        code.receive(QuarterFrame(i, value), now + i / (4 * per))


@pytest.mark.parametrize("rate", [0, 1, 3])
def test_quarter_frames_are_a_running_time(rate: int) -> None:
    """Eight pieces say when the first one was sent; the time then runs on."""
    code, per = TimeCode(), (24, 25, 30, 30)[rate]
    quarter_frames(code, 3725 * per, rate, 100.0)
    assert code.seconds(100 + 1.75 / per) == pytest.approx(3725 + 1.75 / per)
    assert code.seconds(100.2) == pytest.approx(3725.2)
    assert code.running(100.2)


def test_time_code_that_stops() -> None:
    """Without quarter-frames the song stands where the last one came."""
    code = TimeCode()
    quarter_frames(code, 300, 3, 0.0)
    assert not code.running(1.0)
    assert code.seconds(1.0) == pytest.approx(10 + 7 / 120)


def test_time_code_that_begins_elsewhere() -> None:
    """Until eight pieces have come nothing is known; after a full frame the song begins there."""
    code = TimeCode()
    quarter_frames(code, 300, 3, 0.0)
    quarter_frames(code, 600, 3, 50.0, range(7))
    assert not code.running(50.06)
    quarter_frames(code, 600, 3, 50.0, range(7, 8))
    assert code.seconds(50.1) == pytest.approx(20.1)
    code.receive(full_frame(0, 0, 30, 0, 3), 60.0)
    quarter_frames(code, 900, 3, 70.0, range(1))
    assert code.running(70.1)
    assert code.seconds(70.1) == pytest.approx(30.1)


def test_pieces_that_are_lost_or_backwards() -> None:
    """A time is only believed when all eight pieces came in order."""
    code = TimeCode()
    quarter_frames(code, 300, 3, 0.0, range(1, 8))
    quarter_frames(code, 300, 3, 0.1, range(7, -1, -1))
    assert code.seconds(0.2) is None
    quarter_frames(code, 600, 3, 0.3)
    assert code.seconds(0.3) == pytest.approx(20)


@pytest.mark.parametrize("data", [b"", b"\x7f\x7f\x01\x02" + bytes(4), b"\x7e\x7f\x01\x01" * 2])
def test_other_sysex_is_no_time(data: bytes) -> None:
    """Only an MTC full frame locates."""
    code = TimeCode()
    code.receive(SysEx(data), 0.0)
    assert code.seconds(0.0) is None
