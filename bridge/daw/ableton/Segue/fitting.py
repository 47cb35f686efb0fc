# Segue: placed by `segue install`
"""How a placed clip is stretched, and where it begins and ends.

A warped clip lies by its markers: seconds of its file, and beats of its content. The last of
those that Live tells is hidden, follows the one before it, and can be neither moved nor removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Tuple

from .region import Timeline

if TYPE_CHECKING:
    from Live.Clip import Clip, WarpMarker

SECOND_TOLERANCE = 1e-3  # between where a warped clip is and where it is to be
NEAR_SECONDS = 0.01  # no warp marker is set so near to the one that is kept

Points = Tuple[Tuple[float, float], ...]  # (second, beat) from a file's start on


def stretched(warp: Timeline | None, clip: Clip, start: float) -> Points:
    """How a file that starts at a second of the source's is to be warped, if that one is.

    To its last sample, for a marker lies in the file.
    """
    if warp is None:
        return ()
    last = start + (clip.sample_length - 1) / clip.sample_rate
    bends = [second for second, _ in warp.points if start < second < last]
    begin = warp.beat_at(start, 0.0)
    return tuple((s - start, warp.beat_at(s, 0.0) - begin) for s in (start, *bends, last))


def keeps_to(clip: Clip, warp: Points) -> bool:
    """Whether a warped clip is stretched so."""
    start = clip.sample_to_beat_time(0.0)
    seconds = [clip.beat_to_sample_time(start + beat) / clip.sample_rate for _, beat in warp]
    return all(abs(is_at - at) <= SECOND_TOLERANCE for is_at, (at, _) in zip(seconds, warp))


def warp_by(clip: Clip, warp: Points) -> None:
    """Replace a warped clip's markers by others; the first stays, and beats count from it."""
    markers: list[WarpMarker] = list(clip.warp_markers)[:-1]
    for marker in markers[1:]:
        clip.remove_warp_marker(marker.beat_time)
    kept = markers[0]
    start = kept.beat_time - Timeline(warp).beat_at(kept.sample_time, 0.0)
    for second, beat in warp:
        if abs(second - kept.sample_time) > NEAR_SECONDS:
            clip.add_warp_marker(type(kept)(second, start + beat))


def _ends(clip: Clip) -> tuple[float, float]:
    """Where a clip's file begins and ends: in its beats, unwarped in seconds."""
    if clip.warping:
        return clip.sample_to_beat_time(0.0), clip.sample_to_beat_time(clip.sample_length)
    return 0.0, clip.sample_length / clip.sample_rate


def is_whole(clip: Clip) -> bool:
    """Whether it is its file from the first sample to the last, once, to half a sample."""
    start, end = _ends(clip)
    off = max(abs(clip.loop_start - start), abs(clip.loop_end - end))
    return not clip.looping and off <= (end - start) / clip.sample_length / 2


def make_whole(clip: Clip) -> None:
    """Let it be; nothing is written where it is."""
    if not is_whole(clip):
        if clip.looping:
            clip.looping = False
        clip.loop_start, clip.loop_end = _ends(clip)
