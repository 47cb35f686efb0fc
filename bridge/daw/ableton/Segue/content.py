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
    from Live.Clip import Clip, WarpMarker

CONTEXT_SECONDS = 3.0  # on either side of a gap; the model looks at one
MAX_POINTS = 1024  # of a warped clip's timeline
SLOWEST_BPM, FASTEST_BPM = 10.0, 999.0  # of an order
BPM_DIGITS = 6  # after the point; pieces of a warped clip that differ less are one
BEAT_TOLERANCE = 1e-6  # far below a sample at any tempo
LENGTH_TOLERANCE = 0.01  # beats; beyond it a clip is not as long as at the tempo of now

ONE_PASS = "the clip starts again at beat {:g}; only what comes after it is heard"
TEMPO_CHANGES = "approximate, because the tempo changes under the clip"
OTHER_SPEED = "the clip is transposed by playing it faster or slower: consolidate it first"


class Part(NamedTuple):
    """A stretch of the file, whole samples; the beat it starts at; the gap in it, if any.

    `tempi` are those that the file has in it, (second of the part, bpm), the first at 0.
    """

    start_seconds: float
    length_seconds: float
    start_beat: float
    timeline: Timeline
    tempi: tuple[tuple[float, float], ...]
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
    timeline = timeline_of(clip, bpm, first, end)
    tempi = _tempi(timeline, begin) if clip.warping else ((0.0, _mean_bpm(clip, bpm)),)
    beat = timeline.beat_at(begin, bpm)
    return Part(begin, stop - begin, beat, timeline, tempi, (), tuple(notes))


def fill(clip: Clip, bpm: float, start: float, end: float) -> Part:
    """The music around beats `start` to `end`, and that stretch as a gap. Raises RefusedError."""
    if start >= end:
        raise RefusedError("set the loop brace over what is to be made anew in the clip")
    first = _last_pass(clip, clip.start_time, end)
    if first > start:
        raise RefusedError("the clip starts again under the loop brace: consolidate it first")
    gap, stop = (_seconds(clip, bpm, beat, first) for beat in (start, end))
    around = CONTEXT_SECONDS * (end - start) / (stop - gap)
    part = span(clip, bpm, max(first, start - around), min(_end_of_pass(clip, end), end + around))
    rows = RowList("gaps", ((gap - part.start_seconds, stop - gap),), unit="seconds")
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
    if clip.warping:
        return clip.beat_to_sample_time(_content(clip, beat, first)) / clip.sample_rate
    if not clip.is_arrangement_clip:
        return beat
    content = clip.start_marker if clip.looping else clip.loop_start
    return content + (beat - clip.start_time) * _seconds_a_beat(clip, bpm)


def _content(clip: Clip, beat: float, first: float) -> float:
    """The same as a beat of a warped clip's content."""
    if not clip.is_arrangement_clip:
        return beat
    content = clip.start_marker if clip.looping else clip.loop_start
    passed = beat - clip.start_time
    if _returns(clip):
        intro = clip.loop_end - clip.start_marker
        before = first - clip.start_time + BEAT_TOLERANCE  # played when the pass begins
        if before >= intro:
            length = clip.loop_end - clip.loop_start
            returns = math.floor((before - intro) / length)
            content, passed = clip.loop_start, passed - intro - returns * length
    return content + passed


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


def _mean_bpm(clip: Clip, bpm: float) -> float:
    """The tempo under an unwarped clip; `bpm`, which is the playhead's, where it is the same."""
    return 60 / _seconds_a_beat(clip, bpm) if _tempo_changes(clip, bpm) else bpm


def _tempi(timeline: Timeline, begin: float) -> tuple[tuple[float, float], ...]:
    """The tempi of a warped clip's file from second `begin` on; one, the mean, if any is absurd."""
    pieces = list(zip(timeline.points, timeline.points[1:]))
    if any(not SLOWEST_BPM <= _bpm(*piece) <= FASTEST_BPM for piece in pieces):
        pieces = [(timeline.points[0], timeline.points[-1])]
    tempi = [(0.0, _bpm(*pieces[0]))]
    for (second, beat), after in pieces[1:]:
        bpm = _bpm((second, beat), after)
        if bpm != tempi[-1][1] and second > begin + tempi[-1][0]:
            tempi.append((second - begin, bpm))
    return tuple(tempi)


def _bpm(one: tuple[float, float], other: tuple[float, float]) -> float:
    return round(60 * (other[1] - one[1]) / (other[0] - one[0]), BPM_DIGITS)


def _whole_samples(clip: Clip, start: float, end: float) -> tuple[float, float]:
    """The nearest samples, inside the file."""
    rate, last = clip.sample_rate, clip.sample_length
    begin, stop = max(0, round(start * rate)), min(last, round(end * rate))
    if begin >= stop:
        raise RefusedError("there is no audio of the clip's file under the loop brace")
    return begin / rate, stop / rate


def timeline_of(clip: Clip, bpm: float, first: float, end: float) -> Timeline:
    """A warped clip's markers between two beats; of an unwarped clip its start is enough.

    Where the tempo changes under that its end too: whatever happens between, they are exact.
    """
    if clip.warping:
        beats = [first, *_markers(clip, first, end), end]
    else:
        beats = [clip.start_time if clip.is_arrangement_clip else first]
        if _tempo_changes(clip, bpm):
            beats.append(clip.end_time)
    return Timeline(tuple((_seconds(clip, bpm, beat, first), beat) for beat in beats))


def _markers(clip: Clip, first: float, end: float) -> list[float]:
    """The beats between which a warped clip is stretched evenly, those inside a pass."""
    shift = first - _content(clip, first, first)
    markers: list[WarpMarker] = list(clip.warp_markers)[:-1]  # the last is hidden, and no bend
    beats = [marker.beat_time + shift for marker in markers]
    inside = [beat for beat in beats if first + BEAT_TOLERANCE < beat < end - BEAT_TOLERANCE]
    return inside[:: math.ceil(len(inside) / MAX_POINTS) or 1]
