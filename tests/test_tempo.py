"""The tempo map against answers worked out by hand and by stepping through it in fractions."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from itertools import pairwise

import pytest
from pydantic import ValidationError

from segue.presets.tempo import MAX_CHANGES, TempoChange, TempoMap, Unit
from segue.presets.word import SegueError

# 2 bars of 4/4 at 120 (4 s), then 3/4 at 60, and from second 10 on 7/8 at 140.
CHANGING = TempoMap(
    changes=(
        TempoChange(at_seconds=0, bpm=120),
        TempoChange(at_seconds=4, bpm=60, beats_per_bar=3),
        TempoChange(at_seconds=10, bpm=140, beats_per_bar=3.5),
    )
)
METRES = (4.0, 3.0, 3.5, 2.0, 6.0, 5.0, 2.5, 32.0, 0.5)


def random_map(seed: int) -> TempoMap:
    """Up to 400 changes of any tempo and metre, at any time."""
    rng = random.Random(seed)
    at, changes = 0.0, []
    for _ in range(rng.randint(1, 400)):
        changes.append(
            TempoChange(at_seconds=at, bpm=rng.uniform(10, 999), beats_per_bar=rng.choice(METRES))
        )
        at += rng.uniform(1e-3, 5)
    return TempoMap(changes=tuple(changes), first_beat=rng.random() * changes[0].beats_per_bar)


def walked(tempo: TempoMap, start: float, bars: Fraction) -> Fraction:
    """Seconds that so many bars last from `start` on, change by change."""
    now, left = Fraction(start), bars
    for i, change in enumerate(tempo.changes):
        later = [c.at_seconds for c in tempo.changes[i + 1 : i + 2]]
        end = Fraction(later[0]) if later else None
        if end is not None and end <= now:
            continue
        bar = Fraction(change.beats_per_bar) * 60 / Fraction(change.bpm)
        if end is None or now + left * bar <= end:
            return now + left * bar - Fraction(start)
        left -= (end - now) / bar
        now = end
    raise AssertionError("the last tempo has no end")


def test_known_answers() -> None:
    """Beats, bars and seconds of a map worked out by hand."""
    assert [CHANGING.beat_at(s) for s in (0, 1, 4, 10, 11.5)] == [0, 2, 8, 14, 17.5]
    assert [CHANGING.bar_at(s) for s in (0, 1, 4, 10, 11.5)] == [0, 0.5, 2, 4, 5]
    assert [CHANGING.seconds_at(b) for b in (0, 2, 9, 14)] == [0, 1, 5, 10]
    assert [CHANGING.seconds_at_bar(b) for b in (0.5, 3, 4, 5)] == [1, 7, 10, 11.5]
    assert CHANGING.seconds_of_bars(2.0, 3) == 8.0
    assert CHANGING.seconds_of_beats(3.0, 4) == 3.0
    assert CHANGING.samples_of(0, 5, "bars", 48000) == 552000


def test_before_the_first_change_its_tempo_holds() -> None:
    """Negative times and beats are extrapolated, as are those past the last change."""
    assert CHANGING.beat_at(-1) == -2
    assert CHANGING.seconds_at(-2) == -1
    assert CHANGING.bar_at(-2) == -1
    assert CHANGING.beat_at(1000) == 14 + 990 * 140 / 60


def test_a_region_may_start_inside_a_bar() -> None:
    """`first_beat` moves bar lines and beats, and leaves lengths alone."""
    tempo = TempoMap(changes=(TempoChange(at_seconds=0, bpm=120),), first_beat=3)
    assert tempo.beat_at(0) == 3
    assert tempo.bar_at(0) == 0.75
    assert tempo.seconds_at_bar(1) == 0.5
    assert tempo.seconds_of_bars(0, 4) == 8.0


def test_steady() -> None:
    """One tempo throughout: 4 bars of 7/8 at 90 are 14 beats."""
    tempo = TempoMap.steady(90, 3.5)
    assert tempo.seconds_of_bars(1.25, 4) == tempo.seconds_of_beats(1.25, 14) == 14 * 60 / 90


@pytest.mark.parametrize(
    ("unit", "known"),
    [("seconds", (0, 1, 7.5)), ("beats", (0, 0.5, 5.5)), ("bars", (0, 2, 14.75))],
)
def test_points_convert_from_where_the_music_starts(unit: Unit, known: tuple[float, ...]) -> None:
    """Times in any unit become seconds from the new music's beginning, across changes."""
    assert CHANGING.convert((0, 1, 7.5), unit, start_seconds=2.0) == known


@pytest.mark.parametrize("seed", range(20))
def test_512_bars_land_on_the_sample_of_exact_arithmetic(seed: int) -> None:
    """At 192 kHz, from any start, through any changes of tempo and metre."""
    tempo = random_map(seed)
    start = random.Random(seed).uniform(0, 60)
    exact = walked(tempo, start, Fraction(512)) * 192000
    expected = math.floor(exact + Fraction(1, 2))
    assert tempo.samples_of(start, 512, "bars", 192000) == expected
    assert round(tempo.seconds_of_bars(start, 512) * 192000) == expected


@pytest.mark.parametrize("seed", range(20))
def test_positions_are_inverses(seed: int) -> None:
    """Seconds to beats or bars and back is the same second to a billionth."""
    tempo, rng = random_map(seed), random.Random(seed)
    for seconds in (rng.uniform(-10, 1500) for _ in range(20)):
        assert tempo.seconds_at(tempo.beat_at(seconds)) == pytest.approx(seconds, abs=1e-9)
        assert tempo.seconds_at_bar(tempo.bar_at(seconds)) == pytest.approx(seconds, abs=1e-9)


def test_the_largest_map_converts_many_points() -> None:
    """10,000 changes and one more than that: the first works, the other is refused."""
    changes = tuple(
        TempoChange(at_seconds=i / 7, bpm=60 + i % 100, beats_per_bar=METRES[i % 9])
        for i in range(MAX_CHANGES + 1)
    )
    tempo = TempoMap(changes=changes[:-1])
    made = tempo.convert(range(1000), "beats")
    assert all(a < b for a, b in pairwise(made))
    with pytest.raises(ValidationError, match="at most 10000"):
        TempoMap(changes=changes)


@pytest.mark.parametrize(
    ("rows", "first_beat", "sentence"),
    [
        ((), 0, "at least 1 item"),
        (((1, 120, 4),), 0, "first change must be at 0 s, and is at 1 s"),
        (((0, 120, 4), (2, 90, 4), (2, 91, 4)), 0, "sorted by time, and 2 s follows 2 s"),
        (((0, 120, 4),), 4, "inside a bar of 4 beats, and is 4"),
        (((0, 9.9, 4),), 0, "greater than or equal to 10"),
        (((0, 1000, 4),), 0, "less than or equal to 999"),
        (((0, 120, 33),), 0, "less than or equal to 32"),
        (((0, 120, 3.3),), 0, "multiple of 0.125, and is 3.3"),
        (((0, math.nan, 4),), 0, "finite number"),
        (((0, 120, 4), (math.inf, 120, 4)), 0, "finite number"),
    ],
)
def test_bad_maps_are_refused(
    rows: tuple[tuple[float, float, float], ...], first_beat: float, sentence: str
) -> None:
    """With a sentence that says what is wrong."""
    with pytest.raises(ValidationError, match=sentence):
        TempoMap(
            changes=tuple(
                TempoChange(at_seconds=at, bpm=bpm, beats_per_bar=beats) for at, bpm, beats in rows
            ),
            first_beat=first_beat,
        )


@pytest.mark.parametrize("time", [math.nan, math.inf, -2e9])
def test_no_time_is_refused(time: float) -> None:
    """What is no place on a timeline raises an error that says so."""
    with pytest.raises(SegueError, match="no time or length on a tempo map"):
        CHANGING.seconds_of_bars(time, 1)
    with pytest.raises(SegueError, match="no time or length on a tempo map"):
        CHANGING.convert([0, time], "beats")
    with pytest.raises(SegueError, match="no unit 'miles'"):
        CHANGING.convert([0], "miles")  # type: ignore[arg-type]


def test_a_map_survives_json() -> None:
    """What crosses rooms comes back equal, used or not."""
    CHANGING.beat_at(3)
    assert TempoMap.model_validate_json(CHANGING.model_dump_json()) == CHANGING
