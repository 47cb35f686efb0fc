"""`segue up`: two processes that start, are announced, and end together."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from segue.bridge import up as module
from segue.bridge.up import MAX_DEATHS, RESTART_SECONDS, STEADY_SECONDS, Pair, Restarts
from segue.presets.vocabulary import Health, SegueError
from tests.wire import until

PATIENCE_SECONDS = 60.0
READY = re.compile(
    r"segue is up: OSC on udp 127\.0\.0\.1:(\d+), server (http://127\.0\.0\.1:\d+)\."
)

pytestmark = pytest.mark.slow


@pytest.fixture
def up(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A real `segue up` on free ports with a data folder of its own."""
    program = Path(sys.executable).with_name("segue")
    command = [str(program), "up", "--port", "0", "--osc-port", "0"]
    command += ["--data", str(tmp_path / "data")]
    with (
        (tmp_path / "log.txt").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()


def announced(process: subprocess.Popen[str]) -> tuple[int, str]:
    """OSC port and server URL from the first line printed."""
    assert process.stdout is not None
    found = READY.match(process.stdout.readline())
    assert found
    return int(found[1]), found[2]


def health(url: str) -> Health:
    """What the server says of itself."""
    return Health.model_validate_json(httpx.get(f"{url}/health", trust_env=False).content)


def free(osc_port: int) -> bool:
    """Whether nobody holds the UDP port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", osc_port))
        except OSError:
            return False
    return True


@pytest.mark.skipif(os.name == "nt", reason="signals are not sent this way on Windows")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_both(up: subprocess.Popen[str], number: signal.Signals) -> None:
    """The line printed leads to both; Ctrl-C or SIGTERM then ends all three, as a success."""
    osc_port, url = announced(up)
    assert health(url).pid != up.pid
    assert not free(osc_port)
    up.send_signal(number)
    assert up.wait(PATIENCE_SECONDS) == 0
    with pytest.raises(httpx.ConnectError):
        health(url)
    assert free(osc_port)


def spool_of(process: subprocess.Popen[str]) -> int:
    """The process that serves the folder of orders; 0 while there is none."""
    command = ["pgrep", "-P", str(process.pid), "-f", "main spool"]
    return int(subprocess.run(command, capture_output=True, text=True).stdout or 0)


def is_answered(spool: Path, name: str) -> None:
    """Leave an order in the folder and wait until its answer lies beside it."""
    until(spool.is_dir)
    part = spool / f"{name}.part"
    part.write_text(f"/segue/cancel\ts\t{name}\n")
    part.rename(spool / f"{name}.order")
    answers = spool / f"{name}.answers"
    until(lambda: answers.exists() and "unknown-id" in answers.read_text(encoding="utf-8"))


@pytest.mark.skipif(
    shutil.which("pgrep") is None, reason="pgrep is missing: apt-get install procps"
)
def test_scripts_without_sockets_are_served(
    up: subprocess.Popen[str], runtime_folder: Path
) -> None:
    """An order left in the spool is answered; once it was killed, by a new spool alone."""
    osc_port, url = announced(up)
    server = health(url).pid
    is_answered(runtime_folder / "spool", "nobody")
    first = spool_of(up)
    os.kill(first, signal.SIGKILL)
    is_answered(runtime_folder / "spool", "nobody-either")
    assert spool_of(up) not in (0, first)
    assert health(url).pid == server
    assert not free(osc_port)


def test_a_child_that_dies_may_start_again_now_and_then() -> None:
    """Not sooner than some seconds after its last start; after some deaths in a row, never."""
    lives = Restarts()
    lives.started(10)
    assert not lives.due(1000)
    assert lives.died(11)
    assert not lives.due(9.9 + RESTART_SECONDS)
    assert lives.due(10 + RESTART_SECONDS)
    lives.started(100)
    assert lives.died(100 + STEADY_SECONDS)  # it was well: this is the first in a row
    assert lives.due(100 + STEADY_SECONDS)
    for _ in range(MAX_DEATHS - 2):
        lives.started(200)
        assert lives.died(201)
    lives.started(300)
    assert not lives.died(301)
    assert not lives.due(1e9)


def test_a_spool_that_cannot_be_ends_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file where its folder should be: after some trials they go on without, and that is said."""
    monkeypatch.setattr(module, "RESTART_SECONDS", 0)
    (tmp_path / "taken").touch()
    monkeypatch.setenv("SEGUE_SPOOL", str(tmp_path / "taken"))
    told: list[str] = []

    class HeardError(Exception):
        pass

    def tell(line: str) -> None:
        told.append(line)
        if "get no answers" in line:
            raise HeardError

    options = ("--data", str(tmp_path / "data"))
    with Pair(port=0, osc_port=0, server_options=options, tell=tell, spool=True) as pair:
        with pytest.raises(HeardError):
            pair.watch()
        assert health(pair.url).pid
        assert not free(pair.osc_port)
    deaths = ["it is started again" in line for line in told if "the spool has ended" in line]
    assert deaths == [True] * (MAX_DEATHS - 1) + [False]
    assert f"until you start `segue spool --osc-port {pair.osc_port}`" in told[-1]


def alive(url: str) -> int:
    """The server's process; 0 while there is none."""
    try:
        return health(url).pid
    except httpx.TransportError:
        return 0


def test_a_server_that_was_killed_starts_again_where_it_was(up: subprocess.Popen[str]) -> None:
    """At the same address, beside the same bridge."""
    osc_port, url = announced(up)
    first = alive(url)
    os.kill(first, signal.SIGKILL)
    until(lambda: alive(url) not in (0, first))
    assert not free(osc_port)


def test_a_server_that_cannot_be_ends_the_bridge_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another program has taken its port meanwhile: after some trials that is the end."""
    monkeypatch.setattr(module, "RESTART_SECONDS", 0)
    told: list[str] = []
    options = ("--data", str(tmp_path / "data"))
    with Pair(port=0, osc_port=0, server_options=options, tell=told.append) as pair:
        os.kill(alive(pair.url), signal.SIGKILL)
        until(lambda: not alive(pair.url))
        port = int(pair.url.rpartition(":")[2])
        with socket.create_server(("127.0.0.1", port)):
            assert "the server has ended" in pair.watch().text
    deaths = [line for line in told if "the server has ended" in line]
    assert len(deaths) == MAX_DEATHS - 1
    assert all(line.endswith("; it is started again") for line in deaths)
    assert free(pair.osc_port)


def test_a_start_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """If the bridge cannot have its port, the server does not stay behind."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        pair = Pair(
            port=0,
            osc_port=taken.getsockname()[1],
            server_options=("--data", str(tmp_path / "data")),
        )
        with pytest.raises(SegueError, match="the bridge has ended"):
            pair.__enter__()
    assert pair.url
    with pytest.raises(httpx.ConnectError):
        health(pair.url)
