"""What the evaluation of the controls asks for: curves, melodies, plans, words and regions.

Intensity follows Music ControlNet's recipe (2311.07069), whose 24 curves are the likely targets
of DITTO-2. Melodies are random walks in a scale and old tunes in the public domain, transposed;
none is longer than the clip. Everything follows from a number and a seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from segue.export.evaluation.real_audio import Stretch
from segue.presets.controls import (
    Control,
    Gap,
    Inpaint,
    Intensity,
    Loop,
    Melody,
    Note,
    Outpaint,
    Structure,
    Text,
)

NEW_SECONDS = 5.85  # out of nothing: with the frames beyond its end, one window of the model
REGION_SECONDS = 4.0  # what is continued
ON_SECONDS = 4.8  # its continuation, beside one second of overlap in a window
LOOP_SECONDS = 3.9  # the way back to its start, beside two
GAP_SECONDS = 4.0
BESIDE_SECONDS = 2.5  # on each side of the gap
STRETCH_SECONDS = GAP_SECONDS + 2 * BESIDE_SECONDS

OUT_OF_NOTHING = ("uncontrolled", "ours", "DITTO")
BESIDE_MUSIC = ("crossfade", "re-noising", "ours", "DITTO", "original")

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


@dataclass(frozen=True, kw_only=True)
class Material:
    """What targets are made of.

    `level_db` is the mean level of training music; `stretches` are held-out ones of
    STRETCH_SECONDS and `levels_db` their first REGION_SECONDS' mean levels.
    """

    seed: int
    level_db: float
    stretches: tuple[Stretch, ...]
    levels_db: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Target:
    """One thing asked of the product, by number. Without a region the music is out of nothing.

    The region is the first `region_seconds` of `stretch`; `new_seconds` is None for a gap in it.
    """

    number: int
    controls: tuple[Control, ...]
    new_seconds: float | None = NEW_SECONDS
    stretch: Stretch | None = None
    region_seconds: float = 0.0


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


def nothing(number: int) -> Target:
    """Music out of nothing, of which nothing is asked."""
    return Target(number=number, controls=())


def intensity(material: Material, number: int) -> Target:
    """A curve around the training music's level; a full round has all, in an order of the seed."""
    order = np.random.default_rng(material.seed).permutation(len(CURVES))
    which = int(order[number % len(order)])
    return Target(number=number, controls=(curve(which, material.level_db, NEW_SECONDS),))


def melody(material: Material, number: int) -> Target:
    """Every fourth an old tune, the others random walks."""
    generator = np.random.default_rng((material.seed, number))
    if number % 4 == 3:
        name = list(TUNES)[number // 4 % len(TUNES)]
        highest = max(step for step, _ in TUNES[name])
        up = int(generator.integers(0, HIGHEST - LOWEST - highest + 1))
        notes = tune(name, up, NEW_SECONDS)
    else:
        notes = walk(generator, NEW_SECONDS)
    return Target(number=number, controls=(Melody(notes=notes),))


def structure(material: Material, number: int) -> Target:
    """One of eight plans."""
    return Target(number=number, controls=(Structure(sections=PLANS[number % len(PLANS)]),))


def text(material: Material, number: int) -> Target:
    """One of sixteen phrases, all of words that the judge knows too."""
    return Target(number=number, controls=(Text(text=PHRASES[number % len(PHRASES)]),))


def outpaint(material: Material, number: int) -> Target:
    """A region continued, one second of overlap."""
    return _on(material, number, (Outpaint(overlap_seconds=1.0),), ON_SECONDS)


def intensity_outpaint(material: Material, number: int) -> Target:
    """A region continued along a curve around its level; or the training's, if that is lower.

    Around a loud region's level the curves would ask for more than full scale.
    """
    (wanted,) = intensity(material, number).controls
    assert isinstance(wanted, Intensity)
    own = material.levels_db[number % len(material.levels_db)]
    moved = min(own, material.level_db) - material.level_db
    scaled = ON_SECONDS / NEW_SECONDS
    points = tuple((time * scaled, level + moved) for time, level in wanted.points)
    controls = (Outpaint(overlap_seconds=1.0), Intensity(points=points, scale="dbfs"))
    return _on(material, number, controls, ON_SECONDS)


def loop(material: Material, number: int) -> Target:
    """From a region's end back to its start."""
    return _on(material, number, (Loop(),), LOOP_SECONDS)


def inpaint(material: Material, number: int) -> Target:
    """A gap of four seconds in a region."""
    gap = Gap(start=BESIDE_SECONDS, length=GAP_SECONDS)
    return Target(
        number=number,
        controls=(Inpaint(gaps=(gap,)),),
        new_seconds=None,
        stretch=material.stretches[number % len(material.stretches)],
        region_seconds=STRETCH_SECONDS,
    )


def _on(
    material: Material, number: int, controls: tuple[Control, ...], new_seconds: float
) -> Target:
    return Target(
        number=number,
        controls=controls,
        new_seconds=new_seconds,
        stretch=material.stretches[number % len(material.stretches)],
        region_seconds=REGION_SECONDS,
    )


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is asked, how long it is optimized (K), by whom, and the paper's figure for it."""

    target: Callable[[Material, int], Target]
    iterations: int
    methods: tuple[str, ...]
    figures: tuple[str, ...] = ()
    paper: tuple[float, ...] = ()


# The paper's figures: DITTO-2's table 1 (CTM); DITTO's table 9 for two controls at once.
TASKS = {
    "uncontrolled": Task(
        target=lambda _, number: nothing(number),
        iterations=1,
        methods=("uncontrolled",),
    ),
    "intensity": Task(
        target=intensity,
        iterations=70,
        methods=OUT_OF_NOTHING,
        figures=("intensity MSE, dB^2",),
        paper=(3.311,),
    ),
    "melody": Task(
        target=melody,
        iterations=150,
        methods=OUT_OF_NOTHING,
        figures=("melody accuracy, %",),
        paper=(85.226,),
    ),
    "structure": Task(
        target=structure,
        iterations=150,
        methods=OUT_OF_NOTHING,
        figures=("structure MSE",),
        paper=(0.022,),
    ),
    "text": Task(
        target=text,
        iterations=70,
        methods=OUT_OF_NOTHING,
        figures=("text, our score", "text, another judge"),
    ),
    "outpaint": Task(
        target=outpaint, iterations=70, methods=BESIDE_MUSIC, figures=("overlap error",)
    ),
    "inpaint": Task(
        target=inpaint, iterations=70, methods=BESIDE_MUSIC, figures=("overlap error",)
    ),
    "loop": Task(
        target=loop,
        iterations=70,
        methods=("crossfade", "re-noising", "ours", "DITTO"),
        figures=("overlap error",),
    ),
    "intensity+outpaint": Task(
        target=intensity_outpaint,
        iterations=70,
        methods=("crossfade", "ours", "DITTO"),
        figures=("intensity MSE, dB^2", "overlap error"),
        paper=(5.783,),
    ),
}
