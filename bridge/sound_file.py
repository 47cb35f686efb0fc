"""How long a sound file is, and what to do about one that is none."""

from __future__ import annotations

from pathlib import Path

from segue.presets.vocabulary import Code, SegueError


def file_seconds(path: Path) -> float:
    """Length of an audio file. Raises SegueError if it is missing, no audio, or empty."""
    import soundfile

    if not path.is_file():
        raise SegueError(Code.MISSING_FILE, f"there is no file {path}")
    try:
        info = soundfile.info(str(path))
    except soundfile.SoundFileError as error:
        text = f"{path} cannot be read as audio: give a WAV, FLAC, AIFF or OGG file"
        raise SegueError(Code.NOT_AUDIO, text) from error
    if info.frames <= 0:
        raise SegueError(Code.BAD_REGION, f"{path} is empty: there is nothing to hear in it")
    return float(info.frames / info.samplerate)
