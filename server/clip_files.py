"""The files of one finished job: names that no other job's can have, all of them or none."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from segue.presets.vocabulary import Request, SegueError
from segue.server.audio_file import Waveform, write_wav
from segue.server.clip import Clip
from segue.server.overlay import has_overlay, overlays

# An id has no "~", so `take~2.wav` is never another job's clip.


def variation(clip: Path, number: int) -> Path:
    """Where the second, third, ... best clip goes: `clip~2.wav` beside `clip.wav`."""
    return clip.with_name(f"{clip.stem}~{number}{clip.suffix}")


def overlay_path(clip: Path) -> Path:
    """Where a clip's overlay goes: `clip~overlay.wav`."""
    return clip.with_name(f"{clip.stem}~overlay.wav")


def write_all(waves: dict[Path, Waveform]) -> None:
    """All files or none, in a folder that is made again where it was removed meanwhile.

    Raises SegueError(DISK).
    """
    written: list[Path] = []
    try:
        for path, wave in waves.items():
            with suppress(OSError):  # of which the file's own error tells
                path.parent.mkdir(parents=True, exist_ok=True)
            write_wav(path, wave)
            written.append(path)
    except SegueError:
        for path in written:
            path.unlink(missing_ok=True)
        raise


def write_clips(
    request: Request, clip: Clip, waves: Sequence[Waveform], path: Path, start_seconds: float
) -> dict[str, Any]:
    """The best clip at `path`, its variations and overlays beside it; what a result says of them.

    start_seconds: where the clips belong on the timeline. Raises SegueError(DISK).
    """
    paths = [path, *(variation(path, i) for i in range(2, len(waves) + 1))]
    files = dict(zip(paths, waves, strict=True))
    told: dict[str, Any] = {"path": str(path), "variations": tuple(map(str, paths[1:]))}
    if request.settings.overlay and has_overlay(request.place):
        made, first = overlays(clip, waves)
        over = [overlay_path(each) for each in paths]
        files |= dict(zip(over, made, strict=True))
        told |= {
            "overlay_path": str(over[0]),
            "overlay_start_seconds": start_seconds + first / clip.wave.sample_rate,
            "variation_overlays": tuple(map(str, over[1:])),
        }
    write_all(files)
    return told
