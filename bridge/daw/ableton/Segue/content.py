# Segue: placed by `segue install`
"""From beats of the timeline to seconds of the file behind a clip.

Live counts an unwarped clip's content in seconds and a warped one's in beats. Where an
arrangement clip starts in its content is its start marker if it loops, else its loop start
(which then is the start marker's alias, as the loop end is the end's).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from .region import RefusedError, RowList, Timeline

if TYPE_CHECKING:
    from Live.Clip import Clip

CONTEXT_SECONDS = 3.0  # on either side of a gap; the model looks at one
MAX_POINTS = 1024  # of a warped clip's timeline
BEAT_TOLERANCE = 1e-6  # far below a sample at any tempo
LENGTH_TOLERANCE = 0.01  # beats; beyond it a clip is not as long as at the tempo of now

ONE_PASS = "the clip starts again at beat {:g}; only what comes after it is heard"
TEMPO_CHANGES = "approximate, because the tempo changes under the clip"
OTHER_SPEED = "the clip is transposed by playing it faster or slower: consolidate it first"


class Part(NamedTuple):
    """A stretch of the file, whole samples; the beat it starts at; the gap in it, if any."""

    start_seconds: float
    length_seconds: float
    start_beat: float
    timeline: Timeline
    gaps: tuple[RowList, ...]
    notes: tuple[str, ...]


def span(clip: Clip, bpm: float, start: float, end: float) -> Part:
    """What plays from beat `start` to `end`; of a session clip, from content to content.

    Of a clip that starts again in between, the last time through it. Raises RefusedError.
    """
    first = _last_pass(clip, start, end)
    notes = [ONE_PASS.format(first)] if first > start else []
    notes += [TEMPO_CHANGES] if _tempo_changes(clip, bpm) else []
    seconds = [_seconds(clip, bpm, beat, first) for beat in (first, end)]
    begin, stop = _whole_samples(clip, *seconds)
    timeline = _timeline(clip, bpm, first, end)
    beat = timeline.beat_at(begin, bpm)
    return Part(begin, stop - begin, beat, timeline, (), tuple(notes))


def fill(clip: Clip, bpm: float, start: float, end: float) -> Part:
    """The music around beats `start` to `end`, and that stretch as a gap. Raises RefusedError."""
    if start >= end:
        raise RefusedError("set the loop brace over what is to be made anew in the clip")
    first = _last_pass(clip, clip.start_time, end)
    if first > start:
        raise RefusedError("the clip starts again under the loop brace: consolidate it first")
    around = CONTEXT_SECONDS * bpm / 60
    part = span(clip, bpm, max(first, start - around), min(_end_of_pass(clip, end), end + around))
    gap = [_seconds(clip, bpm, beat, first) - part.start_seconds for beat in (start, end)]
    rows = RowList("gaps", ((gap[0], gap[1] - gap[0]),), unit="seconds")
    return part._replace(gaps=(rows,))


def _last_pass(clip: Clip, start: float, end: float) -> float:
    """The latest beat, not before `start`, from which the content runs on until `end`."""
    if not (clip.is_arrangement_clip and _returns(clip)):
        return start
    again = clip.start_time + clip.loop_end - clip.start_marker  # the first return
    if end <= again + BEAT_TOLERANCE:
        return start
    length = clip.loop_end - clip.loop_start
    returns = math.ceil((end - again - BEAT_TOLERANCE) / length) - 1
    return max(start, again + returns * length)


def _returns(clip: Clip) -> bool:
    """Whether it loops, and does not begin behind its loop, which then is never reached."""
    return clip.looping and clip.start_marker < clip.loop_end


def _end_of_pass(clip: Clip, beat: float) -> float:
    """Where the content that plays just before `beat` ends."""
    if not _returns(clip):
        return clip.end_time
    again = clip.start_time + clip.loop_end - clip.start_marker
    length = clip.loop_end - clip.loop_start
    passes = max(0, math.ceil((beat - again - BEAT_TOLERANCE) / length))
    return min(clip.end_time, again + passes * length)


def _seconds(clip: Clip, bpm: float, beat: float, first: float) -> float:
    """The file's second at a beat of the pass that holds beat `first`."""
    if not clip.is_arrangement_clip:
        return _content_seconds(clip, beat)
    content = clip.start_marker if clip.looping else clip.loop_start
    passed = beat - clip.start_time
    if not clip.warping:
        return content + passed * _seconds_a_beat(clip, bpm)
    if _returns(clip):
        intro = clip.loop_end - clip.start_marker
        before = first - clip.start_time + BEAT_TOLERANCE  # played when the pass begins
        if before >= intro:
            length = clip.loop_end - clip.loop_start
            returns = math.floor((before - intro) / length)
            content, passed = clip.loop_start, passed - intro - returns * length
    return _content_seconds(clip, content + passed)


def _seconds_a_beat(clip: Clip, bpm: float) -> float:
    """Of an unwarped clip in the arrangement; on the mean where the tempo changes under it.

    Live tells a script one tempo, but where the clip begins and ends in both. Raises RefusedError.
    """
    if clip.pitch_coarse or clip.pitch_fine:
        raise RefusedError(OTHER_SPEED)
    beats, seconds = clip.end_time - clip.start_time, clip.loop_end - clip.loop_start
    if abs(beats - seconds * bpm / 60) <= LENGTH_TOLERANCE:
        return 60 / bpm
    return seconds / beats


def _tempo_changes(clip: Clip, bpm: float) -> bool:
    in_time = clip.is_arrangement_clip and not clip.warping
    return in_time and _seconds_a_beat(clip, bpm) != 60 / bpm


def _content_seconds(clip: Clip, content: float) -> float:
    if not clip.warping:
        return content
    return clip.beat_to_sample_time(content) / clip.sample_rate


def _whole_samples(clip: Clip, start: float, end: float) -> tuple[float, float]:
    """The nearest samples, inside the file."""
    rate, last = clip.sample_rate, clip.sample_length
    begin, stop = max(0, round(start * rate)), min(last, round(end * rate))
    if begin >= stop:
        raise RefusedError("there is no audio of the clip's file under the loop brace")
    return begin / rate, stop / rate


def _timeline(clip: Clip, bpm: float, first: float, end: float) -> Timeline:
    """A point a beat; of an unwarped clip its start, as time passes through it as it does.

    Where the tempo changes under that its end too: whatever happens between, they are exact.
    """
    if clip.warping:
        count = min(MAX_POINTS, max(1, math.ceil(end - first)))
        beats = [first + (end - first) * i / count for i in range(count + 1)]
    else:
        beats = [clip.start_time if clip.is_arrangement_clip else first]
        if _tempo_changes(clip, bpm):
            beats.append(clip.end_time)
    return Timeline(tuple((_seconds(clip, bpm, beat, first), beat) for beat in beats))
