"""The pitch classes heard in final audio, and how often they are the ones of a melody.

Music ControlNet (2311.07069): mono, a biquad high-pass at Middle C (261.2 Hz), a linear
spectrogram, Librosa's chroma, and the strongest class of each frame. The paper states neither the
STFT's length nor Librosa's arguments: here 93 ms and Librosa's own defaults, written out again.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

Floats = NDArray[np.floating]

HIGH_PASS_HZ = 261.2
FRAME_SECONDS = 4096 / 44100
HOP_SECONDS = 512 / 44100
A0_HZ = 27.5
SILENCE = 1e-10  # power of a frame, relative to a full-scale sine, below which no class is heard
BLOCK = 1024  # frames transformed at a time


def high_pass(signal: Floats, rate: int) -> Floats:
    """Second-order Butterworth high-pass of (samples,), the Audio EQ Cookbook's biquad."""
    angle = 2 * math.pi * HIGH_PASS_HZ / rate
    alpha, cos = math.sin(angle) / math.sqrt(2), math.cos(angle)
    b = np.array([(1 + cos) / 2, -(1 + cos), (1 + cos) / 2])
    return lfilter(b, [1 + alpha, -2 * cos, 1 - alpha], signal)


def chroma_filters(rate: int, n_fft: int) -> Floats:
    """Librosa's `filters.chroma` with its defaults: (12, n_fft // 2 + 1), C first.

    Each bin falls on the classes as a Gaussian of half a semitone (or half a bin where bins are
    wider), is normalised to length 1, and weighted around 880 Hz with two octaves' deviation.
    """
    hz = np.arange(1, n_fft) * rate / n_fft
    notes = 12 * np.log2(hz / A0_HZ)  # 0 is A
    notes = np.concatenate(([notes[0] - 18], notes))
    widths = np.concatenate((np.maximum(np.diff(notes), 1), [1]))
    distance = np.remainder(notes - np.arange(12)[:, None] + 6 + 120, 12) - 6
    weights = np.exp(-0.5 * (2 * distance / widths) ** 2)
    weights /= np.linalg.norm(weights, axis=0)
    weights *= np.exp(-0.5 * ((notes / 12 - 5) / 2) ** 2)
    return np.roll(weights, -3, axis=0)[:, : n_fft // 2 + 1]


def chroma(audio: Floats, rate: int) -> Floats:
    """Energy of each pitch class, C first, in frames of 93 ms: (12, frames).

    audio: (samples, channels). Frame i is centred on the middle of hop i of 11.6 ms, the ends
    padded with zeros.
    """
    n_fft = 2 ** round(math.log2(FRAME_SECONDS * rate))
    hop = HOP_SECONDS * rate
    passed = np.pad(high_pass(np.mean(audio, axis=1), rate), n_fft)
    count = int(len(audio) / hop)
    starts = np.round((np.arange(count) + 0.5) * hop).astype(int) + n_fft // 2
    window, filters = np.hanning(n_fft + 1)[:-1], chroma_filters(rate, n_fft)
    blocks = []
    for first in range(0, count, BLOCK):
        cut = passed[starts[first : first + BLOCK, None] + np.arange(n_fft)]
        power = np.abs(np.fft.rfft(cut * window)) ** 2 * (2 / window.sum()) ** 2
        blocks.append(filters @ power.T)
    return np.concatenate(blocks, axis=1) if blocks else np.zeros((12, 0))


def heard_classes(audio: Floats, rate: int) -> NDArray[np.int64]:
    """The strongest pitch class of each frame, -1 where it is silent: (frames,)."""
    energy = chroma(audio, rate)
    return np.where(energy.max(axis=0) > SILENCE, energy.argmax(axis=0), -1)


def melody_accuracy(
    audio: Floats, rate: int, classes: NDArray[np.integer], hop_seconds: float
) -> float:
    """Percent of the asked frames whose strongest pitch class is the wanted one.

    classes: (frames,), the class 0..11 of each `hop_seconds`, -1 where nothing is asked. Silence,
    and what lies beyond the audio's end, is wrong. Raises ValueError where nothing is asked.
    """
    asked = np.flatnonzero(classes >= 0)
    if not len(asked):
        raise ValueError("the melody asks for no frame")
    heard = np.append(heard_classes(audio, rate), -1)
    at = np.round((asked + 0.5) * hop_seconds / HOP_SECONDS - 0.5).astype(int)
    return float(100 * np.mean(heard[np.minimum(at, len(heard) - 1)] == classes[asked]))
