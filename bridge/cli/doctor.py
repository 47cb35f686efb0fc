"""`segue doctor`: what is installed, what would be used, and what to do about what is missing."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from segue.presets.library import model_folder
from segue.presets.vocabulary import Health, SegueError

HOST = "127.0.0.1"
ANSWER_SECONDS = 1.0
LEAST_FREE_BYTES = 1 << 30  # a day of clips
PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")  # in the order they are asked for
EXTRAS = ("cpu", "demo")  # what a producer installs


class Mark(StrEnum):
    """How a check came out: `warn` lets Segue run with less, `fail` does not."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


COLOURS = {Mark.OK: "green", Mark.WARN: "yellow", Mark.FAIL: "red"}


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report: what was found and, unless all is well, what to do."""

    name: str
    mark: Mark
    found: str
    advice: str = ""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What Segue would start with; the defaults belong to the other rooms."""

    model: str
    data_dir: Path
    port: int
    osc_port: int


def examine(setup: Setup) -> Iterator[Check]:
    """Every check in turn; a check that breaks is a failure that says how."""
    yield python()
    yield from dependencies()
    checks: tuple[tuple[str, Callable[[], Check]], ...] = (
        ("torch device", torch_device),
        ("onnxruntime", onnx_providers),
        (f"model {setup.model}", lambda: model_files(setup.model)),
        (f"server port {setup.port}", lambda: server_port(setup.port)),
        (f"OSC port {setup.osc_port}", lambda: osc_port(setup.osc_port)),
        ("OSC receive buffer", receive_buffer),
        ("port file", port_file),
        ("data folder", lambda: data_folder(setup.data_dir)),
    )
    for name, check in checks:
        try:
            yield check()
        except Exception as error:  # whatever a broken install throws belongs in the report
            yield Check(name, Mark.FAIL, f"{type(error).__name__}: {error}", "reinstall Segue")


def report(setup: Setup, console: Console) -> bool:
    """Print the table; true unless a check failed."""
    table = Table("check", "", "found", "what to do", title=f"segue {version('segue')}")
    checks = []
    with console.status("looking"):
        for check in examine(setup):
            checks.append(check)
            mark = Text(check.mark, style=COLOURS[check.mark])
            table.add_row(check.name, mark, check.found, check.advice)
    console.print(table, markup=False)  # what stands in brackets is not ours to style
    return all(check.mark is not Mark.FAIL for check in checks)


def python() -> Check:
    """Which Python this is; an older one could not have installed Segue."""
    return Check("Python", Mark.OK, f"{sys.version.split()[0]} at {sys.executable}")


def dependencies() -> Iterator[Check]:
    """Every package that pyproject.toml asks for, with the version found."""
    for requirement in requires("segue") or ():
        wanted, _, marker = requirement.partition(";")
        extra = re.search(r"extra == ['\"](\w+)['\"]", marker)
        if extra and extra[1] not in EXTRAS:
            continue
        name = re.split(r"[^\w.-]", wanted.strip(), maxsplit=1)[0]
        try:
            yield Check(name, Mark.OK, version(name))
        except PackageNotFoundError:
            package = f"segue[{extra[1]}]" if extra else wanted.strip()
            if name == "onnxruntime" and _installed("onnxruntime-gpu"):
                continue
            mark = Mark.WARN if extra and extra[1] == "demo" else Mark.FAIL
            yield Check(name, mark, "not installed", f'pip install "{package}"')


def torch_device() -> Check:
    """Where the model would run."""
    import torch

    if torch.cuda.is_available():
        return Check("torch device", Mark.OK, f"CUDA: {torch.cuda.get_device_name()}")
    return Check("torch device", Mark.OK, f"CPU, {torch.get_num_threads()} threads")


def onnx_providers() -> Check:
    """Which of onnxruntime's providers the decoder would use."""
    onnxruntime = importlib.import_module("onnxruntime")
    there = set(onnxruntime.get_available_providers())
    used = [name for name in PROVIDERS if name in there]
    if not used:
        return Check("onnxruntime", Mark.FAIL, "no usable provider", 'pip install "segue[cpu]"')
    return Check("onnxruntime providers", Mark.OK, ", ".join(used))


def model_files(model: str) -> Check:
    """Whether every file of the model is there and is the one its manifest names."""
    name = f"model {model}"
    try:
        folder = model_folder(model)
    except SegueError as error:
        return Check(name, Mark.FAIL, error.text, "reinstall Segue, or name one with --model")
    sums = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["sha256"]
    wrong = [each for each, digest in sums.items() if _sha256(folder / each) != digest]
    if wrong:
        found = f"missing or changed: {', '.join(wrong)}"
        return Check(name, Mark.FAIL, found, f"reinstall Segue, or put them back in {folder}")
    shown = "\n".join(f"{each} {digest[:16]}…" for each, digest in sums.items())
    return Check(name, Mark.OK, f"{folder}\n{shown}")


def server_port(port: int) -> Check:
    """Whether the server's port is free, or a Segue server answers there."""
    import httpx

    name = f"server port {port}"
    try:
        url = f"http://{HOST}:{port}/health"
        answer = httpx.get(url, timeout=ANSWER_SECONDS, trust_env=False)
        health = Health.model_validate_json(answer.content)
    except (httpx.HTTPError, ValueError):
        if _can_bind(socket.SOCK_STREAM, port):
            return Check(name, Mark.OK, "free")
        advice = "stop that program, or use `segue serve --port N`"
        return Check(name, Mark.WARN, "in use, and not by Segue", advice)
    on = health.device or "no device yet"
    found = f"segue {health.version} (pid {health.pid}), {health.model} {health.worker}, {on}"
    if health.problem:
        return Check(name, Mark.WARN, found, health.problem)
    return Check(name, Mark.OK, found)


def osc_port(port: int) -> Check:
    """Whether the bridge's port is free, or a Segue bridge answers there."""
    from segue.bridge.osc import addresses, codec

    name = f"OSC port {port}"
    advice = "stop that program, or use `segue bridge --osc-port N`"
    if _can_bind(socket.SOCK_DGRAM, port):
        if _can_bind(socket.SOCK_STREAM, port):
            return Check(name, Mark.OK, "free")
        return Check(name, Mark.WARN, "in use over TCP, and not by Segue", advice)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(ANSWER_SECONDS)
        probe.sendto(addresses.write(addresses.HELLO, "segue doctor"), (HOST, port))
        try:
            messages = codec.decode(probe.recv(codec.MAX_DATAGRAM_BYTES))
        except (OSError, codec.OscError):
            return Check(name, Mark.WARN, "in use, and not by Segue", advice)
    said = " ".join(str(arg) for arg in messages[0].args)
    return Check(name, Mark.OK, f"a Segue bridge: {said}")


def receive_buffer() -> Check:
    """Whether the system keeps thousands of UDP messages that come at once for the bridge."""
    from segue.bridge.osc import udp_port

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        granted = udp_port.ask_for_room(probe)
        probe.bind((HOST, 0))
        group = udp_port.more_sockets(probe, granted)
    asked = udp_port.RECEIVE_BUFFER_BYTES
    name = "OSC receive buffer"
    if granted >= asked:
        return Check(name, Mark.OK, f"{granted >> 10} KiB")
    if group is not None:
        group.close()
        return Check(name, Mark.OK, f"{len(group)} × {granted >> 10} KiB")
    more = f"`sudo sysctl -w net.core.rmem_max={asked}`, or " * (sys.platform == "linux")
    advice = f"only if you send thousands of messages at once: {more}send them over TCP"
    return Check(name, Mark.WARN, f"{granted >> 10} of {asked >> 10} KiB", advice)


def port_file() -> Check:
    """Where scripts in DAWs find the bridge that runs."""
    from segue.bridge.osc import port_file

    path = port_file.default_path()
    said = port_file.read(path)
    if said is None:
        return Check("port file", Mark.OK, f"{path}, while a bridge runs")
    found = f"{path}: OSC {said.osc_port}, HTTP {said.http_port}, pid {said.pid}"
    if port_file.lives(said):
        return Check("port file", Mark.OK, found)
    advice = "nothing: that bridge is gone, the next one writes it anew"
    return Check("port file", Mark.WARN, found, advice)


def data_folder(folder: Path) -> Check:
    """Whether jobs and clips can be kept."""
    there = folder
    while not there.exists():  # it is made on the first start
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK):
        advice = "make it writable, or set SEGUE_DATA to a folder that is"
        return Check("data folder", Mark.FAIL, f"{folder} cannot be written", advice)
    free = shutil.disk_usage(there).free
    found = f"{folder}, {free / 1e9:.1f} GB free"
    if free < LEAST_FREE_BYTES:
        return Check("data folder", Mark.WARN, found, "make room: clips are kept there")
    return Check("data folder", Mark.OK, found)


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _can_bind(kind: socket.SocketKind, port: int) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        if os.name == "posix" and kind is socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _sha256(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
