"""Mono files, one a channel, into one file: how Ardour keeps stereo is not how Segue reads it."""

from __future__ import annotations

from pathlib import Path

from segue.bridge.sound_file import file_seconds
from segue.presets.vocabulary import Code, SegueError


def join_channels(
    channels: list[Path], start_seconds: float, length_seconds: float, out: Path
) -> None:
    """Write a stretch of each file as a channel of `out`, a WAV of the first one's bit depth.

    The stretch is rounded to whole samples. Raises SegueError where a file is missing or no
    audio, where rates differ, where the stretch is not in them, and where `out` can't be written.
    """
    import numpy as np
    import soundfile

    for path in channels:
        file_seconds(path)  # says what is wrong with it
    infos = [soundfile.info(str(path)) for path in channels]
    rate = infos[0].samplerate
    if any(info.samplerate != rate for info in infos):
        raise SegueError(Code.UNSUPPORTED, "channels: the region's files differ in sample rate")
    start, frames = round(start_seconds * rate), round(length_seconds * rate)
    if start < 0 or frames <= 0 or any(start + frames > info.frames for info in infos):
        raise SegueError(Code.BAD_REGION, "length_seconds: the region goes beyond its files")
    try:
        read = [soundfile.read(str(p), frames, start, dtype="float64")[0] for p in channels]
    except (OSError, soundfile.SoundFileError) as error:
        raise SegueError(Code.NOT_AUDIO, f"channels: a file cannot be read: {error}") from error
    subtype = infos[0].subtype if infos[0].subtype in ("PCM_16", "PCM_24") else "FLOAT"
    try:
        soundfile.write(str(out), np.column_stack(read), rate, subtype=subtype, format="WAV")
    except (OSError, soundfile.SoundFileError) as error:
        raise SegueError(Code.DISK, f"{out} cannot be written: {error}") from error
