"""What is timed: a request a task, the settings of each method. Nothing of it needs training data.

The requests are those of the evaluation of the controls, on the demo's recording instead of
held-out music. Everything fits one window of the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from segue.export.evaluation.control_clips import plain_ditto
from segue.export.evaluation.control_music import PHRASES, PLANS, curve, walk
from segue.export.evaluation.control_targets import (
    GAP_SECONDS,
    LOOP_SECONDS,
    NEW_SECONDS,
    ON_SECONDS,
    REGION_SECONDS,
)
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
from segue.presets.vocabulary import Region, Request, Settings

SEED = 7
K = 70
MIDDLE_DB = -20.0  # around which a curve out of nothing moves
CONTINUED = "outpaint"  # the task that seeds, lengths and the server are timed with
OURS, SHIPPED, CM, DITTO = "CTM", "CTM as shipped", "CM", "DITTO"
SETTINGS: Mapping[str, dict[str, Any]] = {
    OURS: {},
    SHIPPED: {},
    CM: {"decode_steps": 1, "surrogate": "one"},
    DITTO: plain_ditto(),
}


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is asked. Without `region_seconds` of a recording the music is out of nothing."""

    controls: tuple[Control, ...]
    new_seconds: float | None = NEW_SECONDS
    region_seconds: float | None = None


def request(
    task: Task, region: Path, settings: Settings, *, new_seconds: float | None = None
) -> Request:
    """A task's request on a recording, for as long as the task says or `new_seconds`.

    A recording that is shorter than the task wants is taken whole.
    """
    where = None
    if task.region_seconds is not None:
        length = min(task.region_seconds, soundfile.info(str(region)).duration)
        where = Region(path=str(region), start_seconds=0.0, length_seconds=length)
    return Request(
        id="bench",
        region=where,
        new_seconds=new_seconds or task.new_seconds,
        seed=SEED,
        controls=task.controls,
        settings=settings,
    )


def settings(method: str, **changes: Any) -> Settings:
    """A method's settings, with changes."""
    return Settings(**{**SETTINGS[method], **changes})


def iterating(asked: Request, iterations: int) -> Request:
    """The same request with another number of iterations."""
    changed = asked.settings.model_copy(update={"iterations": iterations})
    return asked.model_copy(update={"settings": changed})


_BESIDE_SECONDS = 2.0  # of the eight there are, on each side of the gap
_RISE = Intensity(points=((0.0, -6.0), (ON_SECONDS, 6.0)))  # dB beside the region
_ON = {"new_seconds": ON_SECONDS, "region_seconds": REGION_SECONDS}
TASKS = {
    "intensity": Task(controls=(curve(0, MIDDLE_DB, NEW_SECONDS),)),
    "melody": Task(controls=(Melody(notes=walk(np.random.default_rng(SEED), NEW_SECONDS)),)),
    "structure": Task(controls=(Structure(sections=PLANS[0]),)),
    "text": Task(controls=(Text(text=PHRASES[0]),)),
    CONTINUED: Task(controls=(Outpaint(),), **_ON),
    "inpaint": Task(
        controls=(Inpaint(gaps=(Gap(start=_BESIDE_SECONDS, length=GAP_SECONDS),)),),
        new_seconds=None,
        region_seconds=GAP_SECONDS + 2 * _BESIDE_SECONDS,
    ),
    "loop": Task(controls=(Loop(),), new_seconds=LOOP_SECONDS, region_seconds=REGION_SECONDS),
    "intensity+outpaint": Task(controls=(Outpaint(), _RISE), **_ON),
}
