"""What goes round beside a DAW's song, and where the song's places lie in it."""

from __future__ import annotations

from dataclasses import dataclass

from segue.bridge.midi.clock import SongClock
from segue.bridge.midi.song import Follower
from segue.presets.controls import Inpaint, Outpaint, Vary
from segue.presets.tempo import TempoMap
from segue.presets.vocabulary import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class InSong:
    """Where a region begins in the DAW's song, from its start: for clocks, and for MTC."""

    beats: float = 0.0
    seconds: float = 0.0


SONG_START = InSong()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stretch:
    """A part of what goes round, from the region's start on; in beats too, where there is a map."""

    second: float
    seconds: float
    beat: float = 0.0
    beats: float = 0.0

    @classmethod
    def of(cls, tempo: TempoMap | None, second: float, seconds: float) -> _Stretch:
        """From a second on, so many."""
        if tempo is None:
            return cls(second=second, seconds=seconds)
        zero, first, last = map(tempo.beat_at, (0.0, second, second + seconds))
        return cls(second=second, seconds=seconds, beat=first - zero, beats=last - first)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """The clip that goes round beside a song, the new music in it, and where it begins there.

    The map says when a clock's beats are, in each round anew; MTC's seconds, and those of a clock
    without a map, count from the song's start.
    """

    clip: _Stretch
    new: _Stretch
    tempo: TempoMap | None
    begins: InSong

    @classmethod
    def of(cls, request: Request, begins: InSong) -> Rounds:
        """What a request makes."""
        tempo, (start, seconds) = request.tempo, _new(request)
        clip, new = _Stretch.of(tempo, *_clip(request, seconds)), _Stretch.of(tempo, start, seconds)
        return cls(clip=clip, new=new, tempo=tempo, begins=begins)

    def heard(self, song: Follower, time: float) -> float:
        """Seconds of clips, from the first one's start on."""
        if self.tempo is None or not isinstance(song, SongClock):
            return self._second(song, time) - self.clip.second
        rounds, beat = self._round(song, time)
        return rounds * self.clip.seconds + self.tempo.seconds_of_beats(self.clip.second, beat)

    def played(self, song: Follower, time: float) -> float:
        """Seconds of takes, from the first new music's start on; so long goes before it, too."""
        if self.tempo is None or not isinstance(song, SongClock):
            return self._second(song, time) - self.new.second
        rounds, beat = self._round(song, time)
        turn, _ = self.turn(song)
        return rounds * turn + self._laid_out(self.tempo, self.clip.beat + beat)

    def turn(self, song: Follower) -> tuple[float, float]:
        """How long the clip is in seconds of takes, and how far in it the new music begins."""
        clip = self.clip
        if self.tempo is None or not isinstance(song, SongClock):
            return clip.seconds, self.new.second - clip.second
        first, last = (self._laid_out(self.tempo, clip.beat + at) for at in (0.0, clip.beats))
        return last - first, -first

    def _round(self, song: SongClock, time: float) -> tuple[float, float]:
        """Whole rounds of the clip, and beats of the one under way."""
        return divmod(song.beat(time) - self.begins.beats - self.clip.beat, self.clip.beats)

    def _second(self, song: Follower, time: float) -> float:
        return (song.seconds(time) or 0.0) - self.begins.seconds

    def _laid_out(self, tempo: TempoMap, beat: float) -> float:
        """When a beat is, as if new music went on without end before and after itself."""
        whole, beat = divmod(beat - self.new.beat, self.new.beats)
        return whole * self.new.seconds + tempo.seconds_of_beats(self.new.second, beat)


def new_seconds(request: Request) -> float:
    """How much music a request asks for: from its first gap's start to its last one's end."""
    return _new(request)[1]


def _new(request: Request) -> tuple[float, float]:
    """Where the new music begins, from the region's start on, and how long it is."""
    region, place = _region_seconds(request), request.place
    match place:
        case Inpaint():
            return _gaps(place, region, request.tempo)
        case Vary():
            return 0.0, region
    seconds = request.new_seconds
    if seconds is None:
        assert request.tempo is not None, "the vocabulary asks for one"
        assert request.new_bars is not None, "the vocabulary asks for one"
        seconds = request.tempo.seconds_of_bars(region, request.new_bars)
        if isinstance(place, Outpaint) and place.side == "left":
            seconds = -request.tempo.seconds_of_bars(0.0, -request.new_bars)
    before = isinstance(place, Outpaint) and place.side != "right"
    return -seconds if before else region, seconds


def _gaps(place: Inpaint, region: float, tempo: TempoMap | None) -> tuple[float, float]:
    """As the server makes them: without any, all but one overlap on either side."""
    if not place.gaps:
        side = min(place.overlap_seconds, region / 4)
        return side, region - 2 * side
    ends = [place.gaps[0].start, place.gaps[-1].start + place.gaps[-1].length]
    if place.unit == "share":
        ends = [end * region for end in ends]
    elif tempo is not None:
        ends = list(tempo.convert(ends, place.unit))
    return ends[0], ends[1] - ends[0]


def _clip(request: Request, seconds: float) -> tuple[float, float]:
    """Where a clip begins, from the region's start on, and how long it is."""
    region = _region_seconds(request)
    match request.place:
        case Outpaint(side="both"):
            return -seconds, seconds + region + seconds
        case Outpaint(side="left"):
            return -seconds, seconds + region
        case Inpaint() | Vary():
            return 0.0, region
    return 0.0, region + seconds


def _region_seconds(request: Request) -> float:
    return request.region.length_seconds if request.region else 0.0
