"""A MIDI file that an option names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segue.bridge.cli.shorthand import bad

MAX_MIDI_BYTES = 4 << 20


def read_midi(path: Path, option: str) -> Any:
    """Mido's file: one song, its time in beats. Raises SegueError naming the option."""
    import mido

    if path.stat().st_size > MAX_MIDI_BYTES:
        text = f"{path} has more than {MAX_MIDI_BYTES >> 20} MiB: export what is needed alone"
        raise bad(option, text)
    try:
        song = mido.MidiFile(path, clip=True)
        if song.type == 2 or song.ticks_per_beat <= 0:
            raise ValueError("its time is not in beats, or it holds several songs")
    except Exception as error:  # mido raises whatever it stumbles over
        why = str(error) or "it ends too soon"
        raise bad(option, f"{path} cannot be read as MIDI ({why}): export it anew") from error
    return song
