"""A song's tempo map from a MIDI file: bars, beats and seconds worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
import soundfile

from segue.bridge.cli.order import Order, request_of
from segue.bridge.cli.play import begins_at
from segue.bridge.midi.rounds import InSong
from segue.presets.controls import Inpaint, Outpaint
from segue.presets.tempo import MAX_CHANGES, TempoMap
from segue.presets.vocabulary import Request, SegueError
from segue.server.audio_file import Waveform
from segue.server.clip import Clip, lay_out

RATE = 48000
BEAT = 480


def tempo(beat: float, bpm: float) -> tuple[float, Any]:
    """So many beats a minute from a beat of the song on."""
    return beat, mido.MetaMessage("set_tempo", tempo=round(60e6 / bpm))


def metre(beat: float, numerator: int, denominator: int = 4) -> tuple[float, Any]:
    """A time signature from a beat of the song on."""
    message = mido.MetaMessage("time_signature", numerator=numerator, denominator=denominator)
    return beat, message


def midi(path: Path, *tracks: Sequence[tuple[float, Any]], kind: int = 1) -> Path:
    """A MIDI file of messages at beats of the song."""
    song = mido.MidiFile(type=kind, ticks_per_beat=BEAT)
    for track in tracks:
        ticks = [0, *(round(beat * BEAT) for beat, _ in track)]
        song.tracks.append(mido.MidiTrack())
        for before, now, (_, message) in zip(ticks, ticks[1:], track, strict=False):
            song.tracks[-1].append(message.copy(time=now - before))
    song.save(path)
    return path


# Bars 1 and 2 of 4/4 at 120 (from second 0), 3 and 4 of 3/4 at 60 (from second 4), 5 of 7/8 at
# 125 (from second 10), and from bar 6 on 4/4 at 100 (from second 11.68).
SONG = (
    tempo(0, 120), metre(0, 4), tempo(8, 60), metre(8, 3), metre(14, 7, 8), tempo(14, 125),
    metre(17.5, 4), tempo(17.5, 100),
)  # fmt: skip


@pytest.fixture
def song(tmp_path: Path) -> Path:
    """The file of SONG."""
    return midi(tmp_path / "song.mid", SONG)


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    """Six seconds of a WAV file."""
    path = tmp_path / "in.wav"
    soundfile.write(path, np.zeros((6 * RATE, 1)), RATE)
    return path


def ask(audio: Path | None, song: Path, **options: object) -> Request:
    """The request of some options."""
    return request_of(Order(source=audio, tempo=song, seed=1, **options))  # type: ignore[arg-type]


def mapped(audio: Path | None, song: Path, **options: object) -> TempoMap:
    """The tempo map of a request for a second."""
    found = ask(audio, song, **({"seconds": 1.0} | options)).tempo
    assert found is not None
    return found


def rows(found: TempoMap) -> list[tuple[float, float, float]]:
    """A map as (seconds, bpm, beats a bar)."""
    return [(c.at_seconds, c.bpm, c.beats_per_bar) for c in found.changes]


def clip(request: Request) -> Clip:
    """Where the server would make music."""
    assert request.region is not None
    samples = round(request.region.length_seconds * RATE)
    return lay_out(request, Waveform(np.ones((samples, 1)), RATE, "PCM_16"))


WHOLE = [(0, 120, 4), (4, 60, 3), (10, 125, 3.5), (11.68, 100, 4)]


@pytest.mark.parametrize("kind", [0, 1])
def test_the_song_from_its_start(audio: Path, tmp_path: Path, kind: int) -> None:
    """Each change is at its second, with notes and other tracks beside it."""
    note = mido.Message("note_on", note=60)
    tracks = [[*SONG, (99, note)]] if kind == 0 else [[(3, note)], SONG[1::2], SONG[::2]]
    found = mapped(audio, midi(tmp_path / "a.mid", *tracks, kind=kind))
    assert rows(found) == WHOLE
    assert found.first_beat == 0


@pytest.mark.parametrize(
    ("bar", "first"),
    [(1, (0, 120, 4)), (2, (0, 120, 4)), (3, (0, 60, 3)), (4, (0, 60, 3)), (6, (0, 100, 4))],
)
def test_a_region_in_another_bar(
    audio: Path, song: Path, bar: int, first: tuple[float, float, float]
) -> None:
    """The map begins with that bar, in the tempo and metre that hold there."""
    assert rows(mapped(audio, song, from_bar=bar))[0] == first


def test_bars_across_changes(audio: Path, song: Path) -> None:
    """Bars 2 to 4 are 2 + 3 + 3 s, half of bar 5 is 0.84 s, and bar 6 2.4 s."""
    found = mapped(audio, song, from_bar=2)
    assert [found.seconds_at_bar(bar) for bar in (1, 2, 3, 3.5, 4)] == [2, 5, 8, 8.84, 9.68]
    assert found.seconds_at_bar(5) == pytest.approx(12.08)


def test_what_is_past_the_map(audio: Path, song: Path) -> None:
    """The last tempo goes on, from whichever bar: 4 bars at 100 are 9.6 s."""
    for bar in (6, 7, 1000):
        found = mapped(audio, song, from_bar=bar)
        assert rows(found) == [(0, 100, 4)]
        assert found.seconds_of_bars(0, 4) == 9.6


def test_a_region_that_starts_inside_a_bar(audio: Path, song: Path) -> None:
    """--start counts in IN.wav: 3 s after bar 2 it is beat 1 of bar 3, and 5 s after it, bar 4."""
    inside = mapped(audio, song, from_bar=2, start=3.0)
    assert (rows(inside)[0], inside.first_beat) == ((0, 60, 3), 1)
    assert inside.changes[1].at_seconds == 5
    on_the_line = mapped(audio, song, from_bar=2, start=5.0)
    assert (rows(on_the_line)[0], on_the_line.first_beat) == ((0, 60, 3), 0)


def test_bars_after_a_region(audio: Path, song: Path) -> None:
    """Six seconds from bar 2 on end inside bar 4, at its beat 1; a bar is 2 s more, then 0.56."""
    made = clip(ask(audio, song, from_bar=2, bars=1.0))
    assert made.new_samples == round((2 + 1.68 / 3) * RATE)
    steady = clip(ask(audio, song, from_bar=6, bars=2.0))
    assert steady.new_samples == 4.8 * RATE


def test_bars_before_a_region(audio: Path, song: Path) -> None:
    """Three bars before bar 5 are bars 2 to 4: 8 s, as the song has them; before the song, 120."""
    before = clip(ask(audio, song, from_bar=5, at="left", bars=3.0))
    assert (before.offset_samples, before.new_samples) == (8 * RATE, 8 * RATE)
    early = clip(ask(audio, song, from_bar=2, at="left", bars=3.0))
    assert early.offset_samples == 6 * RATE
    preset = clip(ask(audio, song, from_bar=5, at="left", preset="four-bars"))
    assert preset.offset_samples == 10 * RATE


def test_bars_on_both_sides(audio: Path, song: Path) -> None:
    """Bars after the region, and as long before it."""
    made = clip(ask(audio, song, from_bar=6, at="both", bars=2.0))
    assert [gap.stop - gap.start for gap in made.gaps] == [4.8 * RATE, 4.8 * RATE]


def test_bars_out_of_nothing(song: Path) -> None:
    """Music of the song's own bars: two from bar 4 on are 3 + 1.68 s."""
    made = lay_out(ask(None, song, from_bar=4, bars=2.0), None)
    assert made.new_samples == round(4.68 * made.wave.sample_rate)


def test_a_gap_in_bars(audio: Path, song: Path) -> None:
    """From bar 2 on the second bar is 3 s long, behind one of 2 s; in beats it is beats 4 to 7."""
    for gap, unit in (("1:1", "bars"), ("4:3", "beats")):
        request = ask(audio, song, from_bar=2, gaps=(gap,), unit=unit)
        assert isinstance(request.place, Inpaint)
        (made,) = clip(request).gaps
        assert (made.start, made.stop) == (2 * RATE, 5 * RATE)


def test_beats_before_a_region(audio: Path, song: Path) -> None:
    """Counted where the tempo is the region's; refused where the song has another one there."""
    curve = {"at": "left", "intensity": "0:-12,2:0", "unit": "beats"}
    request = ask(audio, song, from_bar=4, bars=1.0, **curve)
    assert (request.place, request.new_seconds) == (Outpaint(side="left"), 3.0)
    for side in ({"at": "left", "bars": 2.0}, {"at": "both", "seconds": 3.1}):
        with pytest.raises(SegueError, match="--unit: the tempo or metre changes before the reg"):
            ask(audio, song, from_bar=4, **(curve | side))
    assert ask(audio, song, from_bar=4, **(curve | {"bars": 2.0, "unit": "share"} | {
        "intensity": "0:-12,1:0"})).new_seconds == 5.0  # fmt: skip


def test_a_metre_that_changes_inside_a_bar(audio: Path, tmp_path: Path) -> None:
    """Half of bar 1 has passed: the other half of it is half a bar of 3/4."""
    found = mapped(audio, midi(tmp_path / "a.mid", [metre(2, 3)]))
    assert [found.seconds_at_bar(bar) for bar in (0.5, 1, 2)] == [1, 1.75, 3.25]


def test_midis_own_tempo(audio: Path, tmp_path: Path) -> None:
    """A file that names none means 120 bpm in 4/4."""
    note = mido.Message("note_on", note=60)
    assert rows(mapped(audio, midi(tmp_path / "a.mid", [(4, note)]))) == [(0, 120, 4)]
    assert rows(mapped(audio, midi(tmp_path / "b.mid", [(4, note)], [metre(0, 6, 8)]))) == [
        (0, 120, 3)
    ]


def test_of_changes_at_one_time_the_last_counts(audio: Path, tmp_path: Path) -> None:
    """And what changes nothing is no change."""
    path = midi(tmp_path / "a.mid", [tempo(0, 100), tempo(4, 60), tempo(4, 100), metre(8, 4)])
    assert rows(mapped(audio, path)) == [(0, 100, 4)]


def test_only_what_is_needed_must_fit(audio: Path, tmp_path: Path) -> None:
    """Tempos before the region, and further on than any music is made, are nobody's business."""
    path = midi(tmp_path / "a.mid", [tempo(0, 5), tempo(4, 60), metre(4, 4, 32), tempo(784.5, 5)])
    with pytest.raises(SegueError, match=r"has 5 bpm and 4 beats a bar in bar 1, which"):
        ask(audio, path)
    assert rows(mapped(audio, path, from_bar=2)) == [(0, 60, 0.5)]


@pytest.mark.parametrize(
    ("track", "said"),
    [
        ([tempo(8, 5)], "has 5 bpm and 4 beats a bar in bar 3, which .*: bpm: .* 10"),
        ([tempo(4, 1e6)], "has 1e[+]06 bpm and 4 beats a bar in bar 2, which .*: bpm: .* 999"),
        ([metre(4, 99)], "has 120 bpm and 99 beats a bar in bar 2, which .*: beats_per_bar: .* 32"),
        ([metre(0, 3, 64)], "has 120 bpm and 0.1875 beats a bar in bar 1, which"),
        ([metre(0, 1, 2**255)], "has 120 bpm and 6.9.*e-77 beats a bar in bar 1, which"),
        ([metre(8, 0)], "has a time signature of 0 in bar 3: change it"),
        ([(4, mido.MetaMessage("set_tempo", tempo=0))], "has a set tempo of 0 in bar 2: change it"),
    ],
)
def test_what_cannot_be_followed(
    audio: Path, tmp_path: Path, track: list[tuple[float, Any]], said: str
) -> None:
    """It is named, with its bar and the file."""
    path = midi(tmp_path / "a.mid", track)
    with pytest.raises(SegueError, match=said) as caught:
        ask(audio, path)
    assert caught.value.text.startswith(f"--tempo: {path} has ")
    assert "\n" not in caught.value.text


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("empty.mid", b"", "cannot be read as MIDI"),
        ("words.mid", b"120 bpm, then 90", "cannot be read as MIDI"),
        ("cut.mid", b"MThd\0\0\0\6\0\1", "cannot be read as MIDI"),
        ("smpte.mid", b"MThd\0\0\0\6\0\0\0\1\xe8\x28MTrk\0\0\0\4\0\xff\x2f\0", "not in beats"),
        ("several.mid", b"MThd\0\0\0\6\0\2\0\1\1\xe0MTrk\0\0\0\4\0\xff\x2f\0", "several songs"),
        ("gone.mid", None, "there is no file"),
    ],
)
def test_what_is_no_tempo_map(
    audio: Path, tmp_path: Path, name: str, data: bytes | None, said: str
) -> None:
    """One sentence that names the option and the file."""
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(SegueError, match=said) as caught:
        ask(audio, path)
    assert caught.value.text.startswith("--tempo: ")
    assert str(path) in caught.value.text


def test_random_bytes_are_only_ever_refused(audio: Path, song: Path) -> None:
    """A broken file is the user's to mend, never a traceback."""
    random, good = np.random.default_rng(0), song.read_bytes()
    for _ in range(300):
        data = bytearray(good)
        for at in random.integers(len(data), size=3):
            data[at] = random.integers(256)
        song.write_bytes(data)
        with suppress(SegueError):
            ask(audio, song, bars=4.0, from_bar=3, at="left")


def test_the_largest_map(audio: Path, tmp_path: Path) -> None:
    """As many changes as a session takes, and twice as many."""
    track = [tempo(i / 240, 90 + i % 2) for i in range(2 * MAX_CHANGES)]
    most = mapped(audio, midi(tmp_path / "a.mid", track[:MAX_CHANGES]))
    assert len(most.changes) == MAX_CHANGES
    with pytest.raises(SegueError, match=r"has 20000 changes from there on, more than 10000: dr"):
        ask(audio, midi(tmp_path / "b.mid", track))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"bpm": 120.0}, "--bpm: the file of --tempo says it already"),
        ({"beats_per_bar": 3.0}, "--beats-per-bar: the file of --tempo says it already"),
        ({"tempo": None, "from_bar": 3}, "--from-bar: it is a bar of a song"),
        ({"tempo": None, "bpm": 90.0, "from_bar": 3}, "--from-bar: it is a bar of a song"),
        ({"start": float("nan")}, "--start: nan is no time"),
        ({"at": "left", "bars": 500.0}, "--bars: 500 bars are 1002 s, more than the 180 s"),
        ({"at": "left", "bars": 1e308}, "--bars: Input should be less than or equal to 1000"),
        ({"at": "left", "bars": float("nan")}, "--bars: Input should be"),
    ],
)
def test_what_does_not_go_together(
    audio: Path, song: Path, options: dict[str, Any], said: str
) -> None:
    """The option is named."""
    fields: dict[str, Any] = {"source": audio, "tempo": song, "from_bar": 5} | options
    with pytest.raises(SegueError) as caught:
        request_of(Order(**fields))
    assert caught.value.text.startswith(said)


def test_where_a_bar_is_in_a_song(audio: Path, song: Path) -> None:
    """Bar 4 begins at beat 11 and second 7, and bar 1002 some 996 of 2.4 s behind bar 6."""
    request = ask(audio, song, seconds=1.0)
    assert begins_at(request, song, 4) == InSong(beats=11, seconds=7)
    assert begins_at(request, song, 1002) == InSong(beats=17.5 + 3984, seconds=11.68 + 2390.4)


def test_where_a_bar_is_at_one_tempo(audio: Path) -> None:
    """Two bars of 3/4 at 90 are 4 s; without a tempo there are no bars."""
    steady = request_of(Order(source=audio, seconds=1.0, bpm=90.0, beats_per_bar=3.0))
    assert begins_at(steady, None, 3) == InSong(beats=6, seconds=4)
    assert begins_at(request_of(Order(source=audio, seconds=1.0)), None, 1) == InSong()
