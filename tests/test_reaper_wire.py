"""REAPER's scripts over a socket: real LuaSocket to a real bridge, and files when that breaks."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from segue.bridge.osc.codec import encode
from segue.bridge.osc.stream import Lengths
from tests.lua_socket import install, needs_luasocket
from tests.osc_client import Running
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
from tests.recorder import DEADLINE_SECONDS, FRAMES, SAMPLE_RATE, Recorder, make_request, serving
from tests.wire import ended, send, until

pytestmark = needs_luasocket

STEP_SECONDS = 0.03  # what a turn of REAPER may take
FLOOD = encode("/segue/job/progress", ("s", "a"), ("d", 0.5), ("s", "optimizing"))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A REAPER that has LuaSocket; nobody looks into its spool, and no bridge is there yet."""
    folder = tmp_path / 'it\'s "a" ümlaut 響'
    monkeypatch.setenv("SEGUE_SPOOL", str(folder / "spool"))
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    desk = Desk(folder, name="Gitärre 'l\"ive' %d")
    install(desk.reaper)
    return desk


def test_the_whole_way(desk: Desk) -> None:
    """With nobody at the spool: from the action to the item; nothing is left and nothing said."""
    engine = Recorder()
    with serving(desk.folder / "data", engine) as url, bridging(url):
        desk.act("continue", seed=5)
        desk.finish()
    (request,) = engine.requests
    assert request.region is not None
    assert (request.region.path, request.seed) == (str(desk.file), 5)
    assert request.tempo is not None
    item = laid(desk)
    assert (item.info["D_POSITION"], item.info["D_LENGTH"]) == (4.0, FRAMES / SAMPLE_RATE)
    assert desk.project.undo == ["Segue: continue, seed 5"]
    assert desk.reaper.console == ""
    assert list(desk.spool.iterdir()) == []


def test_without_the_folder(desk: Desk) -> None:
    """A spool that never was is not needed."""
    desk.spool.rmdir()
    with serving(desk.folder / "data") as url, bridging(url):
        desk.act("continue")
        desk.finish()
    assert (laid(desk).info["D_POSITION"], desk.reaper.console) == (4.0, "")


def test_both_ways_make_one_job(desk: Desk) -> None:
    """Files and socket ask for the same, a drawn seed included; one clip is made and laid."""
    gate = threading.Event()
    engine = Recorder(gate=gate)
    with serving(desk.folder / "data", engine) as url, bridging(url) as bridge:
        script = window(desk)
        with carrying(desk.spool, bridge.port):
            answers = until(lambda: next(desk.spool.glob("*.answers"), None))
            until(lambda: "progress" in answers.read_text("utf-8"))
            desk.until(lambda: "optimizing" in script.drawn)
            gate.set()
            desk.until(lambda: "done" in script.drawn)
            until(lambda: list(desk.spool.iterdir()) == [])
    assert len(engine.requests) == 1
    assert laid(desk).info["D_POSITION"] == 4.0


def test_no_bridge_yet(desk: Desk) -> None:
    """The order waits in its file, as is said; with bridge and spool the clip comes."""
    engine = Recorder()
    with told(free_port()):
        desk.act("continue")
        desk.until(lambda: desk.reaper.clock > 10.0)
    assert desk.reaper.console == f"Segue: {UNATTENDED}\n"
    with (
        serving(desk.folder / "data", engine) as url,
        Running(url) as bridge,
        carrying(desk.spool, bridge.port),
    ):
        desk.finish()
    assert len(engine.requests) == 1
    assert laid(desk).info["D_POSITION"] == 4.0


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


@pytest.mark.parametrize("broken", ["connection", "bridge"])
def test_what_breaks_in_the_middle(broken: str, desk: Desk) -> None:
    """The files carry the job on: its clip comes, and only one was made."""
    gate = threading.Event()
    engine = Recorder(gate=gate)
    with serving(desk.folder / "data", engine) as url:
        with bridging(url) as bridge:
            script = window(desk)
            desk.until(lambda: "optimizing" in script.drawn)
            if broken == "connection":
                bridge.hang_up()
        desk.until(lambda: UNATTENDED in "".join(script.drawn))
        with Running(url) as bridge, carrying(desk.spool, bridge.port):
            desk.until(lambda: "optimizing" in script.drawn)
            gate.set()
            desk.until(lambda: "done" in script.drawn)
    assert len(engine.requests) == 1
    assert laid(desk).info["D_POSITION"] == 4.0


@pytest.mark.parametrize("how", ["stop", "end of the script"])
def test_stopping(how: str, desk: Desk, client: httpx.Client) -> None:
    """Also the very end of a script stops its job, with nobody at the spool."""
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
    assert desk.reaper.console == "Segue: cancelled\n"
    assert list(desk.spool.iterdir()) == []


def test_stopping_what_the_files_carry_on(desk: Desk, client: httpx.Client) -> None:
    """After a break the order's end stops the job, as it does without a socket."""
    engine = Recorder(gate=threading.Event())
    with serving(desk.folder / "data", engine) as url:
        with bridging(url):
            script = window(desk)
            desk.until(lambda: "optimizing" in script.drawn)
        with Running(url) as bridge, carrying(desk.spool, bridge.port):
            answers = until(lambda: next(desk.spool.glob("*.answers"), None))
            desk.reaper.turn()
            script.keys.append(27)
            desk.until(lambda: "cancelled" in script.drawn)
            assert ended(client, url, answers.stem).state == "cancelled"


def test_reaper_crashes(desk: Desk) -> None:
    """In the middle of a job that came over a socket: the next REAPER says where its clip is."""
    gate = threading.Event()
    engine = Recorder(gate=gate)
    with serving(desk.folder / "data", engine) as url, bridging(url) as bridge:
        window(desk)
        desk.until(engine.started.is_set)
        desk.reaper.crash()
        gate.set()
        with carrying(desk.spool, bridge.port):
            answers = until(lambda: next(desk.spool.glob("*.answers"), None))
            until(lambda: "job/done" in answers.read_text("utf-8"))
    script = desk.reaper.run(SCRIPTS / "segue.lua")
    desk.reaper.turn()
    kept = desk.folder / "data" / "results" / f"{answers.stem}.wav"
    said = f"REAPER ended before its clip was placed; the clip is kept: {kept}"
    assert said in "".join(script.drawn)
    assert (len(engine.requests), len(desk.project.tracks)) == (1, 1)


def test_a_full_queue(desk: Desk, client: httpx.Client) -> None:
    """It is for the files to ask again, and to say meanwhile why nothing happens."""
    gate = threading.Event()
    engine = Recorder(gate=gate)
    with serving(desk.folder / "data", engine, queue_limit=1) as url, bridging(url) as bridge:
        send(client, url, make_request("first"))
        until(engine.started.is_set)
        send(client, url, make_request("second"))
        script = window(desk)
        with carrying(desk.spool, bridge.port):
            desk.until(lambda: "wait" in "".join(script.drawn))
            gate.set()
            desk.until(lambda: "done" in script.drawn)
    assert len(engine.requests) == 3
    assert laid(desk).info["D_POSITION"] == 4.0


@contextmanager
def stranger(says: bytes) -> Iterator[socket.socket]:
    """Somebody else where the bridge should be, who says this and reads nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server, told(server.getsockname()[1]):
        stop = threading.Event()
        server.settimeout(DEADLINE_SECONDS)

        def talk() -> None:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(0.1)
                left = says
                while left and not stop.is_set():
                    try:
                        left = left[connection.send(left) :]
                    except TimeoutError:
                        continue
                    except OSError:
                        return
                stop.wait()

        thread = threading.Thread(target=talk)
        thread.start()
        try:
            yield server
        finally:
            stop.set()
            thread.join()


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\4abcd", b"\0"])
def test_a_stranger_on_the_port(says: bytes, desk: Desk) -> None:
    """Whoever it is and whatever it says, the files bring the clip."""
    engine = Recorder()
    with (
        stranger(says),
        serving(desk.folder / "data", engine) as url,
        Running(url) as bridge,
        carrying(desk.spool, bridge.port),
    ):
        desk.act("continue")
        desk.finish()
    assert (len(engine.requests), desk.reaper.console) == (1, "")
    assert laid(desk).info["D_POSITION"] == 4.0


# A clock by which what is to be over soon is over in ten seconds, for machines that are busy.
SLOW_CLOCK = "local asked; core.gettime = function() asked = asked and 0 or 10; return asked end"


def long_order(desk: Desk, buffer: int | None = None, first: str = "") -> Any:
    """A function for the turns of an order of five thousand points; the first one gives it, and
    called with True it is stopped.

    Its messages are there before, for they are made in turns of their own. The system holds
    `buffer` bytes of what is sent and not yet taken; else as many as it likes. `first`: Lua that
    may change LuaSocket's `core`.
    """
    script = Script(desk.reaper, SCRIPTS / "segue_stop.lua")
    return script.lua.eval(
        "function(lib, path, buffer)"
        " local use = dofile(lib .. '/use.lua')"
        f" local core = use('luasocket')() {first}"
        " local tcp4 = core.tcp4"
        " function core.tcp4()"
        "   local tcp = tcp4()"
        "   assert(not buffer or tcp:setoption('send-buffer-size', buffer))"
        "   return tcp"
        " end"
        " local wire, rows, job, order = use('wire'), use('rows'), use('job').new('long'), nil"
        " local values = {}"
        " for n = 0, 4999 do values[2 * n + 1], values[2 * n + 2] = n / 1000, -n / 250 end"
        " local list = { what = 'intensity', columns = 2, values = values, scale = 'db' }"
        " local messages = rows.messages('long', list)"
        " messages[#messages + 1] = { address = '/segue/outpaint', { 's', 'long' },"
        "   { 's', path }, { 'd', 1 }, { 'd', 4 }, { 'd', 6 }, { 'i', 3 } }"
        " local text = use('line').text(messages)"
        " return function(over)"
        "   if over then return order:close() end"
        "   order = order or wire.order('long', messages, text)"
        "   for _, message in ipairs(order:answers()) do job:hear(message) end"
        "   return job.state end"
        " end"
    )(str(SCRIPTS / "lib"), str(desk.file), buffer)


def test_five_thousand_points(desk: Desk) -> None:
    """They arrive, each one as it was, over the socket alone."""
    engine = Recorder()
    with serving(desk.folder / "data", engine) as url, bridging(url):
        turn = long_order(desk)
        until(lambda: turn() == "done")
    (request,) = engine.requests
    (curve,) = (each for each in request.controls if each.kind == "intensity")
    assert [tuple(point) for point in curve.points] == [(n / 1000, -n / 250) for n in range(5000)]


def test_a_last_word(desk: Desk) -> None:
    """What is told before the other end hangs up counts, also where no file could tell more."""
    desk.spool.rmdir()
    clip = (("s", "/clip.wav"), ("d", 0.0), ("h", 1), ("i", 48000), ("i", 3), ("s", ""), ("d", 0.0))
    done = encode("/segue/job/done", ("s", "long"), *clip)
    with socket.create_server(("127.0.0.1", 0)) as server, told(server.getsockname()[1]):
        turn = long_order(desk)
        assert turn() == "asked"
        connection, _ = server.accept()
        with connection:
            connection.sendall(Lengths().frame(done))
            connection.shutdown(socket.SHUT_WR)
            assert until(lambda: turn() != "asked" and turn()) == "done"


def test_it_is_stopped_while_the_bridge_speaks(desk: Desk) -> None:
    """What it says then resets no connection on which the stop has still to be read."""
    desk.spool.rmdir()
    progress = Lengths().frame(encode("/segue/job/progress", ("s", "long"), ("f", 0.5)))
    leaves = threading.Event()
    heard: list[bytes] = []

    def speak() -> None:
        with server.accept()[0] as connection:
            connection.settimeout(DEADLINE_SECONDS)
            leaves.wait(DEADLINE_SECONDS)
            for _ in range(3):
                time.sleep(0.03)
                connection.sendall(progress)
            while data := connection.recv(1 << 16):
                heard.append(data)

    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        told(server.getsockname()[1]),
        ThreadPoolExecutor(1) as pool,
    ):
        turn = long_order(desk, first=SLOW_CLOCK)
        for _ in range(20):  # a turn makes packets of some 32 KiB
            turn()
        speaks = pool.submit(speak)
        leaves.set()
        turn(True)
        speaks.result()
    assert b"".join(heard).endswith(Lengths().frame(encode("/segue/cancel", ("s", "long"))))


@contextmanager
def needle(port: int) -> Iterator[None]:
    """Between script and bridge: takes little at a time, and breaks whatever comes back in two."""
    with socket.socket() as server, socket.create_connection(("127.0.0.1", port)) as bridge:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(DEADLINE_SECONDS)

        def pump(source: socket.socket, target: socket.socket, most: int) -> None:
            with suppress(OSError):  # either end hangs up
                while data := source.recv(most):
                    target.sendall(data[:10])
                    time.sleep(0.02 if source is bridge else 0.0)
                    target.sendall(data[10:])
            for each in (source, target):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

        def carry() -> None:
            script, _ = server.accept()
            with script:
                there = threading.Thread(target=pump, args=(script, bridge, 1000))
                there.start()
                pump(bridge, script, 1000)
                there.join()

        thread = threading.Thread(target=carry)
        thread.start()
        try:
            with told(server.getsockname()[1]):
                yield
        finally:
            with suppress(OSError):
                bridge.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_needle_s_eye(desk: Desk) -> None:
    """What is not taken at once is sent later, and what is not whole yet is waited for."""
    engine = Recorder()
    with (
        serving(desk.folder / "data", engine) as url,
        Running(url) as bridge,
        needle(bridge.port),
    ):
        turn = long_order(desk, 4096)
        until(lambda: turn() == "done")
    (request,) = engine.requests
    assert [len(each.points) for each in request.controls if each.kind == "intensity"] == [5000]


@contextmanager
def deaf(what: str) -> Iterator[None]:
    """A port that takes no connection, or one that takes connections and nothing else, or one
    that talks all the time."""
    if what == "flood":
        with stranger(Lengths().frame(FLOOD) * 100_000):
            yield
        return
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address = server.getsockname()
        crowd = [socket.socket() for _ in range(3 if what == "crowded" else 0)]
        for each in crowd:
            each.setblocking(False)
            each.connect_ex(address)
        with told(address[1]):
            yield
        for each in crowd:
            each.close()


def seconds_here() -> float:
    """The time, without what this thread has spent ready to run while others had the core."""
    try:
        ready = int(Path("/proc/thread-self/schedstat").read_text().split()[1])
    except OSError:  # only Linux tells
        ready = 0
    return time.perf_counter() - ready / 1e9


def longest_turn(desk: Desk) -> float:
    """In seconds, of a long order's first hundred turns."""
    turn, longest = long_order(desk), 0.0
    for _ in range(100):
        desk.reaper.clock += 0.033
        begun = seconds_here()
        turn()
        longest = max(longest, seconds_here() - begun)
    return longest


@pytest.mark.parametrize("what", ["crowded", "mute", "flood"])
def test_no_turn_waits(what: str, desk: Desk) -> None:
    """However the other end behaves; the best of three, for the machine may be busy."""
    tries = []
    for _ in range(3):
        with deaf(what):
            tries.append(longest_turn(desk))
    assert min(tries) < STEP_SECONDS


def test_the_self_test(desk: Desk) -> None:
    """Each way is told of, the socket with its port."""
    with (
        serving(desk.folder / "data") as url,
        bridging(url) as bridge,
        carrying(desk.spool, bridge.port),
    ):
        desk.act("self_test")
        desk.finish()
    lines = desk.reaper.console.splitlines()
    assert f"ok    Segue answers over a socket, on port {bridge.port}" in lines
    assert "ok    Segue answers by files" in lines
    assert lines[-1] == "Segue's self-test: all passed"


def test_the_self_test_without_a_bridge(desk: Desk) -> None:
    """Neither way is answered."""
    with told(free_port()):
        desk.act("self_test")
        desk.finish()
    assert desk.reaper.console.count(": nobody does: start it with `segue up`") == 2
    assert desk.reaper.console.splitlines()[-1] == "Segue's self-test: 2 failed"
