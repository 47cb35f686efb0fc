"""REAPER's functions for project tabs, tracks and what scripts keep."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.reaper_core import Reaper, at, documented, whole
from tests.reaper_project import Item, Project, Send, Source, Take, Track, new_guid

RENDER_NOW = 42230


@documented("EnumProjects")
def _enum_projects(reaper: Reaper, index: int) -> Any:
    place = reaper.front if index == -1 else whole(index)
    project = at(reaper.projects, place)
    return (project, project.file) if project else None


@documented("ValidatePtr2")
def _validate(reaper: Reaper, project: Any, pointer: Any, name: str) -> bool:
    kinds = {"MediaTrack*": Track, "MediaItem*": Item, "MediaItem_Take*": Take}
    kind = (kinds | {"PCM_source*": Source})[name]
    if project not in reaper.projects:
        return False
    items = [item for track in project.tracks for item in track.items]
    takes = [take for item in items for take in item.takes]
    mine = [*project.tracks, *items, *takes, *(take.source for take in takes)]
    return isinstance(pointer, kind) and any(each is pointer for each in mine)


@documented("GetProjectPathEx")
def _project_path(reaper: Reaper, project: Any) -> str:
    return str(reaper.valid(project, Project).folder)


@documented("GetProjectStateChangeCount")
def _state_changes(reaper: Reaper, project: Any) -> int:
    return int(reaper.valid(project, Project).state_changes)


@documented("GetResourcePath")
def _resource_path(reaper: Reaper) -> str:
    return str(reaper.resources)


@documented("RecursiveCreateDirectory")
def _create_directory(reaper: Reaper, path: str, ignored: int) -> int:
    Path(path).mkdir(parents=True, exist_ok=True)
    return 1


@documented("EnumerateFiles")
def _files(reaper: Reaper, path: str, index: int) -> Any:
    if index == -1:  # forget the folder
        return reaper.listed.pop(path, None) and None
    if path not in reaper.listed:
        reaper.listed[path] = sorted(each.name for each in Path(path).glob("*") if each.is_file())
    return at(reaper.listed[path], index)


def words(command: str) -> list[str]:
    """A command as REAPER parts it: at spaces, but not between two of the same quotation marks."""
    found = re.findall(r"""(?:"[^"]*"|'[^']*'|`[^`]*`|[^ "'`])+""", command)
    return [re.sub(r"""(["'`])(.*?)\1""", r"\2", each) for each in found]


@documented("ExecProcess")
def _start(reaper: Reaper, command: str, timeout: int) -> str | None:
    assert whole(timeout) == -2, "scripts never wait"
    if not reaper.starts_programs:
        return None
    nowhere, begun = subprocess.DEVNULL, time.thread_time()
    reaper.clock += reaper.starting_costs
    try:
        program = subprocess.Popen(words(command), stdin=nowhere, stdout=nowhere, stderr=nowhere)
    except OSError:
        return None
    finally:
        reaper.starting += time.thread_time() - begun
    reaper.programs.append(program)
    return "0\n"


@documented("GetSetProjectInfo")
def _project_number(reaper: Reaper, project: Any, name: str, value: float, is_set: bool) -> float:
    known = {"PROJECT_SRATE": float(project.rate), "PROJECT_SRATE_USE": float(project.has_rate)}
    if name in known:
        return known[name]
    if is_set:
        reaper.valid(project, Project).numbers[name] = float(value)
    return float(project.numbers.get(name, 0.0))


@documented("GetSetProjectInfo_String")
def _project_text(reaper: Reaper, project: Any, name: str, value: str, is_set: bool) -> Any:
    if name == "RENDER_TARGETS":
        texts = project.texts
        target = f"{texts['RENDER_FILE']}/{texts['RENDER_PATTERN']}.wav"
        return True, f"{target};{target}2"
    if is_set:
        reaper.valid(project, Project).texts[name] = value
    return True, project.texts.get(name, "")


@documented("GetAudioDeviceInfo")
def _device(reaper: Reaper, attribute: str) -> Any:
    return reaper.device_rate != "", reaper.device_rate


@documented("GetSet_LoopTimeRange2")
def _loop_range(
    reaper: Reaper, project: Any, is_set: bool, is_loop: bool, start: float, end: float, seek: bool
) -> Any:
    assert not is_set
    assert not is_loop
    return reaper.valid(project, Project).selection


@documented("Main_OnCommandEx")
def _command(reaper: Reaper, command: int, flag: int, project: Any) -> None:
    assert command == RENDER_NOW
    assert reaper.render is not None
    reaper.render(project)


@documented("Undo_BeginBlock2")
def _begin_block(reaper: Reaper, project: Any) -> None:
    reaper.valid(project, Project).open_blocks += 1


@documented("Undo_EndBlock2")
def _end_block(reaper: Reaper, project: Any, text: str, flags: int) -> None:
    project.open_blocks -= 1
    project.undo.append(text)


@documented("PreventUIRefresh")
def _prevent_refresh(reaper: Reaper, count: int) -> None:
    reaper.refresh_prevented += count


@documented("UpdateArrange")
def _update_arrange(reaper: Reaper) -> None: ...


@documented("TrackList_AdjustWindows")
def _adjust_windows(reaper: Reaper, is_minor: bool) -> None: ...


@documented("CountTracks")
def _count_tracks(reaper: Reaper, project: Any) -> int:
    return len(reaper.valid(project, Project).tracks)


@documented("GetTrack")
def _get_track(reaper: Reaper, project: Any, index: int) -> Any:
    return at(reaper.valid(project, Project).tracks, index)


@documented("GetTrackGUID")
def _track_guid(reaper: Reaper, track: Any) -> str:
    return str(reaper.valid(track, Track).guid)


@documented("GetSelectedTrack")
def _selected_track(reaper: Reaper, project: Any, index: int) -> Any:
    tracks = reaper.valid(project, Project).tracks
    return at([track for track in tracks if track.info["I_SELECTED"]], index)


@documented("SetOnlyTrackSelected")
def _select_only(reaper: Reaper, track: Any) -> None:
    for each in reaper.valid(track, Track).project.tracks:
        each.info["I_SELECTED"] = float(each is track)


@documented("InsertTrackAtIndex")
def _insert_track(reaper: Reaper, index: int, defaults: bool) -> None:
    project = reaper.projects[reaper.front]
    reaper.changed(project, "track")
    project.tracks.insert(whole(index), Track(project))


@documented("GetMediaTrackInfo_Value")
def _track_value(reaper: Reaper, track: Any, name: str) -> float:
    if name == "IP_TRACKNUMBER":
        return float(reaper.valid(track, Track).project.tracks.index(track) + 1)
    return float(reaper.valid(track, Track).info[name])


@documented("SetMediaTrackInfo_Value")
def _set_track_value(reaper: Reaper, track: Any, name: str, value: float) -> bool:
    if name != "I_SELECTED":
        reaper.changed(reaper.valid(track, Track).project, name)
    assert name in track.info
    track.info[name] = float(value)
    return True


@documented("GetSetMediaTrackInfo_String")
def _track_text(reaper: Reaper, track: Any, name: str, value: str, is_set: bool) -> Any:
    attribute = {"P_NAME": "name", "P_RAZOREDITS": "razor"}[name]
    if is_set:
        reaper.changed(reaper.valid(track, Track).project, name)
        setattr(track, attribute, value)
    return True, getattr(reaper.valid(track, Track), attribute)


@documented("TrackFX_GetCount")
def _count_effects(reaper: Reaper, track: Any) -> int:
    return len(reaper.valid(track, Track).effects)


@documented("TrackFX_GetInstrument")
def _instrument(reaper: Reaper, track: Any) -> int:
    return int(reaper.valid(track, Track).instrument)


@documented("TrackFX_CopyToTrack")
def _copy_effect(
    reaper: Reaper, track: Any, index: int, to: Any, to_index: int, move: bool
) -> None:
    assert not move
    reaper.changed(track.project, "effect")
    reaper.valid(to, Track).effects.insert(to_index, track.effects[index])


@documented("GetTrackNumSends")
def _count_sends(reaper: Reaper, track: Any, category: int) -> int:
    assert category == 0
    return len(reaper.valid(track, Track).sends)


@documented("CreateTrackSend")
def _create_send(reaper: Reaper, track: Any, to: Any) -> int:
    reaper.changed(reaper.valid(track, Track).project, "send")
    track.sends.append(Send(reaper.valid(to, Track)))
    return len(track.sends) - 1


@documented("GetTrackSendInfo_Value")
def _send_value(reaper: Reaper, track: Any, category: int, index: int, name: str) -> Any:
    send = reaper.valid(track, Track).sends[whole(index)]
    return send.to if name == "P_DESTTRACK" else send.info[name]


@documented("SetTrackSendInfo_Value")
def _set_send_value(
    reaper: Reaper, track: Any, category: int, index: int, name: str, value: float
) -> bool:
    reaper.changed(reaper.valid(track, Track).project, name)
    assert name in track.sends[whole(index)].info
    track.sends[whole(index)].info[name] = float(value)
    return True


@documented("time_precise")
def _time_precise(reaper: Reaper) -> float:
    return reaper.clock


@documented("genGuid")
def _gen_guid(reaper: Reaper, ignored: str) -> str:
    return new_guid()


@documented("ShowConsoleMsg")
def _show(reaper: Reaper, text: str) -> None:
    reaper.console += text


@documented("GetExtState")
def _get_state(reaper: Reaper, section: str, key: str) -> str:
    return reaper.states.get((section, key), "")


@documented("SetExtState")
def _set_state(reaper: Reaper, section: str, key: str, value: str, persist: bool) -> None:
    reaper.states[section, key] = value
    if persist:
        reaper.lasting.add((section, key))


@documented("GetUserInputs")
def _user_inputs(reaper: Reaper, title: str, count: int, captions: str, values: str) -> Any:
    typed = reaper.dialog.pop(0)
    return (False, values) if typed is None else (True, typed)


@documented("AddRemoveReaScript")
def _add_script(reaper: Reaper, add: bool, section: int, path: str, commit: bool) -> int:
    if not Path(path).is_file():
        return 0
    reaper.registered.append(path)
    return 40000 + len(reaper.registered)
