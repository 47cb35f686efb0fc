"""A JACK server of our own, without a sound card, and its ports."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

import pytest

DEADLINE_SECONDS = 20.0
RATE = 48_000
PERIOD = 256  # frames
MISSING = "jackd is missing: apt-get install -y --no-install-recommends jackd2 libportaudio2"


@contextmanager
def jack_server() -> Iterator[subprocess.Popen[bytes]]:
    """Run one under a name of its own, for this process and its children; skips loudly."""
    if shutil.which("jackd") is None:
        pytest.skip(MISSING)
    name = f"segue-{os.getpid()}"
    before = {key: os.environ.get(key) for key in ("JACK_DEFAULT_SERVER", "JACK_NO_START_SERVER")}
    os.environ |= {"JACK_DEFAULT_SERVER": name, "JACK_NO_START_SERVER": "1"}
    try:
        with jackd() as server:
            yield server
    finally:
        for key, value in before.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})


@contextmanager
def jackd() -> Iterator[subprocess.Popen[bytes]]:
    """Inside a `jack_server` that has ended: run it once more."""
    name = os.environ["JACK_DEFAULT_SERVER"]
    _sweep(name)
    dummy = ["-d", "dummy", "-r", str(RATE), "-p", str(PERIOD)]
    server = subprocess.Popen(
        ["jackd", "-r", "-n", name, *dummy],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: ports() != [], "jackd did not start")
        yield server
    finally:
        server.terminate()
        server.wait(DEADLINE_SECONDS)
        _sweep(name)


def _sweep(name: str) -> None:
    """Remove what wakes the clients of a server that has ended: it stays where a client was killed.

    The next one of the same name would be woken by what is left in it, or its turn taken by one
    that lives on; either way MIDI is lost, or heard twice.
    """
    for semaphore in Path("/dev/shm").glob(f"jack_sem.*_{name}_*"):
        semaphore.unlink()


def until(done: Callable[[], object], problem: str) -> None:
    """Wait for a condition of other threads and processes."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not done():
        assert time.monotonic() < deadline, problem
        time.sleep(0.01)


def ports(start: str = "") -> list[str]:
    """The server's ports whose names start so, in order; none while it is not there."""
    return sorted(name for name in _listed() if name.startswith(start))


def connect(source: str, target: str) -> None:
    """Connect two ports as soon as JACK does: it lists them before their clients are active."""
    _try(lambda: target in _partners(source), "jack_connect", source, target)


def disconnect(source: str, target: str) -> None:
    """Part two ports, when both are there."""
    until(lambda: {source, target} <= set(ports()), f"no ports {source} and {target}")
    _try(lambda: target not in _partners(source), "jack_disconnect", source, target)


def _try(done: Callable[[], bool], command: str, source: str, target: str) -> None:
    def tried() -> bool:
        subprocess.run([command, source, target], capture_output=True)
        return done()

    until(tried, f"{command} {source} {target} did nothing; there are {_listed('-c')}")


def _partners(port: str) -> list[str]:
    """What a port is connected with."""
    lines = _listed("-c")
    below = lines[lines.index(port) + 1 :] if port in lines else []
    return [line.strip() for line in takewhile(lambda line: line.startswith("   "), below)]


def _listed(*options: str) -> list[str]:
    listed = subprocess.run(["jack_lsp", *options], capture_output=True, text=True)
    return listed.stdout.splitlines() if listed.returncode == 0 else []
