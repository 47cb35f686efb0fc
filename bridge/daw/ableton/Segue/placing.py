# Segue: placed by `segue install`
"""Putting clips into the Live Set: on tracks named AI, over nothing that is there.

One undo step takes all of it back. Clips are not warped, so they play as they were made: but
Live may warp what it takes in, by a tempo and a first beat that it guesses, and undoes that a tick
later. `settle` then gives the clip its start and length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterator, NamedTuple

from .job import Clip as Made
from .job import Result
from .live_set import Source, Taken
from .region import RefusedError

if TYPE_CHECKING:
    from Live.Clip import Clip
    from Live.Song import Song
    from Live.Track import Track

TRACK_NAME = "AI"
BEAT_TOLERANCE = 1e-3  # clips may touch
LENGTH_TOLERANCE = 0.01  # beats by which a placed clip may be longer or shorter
SAMPLE_TOLERANCE = 0.5  # by which its first and last may be others
MOST_BPM = 240.0  # that Live guesses, and so the room that it may take, and cut what is there

TOO_OLD = "this Live lets no script place audio (12.0.5 does)"
MOVED = "the clip it belongs to was moved or deleted, or another set is open"
TOO_EARLY = "it would begin before the set does: insert time at the start, and drag it in"


class Placed(NamedTuple):
    """A clip, and where on the timeline it belongs; in a slot None, and no words."""

    clip: Clip
    beat: float | None
    where: str


def place(song: Song, taken: Taken, result: Result, name: str) -> tuple[list[Placed], str]:
    """Place all clips of a result, and say where. Raises RefusedError, then nothing was placed."""
    if not taken.source.is_still_there(song):
        raise RefusedError(MOVED)
    if not hasattr(taken.source.track, "create_audio_clip"):
        raise RefusedError(TOO_OLD)
    song.begin_undo_step()
    try:
        if taken.timeline is None:
            return _in_slots(song, taken.source, result, name)
        return _on_timeline(song, taken, result, name)
    finally:
        song.end_undo_step()


def kept(song: Song, taken: Taken, result: Result) -> str:
    """The files there are, and where they belong: for placing them by hand."""
    if taken.timeline is None:
        return ", ".join(made.path for made in result.clips)
    files, seconds = zip(*map(_to_lay, result.clips))
    beat = taken.timeline.beat_at(seconds[0], song.tempo)
    return f"{', '.join(files)}, for {_shown(song, beat)}"


def settle(song: Song, placed: Placed) -> str | None:
    """Let a clip begin and end with its file, and say what is wrong all the same, mostly "".

    None while Live still has it warped: call again on the next tick.
    """
    clip = placed.clip
    if clip.warping:
        return None
    if not _is_whole(song, clip):
        song.begin_undo_step()
        try:
            clip.loop_start = 0.0
            clip.loop_end = clip.sample_length / clip.sample_rate
        finally:
            song.end_undo_step()
    if placed.beat is None or abs(clip.start_time - placed.beat) <= BEAT_TOLERANCE:
        return ""
    return f"Live did not place {clip.name} where it belongs: move it to {placed.where}"


def _is_whole(song: Song, clip: Clip) -> bool:
    """Whether it is its file from the first sample to the last."""
    seconds = clip.sample_length / clip.sample_rate
    off = max(abs(clip.loop_start), abs(clip.loop_end - seconds)) * clip.sample_rate
    beats = clip.end_time - clip.start_time if clip.is_arrangement_clip else None
    fits = beats is None or abs(beats - seconds * song.tempo / 60) <= LENGTH_TOLERANCE
    return off <= SAMPLE_TOLERANCE and fits


def bar_and_beat(beat: float, numerator: int, denominator: int) -> str:
    """A position as Live's ruler has it: 9.1 is the first beat of the ninth bar.

    The ruler counts the signature's beats, and no bar 0.
    """
    bar, rest = divmod((beat + BEAT_TOLERANCE) * denominator / 4, numerator)
    return f"{int(bar) + (bar >= 0)}.{int(rest) + 1}"


def _shown(song: Song, beat: float) -> str:
    return bar_and_beat(beat, song.signature_numerator, song.signature_denominator)


def _on_timeline(song: Song, taken: Taken, result: Result, name: str) -> tuple[list[Placed], str]:
    """The first clip on an AI track; the others on its take lanes, or on AI tracks below it."""
    assert taken.timeline is not None
    second = _to_lay(result.clips[0])[1]
    beat = taken.timeline.beat_at(second, song.tempo)
    if beat < -BEAT_TOLERANCE:
        raise RefusedError(TOO_EARLY)
    beat, where = max(0.0, beat), _shown(song, beat)
    room = (result.end_seconds - second) * max(MOST_BPM, song.tempo) / 60
    track = _free_track(song, taken.source, beat, room)
    placed = []
    for number, made in enumerate(result.clips, 1):
        target: Any = track
        if number > 1 and hasattr(track, "create_take_lane"):
            target = track.create_take_lane()
            target.name = _numbered(name, number)
        elif number > 1:
            target = _free_track(song, taken.source, beat, room)
        clip = _finish(_lay(target, _to_lay(made)[0], beat), _numbered(name, number))
        placed.append(Placed(clip, beat, where))
    mute = "" if result.clips[0].overlay_path else "; mute what it replaces"
    return placed, f"on track {track.name} at {where}{mute}"


def _lay(target: Any, path: str, beat: float) -> Clip:
    """A clip of the file, on a track or take lane where nothing is at that beat."""
    clip = target.create_audio_clip(path, beat)
    if clip is not None:
        return clip
    for each in target.arrangement_clips:  # before 12.2 Live does not return what it made
        if abs(each.start_time - beat) <= BEAT_TOLERANCE:
            return each
    raise RuntimeError("Live took the file, but shows no clip of it")


def _in_slots(song: Song, source: Source, result: Result, name: str) -> tuple[list[Placed], str]:
    """Whole clips, for they are launched alone: beside the source, or in free slots below."""
    track = next(_ai_tracks(song), None) or _new_track(song, source)
    row = list(source.track.clip_slots).index(source.holder)
    placed = []
    for number, made in enumerate(result.clips, 1):
        while row < len(track.clip_slots) and track.clip_slots[row].has_clip:
            row += 1
        if row == len(track.clip_slots):
            song.create_scene(-1)
        clip = track.clip_slots[row].create_audio_clip(made.path)
        placed.append(Placed(_finish(clip, _numbered(name, number)), None, ""))
    return placed, f"in a slot of track {track.name}"


def _to_lay(made: Made) -> tuple[str, float]:
    if made.overlay_path:
        return made.overlay_path, made.overlay_start_seconds
    return made.path, made.start_seconds


def _finish(clip: Clip, name: str) -> Clip:
    if clip.warping:
        clip.warping = False
    clip.name = name
    return clip


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name} ({number})"


def _free_track(song: Song, source: Source, beat: float, room: float) -> Track:
    """An AI track with nothing there, a new one if need be."""
    start, end = beat + BEAT_TOLERANCE, beat + room - BEAT_TOLERANCE
    for track in _ai_tracks(song):
        if all(c.end_time <= start or end <= c.start_time for c in track.arrangement_clips):
            return track
    return _new_track(song, source)


def _ai_tracks(song: Song) -> Iterator[Track]:
    """Those that clips can be placed on."""
    for track in song.tracks:
        if (
            _is_ai(track.name)
            and track.has_audio_input
            and not track.is_frozen
            and not track.is_foldable
        ):
            yield track


def _new_track(song: Song, source: Source) -> Track:
    """Below the source's track and the AI tracks that follow it."""
    tracks, names = list(song.tracks), [track.name for track in song.tracks]
    index = tracks.index(source.track) + 1
    while index < len(names) and _is_ai(names[index]):
        index += 1
    chosen = song.view.selected_track
    song.create_audio_track(index)
    if song.view.selected_track != chosen:  # the producer is somewhere else
        song.view.selected_track = chosen
    track = song.tracks[index]
    count = 1
    while _track_name(count) in names:
        count += 1
    track.name = _track_name(count)
    return track


def _is_ai(name: str) -> bool:
    """AI, AI 2, AI 3, ..."""
    head, _, count = name.partition(" ")
    return head == TRACK_NAME and (count.isdigit() or name == TRACK_NAME)


def _track_name(count: int) -> str:
    return TRACK_NAME if count == 1 else f"{TRACK_NAME} {count}"
