"""What a REAPER project is made of, as far as Segue's scripts look at it. Times are in seconds."""

from __future__ import annotations

import math
import uuid
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path

import soundfile


def new_guid() -> str:
    """As REAPER writes one."""
    return f"{{{str(uuid.uuid4()).upper()}}}"


@dataclass(eq=False)
class Source:
    """A media file."""

    path: str
    seconds: float
    rate: int
    kind: str = "WAVE"
    peaks_to_build: int = 3


@dataclass(eq=False)
class Envelope:
    """Points (time, value) with straight lines between them, kept in the scale of a fader."""

    name: str
    points: list[tuple[float, float]]
    scaling: int = 0
    take: Take | None = None
    parameter: tuple[float, float] | None = None  # lowest and highest value of an effect's
    active: bool = True

    def at(self, time: float) -> float:
        """The raw value."""
        right = bisect_right(self.points, time, key=itemgetter(0))
        if right == 0:
            return self.points[0][1]
        if right == len(self.points):
            return self.points[-1][1]
        (t0, v0), (t1, v1) = self.points[right - 1 : right + 1]
        return v0 + (v1 - v0) * (time - t0) / (t1 - t0)


@dataclass(eq=False)
class Take:
    """A take; notes are (start, end, pitch, muted) in ticks of the item."""

    item: Item
    source: Source | None = None
    name: str = ""
    notes: list[tuple[int, int, int, bool]] | None = None
    effects: int = 0
    stretch_markers: int = 0
    envelopes: int = 0
    guid: str = field(default_factory=new_guid)
    info: dict[str, float] = field(
        default_factory=lambda: {
            "D_STARTOFFS": 0.0,
            "D_PLAYRATE": 1.0,
            "D_PITCH": 0.0,
            "D_VOL": 1.0,
            "D_PAN": 0.0,
            "I_CHANMODE": 0.0,
            "IP_SPECEDIT:CNT": 0.0,
        }
    )


@dataclass(eq=False)
class Item:
    """A media item."""

    track: Track
    selected: bool = False
    takes: list[Take] = field(default_factory=list)
    active: int = 0
    info: dict[str, float] = field(
        default_factory=lambda: {
            "D_POSITION": 0.0,
            "D_LENGTH": 0.0,
            "D_VOL": 1.0,
            "B_MUTE": 0.0,
            "B_ALLTAKESPLAY": 0.0,
            "B_LOOPSRC": 1.0,
            "D_FADEINLEN": 0.01,
            "D_FADEOUTLEN": 0.01,
            "D_FADEINLEN_AUTO": 0.0,  # -1 where the item is to have none, wherever it overlaps
            "D_FADEOUTLEN_AUTO": 0.0,
        }
    )


@dataclass(eq=False)
class Send:
    """Of a track, to another one."""

    to: Track
    info: dict[str, float] = field(
        default_factory=lambda: {
            "B_MUTE": 0.0,
            "B_PHASE": 0.0,
            "B_MONO": 0.0,
            "D_VOL": 1.0,
            "D_PAN": 0.0,
            "D_PANLAW": -1.0,
            "I_SENDMODE": 0.0,
            "I_SRCCHAN": 0.0,
            "I_DSTCHAN": 0.0,
            "I_MIDIFLAGS": 0.0,
        }
    )


@dataclass(eq=False)
class Track:
    """A track; `razor` as P_RAZOREDITS has it."""

    project: Project
    name: str = ""
    razor: str = ""
    items: list[Item] = field(default_factory=list)
    effects: list[str] = field(default_factory=list)
    instrument: int = -1
    sends: list[Send] = field(default_factory=list)
    envelopes: list[Envelope] = field(default_factory=list)
    guid: str = field(default_factory=new_guid)
    info: dict[str, float] = field(
        default_factory=lambda: {
            "D_VOL": 1.0,
            "D_PAN": 0.0,
            "I_PANMODE": 3.0,
            "D_WIDTH": 1.0,
            "D_DUALPANL": -1.0,
            "D_DUALPANR": 1.0,
            "D_PANLAW": -1.0,
            "I_PANLAW_FLAGS": 0.0,
            "B_PHASE": 0.0,
            "I_NCHAN": 2.0,
            "I_FXEN": 1.0,
            "I_PLAY_OFFSET_FLAG": 0.0,
            "D_PLAY_OFFSET": 0.0,
            "B_MAINSEND": 1.0,
            "C_MAINSEND_OFFS": 0.0,
            "C_MAINSEND_NCH": 0.0,
            "I_SELECTED": 0.0,
            "I_FOLDERDEPTH": 0.0,
        }
    )

    def add(self, path: Path, position: float, length: float, *, selected: bool = False) -> Item:
        """An item without fades over a real file."""
        facts = soundfile.info(str(path))
        source = Source(str(path), facts.duration, facts.samplerate)
        item = Item(self, selected)
        item.info |= {"D_POSITION": position, "D_LENGTH": length}
        item.info |= {"D_FADEINLEN": 0.0, "D_FADEOUTLEN": 0.0, "B_LOOPSRC": 0.0}
        item.takes.append(Take(item, source))
        self.items.append(item)
        return item


@dataclass(frozen=True)
class Marker:
    """A tempo marker; num 0 keeps the metre, `glides`: straight to the next one's tempo."""

    time: float
    bpm: float
    num: int = 0
    denom: int = 0
    glides: bool = False


@dataclass(eq=False)
class Project:
    """A project tab."""

    folder: Path
    rate: int = 48000
    has_rate: bool = True  # of its own; else the audio device's counts
    file: str = "x.rpp"
    tracks: list[Track] = field(default_factory=list)
    selection: tuple[float, float] = (0.0, 0.0)
    markers: list[Marker] = field(default_factory=list)
    bpm: float = 120.0
    metre: tuple[int, int] = (4, 4)
    selected_envelope: Envelope | None = None
    undo: list[str] = field(default_factory=list)
    open_blocks: int = 0
    state_changes: int = 0  # those that REAPER has counted
    changes_outside: list[str] = field(default_factory=list)
    numbers: dict[str, float] = field(default_factory=lambda: {"RENDER_SETTINGS": 64.0})
    texts: dict[str, str] = field(default_factory=lambda: {"RENDER_FILE": "mine"})

    def track(self, name: str = "") -> Track:
        """A new last track."""
        self.tracks.append(Track(self, name))
        return self.tracks[-1]

    def segments(self) -> list[Marker]:
        """Markers from time 0 on, each with its metre."""
        found = [Marker(0.0, self.bpm, *self.metre)]
        for marker in self.markers:
            metre = (marker.num, marker.denom) if marker.num else (found[-1].num, found[-1].denom)
            found.append(Marker(marker.time, marker.bpm, *metre, marker.glides))
        return [each for each, after in _with_next(found) if not _hidden(each, after)]

    def quarters(self, time: float) -> float:
        """Quarter notes from time 0 on."""
        total = 0.0
        for place, (each, after) in enumerate(_with_next(self.segments())):
            end = min(time, after.time) if after else time
            if end <= each.time and place:
                break
            total += _quarters_in(each, after, end - each.time)
        return total

    def seconds(self, quarters: float) -> float:
        """The inverse of `quarters`."""
        total = 0.0
        for each, after in _with_next(self.segments()):
            its = _quarters_in(each, after, after.time - each.time) if after else math.inf
            if total + its >= quarters:
                break
            total += its
        slope, left = _slope(each, after), 60 * (quarters - total)
        if slope == 0:
            return each.time + left / each.bpm
        return each.time + (math.sqrt(each.bpm**2 + 2 * slope * left) - each.bpm) / slope

    def metre_at(self, time: float) -> Marker:
        """The marker in force."""
        return [each for each in self.segments() if each.time <= time][-1]


def _with_next(markers: list[Marker]) -> Iterator[tuple[Marker, Marker | None]]:
    return zip(markers, [*markers[1:], None], strict=True)


def _slope(marker: Marker, after: Marker | None) -> float:
    if after is None or not marker.glides:
        return 0.0
    return (after.bpm - marker.bpm) / (after.time - marker.time)


def _quarters_in(marker: Marker, after: Marker | None, span: float) -> float:
    return (marker.bpm * span + _slope(marker, after) * span * span / 2) / 60


def _hidden(marker: Marker, after: Marker | None) -> bool:
    return after is not None and after.time <= marker.time


@dataclass(eq=False)
class Accessor:
    """Reads a track until it is destroyed."""

    track: Track
    open: bool = True


def sample(frame: int, channel: int) -> float:
    """What every track of this REAPER plays at a frame of any rate: exact in float32."""
    return ((frame * 2 + channel) % 65536 - 32768) / 65536
