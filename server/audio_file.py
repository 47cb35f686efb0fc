"""Audio files: a region read without losing a bit, a clip written whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from segue.presets.vocabulary import Code, Region, SegueError

RATES = range(8000, 384001)
KEPT_SUBTYPES = {"PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"}
MIN_REGION_SECONDS = 0.5
FULL_SCALE = 2.0**31
SINGLE_PRECISION = 2.0**-23  # as some OSC clients send seconds: that share of them may be lost


@dataclass(frozen=True)
class Waveform:
    """Audio in memory: samples (n, channels) float64 in [-1, 1), and the WAV subtype to keep.

    Integer samples of up to 32 bits are held exactly.
    """

    samples: np.ndarray
    sample_rate: int
    subtype: str

    @property
    def channels(self) -> int:
        """1 or 2."""
        return int(self.samples.shape[1])


def read_region(region: Region) -> Waveform:
    """The region's samples. Raises SegueError with a sentence for whatever is wrong with it."""
    path = Path(region.path)
    if not path.is_file():
        raise SegueError(Code.MISSING_FILE, f"there is no file {path}")
    try:
        with soundfile.SoundFile(path) as file:
            start, length = _span(region, file)
            return _read(file, start, length)
    except (soundfile.LibsndfileError, OSError) as error:
        text = f"can't read {path} as audio: {error}; export it as WAV, FLAC or Ogg first"
        raise SegueError(Code.NOT_AUDIO, text) from error


def _span(region: Region, file: soundfile.SoundFile) -> tuple[int, int]:
    if file.samplerate not in RATES:
        text = f"a sample rate of {file.samplerate} Hz is not supported; use 8 to 384 kHz"
        raise SegueError(Code.UNSUPPORTED, text)
    if file.channels > 2:
        text = f"the file has {file.channels} channels; bounce it to mono or stereo"
        raise SegueError(Code.UNSUPPORTED, text)
    rate, end = file.samplerate, region.start_seconds + region.length_seconds
    start, stop = round(region.start_seconds * rate), round(end * rate)
    if stop > file.frames + end * rate * SINGLE_PRECISION:
        text = f"the region ends at {end:.3f} s but the file at {file.frames / rate:.3f} s"
        raise SegueError(Code.BAD_REGION, text)
    stop = min(stop, file.frames)
    if stop - start < MIN_REGION_SECONDS * rate:
        text = f"the region is {(stop - start) / rate:g} s long; select at least 0.5 s"
        raise SegueError(Code.BAD_REGION, text)
    return start, stop - start


def _read(file: soundfile.SoundFile, start: int, length: int) -> Waveform:
    file.seek(start)
    integers = file.subtype in {"PCM_16", "PCM_24", "PCM_32"}
    raw = file.read(length, dtype="int32" if integers else "float64", always_2d=True)
    if len(raw) < length:
        text = f"the file promises {file.frames} samples but holds fewer; export it again"
        raise SegueError(Code.NOT_AUDIO, text)
    if not np.isfinite(raw).all():
        text = (
            "the region holds NaN or infinite samples; render it again without the faulty plug-in"
        )
        raise SegueError(Code.BAD_SAMPLES, text)
    samples = raw / FULL_SCALE if integers else raw
    subtype = file.subtype if file.subtype in KEPT_SUBTYPES else "FLOAT"
    return Waveform(samples, file.samplerate, subtype)


def write_wav(path: Path, wave: Waveform) -> None:
    """Write `wave` beside `path`, then move it there, so that no half file is ever seen.

    Raises SegueError(DISK) when the disk is full or the folder can't be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            soundfile.write(
                file, _stored(wave), wave.sample_rate, format="WAV", subtype=wave.subtype
            )
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, soundfile.LibsndfileError) as error:
        raise SegueError(Code.DISK, f"can't write {path}: {error}") from error
    finally:
        with suppress(OSError):  # which would hide what was wrong
            partial.unlink(missing_ok=True)


def _stored(wave: Waveform) -> np.ndarray:
    """Samples as libsndfile keeps them exactly: left-justified integers, or floats."""
    if not wave.subtype.startswith("PCM"):
        return wave.samples
    bits = int(wave.subtype.removeprefix("PCM_"))
    top = 2 ** (bits - 1)
    integers = np.clip(np.rint(wave.samples * top), -top, top - 1).astype(np.int64)
    return (integers << (32 - bits)).astype(np.int32)
