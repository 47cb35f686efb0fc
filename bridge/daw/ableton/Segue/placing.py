# Segue: placed by `segue install`
"""Putting clips into the Live Set: on tracks named AI, over nothing that is there.

One undo step takes all of it back. Clips are not warped, so they play as they were made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterator

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

TOO_OLD = "this Live lets no script place audio (12.0.5 does)"
MOVED = "the clip it belongs to was moved or deleted, or another set is open"
TOO_EARLY = "it would begin before the set does: insert time at the start, and drag it in"


def place(song: Song, taken: Taken, result: Result, name: str) -> tuple[list[Clip], str]:
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
    return f"{', '.join(files)}, for {bar_and_beat(beat, taken.region.beats_per_bar)}"


def settle(song: Song, clip: Clip) -> None:
    """Give a clip its length, a tick after it was placed: Live switches warping off later."""
    if clip.warping or not clip.is_arrangement_clip:
        return
    seconds = clip.sample_length / clip.sample_rate
    if abs(clip.end_time - clip.start_time - seconds * song.tempo / 60) > LENGTH_TOLERANCE:
        song.begin_undo_step()
        clip.loop_end = clip.loop_start + seconds
        song.end_undo_step()


def bar_and_beat(beat: float, beats_per_bar: float) -> str:
    """A position as Live's ruler has it: 9.1 is the first beat of the ninth bar."""
    bar, rest = divmod(beat + BEAT_TOLERANCE, beats_per_bar)
    return f"{int(bar) + 1}.{int(rest) + 1}"


def _on_timeline(song: Song, taken: Taken, result: Result, name: str) -> tuple[list[Clip], str]:
    """The first clip on an AI track; the others on its take lanes, or on AI tracks below it."""
    assert taken.timeline is not None
    second = _to_lay(result.clips[0])[1]
    beat = taken.timeline.beat_at(second, song.tempo)
    if beat < -BEAT_TOLERANCE:
        raise RefusedError(TOO_EARLY)
    beats = (result.end_seconds - second) * song.tempo / 60
    track = _free_track(song, taken.source, beat, beats)
    placed = []
    for number, made in enumerate(result.clips, 1):
        target: Any = track
        if number > 1 and hasattr(track, "create_take_lane"):
            target = track.create_take_lane()
            target.name = _numbered(name, number)
        elif number > 1:
            target = _free_track(song, taken.source, beat, beats)
        clip = target.create_audio_clip(_to_lay(made)[0], max(0.0, beat))
        placed.append(_finish(clip, _numbered(name, number)))
    where = bar_and_beat(beat, taken.region.beats_per_bar)
    mute = "" if result.clips[0].overlay_path else "; mute what it replaces"
    return placed, f"on track {track.name} at {where}{mute}"


def _in_slots(song: Song, source: Source, result: Result, name: str) -> tuple[list[Clip], str]:
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
        placed.append(_finish(clip, _numbered(name, number)))
    return placed, f"in a slot of track {track.name}"


def _to_lay(made: Made) -> tuple[str, float]:
    if made.overlay_path:
        return made.overlay_path, made.overlay_start_seconds
    return made.path, made.start_seconds


def _finish(clip: Clip, name: str) -> Clip:
    clip.warping = False
    clip.name = name
    return clip


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name} ({number})"


def _free_track(song: Song, source: Source, beat: float, beats: float) -> Track:
    """An AI track with nothing there, a new one if need be."""
    start, end = beat + BEAT_TOLERANCE, beat + beats - BEAT_TOLERANCE
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
    song.create_audio_track(index)
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
