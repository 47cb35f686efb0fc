"""REAPER's scripts from the order to the clip, with and without a server; the window."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from segue.bridge.daw.spool_folder import SpoolFolder
from segue.presets.vocabulary import Progress, Request, Result
from tests.osc_client import Running
from tests.reaper_desk import (
    DOWN,
    ESCAPE,
    LEFT,
    ODD_NAME,
    RETURN,
    RIGHT,
    SCRIPTS,
    START,
    Desk,
    carrying,
    laid,
    press,
    sources,
    window,
)
from tests.recorder import FRAMES, SAMPLE_RATE, Recorder, serving, write_noise
from tests.test_bridge_server import start_server
from tests.wire import ended

HELP = "arrows: choose   e: type   Return: make music   Esc: close"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A REAPER at 48 kHz whose orders nobody carries away."""
    folder = tmp_path / 'it\'s "a" ümlaut'
    monkeypatch.setenv("SEGUE_SPOOL", str(folder / "spool"))
    return Desk(folder, name=ODD_NAME)


@contextmanager
def segue(desk: Desk, engine: Recorder) -> Iterator[str]:
    """A real server, bridge and spool for the desk's scripts; the server's URL."""
    with (
        serving(desk.folder / "data", engine) as url,
        Running(url) as bridge,
        carrying(desk.spool, bridge.port),
    ):
        yield url


def test_the_whole_way(desk: Desk) -> None:
    """From the action to the item, through files, OSC and the real server; one undo step."""
    engine = Recorder()
    before = (dict(desk.item.info), list(desk.item.takes), dict(desk.track.info))
    with segue(desk, engine):
        desk.act("continue", seed=5)
        desk.finish()
    (request,) = engine.requests
    assert request.region is not None
    assert (request.region.path, request.region.start_seconds) == (str(desk.file), START)
    assert (request.region.length_seconds, request.new_bars, request.seed) == (4.0, 4.0, 5)
    assert request.tempo is not None
    assert request.tempo.changes[0].bpm == 120.0
    assert [track.name for track in desk.project.tracks] == [ODD_NAME, f"AI: {ODD_NAME}"]
    item = laid(desk)
    assert (item.info["D_POSITION"], item.info["D_LENGTH"]) == (4.0, FRAMES / SAMPLE_RATE)
    assert (item.info["D_FADEINLEN"], item.info["D_FADEOUTLEN"]) == (0.0, 0.0)
    (source,) = sources(item)
    result = desk.folder / "data" / "results" / f"{request.id}.wav"
    assert Path(source.path) == desk.project.folder / "Segue" / f"{request.id}.wav"
    assert Path(source.path).read_bytes() == result.read_bytes()
    assert source.peaks_to_build == 0
    assert before == (desk.item.info, desk.item.takes, desk.track.info)
    assert desk.project.undo == ["Segue: continue, seed 5"]
    assert (desk.project.changes_outside, desk.project.open_blocks) == ([], 0)
    assert (desk.reaper.console, desk.reaper.refresh_prevented) == ("", 0)
    assert list(desk.spool.iterdir()) == []


class Varied(Recorder):
    """An engine that keeps a second clip, and makes an overlay for each."""

    def run(
        self, request: Request, out_path: Path, on_progress: Callable[[Progress], None]
    ) -> Result:
        """As the recorder's, and more files beside its clip."""
        result = super().run(request, out_path, on_progress)
        more = [out_path.with_name(f"{out_path.stem}~{end}.wav") for end in ("o", "2", "2o")]
        for number, path in enumerate(more, start=1):
            write_noise(path, result.seed + number)
        overlay, second, second_overlay = map(str, more)
        told = {"overlay_path": overlay, "overlay_start_seconds": result.start_seconds + 3.5}
        told |= {"variations": (second,), "variation_overlays": (second_overlay,)}
        return result.model_copy(update=told)


def test_overlays_of_two_clips_on_the_whole_way(desk: Desk) -> None:
    """Told by the real server and bridge: both overlays are takes of one item, at their place."""
    with segue(desk, Varied()):
        desk.act("continue", preset="best-of-eight", seed=5)
        desk.finish()
    item = laid(desk)
    assert item.info["D_POSITION"] == 7.5
    audio = [Path(source.path).read_bytes() for source in sources(item)]
    results = desk.folder / "data" / "results"
    assert audio == [next(results.glob(f"*~{end}.wav")).read_bytes() for end in ("o", "2o")]
    assert audio[0] != audio[1]


def test_rows_reach_the_server(desk: Desk) -> None:
    """More rows than one message holds, and a gap, become the request's own."""
    engine = Recorder()
    desk.project.selection = (5.0, 8.0)
    with segue(desk, engine):
        desk.act("fill", seed=1)
        desk.finish()
    (request,) = engine.requests
    (place,) = request.controls
    assert place.kind == "inpaint"
    assert [(gap.start, gap.length) for gap in place.gaps] == [(3.0, 3.0)]
    assert desk.reaper.console == ""


def test_stopping_reaches_the_server(desk: Desk, client: httpx.Client) -> None:
    """The action `stop` ends a running job, here and there, and says so."""
    engine = Recorder(gate=threading.Event())
    with segue(desk, engine) as url:
        desk.act("continue")
        desk.until(engine.started.is_set)
        job_id = desk.order()[0]
        desk.act("stop")
        desk.finish()
        assert ended(client, url, job_id).state == "cancelled"
    assert desk.reaper.console == "Segue: cancelled\n"
    assert len(desk.project.tracks) == 1
    assert desk.project.undo == []


def test_two_reapers_at_once(desk: Desk) -> None:
    """Through one spool: each gets its own clip."""
    other = Desk(desk.folder / "other")
    with segue(desk, Recorder()):
        for each, seed in ((desk, 1), (other, 2)):
            each.act("continue", seed=seed)
        desk.finish()
        other.finish()
    names = [laid(each).takes[0].name for each in (desk, other)]
    assert names == ["continue, seed 1", "continue, seed 2"]
    paths = [Path(sources(laid(each))[0].path) for each in (desk, other)]
    assert [path.parent.parent for path in paths] == [desk.project.folder, other.project.folder]
    assert paths[0].read_bytes() != paths[1].read_bytes()


def test_no_spool(desk: Desk) -> None:
    """Without the folder nobody can answer, so it is said at once."""
    desk.spool.rmdir()
    desk.act("continue")
    desk.finish()
    assert desk.reaper.console == "Segue: Segue is not there: start it with `segue up`\n"


UNATTENDED = "Segue does not answer: start `segue up`, or start it anew; this waits"


def test_segue_is_started_late(desk: Desk) -> None:
    """The folder is there from another day, but nobody looks into it: the action says so, once,
    and its order waits."""
    desk.act("continue")
    desk.until(lambda: desk.reaper.clock > 20.0)
    assert desk.reaper.console == f"Segue: {UNATTENDED}\n"
    with segue(desk, Recorder()):
        desk.finish()
    assert len(laid(desk).takes) == 1
    assert list(desk.spool.iterdir()) == []


def test_a_spool_that_dies(desk: Desk) -> None:
    """The window says so in the middle of the job, and the clip comes once it is back."""
    gate = threading.Event()
    engine, script = Recorder(gate=gate), window(desk)
    with serving(desk.folder / "data", engine) as url, Running(url) as bridge:
        with carrying(desk.spool, bridge.port):
            press(desk, script, RETURN)
            desk.until(lambda: "optimizing" in script.drawn)
        desk.until(lambda: UNATTENDED in "".join(script.drawn))
        with carrying(desk.spool, bridge.port):
            desk.until(lambda: "optimizing" in script.drawn)
            gate.set()
            desk.until(lambda: "done" in script.drawn)
    assert len(laid(desk).takes) == 1


def test_a_bridge_that_is_not_there(desk: Desk) -> None:
    """An action without a window says in the console what the spool says."""
    desk.act("continue")
    desk.order()
    desk.answer("/spool/waiting", "nobody answers: start it with `segue up`")
    desk.until(lambda: desk.reaper.console)
    desk.answer("/segue/error", "bad-region", "silence")
    desk.finish()
    assert desk.reaper.console == (
        "Segue: nobody answers: start it with `segue up`\nSegue: silence\n"
    )


def test_the_bridge_is_started_late(desk: Desk) -> None:
    """The window says that nobody answers, and goes on waiting; then the clip comes."""
    engine = Recorder()
    script = window(desk)
    spool = SpoolFolder(desk.spool, 9)  # the discard port: nobody listens
    press(desk, script, RETURN)
    desk.order()
    spool.turn(0.0, 0.0)
    spool.turn(10.0, 0.0)
    spool.close()
    desk.until(lambda: "nobody answers: start it with `segue up`" in script.drawn)
    with segue(desk, engine):
        desk.until(lambda: "done" in script.drawn)
    assert len(laid(desk).takes) == 1


@pytest.mark.slow
def test_a_server_killed_in_the_middle(desk: Desk) -> None:
    """kill -9, started again: the clip still comes, once, and no turn waits for it."""
    server, port = start_server(0, desk.folder)
    with Running(f"http://127.0.0.1:{port}") as bridge, carrying(desk.spool, bridge.port):
        script = window(desk)
        press(desk, script, RETURN)
        desk.until(lambda: "optimizing" in script.drawn)
        with server:
            server.kill()
        for _ in range(10):
            desk.reaper.turn()
        server, same_port = start_server(port, desk.folder)
        (desk.folder / "gate").touch()
        desk.until(lambda: "done" in script.drawn)
        with server:
            server.terminate()
    assert same_port == port
    assert len(laid(desk).takes) == 1


def test_the_window_by_keys(desk: Desk) -> None:
    """Arrows choose task, preset and length; Return asks for it; Escape stops, then closes."""
    script = window(desk)
    press(desk, script, RIGHT)  # before
    press(desk, script, LEFT, LEFT)  # loop
    assert "Loop" in script.drawn
    press(desk, script, RIGHT, DOWN, RIGHT, RIGHT, DOWN, RIGHT)
    assert {"Continue", "rise", "5"} <= set(script.drawn)
    press(desk, script, DOWN, LEFT)
    assert "seconds" in script.drawn
    press(desk, script, RETURN)
    assert desk.make()[4:10] == ["rise", 5.0, 0.0, 0.0, -1, ""]
    desk.answer("/segue/job/progress", 0.25, "optimizing")
    desk.until(lambda: "optimizing" in script.drawn)
    assert "Esc: stop" in script.drawn
    press(desk, script, ESCAPE)
    assert {"cancelled", HELP} <= set(script.drawn)
    assert list(desk.spool.iterdir()) == []
    assert script.gfx.open
    script.keys.append(ESCAPE)
    desk.finish()
    script.end()
    assert not script.gfx.open
    assert desk.reaper.states["Segue", "preset"] == "rise"


def test_the_window_by_typing(desk: Desk) -> None:
    """`e` or a click takes a length, a seed and words; what makes no sense changes nothing."""
    script = window(desk)
    desk.reaper.dialog = ["7.5", "much", "99", None, "a, b"]
    press(desk, script, DOWN, DOWN, ord("e"), ord("e"), DOWN, DOWN, ord("e"), ord("e"), DOWN)
    script.gfx.mouse_x, script.gfx.mouse_y, script.gfx.mouse_cap = 300, 12 + 5 * 22 + 3, 1
    desk.reaper.turn()
    desk.reaper.turn()
    assert {"7.5", "99", "a, b"} <= set(script.drawn)
    press(desk, script, RETURN)
    assert desk.make()[6:10] == [7.5, 0.0, 99, "a, b"]


def test_a_long_message_is_shown_whole(desk: Desk) -> None:
    """It is broken between words and the folders of a path; no line is wider than the window."""
    script = window(desk)
    press(desk, script, RETURN)
    text = "region: too short; the clip is kept: " + "/a folder/another" * 10 + ".wav"
    desk.answer("/segue/error", "bad-region", text)
    desk.until(lambda: "".join(script.drawn).endswith(text))
    assert max(7 * len(each) for each in script.drawn) <= 460 - 12


def test_one_job_at_a_time(desk: Desk) -> None:
    """Return does nothing while a job runs."""
    script = window(desk)
    press(desk, script, RETURN)
    desk.order()
    press(desk, script, RETURN)
    assert len(list(desk.spool.glob("*.order"))) == 1


def test_the_self_test(desk: Desk) -> None:
    """Each step passes where all is well, the server's own word included; nothing is changed."""
    with segue(desk, Recorder()):
        desk.act("self_test")
        desk.finish()
    lines = desk.reaper.console.splitlines()
    assert [line[:6] for line in lines[:-1]] == ["ok    "] * 8
    assert any("orders go as files alone: there is no LuaSocket, and" in line for line in lines)
    assert lines[-1] == "Segue's self-test: all passed"
    assert (desk.project.changes_outside, desk.project.undo) == ([], [])


def test_the_self_test_where_nothing_works(desk: Desk) -> None:
    """Each failure is told with what to do."""
    desk.spool.rmdir()
    desk.project.folder.rmdir()
    desk.project.folder.write_text("a file")
    desk.act("self_test")
    desk.finish()
    lines = desk.reaper.console.splitlines()
    failed = [line.partition(":")[0] for line in lines if line.startswith("FAIL")]
    assert failed == [
        "FAIL  the project's folder takes files",
        f"FAIL  an order can be left in {desk.spool}",
    ]
    assert "start it with `segue up`" in desk.reaper.console
    assert lines[-1] == "Segue's self-test: 2 failed"


def test_the_self_test_without_a_bridge(desk: Desk) -> None:
    """Nobody answers in time."""
    desk.act("self_test")
    desk.finish()
    said = "FAIL  Segue answers by files: nobody does: start it with `segue up`"
    assert said in desk.reaper.console


def test_adding_the_actions(desk: Desk) -> None:
    """One script makes all of them known to REAPER."""
    desk.act("add_actions")
    names = {Path(path).name for path in desk.reaper.registered}
    shipped = {path.name for path in SCRIPTS.glob("*.lua")}
    assert names == shipped - {"segue_add_actions.lua"}
    assert desk.reaper.console == f"Segue: {len(names)} actions are in the action list\n"
