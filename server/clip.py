"""A clip before it is made: the samples that are known, and the gaps that are not.

Every place a producer can choose comes down to this: what is right, left or in the middle of
the region is a gap with known music on one side, the other, or both; a loop is a gap whose
right side is the clip's own start; a variation is a gap as long as the clip.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from segue.presets.controls import Inpaint, Loop, Outpaint, Unit, Vary
from segue.presets.tempo import TempoMap
from segue.presets.vocabulary import MAX_NEW_SECONDS, Code, Request, SegueError
from segue.server.audio_file import Waveform

MIN_BESIDE_SECONDS = 0.25  # of known music, on each side that has any
DEFAULT_RATE = 44100


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Samples `start` to `stop` of the clip are to be made.

    `left` and `right` count the known samples beside it that it may be matched to; those on the
    right of a loop lie at the clip's start.
    """

    start: int
    stop: int
    left: int = 0
    right: int = 0


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Known samples (zeros where unknown), their rate and format, and the gaps.

    `offset_samples`: how far before the region's start the clip begins. `reference`: the clip's
    samples are what a variation is made of, although all of it is one gap.
    """

    wave: Waveform
    gaps: tuple[Gap, ...]
    offset_samples: int = 0
    reference: bool = False

    @property
    def span(self) -> tuple[int, int]:
        """First sample of the new music and the one after its last."""
        return self.gaps[0].start, self.gaps[-1].stop

    @property
    def new_samples(self) -> int:
        """How many are to be made."""
        return sum(gap.stop - gap.start for gap in self.gaps)

    def samples(self, first: int, last: int) -> np.ndarray:
        """Samples `first` to `last` (n, channels), from the start again behind the end."""
        return self.wave.samples.take(np.arange(first, last), axis=0, mode="wrap")


def lay_out(request: Request, region: Waveform | None) -> Clip:
    """Where the request wants music. Raises SegueError when it does not fit the region."""
    match request.place:
        case None:
            wave = Waveform(np.zeros((0, 2)), DEFAULT_RATE, "PCM_24")
            return _beside(wave, 0, _new_samples(request, wave))
        case Outpaint(side=side):
            assert region is not None, "the vocabulary asks for one"
            new = _new_samples(request, region)
            return _beside(region, new * (side != "right"), new * (side != "left"))
        case Loop():
            assert region is not None, "the vocabulary asks for one"
            return _loop(region, _new_samples(request, region))
        case Inpaint() as inpaint:
            assert region is not None, "the vocabulary asks for one"
            return _inpaint(inpaint, region, request.tempo)
        case Vary():
            assert region is not None, "the vocabulary asks for one"
            whole = Gap(start=0, stop=len(region.samples))
            return Clip(wave=region, gaps=(whole,), reference=True)


def seconds(
    values: list[float], unit: Unit, tempo: TempoMap | None, start: float, whole: float
) -> list[float]:
    """Times in seconds. Beats and bars count from `start` on, shares are parts of `whole`."""
    if unit == "seconds":
        return values
    if unit == "share":
        return [value * whole for value in values]
    assert tempo is not None, "the vocabulary asks for one"
    return list(tempo.convert(values, unit, start))


def _new_samples(request: Request, wave: Waveform) -> int:
    """How many samples one side gets: of bars, those that end or begin at the region."""
    length = request.new_seconds
    if length is None:
        assert request.tempo is not None
        assert request.new_bars is not None
        rate, known = wave.sample_rate, len(wave.samples) / wave.sample_rate
        match request.place:
            case Outpaint(side="left"):
                samples = -request.tempo.samples_of(0.0, -request.new_bars, "bars", rate)
            case _:
                samples = request.tempo.samples_of(known, request.new_bars, "bars", rate)
        if samples > MAX_NEW_SECONDS * rate:
            text = f"{request.new_bars:g} bars are {samples / rate:.1f} s, more than the"
            text = f"{text} {MAX_NEW_SECONDS:g} s at a time: ask for fewer"
            raise SegueError(Code.BAD_REQUEST, text)
    else:
        samples = round(length * wave.sample_rate)
    return max(1, samples)


def _beside(region: Waveform, before: int, behind: int) -> Clip:
    """The region with room on either side."""
    known = len(region.samples)
    channels = region.samples.shape[1]
    parts = (np.zeros((before, channels)), region.samples, np.zeros((behind, channels)))
    wave = replace(region, samples=np.concatenate(parts))
    left = Gap(start=0, stop=before, right=known)
    right = Gap(start=before + known, stop=before + known + behind, left=known)
    gaps = tuple(gap for gap in (left, right) if gap.stop > gap.start)
    return Clip(wave=wave, gaps=gaps, offset_samples=before)


def _loop(region: Waveform, new: int) -> Clip:
    clip = _beside(region, 0, new)
    (gap,) = clip.gaps
    return replace(clip, gaps=(replace(gap, right=len(region.samples)),))


def _inpaint(inpaint: Inpaint, region: Waveform, tempo: TempoMap | None) -> Clip:
    """The region with its gaps emptied, known music beside every one of them."""
    rate, end = region.sample_rate, len(region.samples)
    edges = [(round(a * rate), round(b * rate)) for a, b in _spans(inpaint, end / rate, tempo)]
    spans = [(start, max(start + 1, stop)) for start, stop in edges]
    for _, stop in spans:
        if stop > end:
            text = f"a gap ends at {stop / rate:.3f} s but the region at {end / rate:.3f} s"
            raise SegueError(Code.BAD_REQUEST, f"{text}: make it shorter")
    around = [0, *(edge for span in spans for edge in span), end]
    beside = [b - a for a, b in list(pairwise(around))[::2]]
    if min(beside) < MIN_BESIDE_SECONDS * rate:
        text = f"each gap needs {MIN_BESIDE_SECONDS:g} s of music on both sides"
        raise SegueError(Code.BAD_REQUEST, f"{text}: select more, or outpaint")
    samples = region.samples.copy()
    for start, stop in spans:
        samples[start:stop] = 0
    gaps = [
        Gap(start=start, stop=stop, left=left, right=right)
        for (start, stop), (left, right) in zip(spans, pairwise(beside), strict=True)
    ]
    return Clip(wave=replace(region, samples=samples), gaps=tuple(gaps))


def _spans(inpaint: Inpaint, length: float, tempo: TempoMap | None) -> list[tuple[float, float]]:
    """Beginning and end of each gap in seconds of the region."""
    if not inpaint.gaps:
        side = min(inpaint.overlap_seconds, length / 4)
        return [(side, length - side)]
    ends = [edge for gap in inpaint.gaps for edge in (gap.start, gap.start + gap.length)]
    ends = seconds(ends, inpaint.unit, tempo, 0.0, length)
    return list(zip(ends[::2], ends[1::2], strict=True))
