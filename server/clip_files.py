"""The files of one finished job: names that no other job's can have, all of them or none."""

from __future__ import annotations

from pathlib import Path

from segue.presets.vocabulary import SegueError
from segue.server.audio_file import Waveform, write_wav

# An id has no "~", so `take~2.wav` is never another job's clip.


def variation(clip: Path, number: int) -> Path:
    """Where the second, third, ... best clip goes: `clip~2.wav` beside `clip.wav`."""
    return clip.with_name(f"{clip.stem}~{number}{clip.suffix}")


def overlay_path(clip: Path) -> Path:
    """Where a clip's overlay goes: `clip~overlay.wav`."""
    return clip.with_name(f"{clip.stem}~overlay.wav")


def write_all(waves: dict[Path, Waveform]) -> None:
    """All files or none. Raises SegueError(DISK)."""
    written: list[Path] = []
    try:
        for path, wave in waves.items():
            write_wav(path, wave)
            written.append(path)
    except SegueError:
        for path in written:
            path.unlink(missing_ok=True)
        raise
