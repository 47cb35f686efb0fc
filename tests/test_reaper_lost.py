"""Projects, items and whole REAPERs that go while a clip is made: the clip is kept, and told."""

from __future__ import annotations

from pathlib import Path

import pytest

from segue.bridge.osc.codec import Message
from segue.bridge.osc.lines import encode_line
from tests.reaper_desk import (
    ODD_NAME,
    RETURN,
    SCRIPTS,
    START,
    Desk,
    laid,
    press,
    window,
)
from tests.reaper_double import Project

LOST = "REAPER ended before its clip was placed; the clip is kept: "


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A REAPER at 48 kHz whose orders nobody carries away."""
    folder = tmp_path / 'it\'s "a" ümlaut'
    monkeypatch.setenv("SEGUE_SPOOL", str(folder / "spool"))
    return Desk(folder, name=ODD_NAME)


def open_other(desk: Desk) -> Project:
    """Another project tab comes to the front."""
    other = Project(desk.folder / "other")
    other.track("Also here")
    desk.reaper.projects.insert(0, other)
    return other


def test_another_tab_in_front(desk: Desk) -> None:
    """The clip waits until its project is in front again; the other one is not touched."""
    desk.act("continue")
    desk.order()
    other = open_other(desk)
    desk.done(START)
    for _ in range(20):
        desk.reaper.turn()
    assert [len(project.tracks) for project in (other, desk.project)] == [1, 1]
    assert (other.changes_outside, desk.project.changes_outside) == ([], [])
    assert desk.reaper.console == "Segue: ready: go back to its project\n"
    desk.reaper.front = 1
    desk.finish()
    assert laid(desk).info["D_POSITION"] == 4.0


@pytest.mark.parametrize("by", ["action", "window"])
def test_a_script_that_ends_before_its_clip_is_placed(by: str, desk: Desk) -> None:
    """The clip is there, so it is kept, and the console says where."""
    if by == "action":
        desk.act("continue")
    else:
        press(desk, window(desk), RETURN)
    desk.order()
    open_other(desk)
    desk.done(START)
    for _ in range(3):
        desk.reaper.turn()
    desk.reaper.scripts[0].end()
    kept = desk.folder / "server" / "clip.wav"
    assert desk.reaper.console.endswith(f"Segue: cancelled; the clip is kept: {kept}\n")
    assert kept.exists()


def test_another_file_in_the_same_tab(desk: Desk) -> None:
    """REAPER gives it the same pointers: nothing is copied into its folder or put on its track."""
    desk.act("continue")
    desk.order()
    other = Project(desk.folder / "other", file="y.rpp")
    other.folder.mkdir()
    also = other.track("Also here")
    desk.reaper.open_in_tab(desk.project, other)
    desk.done(START)
    desk.finish()
    kept = desk.folder / "server" / "clip.wav"
    said = f"Segue: the project was closed; the clip is kept: {kept}\n"
    assert desk.reaper.console == said
    assert kept.exists()
    assert list(other.folder.iterdir()) == []
    assert desk.project.tracks == [desk.track]
    assert (desk.track.guid, desk.track.items, desk.project.undo) == (also.guid, [], [])


def test_the_tab_s_file_changes_while_a_clip_is_copied(desk: Desk) -> None:
    """The copy that is not whole goes, from the first project's folder."""
    desk.act("continue")
    path = desk.clip("long.wav", 10.0)
    desk.answer("/segue/job/done", path, START, 480000, 48000, 7, "", 0.0)
    folder = desk.project.folder / "Segue"
    desk.until(lambda: list(folder.glob("*.wav")))
    desk.reaper.open_in_tab(desk.project, Project(desk.folder / "other", file="y.rpp"))
    desk.finish()
    assert desk.reaper.console == f"Segue: the project was closed; the clip is kept: {path}\n"
    assert list(folder.glob("*.wav")) == []


def test_a_project_that_is_saved_under_another_name(desk: Desk) -> None:
    """It has the track still, so it is the one."""
    desk.act("continue")
    desk.order()
    desk.project.file = "y.rpp"
    desk.done(START)
    desk.finish()
    assert (laid(desk).info["D_POSITION"], desk.reaper.console) == (4.0, "")


@pytest.mark.parametrize("lost", ["project", "track"])
def test_project_or_track_gone(lost: str, desk: Desk) -> None:
    """The clip is kept, its place is said, and nothing is put anywhere else."""
    desk.act("continue")
    desk.order()
    if lost == "project":
        other = open_other(desk)
        desk.reaper.projects.remove(desk.project)
    else:
        other = desk.project
        other.tracks[0].name = other.track("Also here").name
        other.tracks.pop(0)
    desk.done(START)
    desk.finish()
    assert f"Segue: the {lost} " in desk.reaper.console
    kept = Path(desk.reaper.console.rpartition(": ")[2].strip())
    assert kept.read_bytes() == (desk.folder / "server" / "clip.wav").read_bytes()
    assert ([track.items for track in other.tracks], other.undo) == ([[]], [])


def test_an_item_that_is_deleted_at_once(desk: Desk) -> None:
    """Its waveform is not drawn: REAPER has freed the file."""
    desk.act("continue")
    desk.done(START)
    desk.until(lambda: len(desk.project.tracks) == 2)
    laid(desk).track.items.clear()
    desk.finish()
    assert desk.reaper.console == ""


def test_a_clip_that_is_no_audio(desk: Desk) -> None:
    """It is said, and the undo history does not know of it."""
    desk.act("continue")
    bad = desk.folder / "bad.wav"
    bad.write_bytes(b"RIFF")
    desk.answer("/segue/job/done", str(bad), START, 1, 48000, 7, "", 0.0)
    desk.finish()
    assert "Segue: REAPER cannot read the clip; the clip is kept: " in desk.reaper.console
    assert (len(desk.project.tracks), desk.project.undo) == (1, [])


def test_a_clip_that_is_gone(desk: Desk) -> None:
    """It is said."""
    desk.act("continue")
    desk.answer("/segue/job/done", "/nowhere.wav", START, 1, 48000, 7, "", 0.0)
    desk.finish()
    assert "Segue: the clip is gone: /nowhere.wav" in desk.reaper.console


def test_an_error_is_said(desk: Desk) -> None:
    """In Segue's own words, which say what to do."""
    desk.act("continue")
    desk.answer("/segue/error", "bad-region", "region: too short")
    desk.finish()
    assert desk.reaper.console == "Segue: region: too short\n"
    assert list(desk.spool.iterdir()) == []


def test_an_answer_half_written(desk: Desk) -> None:
    """A line counts once its end is there; another job's, or one nobody knows, never."""
    desk.act("continue")
    job_id = desk.order()[0]
    with (desk.spool / f"{job_id}.answers").open("w") as file:
        file.write("/segue/error\tsss\tanother\tbad-request\tnot ours\n/what\ts\t?\n/segue/err")
    for _ in range(5):
        desk.reaper.turn()
    assert desk.reaper.console == ""
    with (desk.spool / f"{job_id}.answers").open("a") as file:
        file.write(f"or\tsss\t{job_id}\tbad-request\tours\n")
    desk.finish()
    assert desk.reaper.console == "Segue: ours\n"


def test_a_script_that_ends_stops_its_job(desk: Desk) -> None:
    """REAPER closes, or the user ends the script: the order is taken away."""
    desk.act("continue")
    desk.order()
    desk.reaper.scripts[0].end()
    assert list(desk.spool.iterdir()) == []


def test_reaper_crashes(desk: Desk) -> None:
    """The job goes on; the next REAPER says once where its clip is, and places nothing."""
    desk.act("continue")
    desk.order()
    desk.reaper.crash()
    assert "kept" not in "".join(window(desk).drawn)
    desk.reaper.crash()
    desk.done(START)
    kept = desk.folder / "server" / "clip.wav"
    said = f"{LOST}{kept}"
    assert said in "".join(window(desk).drawn)
    assert said not in "".join(window(desk).drawn)
    assert (list(desk.spool.iterdir()), len(desk.project.tracks)) == ([], 1)


def says_done(desk: Desk, job_id: str) -> str:
    """Segue tells that a job is done; the clip's path."""
    clip = desk.clip(f"{job_id}.wav")
    message = Message("/segue/job/done", (job_id, clip, START, 144000, 48000, 7, "", 0.0))
    (desk.spool / f"{job_id}.answers").write_text(encode_line(message) + "\n", "utf-8")
    return clip


def test_several_jobs_are_lost(desk: Desk) -> None:
    """Also over another crash and another job: each clip is told of, once."""
    for _ in range(2):
        desk.act("continue")
        desk.order()
    ids = sorted(path.stem for path in desk.spool.glob("*.order"))
    desk.reaper.crash()
    desk.act("continue")
    (third,) = {path.stem for path in desk.spool.glob("*.order")} - set(ids)
    says_done(desk, third)
    desk.finish()
    assert desk.reaper.console == ""
    desk.reaper.crash()
    clips = [says_done(desk, job_id) for job_id in ids]
    desk.act("continue")
    said = ", ".join(clips)
    assert desk.reaper.console == f"Segue: {LOST}{said}\n"
    desk.act("continue")
    assert desk.reaper.console == f"Segue: {LOST}{said}\n"


def test_a_lost_job_that_never_ends(desk: Desk) -> None:
    """After a day nobody waits for it."""
    desk.act("continue")
    desk.order()
    desk.reaper.crash()
    desk.reaper.away += 24 * 3600
    assert "kept" not in "".join(window(desk).drawn)
    assert list(desk.spool.iterdir()) == []
    assert list((desk.reaper.resources / "Data" / "Segue").iterdir()) == []


def test_another_reaper_that_runs(desk: Desk) -> None:
    """With the same settings: its job is its own, however long it lasts, until it crashes."""
    other = Desk(desk.folder / "other")
    other.reaper.resources = desk.reaper.resources
    desk.act("continue")
    job_id = desk.order()[0]
    for _ in range(3):
        desk.reaper.away += 15
        desk.reaper.turn()
    other.reaper.away = desk.reaper.away
    other.reaper.states = {key: desk.reaper.states[key] for key in desk.reaper.lasting}
    clip = says_done(desk, job_id)
    assert "kept" not in "".join(window(other).drawn)
    other.reaper.scripts[0].end()
    desk.finish()
    assert laid(desk).info["D_POSITION"] == 4.0
    assert Path(clip).exists()


def test_reaper_is_closed_while_a_clip_waits(desk: Desk) -> None:
    """Its console closes with it, so the next REAPER says where the clip is."""
    desk.act("continue")
    desk.order()
    open_other(desk)
    desk.done(START)
    desk.until(lambda: "go back to its project" in desk.reaper.console)
    desk.reaper.scripts[0].end()
    desk.reaper.crash()
    kept = desk.folder / "server" / "clip.wav"
    assert f"{LOST}{kept}" in "".join(window(desk).drawn)
    assert "kept" not in "".join(window(desk).drawn)


def test_a_crash_is_no_matter_of_other_scripts(desk: Desk) -> None:
    """A job that runs in this REAPER is its own script's, whatever else begins."""
    desk.act("continue")
    desk.order()
    desk.done(START)
    desk.reaper.run(SCRIPTS / "segue_vary.lua")
    desk.until(lambda: len(desk.project.tracks) == 2)
    assert desk.reaper.console == ""
