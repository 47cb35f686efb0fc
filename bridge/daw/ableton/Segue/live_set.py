# Segue: placed by `segue install`
"""Reading the Live Set: which audio is meant, where it lies, and how the new music should go.

Live tells no time selection, so the loop brace says which part. The file behind the clip is
what Segue reads: without warping, gain, transposition and devices (what is laid gets the clip's
gain). All calls belong to Live's main thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterator, NamedTuple

from .content import Part, fill, span, timeline_of
from .guides import intensity, melody
from .region import RefusedError, Region, Timeline
from .wish import Wish

if TYPE_CHECKING:
    from Live.Clip import Clip
    from Live.ClipSlot import ClipSlot
    from Live.Scene import Scene
    from Live.Song import Song
    from Live.Track import Track

NO_CLIP = "select an audio clip, or a track with audio under the loop brace"


class Source(NamedTuple):
    """A clip that was taken, with what tells later whether it is still where it was."""

    song: Song
    track: Track
    holder: Any  # the clip slot, track or take lane that the clip is in
    clip: Clip
    place: tuple[float, ...]
    path: str
    in_session: bool

    def is_still_there(self, song: Song) -> bool:
        """Whether the set is the same and has the clip in its place, with the same content."""
        if song != self.song or self.track not in list(song.tracks):
            return False
        if self.in_session:
            clips = [self.holder.clip] if self.holder.has_clip else []
        else:
            clips = list(self.holder.arrangement_clips)
        return self.clip in clips and _place(self.clip) == self.place


class Taken(NamedTuple):
    """What was read: the region, where it lies (None in the Session View), and what to say.

    `warp` is how the file is warped, None if it is not; in the Session View in beats of the clip.
    """

    source: Source
    region: Region
    timeline: Timeline | None
    notes: tuple[str, ...]
    warp: Timeline | None = None

    def is_still_there(self, song: Song) -> bool:
        """Whether its music is still where it was, beat for beat."""
        if not self.source.is_still_there(song):
            return False
        if self.warp is None:
            return True
        first, end = self.warp.points[0][1], self.warp.points[-1][1]
        return timeline_of(self.source.clip, song.tempo, first, end) == self.warp


def abilities(song: Song) -> str:
    """What this Live lets a script do, for a look at whether all is well."""
    track: Track = song.tracks[0]
    able = {"audio": hasattr(track, "create_audio_clip")}
    able["take lanes"] = hasattr(track, "create_take_lane")
    return ", ".join(f"{what}: {'yes' if can else 'no'}" for what, can in able.items())


def take(song: Song, wish: Wish) -> Taken:
    """Read what the wish is about. Raises RefusedError with a sentence for the producer."""
    clip, notes_clip = _chosen(song)
    source = _source(song, clip)
    part = _part(song, clip, source, wish)
    beats = song.signature_numerator * 4.0 / song.signature_denominator
    lists = (intensity(song, source.track, clip), melody(notes_clip))
    region = Region(
        path=source.path,
        start_seconds=part.start_seconds,
        length_seconds=part.length_seconds,
        bpm=part.tempi[0][1],
        beats_per_bar=beats,
        first_beat=0.0 if source.in_session else max(0.0, part.start_beat) % beats,
        lists=part.gaps + tuple(rows for rows in lists if rows is not None),
        changes=part.tempi[1:],
    )
    timeline = None if source.in_session else part.timeline
    warp = part.timeline if clip.warping else None
    return Taken(source, region, timeline, part.notes + tuple(_ignored(clip)), warp)


def _chosen(song: Song) -> tuple[Clip, Clip | None]:
    """The audio clip that is meant, and the MIDI clip that was selected in its place, if any."""
    selected = song.view.detail_clip
    if selected is not None and _track(selected) != song.view.selected_track:
        selected = None  # still shown, but another track was clicked since
    if selected is not None and selected.is_audio_clip:
        return selected, None
    midi = selected if selected is not None and selected.is_midi_clip else None
    beside = _same_scene(song, midi) if midi and not midi.is_arrangement_clip else _braced(song)
    for clip in beside:
        return clip, midi
    raise RefusedError(NO_CLIP)


def _braced(song: Song) -> Iterator[Clip]:
    """Audio clips under the loop brace, the selected track's first."""
    start, end = song.loop_start, song.loop_start + song.loop_length
    tracks: list[Track] = list(song.tracks)
    chosen = [track for track in tracks if track == song.view.selected_track]
    if not chosen or not chosen[0].has_audio_input:  # a MIDI track has no audio of its own
        chosen = tracks
    for track in chosen:
        clips: list[Clip] = list(track.arrangement_clips)
        for clip in clips:
            if clip.is_audio_clip and clip.start_time < end and start < clip.end_time:
                yield clip


def _same_scene(song: Song, midi: Clip) -> Iterator[Clip]:
    scenes: list[Scene] = list(song.scenes)
    for scene in scenes:
        slots: list[ClipSlot] = list(scene.clip_slots)
        clips = [slot.clip for slot in slots if slot.has_clip]
        if midi in clips:
            yield from (clip for clip in clips if clip.is_audio_clip)


def _source(song: Song, clip: Clip) -> Source:
    if not clip.file_path or clip.is_recording:
        raise RefusedError(f"the clip {clip.name} has no file yet")
    in_session = not clip.is_arrangement_clip
    parent = clip.canonical_parent
    return Source(song, _track(clip), parent, clip, _place(clip), clip.file_path, in_session)


def _place(clip: Clip) -> tuple[float, ...]:
    """What says which second of the file lies where; a session clip's start is when it started."""
    start = clip.start_time if clip.is_arrangement_clip else 0.0
    return start, clip.loop_start, clip.start_marker, clip.looping, clip.warping


def _track(clip: Clip) -> Track:
    """Clips of slots and take lanes lie two steps below theirs."""
    parent: Any = clip.canonical_parent
    while not hasattr(parent, "clip_slots"):
        parent = parent.canonical_parent
    return parent


def _part(song: Song, clip: Clip, source: Source, wish: Wish) -> Part:
    if source.in_session:
        if wish.fills_gap:
            raise RefusedError("music is filled in under the loop brace of the Arrangement View")
        return span(clip, song.tempo, clip.loop_start, clip.loop_end)
    start = max(song.loop_start, clip.start_time)
    end = min(song.loop_start + song.loop_length, clip.end_time)
    if wish.fills_gap:
        return fill(clip, song.tempo, start, end)
    if start >= end:  # the brace is elsewhere
        start, end = clip.start_time, clip.end_time
    return span(clip, song.tempo, start, end)


def _ignored(clip: Clip) -> list[str]:
    """What the clip does to its file, and Segue does not hear."""
    notes = []
    if clip.warping:
        notes.append("approximate, because the clip is warped")
    if clip.pitch_coarse or clip.pitch_fine:
        notes.append("the clip's transposition is not heard")
    return notes
