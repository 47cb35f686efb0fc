"""What is measured of a clip that something was asked of: the control, and its seams.

All of it is heard in the finished WAV file, except the overlap's error: what the product makes
there is thrown away for the producer's own samples, so that comes from the clip's sheet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyloudnorm
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from scipy.stats import t as student

from segue.export.evaluation.control_music import classes
from segue.export.evaluation.control_sheet import Sheet
from segue.export.evaluation.control_targets import Target
from segue.export.evaluation.heard_intensity import intensity_mse
from segue.export.evaluation.heard_melody import HOP_SECONDS, melody_accuracy
from segue.export.evaluation.heard_structure import structure_mse
from segue.presets.controls import Intensity, Melody, Structure, Text
from segue.server.ditto.controls import text
from segue.server.ditto.mel import MelConfig, log_mel
from segue.server.seam import FADE_SECONDS

Floats = NDArray[np.floating]
Adherence = Callable[[str, Floats, int], float | None]  # text, (samples, channels), rate
FLUX_SIZE, FLUX_HOP = 1024, 256
OWN_PERCENTILE = 95
LEVEL_SECONDS = 1.0  # of music on either side whose loudness is compared
W = TypeVar("W")


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A finished clip: what was asked, what its sheet says, and its audio (samples, channels)."""

    target: Target
    sheet: Sheet
    audio: Floats
    rate: int

    @classmethod
    def read(cls, target: Target, sheet: Sheet, path: Path) -> Clip:
        """From its file."""
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
        return cls(target=target, sheet=sheet, audio=audio, rate=rate)

    @property
    def new(self) -> Floats:
        """The new music alone."""
        return self.audio[self.sheet.first : self.sheet.last]

    def around(self, first: int, last: int) -> Floats:
        """Samples `first` to `last`, from the start again behind the end."""
        return self.audio.take(range(first, last), axis=0, mode="wrap")


@dataclass(frozen=True, kw_only=True)
class Ears:
    """What adherence to a text is judged by: our own score, and a network nobody optimized for.

    One that is None is left out.
    """

    score: Adherence | None = None
    judge: Adherence | None = None


def own_score() -> Adherence:
    """The cosine that the control optimizes, of audio. Raises SegueError(NO_MODEL)."""
    config, backend = MelConfig(), text.shipped()

    @torch.no_grad()
    def score(wanted: str, audio: Floats, rate: int) -> float:
        heard = soxr.resample(np.asarray(audio, np.float64), rate, config.sample_rate)
        stereo = torch.from_numpy(heard.T.astype(np.float32))
        mel = log_mel(stereo, config)[None]
        return float(text.score(mel, text.target(wanted, backend), config, backend))

    return score


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A control's figure. None where it can't be measured."""

    of: Callable[[Clip, Ears], float | None]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half the width of its 95 % confidence interval (Student's t); NaN of one value.

    Raises ValueError for none.
    """
    if not values:
        raise ValueError("there is nothing to take the mean of")
    mean, n = float(np.mean(values)), len(values)
    if n < 2:
        return mean, np.nan
    return mean, float(student.ppf(0.975, n - 1) * np.std(values, ddof=1) / n**0.5)


def flux(audio: Floats) -> Floats:
    """Spectral flux of (samples, channels): how much the spectrum of the mean of the channels
    rises from each frame of 1024 to the next, 256 samples on. (frames - 1,).
    """
    mono = np.asarray(audio, np.float64).mean(axis=1)
    if len(mono) < FLUX_SIZE:
        return np.zeros(0)
    frames = np.lib.stride_tricks.sliding_window_view(mono, FLUX_SIZE)[::FLUX_HOP]
    spectra = np.abs(np.fft.rfft(frames * np.hanning(FLUX_SIZE), axis=1))
    rises: Floats = np.maximum(np.diff(np.log1p(spectra), axis=0), 0).sum(axis=1)
    return rises


def flux_at_seams(clip: Clip) -> list[float]:
    """The largest flux at each seam, as a ratio to what the source itself has.

    That is the 95th percentile of the largest flux in stretches of its known music, each as long
    as the fade and the frames that touch it. 1 or less passes; without flux in the source, only
    a seam without any does.
    """
    fade, size = round(FADE_SECONDS * clip.rate), FLUX_SIZE
    stretches = [flux(clip.around(*_fade(clip, place, size))) for place in clip.sheet.seams]
    ratios = []
    for at_seam in stretches:
        own = [_peaks(flux(part), len(at_seam)) for part in _source(clip, fade)]
        limit = float(np.percentile(np.concatenate(own), OWN_PERCENTILE))
        peak = float(at_seam.max())
        ratios.append(peak / limit if limit > 0 else (np.inf if peak > 0 else 0.0))
    return ratios


def _fade(clip: Clip, place: int, beside: int) -> tuple[int, int]:
    """Where known and new music are mixed: on the known side of a seam."""
    fade = round(FADE_SECONDS * clip.rate)
    if place == clip.sheet.first:
        return place - fade - beside, place + beside
    return place - beside, place + fade + beside


def _source(clip: Clip, fade: int) -> list[Floats]:
    """The known music without what was faded."""
    seams, end = clip.sheet.seams, len(clip.audio)
    edges = {*seams, *(0 for seam in seams if seam == end)}
    parts = [(0, clip.sheet.first), (clip.sheet.last, end)]
    inside = [(a + fade * (a in edges), b - fade * (b in edges)) for a, b in parts]
    return [clip.audio[a:b] for a, b in inside if b - a > fade]


def _peaks(values: Floats, length: int) -> Floats:
    """The largest of each `length` neighbours; of all, where there are fewer."""
    length = min(length, len(values))
    peaks: Floats = np.lib.stride_tricks.sliding_window_view(values, length).max(axis=1)
    return peaks


def level_steps(clip: Clip) -> list[float]:
    """How far a second of new music is from the second before the fade, at each seam: |LU|.

    A seam beside silence has none.
    """
    rate, fade = clip.rate, round(FADE_SECONDS * clip.rate)
    meter, second = pyloudnorm.Meter(rate), round(LEVEL_SECONDS * clip.rate)
    steps = []
    for place in clip.sheet.seams:
        before = place == clip.sheet.first
        known = place - fade - second if before else place + fade
        made = place if before else place - second
        with np.errstate(divide="ignore"):
            loud = [
                meter.integrated_loudness(clip.around(start, start + second).astype(np.float64))
                for start in (known, made)
            ]
        if np.isfinite(loud).all():
            steps.append(float(abs(loud[1] - loud[0])))
    return steps


def _asked(clip: Clip, kind: type[W]) -> W:
    return next(control for control in clip.target.controls if isinstance(control, kind))


def _intensity(clip: Clip, ears: Ears) -> float:
    times, levels = np.array(_asked(clip, Intensity).points).T
    return intensity_mse(clip.new, clip.rate, times, levels)


def _melody(clip: Clip, ears: Ears) -> float:
    frames = int(len(clip.new) / clip.rate / HOP_SECONDS)
    wanted = classes(_asked(clip, Melody).notes, frames, HOP_SECONDS)
    return melody_accuracy(clip.new, clip.rate, wanted, HOP_SECONDS)


def _structure(clip: Clip, ears: Ears) -> float:
    sections = _asked(clip, Structure).sections
    assert sections is not None, "the targets are plans of letters"
    return structure_mse(clip.new, clip.rate, sections)


def _score(clip: Clip, ears: Ears) -> float | None:
    return ears.score(_asked(clip, Text).text, clip.new, clip.rate) if ears.score else None


def _judge(clip: Clip, ears: Ears) -> float | None:
    return ears.judge(_asked(clip, Text).text, clip.new, clip.rate) if ears.judge else None


FIGURES = {
    "intensity MSE, dB^2": Figure(of=_intensity),
    "melody accuracy, %": Figure(of=_melody),
    "structure MSE": Figure(of=_structure),
    "text, our score": Figure(of=_score),
    "text, another judge": Figure(of=_judge),
    "overlap error": Figure(of=lambda clip, ears: clip.sheet.overlap_error),
}
