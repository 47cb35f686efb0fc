"""Melody: the strongest pitch class of each frame is the melody's (DITTO-2 section 4.2).

The paper takes the chroma of decoded audio. Here it comes from the mel, whose bands are wider than
a semitone below 700 Hz: Richardson-Lucy deconvolution finds the tones, three a semitone, whose mel
it is, and their power is folded as the chroma of audio would be. Of mid alone: chroma is measured
on mono, and nobody's melody lies in the difference of left and right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.mel import MelConfig, filterbank

CLASSES = 12
HIGH_PASS_HZ = 261.2  # Music ControlNet (2311.07069): Middle C
LOWEST_HZ, HIGHEST_HZ = 200.0, 8000.0
TONES_PER_SEMITONE = 3
# Tones below the grid explain what leaks up from them; they count for no class.
BELOW_HZ = (60.0, 80.0, 100.0, 120.0, 140.0, 160.0, 180.0)
REACHED = 0.1  # of a unit tone; the bands beyond the highest tone hear less
ITERATIONS = 8  # 20 agree with real audio in 1 frame of 100 more
A0_HZ, FOLD_CENTRE, FOLD_OCTAVES = 27.5, 5.0, 2.0  # Librosa's chroma: loudest around 880 Hz
TINY = 1e-12  # power, below that of a mel at its floor
QUIET = 1e-9  # power of a class below which all are as likely
MAX_NOTES = 10_000
# A recorded line's pitch, by YIN (de Cheveigné and Kawahara 2002).
VOICE_HZ = (65.0, 2000.0)
YIN_SECONDS = 0.046  # over which a waveform is compared with itself later
CLEAR, VOICED = 0.15, 0.3  # YIN's aperiodicity: the first period below CLEAR; none above VOICED
GATE, SILENT = (
    0.01,
    1e-4,
)  # RMS below which nothing is sung: relative to the loudest frame, and flat
MEDIAN_FRAMES = 5
BLOCK = 512  # frames compared at a time


@lru_cache(maxsize=8)
def _tones(config: MelConfig, device: torch.device) -> tuple[Tensor, Tensor]:
    """Squared mels of unit tones, (bands, tones), and their chroma, (12, tones); float32.

    Only of the bands up to the highest tone: what leaks into others explains nothing there.
    """
    steps = 12 * TONES_PER_SEMITONE
    count = int(steps * math.log2(HIGHEST_HZ / LOWEST_HZ))
    grid = LOWEST_HZ * 2 ** (torch.arange(count, dtype=torch.float64) / steps)
    below = torch.tensor(BELOW_HZ, dtype=torch.float64)
    hz = torch.cat((below, grid))
    window = torch.hann_window(config.n_fft, dtype=torch.float64)
    angles = 2 * math.pi * hz[:, None] * torch.arange(config.n_fft) / config.sample_rate
    tones = torch.polar(
        (window / window.sum()).expand_as(angles), angles
    )  # a real tone less its mirror image
    spectra = torch.fft.fft(tones)[:, : config.bins].abs()
    mels = filterbank(config, torch.device("cpu")).double() @ spectra.T
    fold = torch.cat((torch.zeros(CLASSES, len(below)), _fold(grid)), dim=1)
    bands = int((mels.amax(dim=1) > REACHED).sum())
    return mels[:bands].square().float().to(device), fold.float().to(device)


def _fold(hz: Tensor) -> Tensor:
    """How much the power at each of `hz` counts for each class, high-passed: (12, tones)."""
    notes = 12 * torch.log2(hz / A0_HZ) - 3  # 0 is C
    distance = torch.remainder(notes - torch.arange(CLASSES)[:, None] + 6, 12) - 6
    weights = torch.exp(-2 * distance**2)
    octaves = (torch.log2(hz / A0_HZ) - FOLD_CENTRE) / FOLD_OCTAVES
    passed = 1 / (1 + (HIGH_PASS_HZ / hz) ** 4)  # second-order Butterworth
    return weights / weights.norm(dim=0) * torch.exp(-(octaves**2) / 2) * passed


def feature(mel: Tensor, config: MelConfig) -> Tensor:
    """Log-probabilities of the pitch classes, C first: (batch, 12, frames).

    mel: (batch, channels, frames), natural log. A class is as likely as its share of the power
    above Middle C; in silence all are alike.
    """
    mels, fold = _tones(config, mel.device)
    power = (2 * mel[..., : len(mels), :]).exp()
    seen = mels / mels.sum(0)
    tones = seen.T @ power
    for _ in range(ITERATIONS):
        tones = tones * (seen.T @ (power / (mels @ tones + TINY)))
    classes = fold @ tones + QUIET
    return classes.log() - classes.sum(dim=-2, keepdim=True).log()


def loss(mel: Tensor, target: Tensor, config: MelConfig, enough: float = 0.0) -> Tensor:
    """Mean negative log-likelihood of the asked frames' classes, in nats: (batch,).

    mel: (batch, channels, frames); target: (frames,) int64, -1 where not asked. 0 where none is.
    What a frame has below `enough` nats counts as nothing, and what it has above as the rest.
    """
    asked = target >= 0
    at = target.clamp(min=0).expand(len(mel), 1, -1)
    likelihood = feature(mel, config).gather(1, at)[:, 0]
    missing = (-likelihood - enough).clamp(min=0)
    return (missing * asked).sum(-1) / asked.sum().clamp(min=1)


def accuracy(mel: Tensor, target: Tensor, config: MelConfig) -> Tensor:
    """Percent of the asked frames whose likeliest class is the wanted one: (batch,)."""
    asked = target >= 0
    right = (feature(mel, config).argmax(dim=1) == target) & asked
    return 100 * right.sum(-1) / asked.sum().clamp(min=1)


def _checked(notes: Sequence[tuple[float, float, int]]) -> np.ndarray:
    """`notes` as (notes, 3), or the SegueError that says what is wrong with them."""
    if not len(notes):
        raise SegueError(Code.BAD_REQUEST, "the melody has no notes; give at least one")
    if len(notes) > MAX_NOTES:
        many = f"the melody has {len(notes)} notes; give at most {MAX_NOTES}"
        raise SegueError(Code.BAD_REQUEST, many)
    table = np.asarray(notes, dtype=np.float64).reshape(-1, 3)
    _, lengths, pitches = table.T
    if not np.isfinite(table).all():
        raise SegueError(Code.BAD_REQUEST, "the melody has a note that is not a number")
    if lengths.min() < 0:
        raise SegueError(
            Code.BAD_REQUEST, "the melody has a note of negative length; turn it round"
        )
    if pitches.min() < 0 or pitches.max() > 127 or (pitches % 1).any():
        wrong = "the melody has a pitch that is not a MIDI note; use whole numbers, 0 to 127"
        raise SegueError(Code.BAD_REQUEST, wrong)
    return table


def target(
    notes: Sequence[tuple[float, float, int]],
    frames: int,
    config: MelConfig,
    *,
    start_seconds: float = 0.0,
    length_seconds: float | None = None,
) -> Tensor:
    """Pitch class (C = 0) of the highest note sounding at each frame's centre: (frames,) int64.

    notes: (start, length, MIDI pitch), seconds from the beginning of the new music. -1 where none
    sounds, and outside [start_seconds, start_seconds + length_seconds), to the end without a
    length. Raises SegueError for no or too many notes, not finite, of negative length or no MIDI
    pitch, and where no frame is asked.
    """
    table = _checked(notes)
    at = (np.arange(frames) + 0.5) * config.hop / config.sample_rate
    classes = np.full(frames, -1)
    for start, length, pitch in table[np.argsort(table[:, 2], kind="stable")]:
        first, last = np.searchsorted(at, (start, start + length))
        classes[first:last] = int(pitch) % CLASSES
    end = math.inf if length_seconds is None else start_seconds + length_seconds
    classes[(at < start_seconds) | (at >= end)] = -1
    if (classes < 0).all():
        outside = "no note of the melody sounds inside the clip; move it there"
        raise SegueError(Code.BAD_REQUEST, outside)
    return torch.from_numpy(classes).long()


def _periods(segments: np.ndarray, size: int, shortest: int) -> tuple[np.ndarray, np.ndarray]:
    """YIN: (frames, size + lags) to the period in samples and its aperiodicity, (frames,) each."""
    lags = segments.shape[1] - size
    n_fft = 2 ** math.ceil(math.log2(segments.shape[1] + size))
    spectrum = np.fft.rfft(segments[:, :size], n_fft).conj() * np.fft.rfft(segments, n_fft)
    products = np.fft.irfft(spectrum, n_fft)[:, :lags]
    energy = np.pad(np.cumsum(segments**2, axis=1), ((0, 0), (1, 0)))
    energies = energy[:, size : size + lags] - energy[:, :lags]
    difference = np.maximum(energies[:, :1] + energies - 2 * products, 0)
    lag = np.arange(1, lags)
    total = np.cumsum(difference[:, 1:], axis=1)
    aperiodic = np.ones_like(difference)
    aperiodic[:, 1:] = difference[:, 1:] * lag / np.maximum(total, 1e-12)
    aperiodic[:, :shortest] = 1.0
    valley = (aperiodic[:, 1:-1] < CLEAR) & (aperiodic[:, 1:-1] <= aperiodic[:, 2:])
    best = aperiodic[:, 1:-1].argmin(axis=1)
    at = 1 + np.where(valley.any(axis=1), valley.argmax(axis=1), best)
    rows = np.arange(len(segments))
    before, here, after = (aperiodic[rows, at + i] for i in (-1, 0, 1))
    bend = np.maximum(before - 2 * here + after, 1e-9)
    return at + np.clip((before - after) / (2 * bend), -0.5, 0.5), here


def _pitches(mono: np.ndarray, rate: int, centres: np.ndarray) -> np.ndarray:
    """MIDI pitch, not rounded, of (samples,) around `centres`, NaN where none: (frames,)."""
    size, lags = round(YIN_SECONDS * rate), math.ceil(rate / VOICE_HZ[0]) + 2
    span = size + lags
    padded = np.pad(mono, (span, span))
    inside = np.clip(centres, 0, len(mono)) + span - span // 2
    midi, loud = np.full(len(centres), np.nan), np.zeros(len(centres))
    for first in range(0, len(centres), BLOCK):
        cut = slice(first, first + BLOCK)
        segments = padded[inside[cut, None] + np.arange(span)]
        period, aperiodic = _periods(segments, size, int(rate / VOICE_HZ[1]))
        found = 69 + 12 * np.log2(rate / period / 440)
        midi[cut] = np.where(aperiodic < VOICED, found, np.nan)
        loud[cut] = np.sqrt((segments**2).mean(axis=1))
    gate = max(GATE * loud.max(initial=0.0), SILENT)
    return np.where((loud >= gate) & (centres < len(mono)), midi, np.nan)


def target_from_audio(audio: np.ndarray, rate: int, frames: int, config: MelConfig) -> Tensor:
    """Pitch class (C = 0) of a sung or played single line at each frame: (frames,) int64.

    audio: (samples, channels) from the beginning of the new music. -1 where nothing clear sounds.
    Raises SegueError where it holds a sample that is not finite, and where no pitch is heard.
    """
    if not np.isfinite(audio).all():
        raise SegueError(Code.BAD_REQUEST, "the melody's audio has a sample that is not a number")
    at = (np.arange(frames) + 0.5) * config.hop / config.sample_rate
    mono = np.asarray(audio, dtype=np.float64).mean(axis=1)
    midi = _pitches(mono, rate, np.round(at * rate).astype(int))
    half = MEDIAN_FRAMES // 2
    near = np.pad(midi, half, constant_values=np.nan)
    around = np.lib.stride_tricks.sliding_window_view(near, MEDIAN_FRAMES)
    sung = np.isfinite(around).sum(axis=1) > half
    if not sung.any():
        unheard = "no pitch is heard in the melody's audio; sing or play one note at a time"
        raise SegueError(Code.BAD_REQUEST, unheard)
    classes = np.full(frames, -1)
    classes[sung] = np.round(np.nanmedian(around[sung], axis=1)).astype(int) % CLASSES
    return torch.from_numpy(classes).long()
