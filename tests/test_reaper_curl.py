"""REAPER's scripts by curl: a real one, to a real bridge, and files where that fails."""

from __future__ import annotations

import math
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import httpx
import pytest

from segue.bridge.osc.http_order import CONTENT_TYPE, MAX_BODY_BYTES
from tests import lua_socket
from tests.osc_client import DEADLINE_SECONDS, Running
from tests.reaper_bridge import (
    UNATTENDED,
    bridging,
    free_port,
    laid,
    outlive_the_server,
    told,
    window,
)
from tests.reaper_desk import SCRIPTS, Desk, carrying
from tests.reaper_double import Script
from tests.reaper_tab_api import words
from tests.recorder import FRAMES, SAMPLE_RATE, Recorder, serving
from tests.test_http_order import needs_curl
from tests.test_reaper_wire import STEP_SECONDS
from tests.wire import ended, until

pytestmark = needs_curl
DAY = 24 * 3600


def data(desk: Desk) -> Path:
    """Where curl's files lie."""
    return desk.reaper.resources / "Data" / "Segue"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A REAPER that has curl alone; nobody looks into its spool. Every curl ends by itself."""
    folder = tmp_path / 'it\'s "a" ümlaut 響 %41 $HOME'
    monkeypatch.setenv("SEGUE_SPOOL", str(folder / "spool"))
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    desk = Desk(folder, name="Gitärre 'l\"ive' %d")
    desk.breath = 0.033  # as in REAPER, for a program takes its time to start
    desk.reaper.starts_programs = True
    yield desk
    for program in desk.reaper.programs:
        program.wait(DEADLINE_SECONDS)


@pytest.mark.parametrize("spool", ["there", "absent"])
def test_the_whole_way(spool: str, desk: Desk) -> None:
    """With nobody at the spool, or none: one curl carries it; nothing is left and nothing said."""
    engine = Recorder()
    if spool == "absent":
        desk.spool.rmdir()
    with serving(desk.folder / "data", engine) as url, bridging(url):
        desk.act("continue", seed=5)
        desk.finish()
    (request,) = engine.requests
    assert request.region is not None
    assert (request.region.path, request.seed) == (str(desk.file), 5)
    assert request.tempo is not None
    item = laid(desk)
    assert (item.info["D_POSITION"], item.info["D_LENGTH"]) == (4.0, FRAMES / SAMPLE_RATE)
    assert (desk.reaper.console, len(desk.reaper.programs)) == ("", 1)
    assert list(data(desk).iterdir()) == []


@pytest.mark.parametrize("how", ["stop", "end of the script"])
def test_stopping(how: str, desk: Desk, client: httpx.Client) -> None:
    """A second curl stops the job; the first one ends with it."""
    engine = Recorder(gate=threading.Event())
    with serving(desk.folder / "data", engine) as url, bridging(url):
        desk.act("continue")
        desk.until(engine.started.is_set)
        job_id = desk.order()[0]
        if how == "stop":
            desk.act("stop")
            desk.finish()
        else:
            desk.reaper.scripts[0].end()
        assert ended(client, url, job_id).state == "cancelled"
        assert [each.wait(DEADLINE_SECONDS) for each in desk.reaper.programs] == [0, 0]
    assert desk.reaper.console == "Segue: cancelled\n"
    assert list(desk.spool.iterdir()) == []


def test_what_a_stop_left_is_removed_after_a_day(desk: Desk) -> None:
    """With the next order; files of today and files of others stay."""
    now = int(time.time())
    data(desk).mkdir(parents=True)
    for name in (f"{now - DAY - 9:x}-a.curl", f"{now - DAY + 60:x}-b.curl", "notes-c.txt"):
        (data(desk) / name).touch()
    with serving(desk.folder / "data") as url, bridging(url):
        desk.act("continue")
        desk.finish()
        (data(desk) / f"{now - DAY - 9:x}-d.curl").touch()
        desk.act("continue")
        desk.finish()
    left = {each.name for each in data(desk).iterdir()}
    assert left == {f"{now - DAY + 60:x}-b.curl", "notes-c.txt"}


@pytest.mark.parametrize("broken", ["connection", "bridge", "curl"])
def test_what_breaks_in_the_middle(broken: str, desk: Desk) -> None:
    """The files carry the job on: its clip comes, and only one was made."""
    gate = threading.Event()
    engine = Recorder(gate=gate)
    with serving(desk.folder / "data", engine) as url:
        with bridging(url) as bridge:
            script = window(desk)
            desk.until(lambda: "optimizing" in script.drawn)
            desk.breath /= 3
            if broken == "connection":
                bridge.hang_up()
            if broken == "curl":
                desk.reaper.programs[0].kill()
            else:
                until(lambda: broken == "bridge" or desk.reaper.programs[0].poll())
        if broken != "curl":
            desk.until(lambda: UNATTENDED in "".join(script.drawn))
        with Running(url) as bridge, carrying(desk.spool, bridge.port):
            gate.set()
            desk.until(lambda: "done" in script.drawn)
    assert len(engine.requests) == 1
    assert laid(desk).info["D_POSITION"] == 4.0


def test_a_port_that_says_nothing(desk: Desk) -> None:
    """Whoever has it accepts and is mute: curl gives up and ends; the order waits in its files
    until somebody looks there, and its clip comes, made once."""
    engine = Recorder()
    with socket.create_server(("127.0.0.1", 0)) as mute, told(mute.getsockname()[1]):
        script = window(desk)
        desk.until(lambda: UNATTENDED in "".join(script.drawn))
        assert desk.reaper.programs[0].wait(DEADLINE_SECONDS) == 28  # it took too long
        assert len(list(desk.spool.glob("*.order"))) == 1
        with (
            serving(desk.folder / "data", engine) as url,
            Running(url) as bridge,
            carrying(desk.spool, bridge.port),
        ):
            desk.until(lambda: "done" in script.drawn)
    assert (len(engine.requests), len(desk.reaper.programs)) == (1, 1)
    assert laid(desk).info["D_POSITION"] == 4.0
    assert [*data(desk).iterdir(), *desk.spool.iterdir()] == []


@pytest.mark.slow
def test_a_server_killed_in_the_middle(desk: Desk) -> None:
    """kill -9, started again: the clip still comes, once."""
    outlive_the_server(desk)


def test_neither_bridge_nor_folder(desk: Desk) -> None:
    """There is nothing that could wait, so it is said."""
    desk.spool.rmdir()
    with told(free_port()):
        desk.act("continue")
        desk.finish()
    assert desk.reaper.console == "Segue: Segue is not there: start it with `segue up`\n"


WINDOWS = "package.config = '\\\\' .. package.config:sub(2)"


@pytest.mark.parametrize("there", [True, False])
def test_windows_own_curl(there: bool, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the system's, wherever that is, and no other in PATH."""
    real = shutil.which("curl")
    assert real is not None
    system = desk.folder.parent / "Win dows"
    monkeypatch.setenv("SystemRoot", str(system))
    path = Path(f"{system}\\System32\\curl.exe")
    if there:
        path.symlink_to(real)
    script = Script(desk.reaper, SCRIPTS / "segue_continue.lua")
    script.lua.execute(WINDOWS)
    desk.reaper.scripts.append(script)
    with (
        serving(desk.folder / "data") as url,
        bridging(url) as bridge,
        carrying(desk.spool, bridge.port),
    ):
        script.begin()
        desk.finish()
    assert laid(desk).info["D_POSITION"] == 4.0
    started = [cast("list[str]", each.args)[0] for each in desk.reaper.programs]
    assert started == [str(path)] * there


def no_curl(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is nowhere in PATH."""
    monkeypatch.setenv("PATH", str(desk.folder))


def no_start(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """REAPER cannot start it."""
    (desk.folder / "curl").write_text("this is no program")
    monkeypatch.setenv("PATH", str(desk.folder))


def no_life(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of its name does nothing."""
    true = shutil.which("true")
    assert true is not None
    (desk.folder / "curl").symlink_to(true)
    monkeypatch.setenv("PATH", str(desk.folder))


def no_name(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file cannot be named: all three quotation marks are in the path."""
    desk.reaper.resources = desk.folder / "RE`PER"


@pytest.mark.parametrize(
    ("lack", "tried"), [(no_curl, 0), (no_start, 0), (no_life, 2), (no_name, 0)]
)
def test_no_curl(lack: object, tried: int, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files bring the clip, without a word; curl is tried at the order and its end at most."""
    assert callable(lack)
    lack(desk, monkeypatch)
    engine = Recorder()
    with (
        serving(desk.folder / "data", engine) as url,
        bridging(url) as bridge,
        carrying(desk.spool, bridge.port),
    ):
        desk.act("continue")
        desk.finish()
    assert (len(engine.requests), desk.reaper.console) == (1, "")
    assert len(desk.reaper.programs) == tried
    assert laid(desk).info["D_POSITION"] == 4.0


@lua_socket.needs_luasocket
def test_sockets_come_first(desk: Desk) -> None:
    """With LuaSocket there, curl is not asked."""
    lua_socket.install(desk.reaper)
    with serving(desk.folder / "data") as url, bridging(url):
        desk.act("continue")
        desk.finish()
    assert laid(desk).info["D_POSITION"] == 4.0
    assert desk.reaper.programs == []


LONG = """function(lib, count)
  local use = dofile(lib .. '/use.lua')
  local wire, messages = use('wire'), {}
  for place = 1, count do
    messages[place] = { address = '/segue/cancel', { 's', ('x'):rep(64) } }
  end
  local text, order = use('line').text(messages), nil
  return function()
    order = order or wire.order('long', messages, text)
    return #order:answers(), order.stream:closed()
  end
end"""


def test_an_order_that_is_too_long(desk: Desk) -> None:
    """Curl is refused, which is found out; the order stays in its file."""
    script = Script(desk.reaper, SCRIPTS / "segue_stop.lua")
    with Running("http://127.0.0.1:9") as bridge, told(bridge.port):
        turn = script.lua.eval(LONG)(str(SCRIPTS / "lib"), MAX_BODY_BYTES // 60)
        until(lambda: turn()[1])
        assert desk.reaper.programs[0].wait(DEADLINE_SECONDS) != 0
    assert (desk.spool / "long.order").stat().st_size > MAX_BODY_BYTES


def test_when_silence_is_found_out(desk: Desk) -> None:
    """After five seconds, from which on nothing more is hoped for from curl."""
    script = Script(desk.reaper, SCRIPTS / "segue_stop.lua")
    turn = script.lua.eval(LONG)(str(SCRIPTS / "lib"), 1)
    closed = []
    with socket.create_server(("127.0.0.1", 0)) as mute, told(mute.getsockname()[1]):
        for seconds in (0.0, 4.9, 0.2):
            desk.reaper.clock += seconds
            closed.append(turn()[1])
        desk.reaper.programs[0].kill()
    assert closed == [False, False, True]


def seconds_of(turn: Callable[[], object], desk: Desk) -> float:
    """That the processor works for a turn, without the start of programs, which is the double's.

    A turn that waits works little, so it may take no second of anybody's time either.
    """
    desk.reaper.clock += 0.033
    starting, begun, worked = desk.reaper.starting, time.monotonic(), time.thread_time()
    turn()
    worked = time.thread_time() - worked - (desk.reaper.starting - starting)
    return worked if time.monotonic() - begun < 1.0 else math.inf


def longest_turn(desk: Desk) -> float:
    """In seconds: of the turn that leaves a long order, and of the hundred after it."""
    script = Script(desk.reaper, SCRIPTS / "segue_stop.lua")
    turn = script.lua.eval(LONG)(str(SCRIPTS / "lib"), 5000)
    return max(seconds_of(turn, desk) for _ in range(101))


def test_no_turn_waits(desk: Desk) -> None:
    """Where nobody answers curl, neither; the best of three, for the machine may be busy."""
    tries = []
    with socket.create_server(("127.0.0.1", 0)) as mute, told(mute.getsockname()[1]):
        tries = [longest_turn(desk) for _ in range(3)]
        for program in desk.reaper.programs:
            program.kill()
    assert min(tries) < STEP_SECONDS


ENCODE = """function(lib, count)
  local use, values = dofile(lib .. '/use.lua'), {}
  for place = 1, 3 * count do values[place] = place / 7 end
  local list = { what = 'melody', columns = 3, values = values }
  local make = { address = '/segue/make', { 's', 'long' } }
  local encode = coroutine.wrap(function()
    return use('order').encode({ id = 'long', lists = { list }, make = make })
  end)
  return function() return encode() end
end"""


def turns_of_a_long_line(desk: Desk) -> list[float]:
    """How long each one works, in seconds, until ten thousand notes are an order."""
    script = Script(desk.reaper, SCRIPTS / "segue_stop.lua")
    encode = script.lua.eval(ENCODE)(str(SCRIPTS / "lib"), 10_000)
    written: list[object] = []
    seconds = []
    while not any(written):
        seconds.append(seconds_of(lambda: written.append(encode()), desk))
    return seconds


def test_a_long_line_is_written_in_turns(desk: Desk) -> None:
    """As many notes as Segue takes: no turn works for long; the best of three."""
    tries = [turns_of_a_long_line(desk) for _ in range(3)]
    assert {len(seconds) for seconds in tries} == {20}
    assert min(map(max, tries)) < STEP_SECONDS


CONFIG = "function(lib, id) return dofile(lib .. '/use.lua')('curl').new(id, '').stem end"


@pytest.mark.parametrize("name", ["a b", "a'b", "ü 響", '"', 'it\'s "a"', "%41 $HOME", "a\\b\\n"])
def test_any_path(name: str, desk: Desk) -> None:
    """Of REAPER's own folder: curl finds its file there, and writes beside it."""
    desk.reaper.resources = desk.folder.parent / name
    script = Script(desk.reaper, SCRIPTS / "segue_stop.lua")
    with told(free_port()):
        stem = script.lua.eval(CONFIG)(str(SCRIPTS / "lib"), "x")
    assert desk.reaper.programs[0].wait(DEADLINE_SECONDS) == 7  # nobody listens there
    assert stem.startswith(f"{desk.reaper.resources}/Data/Segue/")
    assert Path(f"{stem}.news").read_text("utf-8").startswith("curl: (7) ")
    assert CONTENT_TYPE in Path(f"{stem}.curl").read_text("utf-8")


def test_how_the_double_parts_a_command() -> None:
    """As people found REAPER to: at spaces, three quotation marks, no escapes."""
    assert words("""/bin/x -q "a b" 'c "d' `e 'f" g` \\h""") == [
        *("/bin/x", "-q", "a b", 'c "d', "e 'f\" g", "\\h"),
    ]


def test_the_self_test(desk: Desk) -> None:
    """Each way is told of, curl with the port, why it is no socket, and what its start costs."""
    desk.reaper.starting_costs = 0.012
    with (
        serving(desk.folder / "data") as url,
        bridging(url) as bridge,
        carrying(desk.spool, bridge.port),
    ):
        desk.act("self_test")
        desk.finish()
    lines = desk.reaper.console.splitlines()
    way = f"ok    Segue answers by curl (there is no LuaSocket), on port {bridge.port}"
    assert way in lines
    assert "ok    starting curl held REAPER up for 12 ms" in lines
    assert "ok    Segue answers by files" in lines
    assert lines[-1] == "Segue's self-test: all passed"
