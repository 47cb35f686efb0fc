"""Takes over a song whose tempo changes: every event at its exact second of the phrase."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from segue.bridge.midi import events as midi
from segue.bridge.midi.clock import SongClock
from segue.bridge.midi.codec import encode
from segue.bridge.midi.controller_map import Bound, ControllerMap
from segue.bridge.midi.events import Event
from segue.bridge.midi.live import Action, Ask, LiveSession
from segue.bridge.midi.rounds import SONG_START, InSong
from segue.presets.controls import Intensity, Loop, Melody, Outpaint, Vary
from segue.presets.tempo import TempoChange, TempoMap
from segue.presets.vocabulary import Region, Request

WHEEL = ControllerMap(title="wheel", controls=(Bound(target="intensity", kind="cc", number=1),))
BEATS = 16  # of the phrase
STEP = TempoMap(
    changes=(TempoChange(at_seconds=0, bpm=120), TempoChange(at_seconds=4, bpm=90)),
)


def ramp() -> TempoMap:
    """From 140 bpm down to 77, a little slower on every quarter of a beat."""
    at, changes = 0.0, list[TempoChange]()
    for i in range(4 * BEATS):
        changes.append(TempoChange(at_seconds=at, bpm=140 - i))
        at += 15 / (140 - i)
    return TempoMap(changes=tuple(changes))


MAPS = pytest.mark.parametrize("song", [STEP, ramp()], ids=["step", "ramp"])
TOLD = pytest.mark.parametrize("told", [True, False], ids=["map", "no map"])


class Desk:
    """A player in time with a DAW whose clock goes by a tempo map."""

    def __init__(
        self, song: TempoMap, told: bool, begins: InSong = SONG_START, **fields: object
    ) -> None:
        length = song.seconds_at(BEATS)
        region = Region(path="/m/loop.wav", start_seconds=0, length_seconds=length)
        request: dict[str, object] = {"id": "play", "region": region, "controls": (Vary(),)}
        request |= {"tempo": song if told else None} | fields
        self.session = LiveSession(Request.model_validate(request), WHEEL, lambda: 1, begins=begins)
        self.song, self.begun = song, 100.0
        self.asked: list[Request] = []

    def send(self, now: float, *events: Event) -> None:
        """Events at a time."""
        self.take(self.session.receive("DAW", b"".join(map(encode, events)), now))

    def take(self, actions: list[Action]) -> None:
        """Keep what is asked for."""
        self.asked += [action.request for action in actions if isinstance(action, Ask)]

    def roll(
        self,
        first: float,
        last: float,
        played: dict[float, Event] | None = None,
        when: Callable[[float], float] | None = None,
        jitter: Callable[[], float] = lambda: 0.0,
    ) -> float:
        """Clocks from beat to beat, and what is played at which beat; the last beat's time."""
        when = when or self.song.seconds_at
        zero = self.begun - when(first)
        clocks = range(round(first * 24), round(last * 24))
        moments: list[tuple[float, int, Event]] = []
        newest = 0.0
        for clock in clocks:
            newest = max(newest, zero + when(clock / 24) + jitter())
            moments.append((newest, 0, midi.Clock()))
        for beat, event in (played or {}).items():
            moments.append((zero + when(beat), 1, event))
        for now, _, event in sorted(moments, key=lambda each: each[:2]):
            self.send(now, event)
        self.begun = zero + when(last)
        return self.begun

    def melody(self) -> list[tuple[float, float, int]]:
        """The newest one asked for, in seconds."""
        (melody,) = [c for c in self.asked[-1].controls if isinstance(c, Melody)]
        assert melody.unit == "seconds"
        return [(note.start, note.length, note.pitch) for note in melody.notes]


NOTES = {1.013: 60, 5.51: 62, 8.49: 64, 12.77: 65}  # beats, between two clocks


def notes(places: dict[float, int], length: float = 1.03) -> dict[float, Event]:
    """Each note of so many beats, the last event before the phrase's end."""
    found: dict[float, Event] = {beat: midi.NoteOn(0, pitch, 99) for beat, pitch in places.items()}
    return found | {beat + length: midi.NoteOff(0, pitch, 0) for beat, pitch in places.items()}


def expected(when: Callable[[float], float], places: dict[float, int]) -> list[object]:
    """The same notes in seconds."""
    return [
        pytest.approx((when(beat), when(beat + 1.03) - when(beat), pitch), abs=1e-6)
        for beat, pitch in places.items()
    ]


@TOLD
@MAPS
def test_a_melody_over_a_change_of_tempo(song: TempoMap, told: bool) -> None:
    """Each note is at its own second, by the region's map and by the clocks' own times."""
    desk = Desk(song, told)
    desk.send(desk.begun, midi.Start())
    desk.roll(0, BEATS + 1, notes(NOTES))
    assert desk.melody() == expected(song.seconds_at, NOTES)


@TOLD
@MAPS
def test_another_tempo_in_the_second_pass(song: TempoMap, told: bool) -> None:
    """The DAW's loop goes round at 60 bpm: notes stay on the map's beats, or as played."""
    desk = Desk(song, told)
    desk.send(desk.begun, midi.Start())
    desk.roll(0, BEATS)
    desk.send(desk.begun, midi.SongPosition(0))
    places = {beat / 2: pitch for beat, pitch in NOTES.items()}
    desk.roll(0, BEATS + 1, notes(places), when=float)
    assert desk.melody() == expected(song.seconds_at if told else float, places)


@TOLD
@MAPS
def test_a_song_position_into_the_phrase(song: TempoMap, told: bool) -> None:
    """Stopped, and on from a beat that it has passed before: in the phrase's second there."""
    desk = Desk(song, told)
    desk.send(desk.begun, midi.Start())
    desk.send(desk.roll(0, 12.3), midi.Stop())
    desk.begun += 5
    desk.send(desk.begun, midi.SongPosition(40), midi.Continue())
    places = {10.49: 60, 12.77: 65}
    desk.roll(10, BEATS + 1, notes(places))
    assert desk.melody() == expected(song.seconds_at, places)


@TOLD
@MAPS
def test_a_song_that_goes_on_where_it_stopped(song: TempoMap, told: bool) -> None:
    """Continue without a song position: the phrase's seconds go on too."""
    desk = Desk(song, told)
    desk.send(desk.begun, midi.Start())
    desk.send(desk.roll(0, 10 + 1 / 24), midi.Stop())
    desk.begun += 5
    desk.send(desk.begun, midi.Continue())
    places = {10.49: 60, 12.77: 65}
    desk.roll(10 + 1 / 24, BEATS + 1, notes(places))
    assert desk.melody() == expected(song.seconds_at, places)


@TOLD
def test_after_the_last_clock(told: bool) -> None:
    """A note let go before the song stops, one clock after a change of tempo: by that pace."""
    desk = Desk(STEP, told)
    desk.send(desk.begun, midi.Start())
    last = 8 + 1 / 24
    released: dict[float, Event] = {7.5: midi.NoteOn(0, 60, 99)}
    released[last + 0.4 / 24] = midi.NoteOff(0, 60, 0)
    desk.send(desk.roll(0, last + 0.6 / 24, released), midi.Stop())
    length = STEP.seconds_at(last + 0.4 / 24) - 3.75
    assert desk.melody() == [pytest.approx((3.75, length, 60), abs=1e-6)]


@TOLD
@MAPS
def test_a_knob_over_a_change_of_tempo(song: TempoMap, told: bool) -> None:
    """Turned evenly by the beat, it is at every level in that beat's second."""
    desk = Desk(song, told)
    desk.send(desk.begun, midi.Start())
    turned = {i * BEATS / 128 + 0.003: midi.ControlChange(0, 1, i) for i in range(128)}
    desk.roll(0, BEATS + 1, dict[float, Event](turned))
    (curve,) = [c for c in desk.asked[-1].controls if isinstance(c, Intensity)]
    assert curve.unit == "seconds"
    for beat in range(1, BEATS):
        second = song.seconds_at(beat)
        after = next(i for i, (time, _) in enumerate(curve.points) if time >= second)
        (a, low), (b, high) = curve.points[after - 1 : after + 1]
        level = low + (high - low) * (second - a) / (b - a)
        assert level == pytest.approx(beat / BEATS, abs=1 / 64)


@TOLD
def test_clocks_that_jitter(told: bool) -> None:
    """A clock up to 5 ms late moves a note by as much, and none before the one that it follows."""
    dice = random.Random(3)
    desk = Desk(STEP, told)
    desk.send(desk.begun, midi.Start())
    places = {0.5 + i / 29: 30 + i % 60 for i in range(400)}
    desk.roll(0, BEATS + 1, notes(places, 0.02), jitter=lambda: dice.uniform(0, 0.005))
    starts = [start for start, _, _ in desk.melody()]
    pitches = [pitch for *_, pitch in desk.melody()]
    assert pitches == list(places.values())
    assert starts == pytest.approx([STEP.seconds_at(beat) for beat in places], abs=0.006)


@MAPS
def test_the_loop_keeps_to_the_map(song: TempoMap) -> None:
    """What is heard is where the song's beat is in the phrase, in the second round too."""
    desk = Desk(song, told=True)
    desk.send(desk.begun, midi.Start())
    length = song.seconds_at(BEATS)
    for first, last in ((0, 3), (3, 11), (11, BEATS)):
        now = desk.roll(first, last)
        assert desk.session.song(now) == pytest.approx(song.seconds_at(last))
    now = desk.roll(BEATS, BEATS + 11, when=lambda beat: length + song.seconds_at(beat - BEATS))
    assert desk.session.song(now) == pytest.approx(length + song.seconds_at(11))


def test_without_a_map_the_loop_keeps_to_the_clocks() -> None:
    """It is where their own time is."""
    desk = Desk(STEP, told=False)
    desk.send(desk.begun, midi.Start())
    assert desk.session.song(desk.roll(0, 12)) == pytest.approx(STEP.seconds_at(12))


def test_new_music_after_a_region() -> None:
    """Two bars from second 4 of the map on, where the tempo falls to 60 two seconds later."""
    tempo = TempoMap(
        changes=(TempoChange(at_seconds=0, bpm=120), TempoChange(at_seconds=6, bpm=60))
    )
    region = Region(path="/m/loop.wav", start_seconds=0, length_seconds=4)
    desk = Desk(tempo, told=True, region=region, controls=(Outpaint(),), new_bars=2)
    desk.send(desk.begun, midi.Start())
    desk.roll(0, 9, notes({5.5: 60}), when=lambda beat: beat / 2 if beat < 4 else beat - 2)
    assert desk.melody() == [pytest.approx((3.5, 1.03, 60))]


# Bars 3 to 6 of a song: two of 4/4 at 120, and two of 3/4 at 60.
LATER = TempoMap(
    changes=(
        TempoChange(at_seconds=0, bpm=120),
        TempoChange(at_seconds=4, bpm=60, beats_per_bar=3),
    )
)
AHEAD = InSong(beats=6, seconds=4)  # two bars of 3/4 at 90 go before them


def test_a_phrase_later_in_a_song_of_other_tempos() -> None:
    """Beat 6 of the song is second 0 of the phrase, beat 15.5 is 1.5 s behind its second 4."""
    region = Region(path="/m/loop.wav", start_seconds=0, length_seconds=10)
    desk = Desk(LATER, told=True, begins=AHEAD, region=region)
    desk.send(desk.begun, midi.Start())
    desk.roll(0, 6, when=lambda beat: beat / 1.5)
    places = {6.5: 60, 15.5: 64}
    desk.roll(6, 21, notes(places), when=lambda beat: LATER.seconds_at(beat - 6))
    melody = [pytest.approx(note) for note in ((0.25, 0.515, 60), (5.5, 1.03, 64))]
    assert desk.melody() == melody


def test_a_clip_goes_by_the_map_from_the_region_on() -> None:
    """Four seconds of region, two bars more: it is heard where the song is, in each round."""
    region = Region(path="/m/loop.wav", start_seconds=0, length_seconds=4)
    desk = Desk(LATER, True, AHEAD, region=region, controls=(Loop(),), new_bars=2)
    desk.send(desk.begun, midi.Start())
    desk.roll(0, 6, when=lambda beat: beat / 1.5)
    for last, beat, second in ((6, 8, 1), (8, 12, 3), (12, 14, 4), (14, 15, 5), (15, 20, 10)):
        now = desk.roll(last, beat, when=lambda beat: LATER.seconds_at(beat - 6))
        assert desk.session.song(now) == pytest.approx(second)
    now = desk.roll(20, 30, when=float)  # the second round, as fast as the song is there
    assert desk.session.song(now) == pytest.approx(10 + 6)


def test_between_two_clocks() -> None:
    """It goes straight, whatever the tempo has been; a burst carries it one clock further."""
    clock = SongClock()
    clock.receive(midi.Start(), 0.0)
    for i in range(100):
        clock.receive(midi.Clock(), i / 48)
    clock.receive(midi.Clock(), 99 / 48 + 0.04)
    assert 24 * clock.beat(99 / 48 + 0.01) == pytest.approx(99.25)
    assert 24 * clock.beat(98 / 48 + 0.25 / 48) == pytest.approx(98.25)
    assert 24 * clock.beat(99 / 48 + 0.05) == pytest.approx(100.25)
    clock.receive(midi.Clock(), 99 / 48 + 0.041)
    assert 24 * clock.beat(99 / 48 + 0.041 + 0.011) == pytest.approx(102.48, abs=0.05)
