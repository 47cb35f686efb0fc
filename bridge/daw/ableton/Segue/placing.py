# Segue: placed by `segue install`
"""Putting clips into the Live Set: on tracks named AI, over nothing that is there.

Live may warp what it takes in, by a tempo and a first beat that it guesses. A clip that is to
play as it was made is unwarped; one that belongs to a warped clip gets that one's markers, and
so keeps to the set's tempo with it. Each begins and ends with its file.

All of it is one undo step, as far as Live does it at once. But it unwarps, and warps, a tick
later: `settle` mends what is not right then, in a second step for all clips of a result.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Sequence

from .fitting import Points, is_whole, keeps_to, make_whole, stretched, warp_by
from .job import Clip as Made
from .job import Result
from .live_set import Taken
from .region import RefusedError, Timeline
from .tracks import ai_tracks, free_lane, free_slot, free_track, new_track

if TYPE_CHECKING:
    from Live.Clip import Clip
    from Live.ClipSlot import ClipSlot
    from Live.Song import Song

BEAT_TOLERANCE = 1e-3  # between where a clip lies and where it belongs
MOST_BPM = 240.0  # that Live guesses, and so the room that it may take, and cut what is there

TOO_OLD = "this Live lets no script place audio (12.0.5 does)"
MOVED = "the clip it belongs to was moved, edited or deleted, or another set is open"
TOO_EARLY = "it would begin before the set does: insert time at the start, and drag it in"
STILL_WARPED = "{} is still warped: switch Warp off in its view"
NOT_WARPED = "Live did not warp {} as its source is: switch Warp on, and type {:.2f} as its BPM"


class Placed(NamedTuple):
    """A clip, and where on the timeline it belongs; in a slot None, and no words.

    `warp` is how it is to be stretched, as (second, beat) from its file's start on; empty if not.
    """

    clip: Clip
    beat: float | None
    where: str
    warp: Points


def place(song: Song, taken: Taken, result: Result, name: str) -> tuple[list[Placed], str]:
    """Place the clips of a result, and say where.

    Raises RefusedError, or what Live raises; then nothing was placed. What fails later is said.
    """
    if not taken.is_still_there(song):
        raise RefusedError(MOVED)
    if not hasattr(taken.source.track, "create_audio_clip"):
        raise RefusedError(TOO_OLD)
    song.begin_undo_step()
    try:
        if taken.timeline is None:
            return _in_slots(song, taken, result, name)
        return _on_timeline(song, taken, taken.timeline, result, name)
    finally:
        song.end_undo_step()


def kept(song: Song, taken: Taken, clips: Sequence[Made]) -> str:
    """The files there are, and where they belong: for placing them by hand."""
    if taken.timeline is None:
        return ", ".join(made.path for made in clips)
    files, seconds = zip(*map(_to_lay, clips))
    beat = taken.timeline.beat_at(seconds[0], song.tempo)
    return f"{', '.join(files)}, for {_shown(song, beat)}"


def settle(song: Song, placed: list[Placed], waits: bool = True) -> list[str] | None:
    """Let clips be stretched, begin and end as they are to; what is wrong all the same, in words.

    None while Live has one of them otherwise, as long as one `waits`: call again on the next tick.
    """
    ready = [each for each in placed if each.clip.warping == bool(each.warp)]
    if waits and len(ready) < len(placed):
        return None
    unfit = [each for each in ready if not _fits(each)]
    if unfit:
        song.begin_undo_step()
        try:
            for each in unfit:
                _fit(each)
        finally:
            song.end_undo_step()
    return [wrong for wrong in map(_wrong, placed) if wrong]


def _wrong(placed: Placed) -> str:
    clip, warp = placed.clip, placed.warp
    if warp and not (clip.warping and keeps_to(clip, warp)):
        (s0, b0), (s1, b1) = warp[0], warp[-1]
        return NOT_WARPED.format(clip.name, 60 * (b1 - b0) / (s1 - s0))
    if clip.warping and not warp:
        return STILL_WARPED.format(clip.name)
    if placed.beat is None or abs(clip.start_time - placed.beat) <= BEAT_TOLERANCE:
        return ""
    return f"Live did not place {clip.name} where it belongs: move it to {placed.where}"


def _fits(placed: Placed) -> bool:
    clip, warp = placed.clip, placed.warp
    return is_whole(clip) and (not warp or keeps_to(clip, warp))


def _fit(placed: Placed) -> None:
    """What cannot be done is seen by what is left undone."""
    with suppress(Exception):
        if placed.warp and not keeps_to(placed.clip, placed.warp):
            warp_by(placed.clip, placed.warp)
        make_whole(placed.clip)


def bar_and_beat(beat: float, numerator: int, denominator: int) -> str:
    """A position as Live's ruler has it: 9.1 is the first beat of the ninth bar.

    The ruler counts the signature's beats, and no bar 0.
    """
    bar, rest = divmod((beat + BEAT_TOLERANCE) * denominator / 4, numerator)
    return f"{int(bar) + (bar >= 0)}.{int(rest) + 1}"


def _shown(song: Song, beat: float) -> str:
    return bar_and_beat(beat, song.signature_numerator, song.signature_denominator)


def _on_timeline(
    song: Song, taken: Taken, timeline: Timeline, result: Result, name: str
) -> tuple[list[Placed], str]:
    """The first clip on an AI track; the others on its take lanes, or on AI tracks below it."""
    second = _to_lay(result.clips[0])[1]
    beat = timeline.beat_at(second, song.tempo)
    if beat < -BEAT_TOLERANCE:
        raise RefusedError(TOO_EARLY)
    beat, where = max(0.0, beat), _shown(song, beat)
    room = (result.end_seconds - second) * max(MOST_BPM, song.tempo) / 60
    room = max(room, timeline.beat_at(result.end_seconds, song.tempo) - beat)
    track = free_track(song, taken.source, beat, room)

    def lay(made: Made, number: int) -> Placed:
        target: Any = track
        if number > 1 and hasattr(track, "create_take_lane"):
            target = free_lane(track, _numbered(name, number))
        elif number > 1:
            target = free_track(song, taken.source, beat, room)
        path, start = _to_lay(made)
        clip = _lay(target, path, beat)
        return _begun(taken, clip, _numbered(name, number), start, beat, where)

    placed, left = _each(song, taken, result, lay)
    mute = "" if result.clips[0].overlay_path else "; mute what it replaces"
    return placed, f"on track {track.name} at {where}{mute}{left}"


def _each(
    song: Song, taken: Taken, result: Result, lay: Callable[[Made, int], Placed]
) -> tuple[list[Placed], str]:
    """All clips, or those before one that fails and a sentence; raises where that is the first."""
    placed: list[Placed] = []
    for made in result.clips:
        try:
            placed.append(lay(made, len(placed) + 1))
        except Exception as error:
            if not placed:
                raise
            files = kept(song, taken, result.clips[len(placed) :])
            count = f"{len(placed)} of {len(result.clips)}"
            return placed, f"; only {count}: {error}; kept: {files}"
    return placed, ""


def _lay(target: Any, path: str, beat: float) -> Clip:
    """A clip of the file, on a track or take lane where nothing is at that beat."""
    clip = target.create_audio_clip(path, beat)
    if clip is not None:
        return clip
    for each in target.arrangement_clips:  # before 12.2 Live does not return what it made
        if abs(each.start_time - beat) <= BEAT_TOLERANCE:
            return each
    raise RuntimeError("Live took the file, but shows no clip of it")


def _in_slots(song: Song, taken: Taken, result: Result, name: str) -> tuple[list[Placed], str]:
    """Whole clips, for they are launched alone: beside the source, or in free slots below."""
    track = next(ai_tracks(song), None) or new_track(song, taken.source)
    sources: list[ClipSlot] = list(taken.source.track.clip_slots)
    row = sources.index(taken.source.holder)

    def lay(made: Made, number: int) -> Placed:
        clip = free_slot(song, track, row).create_audio_clip(made.path)
        return _begun(taken, clip, _numbered(name, number), made.start_seconds)

    placed, left = _each(song, taken, result, lay)
    return placed, f"in a slot of track {track.name}{left}"


def _to_lay(made: Made) -> tuple[str, float]:
    if made.overlay_path:
        return made.overlay_path, made.overlay_start_seconds
    return made.path, made.start_seconds


def _begun(
    taken: Taken, clip: Clip, name: str, start: float, beat: float | None = None, where: str = ""
) -> Placed:
    """A clip just made, named, as loud as its source, and fitted as far as Live does it at once.

    Where it is warped but not to be, its ends are set first: then they need not be when it is not.
    """
    clip.name, clip.gain = name, taken.source.clip.gain
    placed = Placed(clip, beat, where, stretched(taken.warp, clip, start))
    if clip.warping:
        _fit(placed)
    if clip.warping != bool(placed.warp):
        clip.warping = bool(placed.warp)
    if placed.warp:
        with suppress(Exception):  # a mode that only the source's file has
            clip.warp_mode = taken.source.clip.warp_mode
    return placed


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name} ({number})"
