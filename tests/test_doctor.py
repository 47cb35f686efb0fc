"""`segue doctor`: each check finds what is there and says what to do about what is not."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from threading import Thread

import pytest
from rich.console import Console

from segue.bridge.cli import doctor
from segue.bridge.cli.doctor import Mark
from segue.bridge.osc import udp_port


def test_dependencies_are_found_by_version() -> None:
    """Each package of pyproject.toml is listed with the version that is installed."""
    found = {check.name: check.found for check in doctor.dependencies()}
    assert found["torch"] == version("torch")
    assert found["onnxruntime"] == version("onnxruntime")
    assert "ruff" not in found


def test_a_missing_dependency_names_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is needed fails, what is only for the demo's picture warns; both say how to get it."""
    asked = ["no-such-a>=1", "no-such-b>=2; extra == 'demo'", "no-such-c; extra == 'dev'"]
    monkeypatch.setattr(doctor, "requires", lambda name: asked)
    assert [(c.name, c.mark, c.advice) for c in doctor.dependencies()] == [
        ("no-such-a", Mark.FAIL, 'pip install "no-such-a>=1"'),
        ("no-such-b", Mark.WARN, 'pip install "segue[demo]"'),
    ]


def test_providers_in_the_order_they_are_asked_for() -> None:
    """The CPU is always the last resort."""
    check = doctor.onnx_providers()
    assert check.mark is Mark.OK
    assert check.found.endswith("CPUExecutionProvider")


def test_the_device_is_named() -> None:
    """torch is asked, not guessed at."""
    assert doctor.torch_device().found.startswith(("CPU, ", "CUDA: "))


def test_model_files_are_hashed(tmp_path: Path) -> None:
    """A model is whole, changed or missing, by its manifest's SHA-256 sums."""
    (tmp_path / "weights").write_bytes(b"w")
    manifest = {"sha256": {"weights": hashlib.sha256(b"w").hexdigest()}, "rate": 44100}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert doctor.model_files(str(tmp_path)).mark is Mark.OK
    (tmp_path / "weights").write_bytes(b"W")
    assert doctor.model_files(str(tmp_path)).found == "missing or changed: weights"
    (tmp_path / "weights").unlink()
    assert doctor.model_files(str(tmp_path)).found == "missing or changed: weights"
    (tmp_path / "manifest.json").unlink()
    assert doctor.model_files(str(tmp_path)).mark is Mark.FAIL


def test_the_shipped_model_is_whole() -> None:
    """What this build ships is what its manifest says."""
    assert doctor.model_files("segue-small").mark is Mark.OK


def test_free_ports() -> None:
    """A port nobody has is free."""
    assert doctor.server_port(_free(socket.SOCK_STREAM)).found == "free"
    assert doctor.osc_port(_free(socket.SOCK_DGRAM)).found == "free"


def test_a_foreign_program_on_the_osc_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port held by something that does not answer hello is in use."""
    monkeypatch.setattr(doctor, "ANSWER_SECONDS", 0.05)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((doctor.HOST, 0))
        check = doctor.osc_port(other.getsockname()[1])
    assert (check.mark, check.found) == (Mark.WARN, "in use, and not by Segue")


def test_a_receive_buffer_that_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system grants is compared with what is asked; Linux names its limit."""
    monkeypatch.setattr(udp_port, "RECEIVE_BUFFER_BYTES", 65_536)
    assert (doctor.receive_buffer().mark, doctor.receive_buffer().found) == (Mark.OK, "64 KiB")
    monkeypatch.setattr(udp_port, "RECEIVE_BUFFER_BYTES", 1 << 30)
    monkeypatch.setattr(udp_port, "more_sockets", lambda *_: None)
    check = doctor.receive_buffer()
    assert check.mark is Mark.WARN
    assert check.found.endswith(" of 1048576 KiB")
    if sys.platform == "linux":
        most = int(Path("/proc/sys/net/core/rmem_max").read_text())
        assert check.found == f"{most >> 10} of 1048576 KiB"
        assert "sudo sysctl -w net.core.rmem_max=1073741824" in check.advice
    assert check.advice.endswith("send them over TCP")


@pytest.mark.skipif(sys.platform != "linux", reason="one socket only, elsewhere")
def test_many_small_receive_buffers_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the bridge receives through many sockets, there is nothing to do."""
    monkeypatch.setattr(udp_port, "ask_for_room", lambda probe: 212_992)
    check = doctor.receive_buffer()
    assert (check.mark, check.found, check.advice) == (Mark.OK, "19 × 208 KiB", "")


@pytest.mark.parametrize(
    ("body", "mark", "found"),
    [
        (b"<html>", Mark.WARN, "in use, and not by Segue"),
        (
            b'{"version": "9.9", "instance": "i", "pid": 12, "model": "m", "device": "cpu",'
            b' "worker": "ready", "queued": 0}',
            Mark.OK,
            "segue 9.9 (pid 12), m ready, cpu",
        ),
        (
            b'{"version": "9.9", "instance": "i", "pid": 12, "model": "m", "device": "",'
            b' "worker": "failed", "queued": 0, "problem": "reinstall"}',
            Mark.WARN,
            "segue 9.9 (pid 12), m failed, no device yet",
        ),
    ],
)
def test_who_answers_on_the_server_port(body: bytes, mark: Mark, found: str) -> None:
    """A running server is shown with what it says of itself; anything else is in the way."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer((doctor.HOST, 0), Answer) as server:
        answering = Thread(target=server.handle_request)
        answering.start()
        check = doctor.server_port(server.server_port)
        answering.join()
    assert (check.mark, check.found) == (mark, found)


def test_the_data_folder(tmp_path: Path) -> None:
    """A folder that is yet to be made is fine; a file in its place is not."""
    assert doctor.data_folder(tmp_path / "a" / "b").mark is Mark.OK
    (tmp_path / "file").touch()
    assert doctor.data_folder(tmp_path / "file").mark is Mark.FAIL


def test_a_full_disk_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than a day's room for clips is said before it runs out."""
    monkeypatch.setattr(doctor, "LEAST_FREE_BYTES", 1 << 62)
    assert doctor.data_folder(tmp_path).mark is Mark.WARN


def test_brackets_are_shown_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An extra's name is part of the command that installs it, and a folder may have any name."""
    monkeypatch.setattr(doctor, "requires", lambda name: ["no-such-a; extra == 'cpu'"])
    folder = tmp_path / "clips [new]"
    setup = doctor.Setup(model="segue-small", data_dir=folder, port=0, osc_port=0)
    shown = Console(file=StringIO(), width=500, force_terminal=False)
    assert not doctor.report(setup, shown)
    assert isinstance(shown.file, StringIO)
    said = shown.file.getvalue()
    assert 'pip install "segue[cpu]"' in said
    assert str(folder) in said


def test_a_broken_check_is_part_of_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An install so broken that a check throws still gets its table."""

    def broken() -> doctor.Check:
        raise OSError("libcudart.so: no such file")

    monkeypatch.setattr(doctor, "torch_device", broken)
    setup = doctor.Setup(model="m", data_dir=tmp_path, port=_free(socket.SOCK_STREAM), osc_port=0)
    found = {check.name: check for check in doctor.examine(setup)}
    assert found["torch device"].mark is Mark.FAIL
    assert "libcudart" in found["torch device"].found
    assert os.fspath(tmp_path) in found["data folder"].found


def _free(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((doctor.HOST, 0))
        return int(probe.getsockname()[1])
