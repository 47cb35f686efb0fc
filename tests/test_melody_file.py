"""A melody from a MIDI file or a recording: the notes, their seconds, and what is refused."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
import soundfile

from segue.bridge.cli.melody_file import melody_of
from segue.bridge.cli.midi_file import MAX_MIDI_BYTES
from segue.presets.controls import MAX_NOTES, Melody
from segue.presets.vocabulary import SegueError

BEAT = 480


def midi(path: Path, *tracks: list[Any], kind: int = 1) -> Path:
    """A MIDI file of these messages, times in ticks of 480 a beat."""
    song = mido.MidiFile(type=kind, ticks_per_beat=BEAT)
    song.tracks.extend(mido.MidiTrack(track) for track in tracks)
    song.save(path)
    return path


def on(note: int, wait: int = 0, **more: int) -> Any:
    """A key goes down after `wait` ticks."""
    return mido.Message("note_on", note=note, time=wait, **({"velocity": 64} | more))


def off(note: int, wait: int, **more: int) -> Any:
    """A key goes up after `wait` ticks."""
    return mido.Message("note_off", note=note, time=wait, **more)


def tempo(bpm: float, wait: int = 0) -> Any:
    """The tempo changes."""
    return mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(bpm), time=wait)


def heard(path: Path) -> list[tuple[float, float, int]]:
    """(start, length, pitch) of the notes of a file."""
    melody = Melody.model_validate(melody_of(path))
    return [(note.start, note.length, note.pitch) for note in melody.notes]


def test_seconds_follow_the_tempo_map(tmp_path: Path) -> None:
    """A note across a change of tempo, in another track, has the length it sounds."""
    song = midi(
        tmp_path / "a.mid",
        [tempo(120), tempo(60, 2 * BEAT)],
        [on(60), off(60, BEAT), on(62), off(62, 2 * BEAT)],
    )
    assert heard(song) == [(0.0, 0.5, 60), (0.5, 1.5, 62)]


def test_running_status_and_keys_let_go_by_velocity(tmp_path: Path) -> None:
    """Bytes as keyboards send them: one status, then notes whose velocity 0 means off."""
    events = bytes([0, 0x90, 60, 64, 0x83, 0x60, 60, 0, 0, 64, 64, 0x83, 0x60, 64, 0])
    track = events + bytes([0, 0xFF, 0x2F, 0])
    head = b"MThd" + (6).to_bytes(4) + (0).to_bytes(2) + (1).to_bytes(2) + BEAT.to_bytes(2)
    path = tmp_path / "running"  # known by what is in it
    path.write_bytes(head + b"MTrk" + len(track).to_bytes(4) + track)
    assert heard(path) == [(0.0, 0.5, 60), (0.5, 0.5, 64)]


def test_a_note_struck_twice(tmp_path: Path) -> None:
    """The one struck first ends first; one that never ends, ends with the file."""
    song = midi(
        tmp_path / "a.mid",
        [on(60), on(60, BEAT), off(60, BEAT), off(61, 0), on(67, 0), off(1, 2 * BEAT)],
    )
    assert heard(song) == [(0.0, 1.0, 60), (0.5, 1.5, 60), (1.0, 1.0, 67)]


def test_drums_have_no_pitch(tmp_path: Path) -> None:
    """Channel 10 is left out; a file of nothing else holds no melody."""
    drums = [on(36, channel=9), off(36, BEAT, channel=9)]
    song = midi(tmp_path / "a.mid", drums, [on(60), off(60, BEAT)])
    assert heard(song) == [(0.0, 0.5, 60)]
    with pytest.raises(SegueError, match="no notes outside channel 10"):
        melody_of(midi(tmp_path / "drums.mid", drums))


def test_a_recording(tmp_path: Path) -> None:
    """Whatever is no MIDI file is audio, all of it."""
    path = tmp_path / "hum.wav"
    soundfile.write(path, np.zeros((12000, 1)), 8000)
    region = {"path": str(path), "start_seconds": 0.0, "length_seconds": 1.5}
    assert melody_of(path) == {"kind": "melody", "audio": region}


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("empty.mid", b"", "cannot be read as MIDI"),
        ("noise.mid", b"\x01\x02\x03" * 99, "cannot be read as MIDI"),
        ("cut.mid", b"MThd\0\0\0\6\0\1", "cannot be read as MIDI"),
        ("beatless.mid", b"MThd\0\0\0\6\0\0\0\1\xe8\x28MTrk\0\0\0\4\0\xff\x2f\0", "beats"),
        ("silent.mid", b"MThd\0\0\0\6\0\0\0\1\1\xe0MTrk\0\0\0\4\0\xff\x2f\0", "no notes"),
        ("large.mid", b"MThd" + bytes(MAX_MIDI_BYTES), "more than 4 MiB"),
        ("notes.txt", b"do re mi", "cannot be read as audio"),
    ],
)
def test_what_is_no_melody(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    """One sentence that names the option and the file."""
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(SegueError, match=said) as caught:
        melody_of(path)
    assert caught.value.text.startswith(f"--melody: {path} ")
    assert "\n" not in caught.value.text


def test_random_bytes_are_only_ever_refused(tmp_path: Path) -> None:
    """A broken file is the user's to mend, never a traceback."""
    random = np.random.default_rng(0)
    path = tmp_path / "noise.mid"
    good = midi(tmp_path / "good.mid", [on(60), off(60, BEAT)] * 20).read_bytes()
    for _ in range(300):
        data = bytearray(good)
        for at in random.integers(len(data), size=4):
            data[at] = random.integers(256)
        path.write_bytes(data)
        with suppress(SegueError):
            Melody.model_validate(melody_of(path))


def test_too_many_notes(tmp_path: Path) -> None:
    """Whole symphonies are no melody."""
    song = midi(tmp_path / "a.mid", [on(60), off(60, 1)] * (MAX_NOTES + 1))
    with pytest.raises(SegueError, match=f"holds {MAX_NOTES + 1} notes"):
        melody_of(song)


def test_an_hour_of_humming(tmp_path: Path) -> None:
    """A recording may be as long as a region."""
    path = tmp_path / "long.flac"
    soundfile.write(path, np.zeros((601 * 1000, 1)), 1000)
    with pytest.raises(SegueError, match=r"601 s long, more than 600 s: cut it"):
        melody_of(path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    """A path that leads nowhere."""
    with pytest.raises(SegueError, match=r"--melody: there is no file .*gone\.mid"):
        melody_of(tmp_path / "gone.mid")
