"""The words every room shares: what is asked for, how far along it is, what came of it.

All are frozen pydantic models. Unknown keys, NaN and infinities are refused.
Times are seconds (float64) unless a name says samples.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, TypeAdapter, model_validator

from segue.presets.controls import PLACES, Control, Inpaint, Outpaint, Place, Vary
from segue.presets.tempo import TempoMap
from segue.presets.word import (
    MAX_PATH_CHARACTERS,
    MAX_REGION_SECONDS,
    Code,
    Failure,
    FilePath,
    Id,
    Region,
    SegueError,
    Word,
)

__all__ = [
    "MAX_PATH_CHARACTERS",
    "MAX_REGION_SECONDS",
    "Code",
    "Control",
    "Failure",
    "FilePath",
    "Id",
    "Outpaint",
    "Region",
    "SegueError",
    "Word",
]

MAX_NEW_SECONDS = 180.0
MAX_NEW_BARS = 1000.0
MAX_CONTROLS = 8
MAX_SEED = 2**31 - 1  # an OSC int32
MAX_SEEDS = 64
MAX_GUIDANCE = 4.0

Seed = Annotated[int, Field(ge=0, le=MAX_SEED, strict=True)]
Tag = Annotated[  # what a tags.tsv may hold, read in the same way
    str,
    StringConstraints(
        strip_whitespace=True, to_lower=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9 &-]{0,31}$"
    ),
]


class Settings(Word):
    """How the starting noise is optimized and decoded (DITTO-2 section 3).

    `surrogate` is what an iteration looks at: "one" step; "adaptive", 1, 2, then 4 (section 5.3);
    "full", all T, as DITTO; "corrected", the clip of T steps with the gradient of one. Adam moves
    the noise's cosine "waves" or its "elements", as the paper does; see `Asked`. `polish` of the
    base model's 20 steps, the last ones, go over what was found; see `Painter`.
    `tags` ask the model for a kind of music, by names it was trained with; `guidance` says how
    strictly (w of classifier-free guidance, 1 = as the data goes) and does nothing without tags.
    """

    iterations: int | None = Field(default=None, ge=1, le=1000)  # K; without: as fits
    decode_steps: int = Field(default=2, ge=1, le=20)  # T
    surrogate: Literal["one", "adaptive", "corrected", "full"] = "corrected"  # M
    gamma: float = Field(default=0.2, ge=0, le=1)  # CTM stochasticity, Alg. 1
    space: Literal["waves", "elements"] | None = None  # what Adam moves; without: as fits
    learning_rate: float | None = Field(default=None, gt=0, le=1)  # without: the space's own
    polish: int | None = Field(default=None, ge=0, le=20)  # without: as fits
    patience: int | None = Field(default=None, ge=1)  # stop after so many without gain
    target_loss: float | None = Field(default=None, ge=0)  # stop when it is met
    within_seconds: float | None = Field(default=None, gt=0, le=3600)  # best so far by then
    seeds: int = Field(default=1, ge=1, le=MAX_SEEDS)  # tried side by side
    keep: int = Field(default=1, ge=1, le=MAX_SEEDS)  # best ones that differ, a clip each
    previews: bool = False  # unfinished clips to listen to while it runs
    overlay: bool = False  # also what to lay over an untouched timeline, see `Result`
    slot: Id | None = None  # its jobs start from the last one's noise, and the newest wins
    tags: tuple[Tag, ...] = Field(default=(), max_length=16)
    guidance: float = Field(default=2.0, ge=1, le=MAX_GUIDANCE)

    @model_validator(mode="after")
    def _enough_seeds(self) -> Self:
        if self.keep > self.seeds:
            raise ValueError(f"keep {self.keep} needs as many seeds, not {self.seeds}")
        return self


class Request(Word):
    """One job: music after, before, inside or in place of `region`, or out of nothing.

    How much is `new_seconds`, or `new_bars` of the tempo map, whose time 0 is the region's
    start; filling and varying need neither. Without a seed the server draws one; the result
    always names it.
    """

    id: Id
    region: Region | None = None
    new_seconds: float | None = Field(default=None, gt=0, le=MAX_NEW_SECONDS)
    new_bars: float | None = Field(default=None, gt=0, le=MAX_NEW_BARS)
    tempo: TempoMap | None = None
    seed: Seed | None = None
    controls: tuple[Control, ...] = Field(default=(Outpaint(),), max_length=MAX_CONTROLS)
    settings: Settings = Settings()

    @property
    def place(self) -> Place | None:
        """The control that says where; None when music is made out of nothing."""
        return next((c for c in self.controls if isinstance(c, PLACES)), None)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if sum(isinstance(c, PLACES) for c in self.controls) > 1:
            raise ValueError("ask for one of outpaint, inpaint, loop and vary at a time")
        if (self.place is None) != (self.region is None):
            what = "a region needs" if self.region else "without a region there can't be"
            raise ValueError(f"{what} one of outpaint, inpaint, loop or vary among its controls")
        given = [v for v in (self.new_seconds, self.new_bars) if v is not None]
        wanted = 0 if isinstance(self.place, Inpaint | Vary) else 1
        if len(given) != wanted:
            say = "give new_seconds or new_bars" if wanted else "the region says how long it is"
            raise ValueError(f"{say}, and nothing else")
        if self.tempo is None and self._counts_beats():
            raise ValueError("bars and beats need a tempo map: give tempo")
        return self

    def _counts_beats(self) -> bool:
        units = {getattr(c, "unit", "seconds") for c in self.controls}
        return self.new_bars is not None or not units.isdisjoint({"beats", "bars"})


class State(StrEnum):
    """Where a job stands; `segue.server.jobs` holds the table of what may follow what."""

    QUEUED = "queued"
    OPTIMIZING = "optimizing"
    DECODING = "decoding"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Preview(Word):
    """The clip as it would be now, roughly decoded; the file is gone when the job has ended.

    `number` counts a job's previews from 1. The other fields are as in `Result`.
    """

    number: int = Field(ge=1)
    path: FilePath
    start_seconds: float
    length_samples: int = Field(gt=0)
    sample_rate: int = Field(gt=0)


class Progress(Word):
    """How far a job is. `fraction` never falls while one attempt runs; `loss` is the newest.

    `preview` too is the newest so far, so that nobody who reads only the last event misses it.
    """

    type: Literal["progress"] = "progress"
    id: Id
    fraction: float = Field(ge=0, le=1)
    stage: State
    loss: float | None = None
    preview: Preview | None = None


class Result(Word):
    """A finished clip: region and new music in one WAV file.

    `start_seconds` is where the clip belongs: the region's own start, or before it when music
    was made to its left. Of its `length_samples`, `new_samples` are new. `variations` are more
    clips of the same length, each worse than the one before it; `notes` say what could not be
    done as asked. Where settings ask for an overlay and music was made outside the region, the
    file at `overlay_path`, laid from `overlay_start_seconds` on over the untouched region, sounds
    as the clip does: on a track of its own a whole clip would double the region.
    """

    type: Literal["result"] = "result"
    id: Id
    path: FilePath
    variations: tuple[FilePath, ...] = ()
    start_seconds: float
    length_samples: int = Field(gt=0)
    new_samples: int = Field(gt=0)
    sample_rate: int = Field(gt=0)
    channels: int = Field(gt=0)
    seed: Seed
    loss_first: float
    loss_last: float
    notes: tuple[str, ...] = ()
    taken_seconds: float = Field(ge=0)
    device: str
    overlay_path: FilePath | None = None
    overlay_start_seconds: float | None = None
    variation_overlays: tuple[FilePath, ...] = ()  # one for each variation


class Cancelled(Word):
    """A job that was stopped on request."""

    type: Literal["cancelled"] = "cancelled"
    id: Id


Event = Annotated[Progress | Result | Failure | Cancelled, Field(discriminator="type")]
EVENT: TypeAdapter[Event] = TypeAdapter(Event)


class Status(Word):
    """A job as the server knows it now; `event` is the newest one it sent."""

    id: Id
    state: State
    request: Request
    event: Event


class Health(Word):
    """What `GET /health` answers. `device` is empty until the worker has loaded the model."""

    version: str
    instance: str
    pid: int
    model: str
    device: str
    worker: Literal["loading", "ready", "failed"]
    queued: int = Field(ge=0)
    running: str | None = None
    problem: str | None = None
