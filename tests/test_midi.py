"""MIDI: exact labels from the notes, WAD lumps, licences, and the way through fluidsynth."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile

from segue.export.dataset import Skipped, Source
from segue.export.free_music import SHIPPED
from segue.export.midi import midi_sources, unpack_wad
from segue.export.midi_labels import (
    FAMILIES,
    PITCH_CLASSES,
    Labels,
    estimated_key,
    read_labels,
)
from segue.presets.vocabulary import Code, SegueError

SOUNDFONTS = sorted(Path("/usr/share/sounds/sf2").glob("FluidR3_GM.sf2"))
CAN_PLAY = shutil.which("fluidsynth") is not None and bool(SOUNDFONTS)
ALL = frozenset({*SHIPPED, "bsd", "gpl"})
C_MAJOR = (60, 62, 64, 65, 67, 69, 71, 72, 67, 64, 60, 60)


def write_midi(
    path: Path,
    notes: tuple[int, ...] = C_MAJOR,
    bpm: float = 120,
    program: int = 0,
    channel: int = 0,
    key: str | None = None,
) -> Path:
    """A melody of quarter notes."""
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(bpm))])
    if key:
        track.append(mido.MetaMessage("key_signature", key=key))
    track.append(mido.Message("program_change", program=program, channel=channel))
    for note in notes:
        track.append(mido.Message("note_on", note=note, velocity=90, channel=channel))
        track.append(mido.Message("note_off", note=note, time=480, channel=channel))
    mido.MidiFile(tracks=[track], ticks_per_beat=480).save(path)
    return path


@pytest.mark.parametrize(
    ("bpm", "tags"),
    [
        (60, ("major", "piano", "slow", "sparse")),
        (89, ("major", "piano", "slow", "sparse")),
        (91, ("major", "medium", "piano", "sparse")),
        (129, ("major", "medium", "piano", "sparse")),
        (131, ("fast", "major", "piano", "sparse")),
        (245, ("fast", "major", "piano")),
        (721, ("dense", "fast", "major", "piano")),
    ],
)
def test_tempo_and_density(tmp_path: Path, bpm: float, tags: tuple[str, ...]) -> None:
    """Quarter notes at a tempo: that many a minute, and the names of both within their bounds."""
    labels = read_labels(write_midi(tmp_path / "a.mid", bpm=bpm))
    assert labels.bpm == pytest.approx(bpm, rel=1e-4)
    assert labels.notes_a_second == pytest.approx(bpm / 60, rel=1e-4)
    assert labels.seconds == pytest.approx(12 * 60 / bpm, rel=1e-4)
    assert labels.tags == tags


@pytest.mark.parametrize(
    ("program", "tag"),
    [(0, "piano"), (9, "bells"), (19, "organ"), (30, "guitar"), (33, "bass"), (40, "strings"),
     (46, "harp"), (47, "drums"), (52, "choir"), (56, "brass"), (73, "woodwind"), (81, "synth"),
     (104, "world"), (118, "drums")],
)  # fmt: skip
def test_programs_are_instruments(tmp_path: Path, program: int, tag: str) -> None:
    """General MIDI's families by name; channel 10 is drums whatever its program."""
    assert read_labels(write_midi(tmp_path / "a.mid", program=program)).instruments == (tag,)
    drums = read_labels(write_midi(tmp_path / "b.mid", program=program, channel=9))
    assert (drums.instruments, drums.key) == (("drums",), "")
    assert "major" not in drums.tags


def test_families_are_in_order() -> None:
    """The table is searched from its end."""
    firsts = [first for first, _ in FAMILIES]
    assert firsts == sorted(set(firsts))
    assert firsts[0] == 0


def test_an_instrument_of_few_notes_does_not_count(tmp_path: Path) -> None:
    """Below 3 % of the notes an instrument is an effect; sound effects are no instrument."""
    melody = write_midi(tmp_path / "a.mid", notes=C_MAJOR * 10)
    song = mido.MidiFile(melody)
    extra = mido.MidiTrack()
    for channel, program, count in ((1, 73, 3), (2, 40, 8), (3, 125, 20)):
        extra.append(mido.Message("program_change", program=program, channel=channel))
        for _ in range(count):
            extra.append(mido.Message("note_on", note=60, velocity=90, channel=channel))
            extra.append(mido.Message("note_on", note=60, velocity=0, channel=channel, time=9))
    song.tracks.append(extra)
    song.save(melody)
    assert read_labels(melody).instruments == ("piano", "strings")


@pytest.mark.parametrize("tonic", range(12))
def test_the_key_follows_the_notes(tmp_path: Path, tonic: int) -> None:
    """A scale with its tonic and fifth stressed is in that key, in any transposition."""
    name = PITCH_CLASSES[tonic]
    major = tuple(note + tonic for note in C_MAJOR)
    minor = tuple(note + tonic for note in (60, 62, 63, 65, 67, 68, 70, 72, 67, 63, 60, 60))
    assert read_labels(write_midi(tmp_path / "a.mid", major)).key == f"{name} major"
    assert read_labels(write_midi(tmp_path / "b.mid", minor)).key == f"{name} minor"
    assert estimated_key(np.zeros(12)) == ""


@pytest.mark.parametrize(("written", "key"), [("Ebm", "Eb minor"), ("G", "G major")])
def test_a_key_signature_wins(tmp_path: Path, written: str, key: str) -> None:
    """What the file says counts, unless it is the C that many files say without meaning it."""
    assert read_labels(write_midi(tmp_path / "a.mid", key=written)).key == key
    minor = (69, 71, 72, 74, 76, 77, 79, 81, 76, 72, 69, 69)
    assert read_labels(write_midi(tmp_path / "b.mid", minor, key="C")).key == "A minor"


def test_tempo_changes_are_weighed_by_time(tmp_path: Path) -> None:
    """A minute at 60 and a minute at 180 are 240 beats in two minutes."""
    track = mido.MidiTrack()
    for bpm in (60, 180):
        track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(bpm)))
        track.append(mido.Message("note_on", note=60, velocity=64))
        track.append(mido.Message("note_off", note=60, time=bpm * 480))
    mido.MidiFile(tracks=[track], ticks_per_beat=480).save(tmp_path / "a.mid")
    labels = read_labels(tmp_path / "a.mid")
    assert (labels.seconds, labels.bpm) == pytest.approx((120, 120), rel=1e-4)


def test_files_that_are_no_music_are_value_errors(tmp_path: Path) -> None:
    """Noise, a torn file, no notes, hours of one note: a reason each, never another exception."""
    good = write_midi(tmp_path / "good.mid").read_bytes()
    rng = np.random.default_rng(0)
    for i in range(200):
        torn = bytearray(good[: rng.integers(0, len(good))] if i % 2 else good)
        for at in rng.integers(0, max(1, len(torn)), 3):
            torn[at:at] = rng.integers(0, 256, 2, dtype=np.uint8).tobytes()
        (tmp_path / "bad.mid").write_bytes(torn)
        try:
            labels = read_labels(tmp_path / "bad.mid")
        except ValueError:
            continue
        assert isinstance(labels, Labels)
    with pytest.raises(ValueError, match="no notes"):
        read_labels(write_midi(tmp_path / "empty.mid", ()))
    with pytest.raises(ValueError, match="minutes long"):
        read_labels(write_midi(tmp_path / "long.mid", C_MAJOR * 100, bpm=30))


def wad(lumps: dict[str, bytes]) -> bytes:
    """A Doom WAD: header, lumps, directory."""
    body, rows = b"", b""
    for name, lump in lumps.items():
        rows += struct.pack("<II8s", 12 + len(body), len(lump), name.encode())
        body += lump
    return struct.pack("<4sII", b"PWAD", len(lumps), 12 + len(body)) + body + rows


def test_midi_lumps_come_out_of_a_wad(tmp_path: Path) -> None:
    """Those that are MIDI by content, under their names; nothing else."""
    song = write_midi(tmp_path / "a.mid").read_bytes()
    lumps = {"D_E1M1": song, "D_MUS": b"MUS\x1a1234", "E1M1": b"", "../D_X": song + b"\0"}
    (tmp_path / "x.wad").write_bytes(wad(lumps))
    paths = unpack_wad(tmp_path / "x.wad", tmp_path / "out" / "songs")
    assert [p.name for p in paths] == ["D_E1M1.mid", "D_X.mid"]
    assert {p.parent for p in paths} == {tmp_path / "out" / "songs"}
    assert paths[0].read_bytes() == song


@pytest.mark.parametrize(
    "data", [b"", b"IWAD", b"ZWAD" + bytes(8), b"PWAD\xff\xff\xff\xff\x0c\0\0\0x"]
)
def test_what_is_no_wad_is_said(tmp_path: Path, data: bytes) -> None:
    """Empty, torn or something else."""
    (tmp_path / "x.wad").write_bytes(data)
    with pytest.raises(SegueError, match="is no WAD file"):
        unpack_wad(tmp_path / "x.wad", tmp_path / "out")


def test_without_fluidsynth_the_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is fetched or written."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SegueError, match="apt install fluidsynth") as caught:
        list(midi_sources(str(tmp_path), tmp_path / "x.sf2", tmp_path / "cache", ALL))
    assert caught.value.code == Code.UNSUPPORTED
    assert not (tmp_path / "cache").exists()


@pytest.fixture
def stub_player(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fluidsynth on the path that does nothing, and a soundfont by its first bytes."""
    (tmp_path / "bin").mkdir()
    player = tmp_path / "bin" / "fluidsynth"
    player.write_text("#!/bin/sh\necho cannot play >&2\n")
    player.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}")
    font = tmp_path / "x.sf2"
    font.write_bytes(b"RIFF\0\0\0\0sfbk")
    return font


def test_bad_soundfonts_and_folders_are_one_sentence(tmp_path: Path, stub_player: Path) -> None:
    """No soundfont, a wrong one, no MIDI, a corpus outside the licences."""
    (tmp_path / "wrong.sf2").write_bytes(b"RIFF0000WAVEfmt ")
    for where, font, sentence in (
        (".", None, "--soundfont FILE.sf2"),
        (".", tmp_path / "gone.sf2", "is no file"),
        (".", tmp_path / "wrong.sf2", "is no soundfont"),
        (str(tmp_path / "bin"), stub_player, "no MIDI files"),
        ("builtin", stub_player, "are bsd, which is not in --licences"),
    ):
        with pytest.raises(SegueError, match=sentence):
            list(midi_sources(where, font, tmp_path / "cache", frozenset(SHIPPED)))


def test_a_file_that_can_not_be_played_is_skipped(tmp_path: Path, stub_player: Path) -> None:
    """The rest goes on; the reason is the player's own."""
    folder = tmp_path / "songs"
    folder.mkdir()
    write_midi(folder / "a.mid")
    (folder / "b.mid").write_bytes(b"MThd")
    done = list(midi_sources(str(folder), stub_player, tmp_path / "cache", ALL))
    assert [type(each) for each in done] == [Skipped, Skipped]
    assert isinstance(done[0], Skipped)
    assert done[0].why == "fluidsynth says: cannot play"


def test_midi_becomes_audio_with_its_tags(tmp_path: Path) -> None:
    """Played once, audible, as long as its notes; where nothing can play it, that is said."""
    folder, cache = tmp_path / "songs", tmp_path / "cache"
    folder.mkdir()
    write_midi(folder / "a.mid", program=40, bpm=140)
    shutil.copy(folder / "a.mid", folder / "again.mid")
    if not CAN_PLAY:
        with pytest.raises(SegueError, match=r"fluidsynth|soundfont"):
            list(midi_sources(str(folder), None, cache, ALL))
        return
    (source,) = midi_sources(str(folder), SOUNDFONTS[0], cache, ALL)
    assert isinstance(source, Source)
    assert (source.licence, source.split) == ("yours", "train")
    assert source.tags == ("fast", "major", "sparse", "strings")
    audio, rate = soundfile.read(source.path)
    assert (rate, audio.shape[1]) == (44100, 2)
    assert len(audio) / rate == pytest.approx(12 * 60 / 140, abs=4)
    assert float(np.abs(audio).max()) == pytest.approx(0.9, abs=0.01)
    assert float(np.sqrt((audio[: 4 * rate] ** 2).mean())) > 0.03
    written = source.path.stat().st_mtime_ns
    assert list(midi_sources(str(folder), SOUNDFONTS[0], cache, ALL)) == [source]
    assert source.path.stat().st_mtime_ns == written
    assert [p.suffix for p in (cache / "midi").iterdir()] == [".flac"]
