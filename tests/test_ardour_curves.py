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


# Beat 16 is where 120 becomes 60 bpm and 4/4 becomes 3/4, which is at second 8.
CHANGE = """
create_session (FOLDER, "song", 48000)
local curves = assert (load (ARDOUR.LuaAPI.file_get_contents (CURVES))) (nil)
local map, change = Temporal.TempoMap.fetch_writable (), Temporal.timepos_t.from_ticks (16 * 1920)
map:set_tempo (Temporal.Tempo (60, 60, 4), change)
map:set_meter (Temporal.Meter (3, 4), change)
Temporal.TempoMap.update (map)
"""


def across_the_change(folder: Path, code: str) -> list[list[float]]:
    """The numbers that a script says, a list for each line."""
    start = CHANGE.replace("FOLDER", quoted(folder / "s")).replace("CURVES", quoted(CURVES))
    lines = headless(start + code, folder)
    found = [line.split()[1:] for line in lines if line.startswith("said")]
    assert found, lines
    return [[float(each) for each in line] for line in found]


def test_a_change_counts_from_its_own_sample_on(tmp_path: Path) -> None:
    """Where a region begins with it too, and a whole number of steps after its start."""
    found = across_the_change(
        tmp_path,
        """
        for _, from in ipairs ({ 8, 6, 6.05 }) do
            for _, row in ipairs (curves.tempo (from * 48000, 10 * 48000)) do
                print ("said", from, table.unpack (row))
            end
        end
        """,
    )
    expected = [
        [8, 0, 60, 3],
        [6, 0, 120, 4],
        [6, 2, 60, 3],
        [6.05, 0, 120, 4],
        [6.05, 1.95, 60, 3],
    ]
    assert found == [pytest.approx(row) for row in expected]


def test_bars_are_each_in_their_own_metre(tmp_path: Path) -> None:
    """Four bars and half a one, from bar lines and the middles of bars: in beats."""
    found = across_the_change(
        tmp_path,
        """
        local function beat (sample)
            return sample <= 8 * 48000 and sample / 24000 or 16 + (sample - 8 * 48000) / 48000
        end
        for _, from in ipairs ({ 0, 4, 7, 8, 10 }) do
            local sample = from * 48000
            print ("said", beat (sample), beat (curves.bars_after (sample, 4)),
                beat (curves.bars_after (sample, 0.5)))
        end
        """,
    )
    expected = [[0, 16, 2], [8, 22, 10], [14, 26.5, 16], [16, 28, 17.5], [18, 30, 19.5]]
    assert found == [pytest.approx(row, abs=1e-3) for row in expected]
