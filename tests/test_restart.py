from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from segue.presets.vocabulary import Code, Failure, Result, SegueError, State
from segue.server.app import serve
from segue.server.config import LOOPBACK, ServerConfig, default_data_dir
from segue.server.listen import listen
from tests.recorder import DEADLINE_SECONDS, Recorder, make_request, serving
from tests.wire import ended, heard, listening_to, send, status_of, until

RECORDER = Path(__file__).with_name("recorder.py")
LISTENING = re.compile(r"segue serve: listening on (http://127\.0\.0\.1:\d+)\n")


@contextmanager
def process(*arguments: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A whole server in a process of its own, killed at the end; and its URL."""
    command = [sys.executable, "-u", str(RECORDER), *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            match = LISTENING.fullmatch(line)
            assert match is not None, line
            yield server, match[1]
        finally:
            server.kill()


def interrupted(client: httpx.Client, data: Path, gate: Path, number: signal.Signals) -> int:
    """Run a server into the middle of job `b` and end it with a signal; its exit status."""
    with process(data, gate) as (server, url):
        gate.touch()
        send(client, url, make_request("a"))
        assert ended(client, url, "a").state == State.DONE
        gate.unlink()
        for job_id in ("b", "c"):
            assert send(client, url, make_request(job_id)).status_code == 202
        until(lambda: client.get(f"{url}/health").json()["running"] == "b")
        server.send_signal(number)
        return server.wait(DEADLINE_SECONDS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0), (signal.SIGINT, 0)],
)
def test_server_ended_in_mid_job(
    tmp_path: Path, client: httpx.Client, number: signal.Signals, status: int
) -> None:
    """Killed or stopped, at the next start the results are there and the rest runs in order."""
    data, gate = tmp_path / "data", tmp_path / "gate"
    assert interrupted(client, data, gate, number) == status
    clip = (data / "results" / "a.wav").read_bytes()
    with process(data, gate) as (_, url), listening_to(url) as listener:
        assert status_of(client, url, "a").state == State.DONE
        assert client.get(f"{url}/jobs/a/result").content == clip
        gate.touch()
        ends = [heard(listener)[-1], heard(listener)[-1]]
        assert [(end.id, type(end)) for end in ends] == [("b", Result), ("c", Result)]
        assert ended(client, url, "b").event == ends[0]


@pytest.mark.slow
def test_job_that_kills_the_server_twice(tmp_path: Path, client: httpx.Client) -> None:
    """The third start gives it up and serves the others."""
    data, gate = tmp_path / "data", tmp_path / "gate"
    interrupted(client, data, gate, signal.SIGKILL)
    with process(data, gate) as (server, url):
        until(lambda: client.get(f"{url}/health").json()["running"] == "b")
        server.kill()
    gate.touch()
    with process(data, gate) as (_, url):
        event = ended(client, url, "b").event
        assert isinstance(event, Failure)
        assert event.code == Code.INTERRUPTED
        assert ended(client, url, "c").state == State.DONE


def test_two_servers_on_one_folder(tmp_path: Path) -> None:
    """The second is refused with a sentence that names the first's pid."""
    with serving(tmp_path), pytest.raises(SegueError, match=f"pid {os.getpid()}"):
        serve(ServerConfig(port=0, data_dir=tmp_path), Recorder)


def test_port_in_use(tmp_path: Path) -> None:
    """The sentence names the port and, where the system tells, its owner."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SegueError, match=f"port {port} is in use") as caught:
            serve(ServerConfig(port=port, data_dir=tmp_path), Recorder)
    if sys.platform == "linux":
        assert f"(pid {os.getpid()})" in caught.value.text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("host", LOOPBACK)
def test_answers_do_not_wait_for_acknowledgements(host: str) -> None:
    """asyncio sends at once only on sockets that name TCP; else each answer takes 40 ms."""
    with (
        listen(host, 0) as listener,
        socket.create_connection(listener.getsockname()[:2]),
        listener.accept()[0] as accepted,
    ):
        assert accepted.proto == socket.IPPROTO_TCP


def test_server_process_is_light() -> None:
    """Importing the server loads neither torch nor the engine."""
    names = "'torch', 'onnxruntime', 'numpy', 'segue.server.engine'"
    code = f"import sys, segue.server.app; print([n for n in ({names}) if n in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"host": "0.0.0.0"}, "this machine only"),
        ({"host": "::"}, "this machine only"),
        ({"port": -1}, "port -1"),
        ({"port": 65536}, "port 65536"),
        ({"queue_limit": 0}, "queue_limit 0"),
    ],
)
def test_config_that_cannot_work(values: dict[str, Any], text: str) -> None:
    """Wrong values are refused at once; above all an address that others can reach."""
    with pytest.raises(SegueError, match=text):
        ServerConfig(**values)


@pytest.mark.parametrize("host", LOOPBACK)
def test_config_of_this_machine(host: str) -> None:
    """All names of this machine are fine, and so are both ends of the port range."""
    for port in (0, 65535):
        assert ServerConfig(host=host, port=port).host == host


def test_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`SEGUE_DATA` wins over the system's folder for user data; both are absolute."""
    monkeypatch.setenv("SEGUE_DATA", str(tmp_path))
    assert ServerConfig().data_dir == tmp_path
    monkeypatch.delenv("SEGUE_DATA")
    assert default_data_dir().is_absolute()
    assert default_data_dir().name == "segue"
