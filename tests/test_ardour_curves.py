"""What the Ardour scripts read from a curve, in the real Ardour without a window."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest

from tests import ardour_daw
from tests.ardour_daw import headless, quoted

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(ardour_daw.missing()), reason=ardour_daw.missing()),
]

CURVES = files("segue.bridge.daw") / "ardour" / "segue" / "curves.lua"
# A track with a panner, an equalizer and a send, and curves.lua as it is loaded by our scripts.
STUDIO = """
local s = create_session (FOLDER, "song", 48000)
s:new_audio_track (2, 2, nil, 1, "track", ARDOUR.PresentationInfo.max_order,
    ARDOUR.TrackMode.Normal, true)
local track = s:route_by_name ("track"):to_track ()
track:add_processor_by_index (
    ARDOUR.LuaAPI.new_plugin (s, "urn:ardour:a-eq", ARDOUR.PluginType.LV2, ""), 0, nil, true)
ARDOUR.LuaAPI.new_send (s, track, track:nth_plugin (0))
local curves = assert (load (ARDOUR.LuaAPI.file_get_contents (CURVES))) (nil)

local function plugin (label)
    for each in PBD.Controllable.registered_controllables ():iter () do
        local control = each:to_automationcontrol ()
        if not control:isnil () and control:name () == label then return control end
    end
end

local function draw (control, from, to)
    control:alist ():add (Temporal.timepos_t (0), from, false, true)
    control:alist ():add (Temporal.timepos_t (48000), to, false, true)
    control:set_automation_state (ARDOUR.AutoState.Play)
end

local function say (name, parameter, control, from, to)
    local lane = { track = track, control = control, parameter = parameter }
    if from then draw (control, from, to) end
    local texts, rows = {}, curves.has_share (lane) and curves.share (lane, 0, 48000) or {}
    for i, row in ipairs (rows) do texts[i] = ("[%.9f, %.9f]"):format (row[1], row[2]) end
    print ('{"' .. name .. '": [' .. table.concat (texts, ", ") .. "]}")
end
"""


def shares(folder: Path, lanes: str) -> dict[str, list[list[float]]]:
    """(seconds, share) of each lane, by the name that the script says it under."""
    start = STUDIO.replace("FOLDER", quoted(folder / "s")).replace("CURVES", quoted(CURVES))
    lines = headless(start + lanes, folder)
    found: dict[str, list[list[float]]] = {}
    for line in lines:
        if line.startswith("{"):
            found |= json.loads(line)
    assert found, lines
    return found


def test_a_share_is_how_high_a_value_is_drawn(tmp_path: Path) -> None:
    """Ten times a second, from 0 to 1 of a parameter's range: octaves for frequencies, left above
    right, a send as its fader stands."""
    found = shares(
        tmp_path,
        """
        say ("gain", "parameter-3", plugin ("Gain 1"), -20, 10)
        say ("frequency", "parameter-2", plugin ("Frequency 1"), 20, 20000)
        say ("azimuth", "pan-azimuth", track:pan_azimuth_control (), 0, 0.75)
        say ("send", "send", track:nth_send (0):to_send ():gain_control (), 1, 1)
        """,
    )
    for rows in found.values():
        assert [row[0] for row in rows] == pytest.approx([i / 10 for i in range(11)])
    first, half, last = ({name: rows[i][1] for name, rows in found.items()} for i in (0, 5, 10))
    assert first == pytest.approx({"gain": 0, "frequency": 0, "azimuth": 1, "send": 0.781786754})
    assert half == pytest.approx(
        {"gain": 0.375, "frequency": 0.5, "azimuth": 0.625, "send": 0.781786754},
        abs=1e-6,
    )
    assert last == pytest.approx(
        {"gain": 0.75, "frequency": 1, "azimuth": 0.25, "send": 0.781786754}
    )


def test_what_has_no_share(tmp_path: Path) -> None:
    """Fader and trim have decibels, a switch is only on or off; a curve without points or that is
    off says nothing."""
    found = shares(
        tmp_path,
        """
        say ("fader", "gain", track:gain_control (), 1, 0.5)
        say ("trim", "trim", track:trim_control (), 1, 0.5)
        say ("mute", "mute", track:mute_control (), 0, 1)
        say ("switch", "parameter-18", plugin ("Filter 1"), 0, 1)
        say ("empty", "parameter-3", plugin ("Gain 1"))
        draw (plugin ("Gain 2"), -20, 10)
        plugin ("Gain 2"):set_automation_state (ARDOUR.AutoState.Off)
        say ("off", "parameter-6", plugin ("Gain 2"))
        """,
    )
    assert list(found) == ["fader", "trim", "mute", "switch", "empty", "off"]
    assert not any(found.values())
