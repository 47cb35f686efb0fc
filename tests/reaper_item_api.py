"""REAPER's functions for items, takes and media files."""

from __future__ import annotations

from typing import Any

import soundfile

from tests.reaper_core import Reaper, at, documented
from tests.reaper_project import Item, Project, Source, Take, Track


@documented("CountTrackMediaItems")
def _count_items(reaper: Reaper, track: Any) -> int:
    return len(reaper.valid(track, Track).items)


@documented("GetTrackMediaItem")
def _get_item(reaper: Reaper, track: Any, index: int) -> Any:
    return at(reaper.valid(track, Track).items, index)


def _selected_items(reaper: Reaper, project: Any) -> list[Item]:
    tracks = reaper.valid(project, Project).tracks
    return [item for track in tracks for item in track.items if item.selected]


@documented("CountSelectedMediaItems")
def _count_selected(reaper: Reaper, project: Any) -> int:
    return len(_selected_items(reaper, project))


@documented("GetSelectedMediaItem")
def _selected_item(reaper: Reaper, project: Any, index: int) -> Any:
    return at(_selected_items(reaper, project), index)


@documented("GetMediaItemTrack")
def _item_track(reaper: Reaper, item: Any) -> Any:
    return reaper.valid(item, Item).track


@documented("AddMediaItemToTrack")
def _add_item(reaper: Reaper, track: Any) -> Any:
    reaper.changed(reaper.valid(track, Track).project, "item")
    item = Item(track)
    track.items.append(item)
    return item


@documented("GetMediaItemInfo_Value")
def _item_value(reaper: Reaper, item: Any, name: str) -> float:
    return float(reaper.valid(item, Item).info[name])


@documented("SetMediaItemInfo_Value")
def _set_item_value(reaper: Reaper, item: Any, name: str, value: float) -> bool:
    reaper.changed(reaper.valid(item, Item).track.project, name)
    assert name in item.info
    item.info[name] = float(value)
    return True


@documented("GetActiveTake")
def _active_take(reaper: Reaper, item: Any) -> Any:
    takes = reaper.valid(item, Item).takes
    return takes[item.active] if takes else None


@documented("CountTakes")
def _count_takes(reaper: Reaper, item: Any) -> int:
    return len(reaper.valid(item, Item).takes)


@documented("GetTake")
def _get_take(reaper: Reaper, item: Any, index: int) -> Any:
    return at(reaper.valid(item, Item).takes, index)


@documented("SetActiveTake")
def _set_active_take(reaper: Reaper, take: Any) -> None:
    reaper.changed(reaper.valid(take, Take).item.track.project, "active take")
    take.item.active = take.item.takes.index(take)


@documented("AddTakeToMediaItem")
def _add_take(reaper: Reaper, item: Any) -> Any:
    reaper.changed(reaper.valid(item, Item).track.project, "take")
    take = Take(item)
    item.takes.append(take)
    return take


@documented("GetMediaItemTakeByGUID")
def _take_by_guid(reaper: Reaper, project: Any, guid: str) -> Any:
    items = [item for track in reaper.valid(project, Project).tracks for item in track.items]
    return at([take for item in items for take in item.takes if take.guid == guid], 0)


@documented("GetMediaItemTake_Item")
def _take_item(reaper: Reaper, take: Any) -> Any:
    return reaper.valid(take, Take).item


@documented("TakeIsMIDI")
def _take_is_midi(reaper: Reaper, take: Any) -> bool:
    return reaper.valid(take, Take).notes is not None


@documented("GetMediaItemTakeInfo_Value")
def _take_value(reaper: Reaper, take: Any, name: str) -> float:
    return float(reaper.valid(take, Take).info[name])


@documented("SetMediaItemTakeInfo_Value")
def _set_take_value(reaper: Reaper, take: Any, name: str, value: float) -> bool:
    reaper.changed(reaper.valid(take, Take).item.track.project, name)
    assert name in take.info
    take.info[name] = float(value)
    return True


@documented("GetSetMediaItemTakeInfo_String")
def _take_text(reaper: Reaper, take: Any, name: str, value: str, is_set: bool) -> Any:
    if (name, is_set) == ("GUID", False):
        return True, reaper.valid(take, Take).guid
    assert name == "P_NAME"
    if is_set:
        reaper.changed(reaper.valid(take, Take).item.track.project, name)
        take.name = value
    return True, take.name


@documented("GetTakeNumStretchMarkers")
def _stretch_markers(reaper: Reaper, take: Any) -> int:
    return int(reaper.valid(take, Take).stretch_markers)


@documented("TakeFX_GetCount")
def _take_effects(reaper: Reaper, take: Any) -> int:
    return int(reaper.valid(take, Take).effects)


@documented("CountTakeEnvelopes")
def _take_envelopes(reaper: Reaper, take: Any) -> int:
    return int(reaper.valid(take, Take).envelopes)


@documented("GetMediaItemTake_Source")
def _take_source(reaper: Reaper, take: Any) -> Any:
    return reaper.valid(take, Take).source


@documented("SetMediaItemTake_Source")
def _set_take_source(reaper: Reaper, take: Any, source: Any) -> bool:
    reaper.changed(reaper.valid(take, Take).item.track.project, "source")
    take.source = reaper.valid(source, Source)
    return True


@documented("PCM_Source_CreateFromFile")
def _create_source(reaper: Reaper, path: str) -> Any:
    try:
        facts = soundfile.info(path)
    except soundfile.SoundFileError:
        return None
    return Source(path, facts.frames / facts.samplerate, facts.samplerate)


@documented("PCM_Source_BuildPeaks")
def _build_peaks(reaper: Reaper, source: Any, mode: int) -> int:
    if mode == 1:
        reaper.valid(source, Source).peaks_to_build -= 1
    return int(reaper.valid(source, Source).peaks_to_build)


@documented("GetMediaSourceFileName")
def _source_path(reaper: Reaper, source: Any) -> str:
    return str(reaper.valid(source, Source).path)


@documented("GetMediaSourceLength")
def _source_length(reaper: Reaper, source: Any) -> Any:
    return reaper.valid(source, Source).seconds, False


@documented("GetMediaSourceSampleRate")
def _source_rate(reaper: Reaper, source: Any) -> int:
    return int(reaper.valid(source, Source).rate)


@documented("GetMediaSourceType")
def _source_type(reaper: Reaper, source: Any) -> str:
    return str(reaper.valid(source, Source).kind)
