"""Melodies and knob movements recorded in time."""

from __future__ import annotations

import math

import pytest

from segue.bridge.midi import takes
from segue.bridge.midi.channels import Gesture, Moved, NoteShaped, Source
from segue.bridge.midi.events import Event, NoteOff, NoteOn
from segue.bridge.midi.takes import HOLD, IllegalCueError, Plan, Stage, Take, thinned
from segue.presets.controls import Intensity, Melody, Note

KNOB = Source(0, "cc", 1, 7)


def recorded(plan: Plan, *played: tuple[float, Event | Gesture], end: float | None = None) -> Take:
    """A take of what is played, at (time, event)."""
    take = Take(plan)
    for at, event in played:
        take.receive(event, at)
    if end is not None:
        take.pass_time(end)
    return take


def moved(value: float, source: Source = KNOB) -> Moved:
    """The knob at a value."""
    return Moved(source, value)


MELODY = Plan(what="melody", length=4)
INTENSITY = Plan(what="intensity", length=4, source=KNOB)


def test_a_melody_from_its_first_note() -> None:
    """Times count from the first note; the take ends with its length."""
    take = recorded(
        MELODY,
        (10.0, NoteOn(0, 60, 99)),
        (11.0, NoteOff(0, 60, 0)),
        (11.5, NoteOn(0, 64, 99)),
        (13.0, NoteOff(0, 64, 0)),
        end=14.0,
    )
    assert take.stage is Stage.DONE
    assert take.rows == ((0.0, 1.0, 60), (1.5, 1.5, 64))


def test_a_melody_from_the_songs_start() -> None:
    """What begins with the clock keeps the rest before the first note."""
    take = Take(MELODY)
    take.begin(0.0)
    take.receive(NoteOn(0, 60, 99), 1.0)
    take.receive(NoteOff(0, 60, 0), 2.0)
    take.pass_time(4.0)
    assert take.rows == ((1.0, 1.0, 60),)


def test_hanging_notes_end_with_the_take() -> None:
    """A key held over the end is as long as the take lets it be, even seen late."""
    take = recorded(MELODY, (0.0, NoteOn(0, 60, 99)), (3.0, NoteOn(1, 64, 99)), end=9.0)
    assert take.rows == ((0.0, 4.0, 60), (3.0, 1.0, 64))


@pytest.mark.parametrize(("at", "start"), [(9.0, 1.0), (8.0, 0.0), (7.9, 0.0), (7.75, 3.75)])
def test_a_grid_keeps_the_phase(at: float, start: float) -> None:
    """A take begins on the line before its first note, or on the one it came a little early for."""
    plan = Plan(what="melody", length=4, grid=4)
    take = recorded(plan, (at, NoteOn(0, 60, 99)), (at + 0.25, NoteOff(0, 60, 0)), end=20.0)
    assert take.rows[0][0] == start


def test_a_song_that_jumps_back_ends_the_take() -> None:
    """When the DAW's loop starts again the take is whole."""
    take = recorded(MELODY, (0.5, NoteOn(0, 60, 99)), (3.5, NoteOn(0, 62, 99)))
    take.pass_time(0.0)
    assert take.stage is Stage.DONE
    assert take.rows == ((0.0, 4.0, 60), (3.0, 1.0, 62))


def test_a_note_struck_twice() -> None:
    """The first one struck ends first."""
    take = recorded(
        MELODY,
        (0.0, NoteOn(0, 60, 99)),
        (1.0, NoteOn(0, 60, 99)),
        (2.0, NoteOff(0, 60, 0)),
        (3.0, NoteOff(0, 60, 0)),
        end=4.0,
    )
    assert take.rows == ((0.0, 2.0, 60), (1.0, 2.0, 60))


def test_a_bent_note_goes_on_as_another() -> None:
    """Past half a semitone it is the next pitch; less changes nothing."""
    take = recorded(
        MELODY,
        (0.0, NoteOn(1, 60, 99)),
        (1.0, NoteShaped(1, 60, "bend", 0.4)),
        (2.0, NoteShaped(1, 60, "bend", 1.6)),
        (3.0, NoteOff(1, 60, 0)),
        end=4.0,
    )
    assert take.rows == ((0.0, 2.0, 60), (2.0, 1.0, 62))


def test_notes_without_length_are_none() -> None:
    """A note let go at once, and a key let go that nobody struck, leave no row."""
    take = recorded(MELODY, (0.0, NoteOff(0, 1, 0)), (1.0, NoteOn(0, 60, 9)))
    take.receive(NoteOff(0, 60, 0), 1.0)
    take.pass_time(9.0)
    assert take.rows == ()


def test_a_take_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """At its number of notes or moves it is full, and says so."""
    monkeypatch.setattr(takes, "MAX_NOTES", 3)
    monkeypatch.setattr(takes, "MAX_MOVES", 3)
    melody, knob = Take(MELODY), Take(INTENSITY)
    for i in range(3):
        melody.receive(NoteOn(0, i, 9), 0.01 * i)
        knob.receive(moved(i / 10), 0.01 * i)
    assert not melody.full
    assert not knob.full
    melody.receive(NoteOn(0, 9, 9), 0.1)
    knob.receive(moved(1.0), 0.1)
    knob.receive(moved(1.0), 0.2)
    assert melody.full
    assert knob.full
    melody.end(4.0)
    assert len(melody.rows) == 3


def test_a_knob_moved_in_time() -> None:
    """The curve begins with its first value, holds while it rests, and ends with its last."""
    take = recorded(INTENSITY, (5.0, moved(0.2)), (7.0, moved(0.8)), end=9.0)
    assert take.rows == ((0.0, 0.2), (2.0 - HOLD, 0.2), (2.0, 0.8), (4.0, 0.8))


def test_other_knobs_do_not_count() -> None:
    """Neither begin a take nor belong to it."""
    other = moved(0.5, Source(0, "cc", 2, 7))
    take = recorded(INTENSITY, (0.0, other), (0.0, NoteOn(0, 60, 9)))
    assert take.stage is Stage.ARMED
    assert take.rows == ()


@pytest.mark.parametrize(("unit", "scale"), [("beats", "share"), ("seconds", "share")])
def test_rows_are_what_the_vocabulary_takes(unit: str, scale: str) -> None:
    """A curve is an intensity's points, notes are a melody's."""
    knob = recorded(INTENSITY, (5.0, moved(0.0)), (6.0, moved(1.0)), end=9.0)
    fields = {"unit": unit, "scale": scale, "points": knob.rows}
    assert Intensity.model_validate(fields).points == knob.rows
    melody = recorded(MELODY, (0.0, NoteOn(0, 60, 99)), end=9.0)
    notes = [dict(zip(("start", "length", "pitch"), row, strict=True)) for row in melody.rows]
    found = Melody.model_validate({"unit": unit, "notes": notes}).notes
    assert found == (Note(start=0, length=4, pitch=60),)


def test_what_a_take_does_not_allow() -> None:
    """A take that is over cannot begin or end again; after its end nothing is heard."""
    take = recorded(MELODY, (0.0, NoteOn(0, 60, 99)), end=4.0)
    with pytest.raises(IllegalCueError, match="DONE cannot BEGIN"):
        take.begin(0.0)
    with pytest.raises(IllegalCueError, match="DONE cannot END"):
        take.end(0.0)
    take.receive(NoteOn(0, 61, 99), 1.0)
    assert take.rows == ((0.0, 4.0, 60),)


def test_thinning_keeps_what_matters() -> None:
    """Points on a line go, corners stay."""
    line = [(i / 100, i / 100) for i in range(101)]
    assert thinned(line, 512, 0.001) == [(0.0, 0.0), (1.0, 1.0)]
    corner = [(float(i), float(min(i, 50))) for i in range(101)]
    assert thinned(corner, 512, 0.001) == [(0.0, 0.0), (50.0, 50.0), (100.0, 50.0)]


def test_thinning_stays_within_its_tolerance() -> None:
    """No point is further from the curve than asked for."""
    wave = [(i / 1000, 0.5 + 0.5 * math.sin(i / 50)) for i in range(1001)]
    kept = thinned(wave, 512, 0.005)
    assert len(kept) < 100
    for time, level in wave:
        after = next(i for i, point in enumerate(kept) if point[0] >= time)
        (a, low), (b, high) = kept[max(after - 1, 0)], kept[after]
        on_line = low + (high - low) * ((time - a) / (b - a) if b > a else 0)
        assert abs(on_line - level) <= 0.005 + 1e-9


def test_thinning_has_a_limit() -> None:
    """A knob that is shaken for minutes is 512 points, the first and last among them."""
    shaken = [(i / 100, float(i % 2)) for i in range(20_000)]
    kept = thinned(shaken, 512, 0.005)
    assert len(kept) == 512
    assert (kept[0], kept[-1]) == (shaken[0], shaken[-1])


def test_moves_at_one_time() -> None:
    """Of two at the same time, as the halves of a pair are, the last one counts."""
    take = recorded(INTENSITY, (0.0, moved(0.2)), (0.0, moved(0.25)), end=9.0)
    assert take.rows == ((0.0, 0.25), (4.0, 0.25))
