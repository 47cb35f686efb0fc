"""The music that the evaluation of the controls asks for: curves, notes, plans and phrases.

Intensity follows Music ControlNet's recipe (2311.07069), whose 24 curves are the likely targets
of DITTO-2. Melodies are random walks in a scale and old tunes in the public domain, transposed;
none is longer than the clip.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
from numpy.typing import NDArray

from segue.presets.controls import Intensity, Note

SHAPES: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "linear": lambda u: 2 * u - 1,
    "tanh": lambda u: np.tanh(6 * (u - 0.5)) / np.tanh(3),
    "cosine": lambda u: -np.cos(np.pi * u),
}
DEPTHS_DB = (6.0, 9.0, 12.0, 15.0)
CURVES = tuple(product(SHAPES, (1, -1), DEPTHS_DB))
CURVE_POINTS = 60

SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9), (0, 3, 5, 7, 10))
WALK_SECONDS = (0.25, 0.5, 0.75)
LOWEST, HIGHEST = 60, 83  # octaves 4 and 5
# Semitones above the keynote and lengths in beats.
TUNES: dict[str, tuple[tuple[int, float], ...]] = {
    "Ode to Joy": tuple(zip((4, 4, 5, 7, 7, 5, 4, 2, 0, 0, 2, 4), (1,) * 12, strict=True)),
    "Frère Jacques": tuple(zip((0, 2, 4, 0, 0, 2, 4, 0, 4, 5, 7), (1,) * 10 + (2,), strict=True)),
    "Twinkle": tuple(zip((0, 0, 7, 7, 9, 9, 7), (1, 1, 1, 1, 1, 1, 2), strict=True)),
    "Greensleeves": tuple(zip((0, 3, 5, 7, 8, 7, 5, 2), (1, 2, 1, 1.5, 0.5, 1, 2, 1), strict=True)),
    "Scarborough Fair": tuple(
        zip((0, 0, 7, 7, 7, 2, 3, 2, 0), (2, 1, 1, 1, 1, 1.5, 0.5, 1, 2), strict=True)
    ),
    "Au clair de la lune": tuple(
        zip((0, 0, 0, 2, 4, 2, 0, 4, 2, 2, 0), (1, 1, 1, 1, 2, 2, 1, 1, 1, 1, 2), strict=True)
    ),
}

PLANS = ("ABA", "ABBA", "AABB", "ABAB", "AAB", "ABB", "AABA", "ABC")
PHRASES = (
    *("warm slow strings", "solo piano", "fast techno", "calm ambient", "loud metal guitar"),
    *("quiet harp", "electronic dance with drums", "soft flute", "orchestral strings"),
    *(
        "classical harpsichord",
        "heavy rock drums",
        "slow violin",
        "dreamy synth",
        "acoustic guitar",
    ),
    *("energetic drums", "gentle piano without drums"),
)


def curve(number: int, middle_db: float, seconds: float) -> Intensity:
    """One of the 24 curves around a level, in dB of full scale."""
    shape, sign, depth = CURVES[number % len(CURVES)]
    u = np.linspace(0, 1, CURVE_POINTS)
    levels = middle_db + sign * depth * SHAPES[shape](u)
    points = zip((u * seconds).tolist(), levels.tolist(), strict=True)
    return Intensity(points=tuple(points), scale="dbfs")


def walk(generator: np.random.Generator, seconds: float) -> tuple[Note, ...]:
    """Notes without rests: steps of at most three degrees of a scale, kept in its two octaves."""
    keynote, scale = int(generator.integers(12)), SCALES[generator.integers(len(SCALES))]
    pitches = [p for p in range(LOWEST, HIGHEST + 1) if (p - keynote) % 12 in scale]
    notes, at, place = [], 0.0, int(generator.integers(len(pitches)))
    while seconds - at > 1e-6:
        length = float(min(generator.choice(WALK_SECONDS), seconds - at))
        notes.append(Note(start=at, length=length, pitch=pitches[place]))
        step = int(generator.integers(1, 4)) * int(generator.choice((-1, 1)))
        place = place + step if 0 <= place + step < len(pitches) else place - step
        at += length
    return tuple(notes)


def tune(name: str, transposed: int, seconds: float) -> tuple[Note, ...]:
    """An old tune in just these seconds, its keynote so many semitones above middle C."""
    steps = TUNES[name]
    beat = seconds / sum(length for _, length in steps)
    starts = np.cumsum([0.0, *(length for _, length in steps)]) * beat
    return tuple(
        Note(start=float(start), length=length * beat, pitch=LOWEST + transposed + step)
        for start, (step, length) in zip(starts, steps, strict=False)
    )


def classes(notes: tuple[Note, ...], frames: int, hop_seconds: float) -> NDArray[np.int64]:
    """The pitch class asked for at the middle of each hop, -1 at rests: (frames,)."""
    middles = (np.arange(frames) + 0.5) * hop_seconds
    asked = np.full(frames, -1)
    for note in sorted(notes, key=lambda note: note.pitch):  # of two at a time, the highest
        held = (middles >= note.start) & (middles < note.start + note.length)
        asked[held] = note.pitch % 12
    return asked
