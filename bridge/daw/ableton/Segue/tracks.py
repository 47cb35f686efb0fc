# Segue: placed by `segue install`
"""Where there is room for clips: on tracks named AI, on their take lanes, and in their slots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Iterator

from .live_set import Source
from .region import RefusedError

if TYPE_CHECKING:
    from Live.Clip import Clip
    from Live.ClipSlot import ClipSlot
    from Live.Song import Song
    from Live.TakeLane import TakeLane
    from Live.Track import Track

TRACK_NAME = "AI"
BEAT_TOLERANCE = 1e-3  # clips may touch
NO_AUTOMATION = 0  # of a parameter's states
FULL = "this Live allows no more {}: delete one, or free one that is named AI"


def free_track(song: Song, source: Source, beat: float, room: float) -> Track:
    """An AI track with nothing there, a new one if need be."""
    start, end = beat + BEAT_TOLERANCE, beat + room - BEAT_TOLERANCE
    for track in ai_tracks(song):
        clips: list[Clip] = list(track.arrangement_clips)
        if all(clip.end_time <= start or end <= clip.start_time for clip in clips):
            return track
    return new_track(song, source)


def ai_tracks(song: Song) -> Iterator[Track]:
    """Those that clips can be placed on."""
    tracks: list[Track] = list(song.tracks)
    for track in tracks:
        if (
            _is_ai(track.name)
            and track.has_audio_input
            and not track.is_frozen
            and not track.is_foldable
            and not (song.record_mode and track.can_be_armed and track.arm)
        ):
            yield track


def new_track(song: Song, source: Source) -> Track:
    """Below the source's track and the AI tracks that follow it, as loud and as far to a side."""
    tracks: list[Track] = list(song.tracks)
    names = [track.name for track in tracks]
    index = tracks.index(source.track) + 1
    while index < len(names) and _is_ai(names[index]):
        index += 1
    chosen = song.view.selected_track
    _or_full(song.create_audio_track, index, "tracks")
    if song.view.selected_track != chosen:  # the producer is somewhere else
        song.view.selected_track = chosen
    track: Track = song.tracks[index]
    count = 1
    while _track_name(count) in names:
        count += 1
    track.name = _track_name(count)
    _set_like(track, source.track)
    return track


def _set_like(track: Track, source: Track) -> None:
    """Fader and panning as they stand; where they are automated, that is no lasting place."""
    new, old = track.mixer_device, source.mixer_device
    for ours, theirs in ((new.volume, old.volume), (new.panning, old.panning)):
        if int(theirs.automation_state) == NO_AUTOMATION:
            ours.value = theirs.value


def _or_full(create: Callable[[int], object], index: int, what: str) -> None:
    """Make a track or a scene. Raises RefusedError where this Live's edition has no more."""
    try:
        create(index)
    except Exception as error:
        if type(error).__name__ == "LimitationError":
            raise RefusedError(FULL.format(what)) from error
        raise


def _is_ai(name: str) -> bool:
    """AI, AI 2, AI 3, ..."""
    head, _, count = name.partition(" ")
    return head == TRACK_NAME and (count.isdigit() or name == TRACK_NAME)


def _track_name(count: int) -> str:
    return TRACK_NAME if count == 1 else f"{TRACK_NAME} {count}"


def free_lane(track: Track, name: str) -> TakeLane:
    """A new one, or an empty one that was left when Live refused a clip: none can be deleted."""
    lanes: list[TakeLane] = list(track.take_lanes)
    for lane in lanes:
        if lane.name == name and not lane.arrangement_clips:
            return lane
    lane = track.create_take_lane()
    lane.name = name
    return lane


def free_slot(song: Song, track: Track, row: int) -> ClipSlot:
    """The first from a row on, in a new scene if need be."""
    slots: list[ClipSlot] = list(track.clip_slots)
    for slot in slots[row:]:
        if not slot.has_clip:
            return slot
    _or_full(song.create_scene, -1, "scenes")
    return track.clip_slots[len(slots)]
