"""The file that says where the bridge is: there while it runs, never another live bridge's."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from segue.bridge.cli import doctor
from segue.bridge.cli.doctor import Mark
from segue.bridge.osc import port_file
from segue.bridge.osc.port_file import Ports, announced, default_path, lives, read
from tests.osc_client import DEADLINE_SECONDS, Running
from tests.wire import until

SERVER = "http://127.0.0.1:9136"


def ports(osc_port: int, pid: int | None = None) -> Ports:
    """Of a bridge in this process, or of another."""
    return Ports(osc_port=osc_port, http_port=9136, pid=os.getpid() if pid is None else pid)


def dead_pid() -> int:
    """Of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait(DEADLINE_SECONDS)
    return process.pid


def test_the_file_is_there_meanwhile(tmp_path: Path) -> None:
    """JSON of three numbers and nothing beside it; the folder is made; nothing is left."""
    path = tmp_path / "segue" / "bridge.json"
    with announced(path, ports(9137)):
        said = {"osc_port": 9137, "http_port": 9136, "pid": os.getpid()}
        assert json.loads(path.read_text()) == said
        assert list(path.parent.iterdir()) == [path]
    assert list(path.parent.iterdir()) == []


def test_a_live_bridge_keeps_its_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A second one says so and leaves it alone, at its start and at its end."""
    path = tmp_path / "bridge.json"
    with Running("http://127.0.0.1:9") as bridge:
        first = ports(bridge.port, os.getppid())
        path.write_text(
            json.dumps({"osc_port": first.osc_port, "http_port": 9136, "pid": first.pid})
        )
        assert lives(first)
        with caplog.at_level(logging.WARNING), announced(path, ports(9138)):
            assert read(path) == first
        assert read(path) == first
    assert f"stays that of the bridge on port {first.osc_port}" in caplog.text


def test_a_stale_file_is_written_over(tmp_path: Path) -> None:
    """One whose process is gone, whose port is free, or that is no such file at all."""
    path = tmp_path / "bridge.json"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        gone, other = ports(port, dead_pid()), ports(port, os.getppid())
        assert (lives(gone), lives(other)) == (False, True)
    assert not lives(other)
    for stale in (gone, other):
        text = {"osc_port": stale.osc_port, "http_port": 1, "pid": stale.pid}
        for content in (json.dumps(text), "{", "[]", ""):
            path.write_text(content)
            with announced(path, ports(9137)):
                assert read(path) == ports(9137)
            assert not path.exists()


def test_a_file_that_another_wrote_meanwhile_stays(tmp_path: Path) -> None:
    """Whoever ends removes only what it wrote itself."""
    path = tmp_path / "bridge.json"
    with announced(path, ports(9137)):
        path.write_text(json.dumps({"osc_port": 1, "http_port": 2, "pid": 3}))
    assert read(path) == Ports(osc_port=1, http_port=2, pid=3)


def test_a_folder_that_cannot_be_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The bridge runs without its file, and the log says what that means."""
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "segue" / "bridge.json"
    with caplog.at_level(logging.WARNING), announced(path, ports(9137)):
        assert read(path) is None
    assert "scripts will look at the default port only" in caplog.text


def test_a_process_leaves_nothing_behind(tmp_path: Path) -> None:
    """A real bridge names its port and its server's, and removes the file at SIGTERM."""
    path = _path_of_a_child(tmp_path)
    with _bridge(tmp_path) as bridge:
        said = until(lambda: read(path))
        assert bridge.stdout is not None
        assert f":{said.osc_port}," in bridge.stdout.readline()
        assert (said.http_port, said.pid) == (9136, bridge.pid)
        assert lives(said)
        bridge.send_signal(signal.SIGTERM)
        assert bridge.wait(DEADLINE_SECONDS) == 0
    assert not path.exists()


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL on Windows")
def test_what_a_killed_process_leaves(tmp_path: Path) -> None:
    """Its file is known to be stale, and the next bridge writes it anew."""
    path = _path_of_a_child(tmp_path)
    for _ in range(2):
        with _bridge(tmp_path) as bridge:
            assert bridge.stdout is not None
            assert bridge.stdout.readline()
            said = read(path)
            assert said is not None
            assert said.pid == bridge.pid
            bridge.kill()
        assert not lives(said)


def test_the_doctor_names_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where it will be, what it says, and whether that still holds."""
    path = tmp_path / "bridge.json"
    monkeypatch.setattr(port_file, "default_path", lambda: path)
    assert doctor.port_file().found == f"{path}, while a bridge runs"
    with Running("http://127.0.0.1:9") as bridge, announced(path, ports(bridge.port)):
        check = doctor.port_file()
    wanted = f"{path}: OSC {bridge.port}, HTTP 9136, pid {os.getpid()}"
    assert (check.mark, check.found) == (Mark.OK, wanted)
    path.write_text(json.dumps({"osc_port": 9137, "http_port": 9136, "pid": dead_pid()}))
    assert doctor.port_file().mark is Mark.WARN


def test_the_runtime_folder(runtime_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Linux that of XDG; without one another is found, and nobody is bothered with it."""
    if sys.platform == "linux":
        assert default_path() == runtime_folder / "segue" / "bridge.json"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert default_path().parts[-2:] == ("segue", "bridge.json")


def _path_of_a_child(folder: Path) -> Path:
    if sys.platform != "linux":
        pytest.skip("only XDG's runtime folder can be put elsewhere")
    return folder / "segue" / "bridge.json"


def _bridge(runtime: Path) -> subprocess.Popen[str]:
    code = f"from segue.bridge.app import run_bridge; run_bridge({SERVER!r}, 0)"
    env = {**os.environ, "XDG_RUNTIME_DIR": str(runtime)}
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
