"""REAPER's functions for what sounds: audio, tempo, envelopes and notes."""

from __future__ import annotations

import math
from typing import Any

from tests.reaper_core import Reaper, at, documented, whole
from tests.reaper_project import Accessor, Envelope, Project, Take, Track, sample

TICKS_A_QUARTER = 960


@documented("CreateTrackAudioAccessor")
def _create_accessor(reaper: Reaper, track: Any) -> Any:
    reaper.accessors.append(Accessor(reaper.valid(track, Track)))
    return reaper.accessors[-1]


@documented("DestroyAudioAccessor")
def _destroy_accessor(reaper: Reaper, accessor: Any) -> None:
    assert accessor.open
    accessor.open = False


@documented("GetAudioAccessorSamples")
def _accessor_samples(
    reaper: Reaper, accessor: Any, rate: int, channels: int, start: float, count: int, buffer: Any
) -> int:
    assert accessor.open
    first = start * whole(rate)
    assert abs(first - round(first)) < 1e-3, "read between samples"
    reaper.clock += reaper.reading_costs
    reaper.frames_a_turn[-1] += whole(count)
    for frame in range(count):
        for channel in range(channels):
            buffer[frame * channels + channel + 1] = sample(round(first) + frame, channel)
    return 1


@documented("CountTempoTimeSigMarkers")
def _count_markers(reaper: Reaper, project: Any) -> int:
    return len(reaper.valid(project, Project).markers)


@documented("GetTempoTimeSigMarker")
def _get_marker(reaper: Reaper, project: Any, index: int) -> Any:
    marker = at(reaper.valid(project, Project).markers, index)
    if marker is None:
        return (False, 0.0, 0, 0.0, 0.0, 0, 0, False)
    return True, marker.time, 0, 0.0, marker.bpm, marker.num, marker.denom, marker.glides


@documented("FindTempoTimeSigMarker")
def _find_marker(reaper: Reaper, project: Any, time: float) -> int:
    return sum(each.time <= time for each in reaper.valid(project, Project).markers) - 1


@documented("TimeMap_GetTimeSigAtTime")
def _metre(reaper: Reaper, project: Any, time: float) -> Any:
    found = reaper.valid(project, Project).metre_at(time)
    return found.num, found.denom, found.bpm


@documented("TimeMap2_timeToQN")
def _time_to_quarters(reaper: Reaper, project: Any, time: float) -> float:
    return float(reaper.valid(project, Project).quarters(time))


@documented("TimeMap2_QNToTime")
def _quarters_to_time(reaper: Reaper, project: Any, quarters: float) -> float:
    return float(reaper.valid(project, Project).seconds(quarters))


@documented("TimeMap_QNToMeasures")
def _measures(reaper: Reaper, project: Any, quarters: float) -> Any:
    kept = {each.time for each in reaper.valid(project, Project).markers if not each.num}
    metres = [each for each in project.segments() if each.time == 0 or each.time not in kept]
    starts = [project.quarters(each.time) for each in metres]
    place = max(place for place, start in enumerate(starts) if start <= quarters)
    metre = metres[place]
    bar = metre.num * 4 / metre.denom
    number = math.floor((quarters - starts[place]) / bar)
    first = starts[place] + number * bar
    return number, first, first + bar


@documented("GetSelectedEnvelope")
def _selected_envelope(reaper: Reaper, project: Any) -> Any:
    return reaper.valid(project, Project).selected_envelope


@documented("GetTrackEnvelopeByName")
def _envelope_by_name(reaper: Reaper, track: Any, name: str) -> Any:
    found = [each for each in reaper.valid(track, Track).envelopes if each.name == name]
    return at(found, 0)


@documented("GetEnvelopeName")
def _envelope_name(reaper: Reaper, envelope: Any) -> Any:
    return True, reaper.valid(envelope, Envelope).name


@documented("GetSetEnvelopeInfo_String")
def _envelope_text(reaper: Reaper, envelope: Any, name: str, value: str, is_set: bool) -> Any:
    assert (name, is_set) == ("ACTIVE", False)
    return True, str(int(reaper.valid(envelope, Envelope).active))


@documented("Envelope_GetParentTake")
def _envelope_take(reaper: Reaper, envelope: Any) -> Any:
    return reaper.valid(envelope, Envelope).take, 0, 0


@documented("Envelope_GetParentTrack")
def _envelope_track(reaper: Reaper, envelope: Any) -> Any:
    index = -1 if reaper.valid(envelope, Envelope).parameter is None else 0
    return reaper.projects[reaper.front].tracks[0], index, index


@documented("TrackFX_GetParam")
def _parameter(reaper: Reaper, track: Any, effect: int, parameter: int) -> Any:
    selected = reaper.valid(track, Track).project.selected_envelope
    assert (effect, parameter) == (0, 0)
    return 0.0, *selected.parameter


@documented("Envelope_Evaluate")
def _evaluate(reaper: Reaper, envelope: Any, time: float, rate: int, count: int) -> Any:
    return 1, reaper.valid(envelope, Envelope).at(time), 0.0, 0.0, 0.0


@documented("GetEnvelopeScalingMode")
def _scaling_mode(reaper: Reaper, envelope: Any) -> int:
    return int(reaper.valid(envelope, Envelope).scaling)


@documented("ScaleFromEnvelopeMode")
def _scale_from(reaper: Reaper, mode: int, value: float) -> float:
    return value * value if mode else float(value)


@documented("MIDI_CountEvts")
def _count_events(reaper: Reaper, take: Any) -> Any:
    count = len(reaper.valid(take, Take).notes)
    return count, count, 0, 0


@documented("MIDI_GetNote")
def _get_note(reaper: Reaper, take: Any, index: int) -> Any:
    note = at(reaper.valid(take, Take).notes, index)
    if note is None:
        return False, False, False, 0.0, 0.0, 0, 0, 0
    start, end, pitch, muted = note
    return True, False, muted, float(start), float(end), 0, pitch, 100


@documented("MIDI_GetProjTimeFromPPQPos")
def _note_time(reaper: Reaper, take: Any, ticks: float) -> float:
    project = reaper.valid(take, Take).item.track.project
    quarters = project.quarters(take.item.info["D_POSITION"])
    return float(project.seconds(quarters + ticks / TICKS_A_QUARTER))
