"""Thousands of messages at once, through the real port: what is lost is named and sent again."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sized
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path

import pytest

from segue.bridge.osc import udp_group, udp_port
from segue.bridge.osc.codec import Message, Value, decode, encode
from segue.bridge.osc.commands import Sender
from segue.bridge.osc.udp_port import UdpPort
from segue.presets.controls import Intensity
from segue.presets.vocabulary import SegueError
from tests.osc_client import DEADLINE_SECONDS, Daw, Running
from tests.recorder import Recorder, serving

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="one socket only, elsewhere")
ROWS = 5000
USUAL_BYTES = 212_992  # Linux's net.core.rmem_max, unless somebody has raised it
ROW_BYTES = 1024  # of the system's memory, at most
BRIDGE = """
import sys
from segue.bridge.osc import udp_port
from segue.bridge.app import run_bridge
udp_port.RECEIVE_BUFFER_BYTES = int(sys.argv[2])
run_bridge(sys.argv[1], 0)
"""
USUAL_BRIDGE = """
import socket, sys
from segue.bridge.osc import udp_port
from segue.bridge.app import run_bridge
def grant(endpoint):
    endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, int(sys.argv[2]))
    return int(sys.argv[2])
udp_port.ask_for_room = grant
run_bridge(sys.argv[1], 0)
"""
SENDER = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.connect(("127.0.0.1", int(sys.argv[1])))
    packets = [b"%d" % number for number in range(int(sys.argv[2]))]
    for packet in packets:
        client.send(packet)
"""
PATIENCE_SECONDS = 0.5  # the question may have been lost too
JOB: list[tuple[str, Value]] = [("s", "j1"), ("s", "intensity")]
CURVE = Intensity(points=tuple((row / 100, -row / 1000) for row in range(ROWS)))


def add(first: int, count: int) -> bytes:
    """So many rows of a curve, from one number on."""
    numbers: list[tuple[str, Value]] = []
    for row in range(first, min(first + count, ROWS)):
        numbers += [("d", row / 100), ("d", -row / 1000)]
    return encode("/segue/rows/add", *JOB, ("i", first), *numbers)


def ask(daw: Daw) -> Message:
    """What the bridge answers to an end, sent again until it does."""
    daw.socket.settimeout(PATIENCE_SECONDS)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        daw.send("/segue/rows/end", *JOB, ("i", ROWS))
        with suppress(TimeoutError):
            return daw.hear()
    pytest.fail("never answered")


def repair(daw: Daw) -> list[tuple[Value, ...]]:
    """Ask and send again until all is there; what was missing, round by round."""
    rounds: list[tuple[Value, ...]] = []
    while True:
        answer = ask(daw)
        if answer.address == "/segue/rows/ack":
            assert answer.args == ("j1", "intensity", ROWS)
            return rounds
        assert answer.address == "/segue/rows/missing"
        rounds.append(answer.args[2:])
        for number in answer.args[2:]:
            assert isinstance(number, int)
            daw.socket.send(add(number, 64))


@pytest.mark.slow
@pytest.mark.parametrize("buffer_bytes", [udp_port.RECEIVE_BUFFER_BYTES, USUAL_BYTES, 8192])
def test_five_thousand_messages_in_one_burst(tmp_path: Path, buffer_bytes: int) -> None:
    """A row a message, as fast as a socket takes them; the engine gets every one of them.

    Where the system grants enough room none is lost. With a buffer far too small most are lost
    at first, and repaired.
    """
    engine = Recorder()
    packets = [add(row, 1) for row in range(ROWS)]
    with (
        serving(tmp_path, engine) as url,
        process(BRIDGE, url, buffer_bytes) as (_, port),
        Daw(port) as daw,
    ):
        daw.send("/segue/rows/begin", *JOB, ("i", ROWS))
        for packet in packets:
            daw.socket.send(packet)
        rounds = repair(daw)
        daw.socket.settimeout(DEADLINE_SECONDS)
        daw.outpaint("j1", ("i", 7))
        daw.until("/segue/job/done")
    assert rounds or buffer_bytes > 8192
    if granted(buffer_bytes) >= ROWS * ROW_BYTES:
        assert rounds == []
    assert engine.requests[0].controls[1] == CURVE


@LINUX
def test_a_burst_while_the_bridge_stands_still(tmp_path: Path) -> None:
    """5,000 rows lie with the usual system until the bridge goes on: nothing to repair."""
    with (
        serving(tmp_path) as url,
        process(USUAL_BRIDGE, url, USUAL_BYTES) as (bridge, port),
        Daw(port) as daw,
    ):
        bridge.send_signal(signal.SIGSTOP)
        daw.send("/segue/rows/begin", *JOB, ("i", ROWS))
        for row in range(ROWS):
            daw.socket.send(add(row, 1))
        bridge.send_signal(signal.SIGCONT)
        assert repair(daw) == []


@LINUX
@pytest.mark.usefixtures("usual")
def test_a_burst_while_every_processor_is_busy() -> None:
    """5,000 datagrams from another process, as fast as it can: all arrive, in order."""
    got = list[bytes]()

    async def scenario() -> None:
        port = UdpPort(lambda data, sender: got.append(data))
        await port.open(0)
        assert port._group is not None
        command = [sys.executable, "-c", SENDER, str(port.port), str(ROWS)]
        sender = await asyncio.create_subprocess_exec(*command)
        assert await sender.wait() == 0
        await _idle(got)
        port.close()

    with busy():
        asyncio.run(scenario())
    assert len(got) == ROWS
    assert got == [b"%d" % number for number in range(ROWS)]


def test_five_thousand_messages_in_one_burst_over_tcp(tmp_path: Path) -> None:
    """All of them arrive, in order: one ack, and nothing to repair."""
    engine = Recorder()
    begin = encode("/segue/rows/begin", *JOB, ("i", ROWS))
    end = encode("/segue/rows/end", *JOB, ("i", ROWS))
    order = encode("/segue/outpaint", ("s", "j1"), ("s", "/take.wav"), *[("d", 4.0)] * 3, ("i", 7))
    sent = [begin, *(add(row, 1) for row in range(ROWS)), end, order]
    with (
        serving(tmp_path, engine) as url,
        Running(url) as bridge,
        socket.create_connection(("127.0.0.1", bridge.port), DEADLINE_SECONDS) as client,
    ):
        client.sendall(b"".join(struct.pack(">i", len(each)) + each for each in sent))
        heard = [hear(client), hear(client)]
        while hear(client).address != "/segue/job/done":
            pass
    assert heard == [
        Message("/segue/rows/ack", ("j1", "intensity", ROWS)),
        Message("/segue/job/accepted", ("j1",)),
    ]
    assert engine.requests[0].controls[1] == CURVE


def test_what_comes_while_one_is_understood_is_taken_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten come for each that is understood, and the system has room for some twenty."""
    monkeypatch.setattr(udp_port, "RECEIVE_BUFFER_BYTES", 8192)
    numbers, got = iter(range(500)), list[bytes]()

    async def scenario() -> None:
        def send() -> None:
            for number in islice(numbers, 10):
                client.send(b"%d" % number)

        def receive(data: bytes, sender: Sender) -> None:
            got.append(data)
            send()

        port = UdpPort(receive)
        await port.open(0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", port.port))
            send()
            await _until(lambda: len(got) == 500)
        port.close()

    asyncio.run(scenario())
    assert got == [b"%d" % number for number in range(500)]


def test_what_is_taken_and_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest stays with the system until there is room; one that breaks us harms no other."""
    monkeypatch.setattr(udp_port, "MAX_KEPT_BYTES", 10 * (udp_group.OVERHEAD_BYTES + 1))
    got, kept, broken = list[bytes](), list[int](), list[object]()

    async def scenario() -> None:
        def receive(data: bytes, sender: Sender) -> None:
            got.append(data)
            kept.append(len(port._kept))
            if len(got) == 50:
                raise ValueError("a bug")

        asyncio.get_running_loop().set_exception_handler(lambda _, found: broken.append(found))
        port = UdpPort(receive)
        await port.open(0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", port.port))
            for number in range(100):
                client.send(b"%c" % number)
        await _until(lambda: len(got) == 100)
        port.close()

    asyncio.run(scenario())
    assert (got, len(broken)) == ([b"%c" % number for number in range(100)], 1)
    assert max(kept) <= 10


@LINUX
@pytest.mark.usefixtures("usual")
def test_a_port_of_many_sockets_is_taken() -> None:
    """By no second bridge and no other program; one that may join hears nothing of ours."""

    async def scenario() -> None:
        got = list[bytes]()
        port = UdpPort(lambda data, sender: got.append(data))
        await port.open(0)
        assert port._group is not None
        with pytest.raises(SegueError, match=f"OSC port {port.port} is in use by "):
            await UdpPort(lambda data, sender: None).open(port.port)
        with _socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((udp_port.HOST, port.port))
        with _socket(socket.SO_REUSEPORT) as joiner, _socket() as client:
            joiner.bind((udp_port.HOST, port.port))
            for number in range(200):
                client.sendto(b"%d" % number, (udp_port.HOST, port.port))
            await _until(lambda: len(got) == 200)
            with pytest.raises(BlockingIOError):
                joiner.recv(16)
        port.close()
        await asyncio.sleep(0)
        await port.open(port.port)  # free again
        port.close()

    asyncio.run(scenario())


@LINUX
@pytest.mark.usefixtures("usual")
def test_a_group_of_others_is_not_joined() -> None:
    """A port that others share among themselves is in use."""

    async def scenario() -> None:
        with _socket(socket.SO_REUSEPORT) as other:
            other.bind((udp_port.HOST, 0))
            port = other.getsockname()[1]
            with pytest.raises(SegueError, match=f"OSC port {port} is in use by "):
                await UdpPort(lambda data, sender: None).open(port)

    asyncio.run(scenario())


@LINUX
@pytest.mark.usefixtures("usual")
def test_one_socket_where_the_system_refuses_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """It works as ever, and nobody can join it."""
    monkeypatch.setattr(udp_group, "SO_ATTACH_REUSEPORT_CBPF", 9999)

    async def scenario() -> None:
        got = list[bytes]()
        port = UdpPort(lambda data, sender: got.append(data))
        await port.open(0)
        assert port._group is None
        with _socket(socket.SO_REUSEPORT) as other, pytest.raises(OSError, match="in use"):
            other.bind((udp_port.HOST, port.port))
        with _socket() as client:
            client.sendto(b"heard", (udp_port.HOST, port.port))
            await _until(lambda: got == [b"heard"])
        port.close()

    asyncio.run(scenario())


@LINUX
def test_what_may_be_too_early_is_held_back() -> None:
    """Each look returns what the one before it found, in order."""
    with _socket() as endpoint, _socket() as client:
        endpoint.bind((udp_port.HOST, 0))
        client.connect(endpoint.getsockname())
        group = udp_group.gather(endpoint, USUAL_BYTES, udp_port.MAX_KEPT_BYTES)
        assert group is not None
        looks = []
        for first in (0, 100):
            for number in range(first, first + 100):
                client.send(b"%d" % number)
            looks.append([data for data, _ in group.look()])
        assert group.held_bytes == 100 * (udp_group.OVERHEAD_BYTES + 3)
        looks += [[data for data, _ in group.look()] for _ in range(2)]
        group.close()
    hundreds = [[b"%d" % number for number in range(first, first + 100)] for first in (0, 100)]
    assert looks == [[], *hundreds, []]


@LINUX
def test_what_many_sockets_give_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with one: the rest stays with the system, and what it drops leaves the order as it is."""
    monkeypatch.setattr(udp_port, "MAX_KEPT_BYTES", 16 * 8192)
    monkeypatch.setattr(udp_port, "ask_for_room", _grants(8192))
    numbers, got, kept = iter(range(5000)), list[int](), list[int]()

    async def scenario() -> None:
        def receive(data: bytes, sender: Sender) -> None:
            assert port._group is not None
            got.append(int(data))
            kept.append(port._kept_bytes + port._group.held_bytes)
            for number in islice(numbers, 10):
                client.send(b"%d" % number)

        port = UdpPort(receive)
        await port.open(0)
        with _socket() as client:
            client.connect((udp_port.HOST, port.port))
            client.send(b"%d" % next(numbers))
            await _idle(got)
        port.close()

    asyncio.run(scenario())
    assert got == sorted(got)
    assert len(got) > 500
    assert 4 * 8192 < max(kept) <= 16 * 8192


@pytest.fixture
def usual(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system grants what it usually does."""
    monkeypatch.setattr(udp_port, "ask_for_room", _grants(USUAL_BYTES))


def _grants(most: int) -> Callable[[socket.socket], int]:
    def ask_for_room(endpoint: socket.socket) -> int:
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, most)
        return most

    return ask_for_room


def _socket(*options: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    for option in options:
        made.setsockopt(socket.SOL_SOCKET, option, 1)
    return made


@contextmanager
def process(
    script: str, url: str, buffer_bytes: int
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A bridge in a process of its own, and its port; it ends well."""
    command = [sys.executable, "-c", script, url, str(buffer_bytes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as bridge:
        assert bridge.stdout is not None
        found = re.search(r"udp://127\.0\.0\.1:(\d+)", bridge.stdout.readline())
        assert found is not None
        try:
            yield bridge, int(found[1])
        finally:
            bridge.send_signal(signal.SIGCONT)
            bridge.terminate()
        assert bridge.wait(DEADLINE_SECONDS) == 0


@contextmanager
def busy() -> Iterator[None]:
    """Every processor has something else to do."""
    with ExitStack() as loops:
        for _ in range(os.cpu_count() or 1):
            loop = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            loops.callback(loop.wait)
            loops.callback(loop.kill)
        yield


def granted(buffer_bytes: int) -> int:
    """What the system makes of a wish for a buffer of this size."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        return probe.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def hear(client: socket.socket) -> Message:
    """The next message of a stream."""
    (size,) = struct.unpack(">i", client.recv(4, socket.MSG_WAITALL))
    return decode(client.recv(size, socket.MSG_WAITALL))[0]


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():
            await asyncio.sleep(0)


async def _idle(got: Sized) -> None:
    """Nothing has come for half a second."""
    before = -1
    while before < len(got):
        before = len(got)
        await asyncio.sleep(0.5)
