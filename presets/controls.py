"""What a producer can ask of a clip: where music is to be made, and how it should go.

One control of a request may say where (`PLACES`: outpaint, inpaint, loop, vary); any number
say how (`FEATURES`: intensity, melody, structure, text) and are added up with their weights.

Times of a feature count from the beginning of the new music, in its `unit`. A `share` is a
part of the whole new music, 0 to 1. Beats and bars need the request's tempo map.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from segue.presets.word import Region, Word

MAX_POINTS = 100_000
MAX_NOTES = 10_000
MAX_GAPS = 16

Unit = Literal["seconds", "beats", "bars", "share"]
Weight = Annotated[float, Field(gt=0, le=1000)]
Overlap = Annotated[float, Field(ge=0.25, le=3.0)]
Time = Annotated[float, Field(ge=0, le=1e6)]
Length = Annotated[float, Field(gt=0, le=1e6)]


class Outpaint(Word):
    """Continue a region; at the seam the clip's overlap matches the region's end or start.

    DITTO-2 section 4.2: squared L2 on the mel over the overlap; the paper uses 1 s.
    """

    kind: Literal["outpaint"] = "outpaint"
    side: Literal["right", "left", "both"] = "right"
    overlap_seconds: Overlap = 1.0
    weight: Weight = 1.0


class Gap(Word):
    """A stretch of the region to be made anew, from the region's start."""

    start: Time
    length: Length


class Inpaint(Word):
    """Fill gaps of a region; both sides of each are matched over the overlap.

    Without gaps the middle of the region is filled, all but one overlap on either side.
    """

    kind: Literal["inpaint"] = "inpaint"
    gaps: tuple[Gap, ...] = Field(default=(), max_length=MAX_GAPS)
    unit: Unit = "seconds"
    overlap_seconds: Overlap = 1.0
    weight: Weight = 1.0

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for gap, following in pairwise(self.gaps):
            if gap.start + gap.length >= following.start:
                raise ValueError("gaps must be sorted and leave music between them")
        return self


class Loop(Word):
    """Lead from the region's end back to its start, so that the clip can be played in a loop."""

    kind: Literal["loop"] = "loop"
    overlap_seconds: Overlap = 1.0
    weight: Weight = 1.0


class Vary(Word):
    """Make the region anew from its own noise, `amount` (0 to 1) of which is drawn afresh."""

    kind: Literal["vary"] = "vary"
    amount: float = Field(default=0.3, ge=0, le=1)
    weight: Weight = 1.0


class Feature(Word):
    """How the new music should go, over all of it or from `start` on for `length`.

    Without a weight the paper's is taken (DITTO, appendix H).
    """

    unit: Unit = "seconds"
    start: Time = 0.0
    length: Length | None = None
    weight: Weight | None = None


class Intensity(Feature):
    """A level curve: (time, level) points, straight lines between them, held outside.

    scale `db`: decibels above the known music beside it (or above -20 dB FS where there is none);
    `unit`-interval values with scale `share`: 0 is 15 dB softer than it, 1 is 15 dB louder;
    `dbfs`: decibels of full scale (RMS).
    """

    kind: Literal["intensity"] = "intensity"
    points: tuple[tuple[Time, float], ...] = Field(min_length=1, max_length=MAX_POINTS)
    scale: Literal["db", "share", "dbfs"] = "db"

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if any(later[0] < earlier[0] for earlier, later in pairwise(self.points)):
            raise ValueError("points must be sorted by time")
        low, high = LEVELS[self.scale]
        for time, level in self.points:
            if not low <= level <= high:
                text = f"the level {level:g} at {time:g} is outside {low:g} to {high:g}"
                raise ValueError(f"{text}, the range of scale {self.scale!r}")
        return self


LEVELS = {"db": (-60.0, 30.0), "share": (0.0, 1.0), "dbfs": (-90.0, 0.0)}


class Note(Word):
    """A note of a melody: pitch as in MIDI, 60 is middle C."""

    start: Time
    length: Length
    pitch: int = Field(ge=0, le=127)


class Melody(Feature):
    """A line to follow, by pitch class: notes, or the audio of somebody humming it.

    Of notes that sound together the highest counts; rests ask for nothing.
    """

    kind: Literal["melody"] = "melody"
    notes: tuple[Note, ...] = Field(default=(), max_length=MAX_NOTES)
    audio: Region | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if bool(self.notes) == (self.audio is not None):
            raise ValueError("give notes, or audio to take them from")
        return self


class Structure(Feature):
    """Sections by letters, equal ones alike: "ABA". They share the time evenly without `lengths`.

    Or the plan of another region: `like`.
    """

    kind: Literal["structure"] = "structure"
    sections: str | None = Field(default=None, min_length=2, max_length=64)
    lengths: tuple[Length, ...] = Field(default=(), max_length=64)
    like: Region | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.sections is None) == (self.like is None):
            raise ValueError('give sections such as "ABA", or a region to be like')
        if self.lengths and len(self.lengths) != len(self.sections or ""):
            raise ValueError(f"{self.sections!r} and {len(self.lengths)} lengths do not match")
        return self


class Text(Feature):
    """Words for how it should sound: "warm slow strings"."""

    kind: Literal["text"] = "text"
    text: Annotated[str, StringConstraints(min_length=1, max_length=300, strip_whitespace=True)]


Place = Outpaint | Inpaint | Loop | Vary
Wish = Intensity | Melody | Structure | Text
Control = Annotated[
    Outpaint | Inpaint | Loop | Vary | Intensity | Melody | Structure | Text,
    Field(discriminator="kind"),
]
PLACES = (Outpaint, Inpaint, Loop, Vary)
FEATURES = (Intensity, Melody, Structure, Text)
