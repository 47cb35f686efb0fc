"""A Live Set that raises, defers and leaves out what the Live Object Model says it does.

Sources: the docstrings of ableton-live-stubs 12.3.6 and the signatures of its older Lives; what
PhotonicVelocity's reference of the model observed in Live 12.3.5 (positions of clips, `warping`
switched a tick later); and what others met: Auto-Warp moves the start and guesses the length,
what is laid over a clip cuts it, and warp markers count in seconds of the file, the last of them a
hidden one that can be neither moved nor removed. It runs in Python 3.7 as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import soundfile

HIDDEN_BEATS = 1 / 64  # behind the last warp marker is a hidden one


class LimitationError(Exception):
    """The edition has no more of that."""


class WarpMarker:
    """A second of the file, and the beat of the content that it lies on."""

    def __init__(self, sample_time: float, beat_time: float) -> None:
        self.sample_time, self.beat_time = sample_time, beat_time


class LomObject:
    """Of what was deleted, every attribute raises."""

    _alive = True

    def __getattribute__(self, name: str) -> Any:
        if name[0] != "_" and not object.__getattribute__(self, "_alive"):
            raise RuntimeError("the object does not exist any more")
        return object.__getattribute__(self, name)


class Parameter(LomObject):
    """A volume fader, or anything with a range from 0 to 4."""

    min, max = 0.0, 4.0
    automation_state = 0

    def __init__(self, song: Song, value: float = 0.85) -> None:
        self._song, self._value = song, value

    @property
    def value(self) -> float:
        """Where it stands."""
        return self._value

    @value.setter
    def value(self, value: float) -> None:
        assert self.min <= value <= self.max
        self._song.changed("value")
        self._value = value

    def str_for_value(self, value: float) -> str:
        """As a fader shows it: 0.85 is 0 dB, 0 is silence."""
        return f"{(value - 0.85) * 40:.1f} dB" if value else "-inf dB"


class Panning(Parameter):
    """From left to right."""

    min, max = -1.0, 1.0


@dataclass
class Envelope:
    """A curve of beats, without the events that older Lives do not tell."""

    value_at_time: Callable[[float], float]


@dataclass
class TellingEnvelope(Envelope):
    """A curve whose points are told."""

    times: Sequence[float]

    def events_in_range(self, start: float, end: float) -> list[Any]:
        """The points there."""
        return [SimpleNamespace(time=time) for time in self.times if start <= time <= end]


class Clip(LomObject):
    """A clip on `holder`; `markers` are (second, beat) of a warped one, `rate` its beats a second
    behind the last of them."""

    is_midi_clip = False
    is_recording = False
    pitch_coarse = 0
    pitch_fine = 0.0
    warp_mode = 0
    available_warp_modes = (0, 1, 2, 3, 4, 6)

    def __init__(self, song: Song, holder: Any, path: str, start: float | None) -> None:
        info = soundfile.info(path)
        self._song, self.canonical_parent = song, holder
        self.name = Path(path).stem
        self.file_path, self.sample_rate, self.sample_length = path, info.samplerate, info.frames
        self.is_audio_clip = True
        self.is_arrangement_clip = start is not None
        self._start = start or 0.0
        self._gain = 0.4  # 0 dB
        self._warping = self._looping = False
        self._loop = [0.0, info.frames / info.samplerate]
        self.start_marker = 0.0
        self.markers: list[tuple[float, float]] = []
        self._rate = 0.0
        self.envelopes: dict[Any, Any] = {}
        self._beats = 0.0  # on the timeline, where it is looped
        self._tempo: float | None = None  # the mean under it, where that is not the song's

    @property
    def start_time(self) -> float:
        """The beat it starts at."""
        return self._start

    @property
    def end_time(self) -> float:
        """The beat it ends at: an unwarped clip's pitch is its speed."""
        if self._warping:
            length = self._beats if self._looping else self._loop[1] - self._loop[0]
            return self._start + length
        speed = 2 ** (self.pitch_coarse / 12 + self.pitch_fine / 1200)
        beats_a_second = (self._tempo or self._song.tempo) / 60
        return self._start + (self._loop[1] - self._loop[0]) / speed * beats_a_second

    @property
    def gain(self) -> float:
        """From 0 to 1."""
        return self._gain

    @gain.setter
    def gain(self, gain: float) -> None:
        self._song.changed("gain")
        self._gain = gain

    @property
    def loop_start(self) -> float:
        """In seconds, of a warped clip in beats."""
        return self._loop[0]

    @loop_start.setter
    def loop_start(self, position: float) -> None:
        self._song.changed("loop_start")
        self._loop[0] = position

    @property
    def loop_end(self) -> float:
        """In seconds, of a warped clip in beats."""
        return self._loop[1]

    @loop_end.setter
    def loop_end(self, position: float) -> None:
        self._song.changed("loop_end")
        self._loop[1] = position

    @property
    def looping(self) -> bool:
        """Whether its loop goes round."""
        return self._looping

    @looping.setter
    def looping(self, on: bool) -> None:
        assert self._warping
        self._song.changed("looping")
        self._looping = on

    @property
    def warping(self) -> bool:
        """Whether the clip is stretched."""
        return self._warping

    @warping.setter
    def warping(self, on: bool) -> None:
        assert self._warping != on
        self._song.changed("warping")
        self._song.later.append(self._auto_warp if on else self._unwarp)

    def _auto_warp(self) -> None:
        self._song.auto_warp(self)

    def _unwarp(self) -> None:
        """What was in beats is in seconds then, and the loop is off."""
        self._loop = [self.beat_to_sample_time(beat) / self.sample_rate for beat in self._loop]
        self._warping = self._looping = False

    def warp(self, markers: Sequence[tuple[float, float]], beats: float) -> None:
        """Make it a warped clip of so many beats, which goes on as between its last markers."""
        self._warping, self.markers, self._beats = True, list(markers), beats
        (s0, b0), (s1, b1) = self.markers[-2:]
        self._rate = (b1 - b0) / (s1 - s0)
        self._loop = [0.0, beats]

    @property
    def warp_markers(self) -> Sequence[WarpMarker]:
        """Those of the producer, or Live, and the hidden one."""
        second, beat = self.markers[-1]
        hidden = second + HIDDEN_BEATS / self._rate, beat + HIDDEN_BEATS
        return tuple(WarpMarker(*marker) for marker in [*self.markers, hidden])

    def add_warp_marker(self, marker: WarpMarker) -> None:
        """Inside the file, and between its neighbours in both; behind the last, its tempo stays."""
        self._song.changed("add_warp_marker")
        added = marker.sample_time, marker.beat_time
        if not self._warping or not 0 <= added[0] < self.sample_length / self.sample_rate:
            raise RuntimeError("the marker is outside the sample")
        markers = sorted([*self.markers, added])
        if any(s0 >= s1 or b0 >= b1 for (s0, b0), (s1, b1) in zip(markers, markers[1:])):
            raise RuntimeError("the marker is not between its neighbours")
        self.markers = markers

    def remove_warp_marker(self, beat: float) -> None:
        """Not the hidden one."""
        self._song.changed("remove_warp_marker")
        left = [marker for marker in self.markers if marker[1] != beat]
        if not left or left == self.markers:
            raise RuntimeError("The specified warp marker doesn't exist")
        self.markers = left

    def _pieces(self) -> list[tuple[tuple[float, float], tuple[float, float]]]:
        told = [(each.sample_time, each.beat_time) for each in self.warp_markers]
        return list(zip(told, told[1:]))

    def beat_to_sample_time(self, beat: float) -> float:
        """Piecewise linear, the first and the last piece going on."""
        if not self._warping:
            raise RuntimeError("the sample is not warped")
        pieces = self._pieces()
        (s0, b0), (s1, b1) = next((p for p in pieces if beat <= p[1][1]), pieces[-1])
        return (s0 + (beat - b0) * (s1 - s0) / (b1 - b0)) * self.sample_rate

    def sample_to_beat_time(self, sample: float) -> float:
        """The other way."""
        if not self._warping:
            raise RuntimeError("the sample is not warped")
        pieces, second = self._pieces(), sample / self.sample_rate
        (s0, b0), (s1, b1) = next((p for p in pieces if second <= p[1][0]), pieces[-1])
        return b0 + (second - s0) * (b1 - b0) / (s1 - s0)

    def seconds_to_sample_time(self, seconds: float) -> float:
        """Of unwarped clips only."""
        if self._warping:
            raise RuntimeError("the sample is warped")
        return seconds * self.sample_rate

    def automation_envelope(self, parameter: Any) -> Any:
        """None in the arrangement."""
        return None if self.is_arrangement_clip else self.envelopes.get(parameter)


class MidiClip(LomObject):
    """A clip of (pitch, start, length, muted) notes."""

    is_audio_clip = False
    is_midi_clip = True
    name = "line"

    def __init__(self, holder: Any, arrangement: bool, notes: Sequence[tuple[Any, ...]]) -> None:
        self.canonical_parent, self.is_arrangement_clip = holder, arrangement
        self.loop_start, self.loop_end, self._notes = 4.0, 8.0, notes

    def get_notes_extended(
        self, from_pitch: int, pitch_span: int, from_time: float, time_span: float
    ) -> list[Any]:
        """Notes that start there."""
        return [
            SimpleNamespace(pitch=pitch, start_time=start, duration=length, mute=mute)
            for pitch, start, length, mute in self._notes
            if from_pitch <= pitch < from_pitch + pitch_span
            and from_time <= start < from_time + time_span
        ]


class OldSlot(LomObject):
    """A slot of a Live before 12.0.5."""

    def __init__(self, song: Song, track: OldTrack) -> None:
        self._song, self.canonical_parent = song, track
        self.clip: Any = None

    @property
    def has_clip(self) -> bool:
        """Whether it is full."""
        return self.clip is not None


class Slot(OldSlot):
    """A slot that takes audio."""

    def create_audio_clip(self, path: str) -> Clip:
        """Into an empty slot of an audio track that is not frozen."""
        self._song.changed("create_audio_clip")
        if self.has_clip or not self.canonical_parent.takes_audio:
            raise RuntimeError("not here")
        self.clip = Clip(self._song, self, self._song.audio(path), None)
        if self._song.warps:
            self._song.auto_warp(self.clip)
        return self.clip


class OldTrack(LomObject):
    """A track of a Live before 12.0.5."""

    is_frozen = False
    is_foldable = False
    can_be_armed = True
    arm = False
    slot = OldSlot

    def __init__(self, song: Song, name: str, audio: bool = True) -> None:
        self._song, self.canonical_parent = song, song
        self.name, self.has_audio_input = name, audio
        self.arrangement_clips: list[Any] = []
        self.mixer_device = SimpleNamespace(volume=Parameter(song), panning=Panning(song, 0.0))
        self.clip_slots = [self.slot(song, self) for _ in range(2)]

    @property
    def takes_audio(self) -> bool:
        """Not part of the model."""
        recorded = self._song.record_mode and self.arm
        return self.has_audio_input and not self.is_frozen and not recorded

    def lay(self, path: Path, beat: float) -> Clip:
        """A clip of the producer's own."""
        clip = Clip(self._song, self, str(path), beat)
        self.arrangement_clips.append(clip)
        return clip


class Track(OldTrack):
    """A track of Live 12.0.5: it takes audio clips in the arrangement."""

    slot = Slot

    def create_audio_clip(self, path: str, beat: float) -> Clip | None:
        """Audio tracks that are not frozen, valid files, beats from 0 to 1576800.

        The clip is returned from 12.2 on.
        """
        self._song.create(self, self, path, beat)
        return None


class TakeLane(LomObject):
    """A lane under a track."""

    def __init__(self, song: Song, track: Track) -> None:
        self._song, self.canonical_parent = song, track
        self.name = ""
        self.arrangement_clips: list[Any] = []

    def create_audio_clip(self, path: str, beat: float) -> Clip:
        """As a track's."""
        return self._song.create(self, self.canonical_parent, path, beat)


class LaneTrack(Track):
    """A track of Live 12.2: it has take lanes, and returns what it made."""

    def __init__(self, song: Song, name: str, audio: bool = True) -> None:
        super().__init__(song, name, audio)
        self.take_lanes: list[TakeLane] = []

    def create_audio_clip(self, path: str, beat: float) -> Clip:
        """As before."""
        return self._song.create(self, self, path, beat)

    def create_take_lane(self) -> TakeLane:
        """One more."""
        self._song.changed("create_take_lane")
        self.take_lanes.append(TakeLane(self._song, self))
        return self.take_lanes[-1]


class Song(LomObject):
    """A set with one audio track and one MIDI track, in 4/4 at 120."""

    canonical_parent = None

    def __init__(self, kind: type[OldTrack] = Track) -> None:
        self.tempo = 120.0
        self.signature_numerator, self.signature_denominator = 4, 4
        self.loop_start, self.loop_length = 0.0, 16.0
        self.name = "Night"
        self.can_redo = False
        self.record_mode = False
        self.limit = 100  # tracks that the edition has
        self.looped = False  # whether Live loops what it takes in
        self.warps = True  # whether it warps that
        self.steps: list[list[str]] = []  # what undo would take back, one list at a time
        self.later: list[Callable[[], None]] = []  # what Live does after the script's call
        self.guess = 120.0  # the tempo that Live takes what it warps to have
        self.first_beat = 0.0  # the second at which it lets it start
        self.busy = 0  # ticks on which Live gets to nothing of that
        self._kind, self._depth = kind, 0
        self.tracks = [kind(self, "Guitar"), kind(self, "Keys", audio=False)]
        self.view = SimpleNamespace(
            detail_clip=None, selected_track=self.tracks[0], selected_parameter=None
        )

    @property
    def scenes(self) -> list[Any]:
        """Rows of slots."""
        rows = zip(*(track.clip_slots for track in self.tracks))
        return [SimpleNamespace(clip_slots=list(row)) for row in rows]

    def begin_undo_step(self) -> None:
        """Until the end, all is one step."""
        assert self._depth == 0
        self._depth = 1
        self.steps.append([])

    def end_undo_step(self) -> None:
        """The step is whole."""
        assert self._depth == 1
        self._depth = 0

    def changed(self, what: str) -> None:
        """Not part of the model: something that undo takes back."""
        if not self._depth:
            self.steps.append([])
        self.steps[-1].append(what)

    def create_audio_track(self, index: int) -> None:
        """At an index; it is the selected one then."""
        if len(self.tracks) >= self.limit:
            raise LimitationError("the track limit is reached")
        self.changed("create_audio_track")
        self.tracks.insert(index, self._kind(self, f"{index + 1}-Audio"))
        self.view.selected_track = self.tracks[index]

    def create_scene(self, index: int) -> None:
        """At the end."""
        assert index == -1
        self.changed("create_scene")
        for track in self.tracks:
            track.clip_slots.append(track.slot(self, track))

    def create(self, holder: Any, track: OldTrack, path: str, beat: float) -> Clip:
        """Not part of the model: what tracks and lanes do alike."""
        self.changed("create_audio_clip")
        if not track.takes_audio or not 0 <= beat <= 1576800:
            raise RuntimeError("not here")
        clip = Clip(self, holder, self.audio(path), beat)
        if self.warps:
            self.auto_warp(clip)
        for other in list(holder.arrangement_clips):
            if other.start_time < clip.end_time - 1e-6 and beat < other.end_time - 1e-6:
                holder.arrangement_clips.remove(other)
        holder.arrangement_clips.append(clip)
        return clip

    def auto_warp(self, clip: Clip) -> None:
        """Not part of the model: what Live does with a file it takes in, unless told otherwise."""
        rate, first = self.guess / 60, self.first_beat
        length = clip.sample_length / clip.sample_rate
        seconds = (first, first + length / 5, first + length / 3)
        clip.warp([(second, second * rate) for second in seconds], (length - first) * rate)
        clip._loop, clip._looping = [first * rate, length * rate], self.looped

    def audio(self, path: str) -> str:
        """The path, if it is absolute and there is audio."""
        if not Path(path).is_absolute():
            raise RuntimeError("no absolute path")
        try:
            soundfile.info(path)
        except soundfile.LibsndfileError as error:
            raise RuntimeError("no valid audio file") from error
        return path

    def delete(self, track: OldTrack) -> None:
        """The producer deletes a track."""
        self.tracks.remove(track)
        for clip in track.arrangement_clips:
            clip._alive = False
        track._alive = False

    def idle(self) -> None:
        """Live does what it put off."""
        if self.busy:
            self.busy -= 1
            return
        for each in self.later:
            each()
        self.later.clear()
