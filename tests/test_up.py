"""`segue up`: two processes that start, are announced, and end together."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from segue.bridge.up import Pair
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


def test_scripts_without_sockets_are_served(
    up: subprocess.Popen[str], runtime_folder: Path
) -> None:
    """An order left in the spool is answered there; both go with `segue up`."""
    announced(up)
    spool = runtime_folder / "spool"
    until(spool.is_dir)
    part = spool / "nobody.part"
    part.write_text("/segue/cancel\ts\tnobody\n")
    part.rename(spool / "nobody.order")
    answers = spool / "nobody.answers"
    until(lambda: answers.exists() and "unknown-id" in answers.read_text(encoding="utf-8"))


def test_a_spool_that_cannot_be_ends_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file where its folder should be: that is said, and server and bridge go on."""
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
    assert "the spool has ended" in told[-1]


def test_the_death_of_one_ends_the_other(tmp_path: Path, up: subprocess.Popen[str]) -> None:
    """When the server dies, `segue up` says so and takes the bridge along."""
    osc_port, url = announced(up)
    os.kill(health(url).pid, signal.SIGTERM)
    assert up.wait(PATIENCE_SECONDS) == 1
    assert "segue: the server has ended" in (tmp_path / "log.txt").read_text()
    assert free(osc_port)


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
