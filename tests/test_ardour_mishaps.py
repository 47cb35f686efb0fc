"""The real Ardour when something goes wrong, is taken away or is too much: nothing is lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests import ardour_daw
from tests.ardour_daw import quoted, until
from tests.ardour_studio import (
    CONTINUE,
    RATE,
    VARY,
    Studio,
    embed,
    listing,
    playlist,
    running,
)
from tests.toy_engine import FADE_SECONDS

ABSENT = "Segue: nobody answers: start `segue up`, or start it anew; this waits"
TRACK = 'Session:route_by_name ("Gitarre")'
# The guitar's region, or nil.
REGION = f"""
local playlist = {playlist("Gitarre")}
local region
for each in playlist:region_list ():iter () do region = each end
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(ardour_daw.missing()), reason=ardour_daw.missing()),
]


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """One for all of these; they come one after the other."""
    with running(tmp_path_factory.mktemp("mishaps")) as studio:
        yield studio


def test_nobody_is_there_yet(studio: Studio) -> None:
    """An order waits and says what to start; then its clip comes."""
    studio.kill_segue()
    studio.select("Gitarre")
    studio.ardour.act(CONTINUE)
    until(lambda: studio.notices() == [ABSENT], "the notice")
    assert studio.engine.requests == []
    studio.start_segue()
    studio.placed("AI")
    assert studio.notices() == []
    studio.undo()


def test_segue_is_killed_and_started_again(studio: Studio) -> None:
    """Its last progress does not stay there for ever; the clip comes once, made once."""
    before = len(studio.engine.requests)
    studio.hold_back("Gitarre")
    studio.kill_segue()
    until(lambda: studio.notices() == [ABSENT], "the notice")
    studio.start_segue()
    until(lambda: studio.notices() == ["Segue: 40 % optimizing"], "progress")
    studio.engine.gate.set()
    (overlay,) = studio.placed("AI")
    until(lambda: not list(studio.ardour.orders.iterdir()), "the end")
    assert studio.regions("AI") == [overlay]
    assert len(studio.engine.requests) == before + 1
    studio.undo()


# What is done to the region, what undoes it, and what we say.
MISHAPS = {
    "moved": (
        "region:set_position (Temporal.timepos_t (FIRST + 1))",
        "region:set_position (Temporal.timepos_t (FIRST))",
        "Gitarre has been moved or cut",
    ),
    "cut": (
        "region:set_length (Temporal.timecnt_t (LENGTH - 1))",
        "region:set_length (Temporal.timecnt_t (LENGTH))",
        "Gitarre has been moved or cut",
    ),
    "removed": (
        "_G.kept = region playlist:remove_region (region)",
        "playlist:add_region (_G.kept, Temporal.timepos_t (FIRST), 1, false) _G.kept = nil",
        "Gitarre is no longer on its track",
    ),
}


@pytest.mark.parametrize("mishap", MISHAPS)
def test_a_region_is_not_what_it_was(studio: Studio, mishap: str) -> None:
    """What was made for it lands nowhere; the file is kept, and its place said."""
    change, back, text = MISHAPS[mishap]
    (before,) = studio.regions("Gitarre")
    job = studio.hold_back("Gitarre")
    studio.ardour.lua(_here(change, before))
    studio.engine.gate.set()
    said = f"Segue! {text}; the clip is kept in {studio.clip(job)}"
    until(lambda: studio.notices() == [said], "the notice")
    assert studio.clip(job).exists()
    assert studio.placed("AI", 0) == []
    studio.ardour.lua(_here(back, before))
    assert studio.regions("Gitarre") == [before]


def _here(code: str, region: list[str]) -> str:
    """Lua about the guitar's region, where it was."""
    return REGION + code.replace("FIRST", region[0]).replace("LENGTH", region[1])


def test_a_track_that_is_gone(studio: Studio) -> None:
    """The same where no track has the order's number. (Lua cannot remove one without a dialog.)"""
    job = studio.hold_back("Gitarre")
    journal = studio.ardour.session.parent / "segue-orders.txt"
    lines = journal.read_text(encoding="utf-8")
    assert f"order\tssshdhhhhdsshh\t{job}" in lines
    (track,) = studio.ardour.lua(f"say ({TRACK}:to_stateful ():id ():to_s ())")
    assert f"\t{track}\t" in lines
    journal.write_text(lines.replace(f"\t{track}\t", "\t999999\t"), encoding="utf-8")
    studio.engine.gate.set()
    kept = f"the clip is kept in {studio.clip(job)}"
    until(
        lambda: studio.notices() == [f"Segue! the track of Gitarre is gone; {kept}"], "the notice"
    )
    assert studio.clip(job).exists()
    assert studio.placed("AI", 0) == []


def test_a_region_of_another_name_and_beginning(studio: Studio) -> None:
    """Neither moves what was heard, so the clip lands; a name may have quotes in it."""
    (before,) = studio.regions("Gitarre")
    studio.ardour.lua(f"{REGION} region:set_name ('a \"b\" c')")
    studio.hold_back("Gitarre")
    studio.ardour.lua(
        f"{REGION} region:trim_front (region:position () + Temporal.timecnt_t (72000))"
        f" region:set_name ({quoted(before[3])})"
    )
    studio.engine.gate.set()
    (overlay,) = studio.placed("AI")
    seam = int(before[0]) + int(before[1])
    assert overlay[0] == str(seam - round(FADE_SECONDS * RATE))
    assert overlay[3] == 'a "b" c continue 1'
    studio.undo()
    studio.ardour.lua(f"{REGION} region:trim_front (Temporal.timepos_t ({before[0]}))")
    assert studio.regions("Gitarre") == [before]


def test_more_than_segue_takes(studio: Studio) -> None:
    """Eleven minutes are refused before any of them is read."""
    path = studio.folder / "long.flac"
    soundfile.write(path, np.zeros(11 * 60 * RATE, np.int16), RATE)
    embed(studio.ardour, "Lang", 0, path)
    studio.select("Lang")
    before = len(studio.engine.requests)
    studio.ardour.act(VARY)
    said = "Segue! too long: split the region, or select less; ten minutes are the most"
    assert studio.notices() == [said]
    assert list(studio.ardour.orders.iterdir()) == []
    assert len(studio.engine.requests) == before


def test_an_order_of_yesterday(studio: Studio) -> None:
    """Where Segue's side has let go of it, as it does with old ones when it is started anew, it
    does not wait for ever: you are told what its clip is called, and that is kept."""
    job = studio.hold_back("Gitarre")
    studio.kill_segue()
    studio.engine.gate.set()
    until(studio.clip(job).exists, "the clip")
    (order,) = studio.ardour.orders.glob("*.order")
    os.utime(order, (0, 0))
    studio.start_segue()
    said = f"Segue! Segue has forgotten this order; if there is a clip, it is results/{job}.wav"
    said += " in the data folder that `segue doctor` names"
    until(lambda: studio.notices() == [said], "the notice")
    journal = studio.ardour.session.parent / "segue-orders.txt"
    assert f"order\tssshdhhhhdsshh\t{job}" not in journal.read_text(encoding="utf-8")
    assert studio.clip(job).exists()
    assert studio.placed("AI", 0) == []


# The tracks, what is on them, and the markers.
EVERYTHING = f"""
for route in Session:get_routes ():iter () do
    say (route:name ())
    if not route:to_track ():isnil () then
        {listing("route:to_track ():playlist ()")}
    end
end
for each in Session:locations ():list ():iter () do say (each:name ()) end"""


@pytest.mark.parametrize("ends", ["before", "after"])
def test_ardour_is_killed(ends: str, tmp_path: Path) -> None:
    """kill -9, and the job goes on: it ends before or after Ardour is started again, there from
    the backup in which it was under way. The session has nothing but a notice of the file."""
    with running(tmp_path) as studio:
        ardour = studio.ardour
        ardour.lua('Session:save_state ("", false, false, false, false, false)')
        before = ardour.lua(EVERYTHING)
        job = studio.hold_back("Gitarre")
        if ends == "after":
            ardour.back_up()
        ardour.kill()
        if ends == "before":
            studio.engine.gate.set()
            until(studio.clip(job).exists, "the clip")
        with ardour:
            if ends == "after":
                until(lambda: studio.notices() == ["Segue: 40 % optimizing"], "progress")
                studio.engine.gate.set()
            said = f"Segue! made while the session was closed: {studio.clip(job)}"
            until(lambda: studio.notices() == [said], "the notice")
            assert ardour.lua(EVERYTHING) == [*before, f"\u2063{said}"]
            assert not (ardour.session.parent / "segue-orders.txt").exists()
            assert list(ardour.orders.iterdir()) == []
            ardour.quit()
        assert studio.clip(job).exists()


@pytest.mark.parametrize("kept", ["nowhere", "backup", "session"])
def test_ardour_is_killed_after_a_clip(kept: str, tmp_path: Path) -> None:
    """kill -9 with a clip on its track: where neither the session nor Ardour's backup has it, a
    notice names its file; where one has, there is nothing to say."""
    with running(tmp_path) as studio:
        ardour = studio.ardour
        journal = ardour.session.parent / "segue-orders.txt"
        save = 'Session:save_state ("", false, false, false, false, false)'
        ardour.lua(save)
        job = studio.hold_back("Gitarre")
        studio.engine.gate.set()
        placed = studio.placed("AI")
        until(lambda: not list(ardour.orders.iterdir()), "the end")
        assert studio.clip(job).name in journal.read_text(encoding="utf-8")
        if kept == "session":
            ardour.lua(save)
            until(lambda: not journal.exists(), "the end of the entry")
        elif kept == "backup":
            ardour.back_up()
        ardour.kill()
        with ardour:
            if kept == "nowhere":
                said = f"laid, but the session was not saved with it: {studio.clip(job)}"
                until(lambda: studio.notices() == [f"Segue! {said}"], "the notice")
                assert studio.clip(job).exists()
            else:
                assert studio.placed("AI") == placed
                ardour.lua(save)
                assert studio.notices() == []
            until(lambda: not journal.exists(), "the end of the entry")
            ardour.quit()
