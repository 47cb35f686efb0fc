"""What is said to Audacity 3 through its scripting pipe: the selection out, clips in.

Commands are those of Audacity's manual, Scripting Reference; `ask` sends one line and returns
what comes back before its status. Nothing here opens the pipe.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segue.presets.vocabulary import Code, Result, SegueError

OK = "BatchCommand finished: OK"
Ask = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Selection:
    """What is selected, in seconds of the project, and how many channels it has."""

    start_seconds: float
    end_seconds: float
    channels: int


@dataclass(frozen=True, slots=True)
class Placing:
    """A file and where it belongs, in seconds of the project."""

    path: Path
    start_seconds: float


def answer_of(lines: list[str]) -> str:
    """An answer without its status. Raises SegueError if Audacity could not do it."""
    *said, status = [line.rstrip("\n") for line in lines if line.strip()] or [""]
    if status != OK:
        text = f"Audacity says: {' '.join([*said, status]).strip() or 'nothing'}"
        raise SegueError(Code.UNSUPPORTED, f"{text}; see to it there, then try again")
    return "\n".join(said)


def selection(ask: Ask) -> Selection:
    """What is selected. Audacity tells it by a label only, on a track that is removed at once.

    Raises SegueError when there is no range, or no audio track in it.
    """
    tracks: list[dict[str, Any]] = json.loads(ask("GetInfo: Type=Tracks Format=JSON"))
    chosen = {
        number: each["channels"]
        for number, each in enumerate(tracks)
        if each["kind"] == "wave" and each["selected"]
    }
    start, end = _selected_time(ask, len(tracks))
    if not chosen or end <= start:
        text = "select a range of an audio track in Audacity first, then try again"
        raise SegueError(Code.BAD_REGION, text)
    ask(f"SelectTime: Start={start:.9f} End={end:.9f}")
    _select(ask, list(chosen))
    return Selection(start, end, channels=max(chosen.values()))


def _selected_time(ask: Ask, below: int) -> tuple[float, float]:
    """Start and end, by a label on a new track below the others.

    Undo would do as well, but takes back also what another script did without a word to it.
    """
    ask("NewLabelTrack:")
    ask("AddLabel:")
    found: dict[int, Any] = dict(json.loads(ask("GetInfo: Type=Labels Format=JSON")))
    _select(ask, [below])
    ask("RemoveTracks:")
    (start, end, _), *_ = found[below]
    return start, end


def _select(ask: Ask, tracks: list[int]) -> None:
    for number, track in enumerate(tracks):
        mode = "Add" if number else "Set"
        ask(f"SelectTracks: Track={track} TrackCount=1 Mode={mode}")


def export(ask: Ask, chosen: Selection, path: Path) -> None:
    """Write what is selected to `path`, as Audacity mixes it."""
    ask(f'Export2: Filename="{path}" NumChannels={chosen.channels}')


def placings(result: Result, chosen: Selection) -> list[Placing]:
    """What to lay on tracks of its own: overlays where there are any, else the clips themselves."""
    if result.overlay_path:
        paths = [result.overlay_path, *result.variation_overlays]
        start = result.overlay_start_seconds or 0.0
    else:
        paths, start = [result.path, *result.variations], result.start_seconds
    start += chosen.start_seconds
    if start < 0:
        text = f"the music would begin {-start:.2f} s before the project: move yours to the right"
        raise SegueError(Code.BAD_REGION, text)
    return [Placing(Path(path), start) for path in paths]


def place(ask: Ask, placing: Placing, name: str, *, muted: bool = False) -> None:
    """Import a file onto a new track and move it to where it belongs."""
    ask(f'Import2: Filename="{placing.path}"')
    ask(f"SetClip: Start={placing.start_seconds:.9f}")
    ask(f'SetTrackStatus: Name="{name}"')
    if muted:
        ask("SetTrackAudio: Mute=1")
