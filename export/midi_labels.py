"""What a MIDI file says of itself: tempo, key, density and instruments, from its own events.

As tags: instruments by their General MIDI families, `slow` below 90 beats a minute, `fast` from
130, `medium` between; `major` or `minor`; `sparse` below 4 notes a second, `dense` from 12.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MAX_SECONDS = 1800.0
SLOW_BPM, FAST_BPM = 90.0, 130.0
SPARSE, DENSE = 4.0, 12.0  # notes a second
SHARE = 0.03  # of the notes, for an instrument to count
DRUM_CHANNEL = 9
# (first program, tag): General MIDI's families, by the names of free_music.tsv where it has one.
FAMILIES = (
    (0, "piano"), (8, "bells"), (16, "organ"), (24, "guitar"), (32, "bass"), (40, "strings"),
    (46, "harp"), (47, "drums"), (48, "strings"), (52, "choir"), (55, "strings"), (56, "brass"),
    (64, "woodwind"), (80, "synth"), (104, "world"), (109, "woodwind"), (110, "strings"),
    (111, "woodwind"), (112, "drums"), (120, ""),
)  # fmt: skip
# Krumhansl & Kessler 1982: how well each pitch class fits a key on C.
MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
PITCH_CLASSES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What a MIDI file says. bpm: the mean over its time. key: as in `Eb minor`, or empty."""

    seconds: float
    bpm: float
    key: str
    notes_a_second: float
    instruments: tuple[str, ...]

    @property
    def tags(self) -> tuple[str, ...]:
        """The same as tags, sorted."""
        tempo = _between(self.bpm, SLOW_BPM, FAST_BPM, ("slow", "medium", "fast"))
        density = _between(self.notes_a_second, SPARSE, DENSE, ("sparse", "", "dense"))
        mode = self.key.rpartition(" ")[2]
        return tuple(sorted({*self.instruments, tempo, density, mode} - {""}))


def _between(value: float, low: float, high: float, names: tuple[str, str, str]) -> str:
    return names[(value >= low) + (value >= high)]


def read_labels(path: Path) -> Labels:
    """Labels of a MIDI file.

    Raises ValueError for a file that is no MIDI, holds no notes or is longer than half an hour.
    """
    import mido

    try:
        song = mido.MidiFile(path, clip=True)
        messages = list(mido.merge_tracks(song.tracks))
    except Exception as error:  # mido raises whatever it stumbles over
        raise ValueError(f"it is no MIDI file: {error}") from error
    if song.ticks_per_beat <= 0 or song.type == 2:
        raise ValueError("its time is not in beats, or it holds several songs")
    return _labels(messages, song.ticks_per_beat)


def _labels(messages: list[Any], ticks_per_beat: int) -> Labels:
    seconds = beats = 0.0
    tempo, key, programs = 500000, "", [0] * 16
    played, pitches = Counter[str](), np.zeros(12)
    for message in messages:
        beats += message.time / ticks_per_beat
        seconds += message.time / ticks_per_beat * tempo / 1e6
        if message.type == "set_tempo":
            tempo = message.tempo
        elif message.type == "key_signature":
            key = key or _signature(message.key)
        elif message.type == "program_change":
            programs[message.channel] = message.program
        elif message.type == "note_on" and message.velocity > 0:
            drums = message.channel == DRUM_CHANNEL
            played["drums" if drums else _family(programs[message.channel])] += 1
            if not drums:
                pitches[message.note % 12] += 1
    if not played or seconds <= 0:
        raise ValueError("it holds no notes")
    if seconds > MAX_SECONDS:
        raise ValueError(f"it is {seconds / 60:.0f} minutes long, more than {MAX_SECONDS / 60:g}")
    loud = {name for name, count in played.items() if count >= SHARE * played.total()}
    return Labels(
        seconds=seconds,
        bpm=beats * 60 / seconds,
        key=key or estimated_key(pitches),
        notes_a_second=played.total() / seconds,
        instruments=tuple(sorted(loud - {""})),
    )


def _family(program: int) -> str:
    return next(tag for first, tag in reversed(FAMILIES) if program >= first)


def _signature(name: str) -> str:
    """mido's `Ebm` as `Eb minor`; C, which many files hold without meaning it, says nothing."""
    if name == "C":
        return ""
    return f"{name[:-1]} minor" if name.endswith("m") else f"{name} major"


def estimated_key(pitches: np.ndarray) -> str:
    """The key whose profile correlates best with how often each pitch class, (12,), is played.

    Krumhansl & Schmuckler; empty where there are only drums.
    """
    if pitches.max() == pitches.min():
        return ""
    fits = {
        f"{PITCH_CLASSES[tonic]} {mode}": np.corrcoef(np.roll(profile, tonic), pitches)[0, 1]
        for tonic in range(12)
        for mode, profile in (("major", MAJOR), ("minor", MINOR))
    }
    return max(fits, key=lambda name: fits[name])
