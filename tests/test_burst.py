"""Thousands of messages at once, through the real port: what is lost is named and sent again."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pytest

from segue.bridge.osc import udp_port
from segue.bridge.osc.codec import Message, Value, decode, encode
from segue.bridge.osc.commands import Sender
from segue.bridge.osc.udp_port import UdpPort
from segue.presets.controls import Intensity
from tests.osc_client import DEADLINE_SECONDS, Daw, Running
from tests.recorder import Recorder, serving

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
    with serving(tmp_path, engine) as url:
        command = [sys.executable, "-c", BRIDGE, url, str(buffer_bytes)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as bridge:
            assert bridge.stdout is not None
            found = re.search(r"udp://127\.0\.0\.1:(\d+)", bridge.stdout.readline())
            assert found is not None
            with Daw(int(found[1])) as daw:
                daw.send("/segue/rows/begin", *JOB, ("i", ROWS))
                for packet in packets:
                    daw.socket.send(packet)
                rounds = repair(daw)
                daw.socket.settimeout(DEADLINE_SECONDS)
                daw.outpaint("j1", ("i", 7))
                daw.until("/segue/job/done")
            bridge.terminate()
            assert bridge.wait(DEADLINE_SECONDS) == 0
    assert rounds or buffer_bytes > 8192
    if granted(buffer_bytes) >= ROWS * ROW_BYTES:
        assert rounds == []
    assert engine.requests[0].controls[1] == CURVE


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
    monkeypatch.setattr(udp_port, "MAX_KEPT_BYTES", 10 * (udp_port.OVERHEAD_BYTES + 1))
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
