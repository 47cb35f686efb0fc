"""What the evaluation of the controls asks for: a task's targets, by number.

Everything follows from a number and a seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from segue.export.evaluation.control_music import (
    CURVES,
    HIGHEST,
    LOWEST,
    PHRASES,
    PLANS,
    TUNES,
    curve,
    tune,
    walk,
)
from segue.export.evaluation.real_audio import Stretch
from segue.presets.controls import (
    Control,
    Gap,
    Inpaint,
    Intensity,
    Loop,
    Melody,
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

OUT_OF_NOTHING = ("uncontrolled", "ours", "as shipped", "DITTO")
BESIDE_MUSIC = ("crossfade", "re-noising", "ours", "as shipped", "DITTO", "original")


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
        methods=("uncontrolled", "as shipped"),
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
        iterations=70,
        methods=OUT_OF_NOTHING,
        figures=("melody accuracy, %",),
        paper=(85.226,),
    ),
    "structure": Task(
        target=structure,
        iterations=70,
        methods=OUT_OF_NOTHING,
        figures=("structure MSE",),
        paper=(0.022,),
    ),
    "text": Task(
        target=text,
        iterations=70,
        methods=("uncontrolled", "tags", "ours", "as shipped", "ours and tags", "DITTO"),
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
        methods=("crossfade", "re-noising", "ours", "as shipped", "DITTO"),
        figures=("overlap error",),
    ),
    "intensity+outpaint": Task(
        target=intensity_outpaint,
        iterations=70,
        methods=("crossfade", "ours", "as shipped", "DITTO"),
        figures=("intensity MSE, dB^2", "overlap error"),
        paper=(5.783,),
    ),
}
