"""A melody from a file: the notes of a MIDI file, or a recording of somebody humming."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from segue.bridge.cli.midi_file import read_midi
from segue.bridge.sound_file import file_seconds
from segue.presets.controls import MAX_NOTES
from segue.presets.vocabulary import MAX_REGION_SECONDS, Code, SegueError

MIDI_MAGIC = b"MThd"
MIDI_SUFFIXES = (".mid", ".midi", ".kar", ".smf")
DRUMS = 9  # channel 10, counted from 0 (General MIDI)


def melody_of(path: Path) -> dict[str, Any]:
    """A melody control's fields, times in seconds. Raises SegueError naming --melody."""
    if not path.is_file():
        raise SegueError(Code.MISSING_FILE, f"--melody: there is no file {path}")
    with path.open("rb") as file:
        is_midi = file.read(len(MIDI_MAGIC)) == MIDI_MAGIC or path.suffix.lower() in MIDI_SUFFIXES
    if is_midi:
        return {"kind": "melody", "notes": _notes(path)}
    try:
        seconds = file_seconds(path)
    except SegueError as error:
        text = f"--melody: {error.text}, or a MIDI file"
        raise SegueError(error.code, text) from error
    if seconds > MAX_REGION_SECONDS:
        text = f"--melody: {path} is {seconds:.0f} s long, more than {MAX_REGION_SECONDS:g} s"
        raise SegueError(Code.BAD_REQUEST, f"{text}: cut it")
    region = {"path": str(path.absolute()), "start_seconds": 0.0, "length_seconds": seconds}
    return {"kind": "melody", "audio": region}


def _notes(path: Path) -> list[dict[str, Any]]:
    messages = read_midi(path, "--melody")  # whose times are seconds, by the file's own tempo map
    notes = notes_of(messages)
    if not notes:
        text = f"--melody: {path} holds no notes outside channel 10, which is for drums"
        raise SegueError(Code.BAD_REQUEST, f"{text}: choose another track")
    if len(notes) > MAX_NOTES:
        text = f"--melody: {path} holds {len(notes)} notes, more than {MAX_NOTES}"
        raise SegueError(Code.BAD_REQUEST, f"{text}: give the melody alone")
    return notes


def notes_of(messages: Iterable[Any]) -> list[dict[str, Any]]:
    """Notes by their start, from mido's messages, whose times are seconds since the one before.

    Of notes struck twice the first one struck ends first; what never ends, ends with the file.
    """
    now, found = 0.0, []
    sounding: dict[tuple[int, int], list[float]] = defaultdict(list)
    for message in messages:
        now += message.time
        if message.type not in ("note_on", "note_off") or message.channel == DRUMS:
            continue
        struck = sounding[message.channel, message.note]
        if message.type == "note_on" and message.velocity > 0:
            struck.append(now)
        elif struck:
            found.append((struck.pop(0), now, message.note))
    for (_, pitch), starts in sounding.items():
        found += [(start, now, pitch) for start in starts]
    return [
        {"start": start, "length": end - start, "pitch": pitch}
        for start, end, pitch in sorted(found)
        if end > start
    ]
