"""Thousands of messages at once, through the real port: what is lost is named and sent again."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from segue.bridge.osc import udp_port
from segue.bridge.osc.codec import Message, Value, encode
from segue.presets.controls import Intensity
from tests.osc_client import DEADLINE_SECONDS, Daw
from tests.recorder import Recorder, serving

ROWS = 5000
BRIDGE = """
import sys
from segue.bridge.osc import udp_port
from segue.bridge.app import run_bridge
udp_port.RECEIVE_BUFFER_BYTES = int(sys.argv[2])
run_bridge(sys.argv[1], 0)
"""
PATIENCE_SECONDS = 0.5  # the question may have been lost too
JOB: list[tuple[str, Value]] = [("s", "j1"), ("s", "intensity")]


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
@pytest.mark.parametrize("buffer_bytes", [udp_port.RECEIVE_BUFFER_BYTES, 8192])
def test_five_thousand_messages_in_one_burst(tmp_path: Path, buffer_bytes: int) -> None:
    """A row a message, as fast as a socket takes them; the engine gets every one of them.

    With a buffer far too small most are lost at first, and repaired.
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
    points = tuple((row / 100, -row / 1000) for row in range(ROWS))
    assert engine.requests[0].controls[1] == Intensity(points=points)
