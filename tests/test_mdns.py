"""mDNS: a real browser on loopback finds a bridge that asks for it, and nobody else does."""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import zeroconf
from zeroconf import ServiceStateChange

from segue.bridge.osc.oscquery import host_name
from tests.osc_client import DEADLINE_SECONDS, Daw
from tests.wire import until

TYPES = ("_osc._udp.local.", "_oscjson._tcp.local.")
SRV, UNICAST_IN = 33, 0x8001  # a question's type and class, RFC 2782 and RFC 6762, 5.4
IP_PKTINFO = 8  # Linux's; the socket module does not name it
NOBODY = "http://127.0.0.1:9"  # the discard port: no server listens there
PORT = re.compile(r"(?:udp://|udp )127\.0\.0\.1:(\d+),")
CODE = "from segue.bridge.cli.main import app; app()"
BRIDGE = ("bridge", "--server", NOBODY, "--osc-port", "0")

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are not sent this way on Windows")


def both(port: int) -> set[str]:
    """The names of a bridge's two services."""
    return {f"Segue {port}.{kind}" for kind in TYPES}


class Browser:
    """Another program of this machine that looks for both services, as a context."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __enter__(self) -> Browser:
        self._zeroconf = zeroconf.Zeroconf(interfaces=["127.0.0.1"])
        zeroconf.ServiceBrowser(self._zeroconf, list(TYPES), handlers=[self._hear])
        return self

    def __exit__(self, *rest: object) -> None:
        self._zeroconf.close()

    def _hear(self, name: str, state_change: ServiceStateChange, **rest: Any) -> None:
        if state_change is ServiceStateChange.Added:
            self.names.add(name)
        elif state_change is ServiceStateChange.Removed:
            self.names.discard(name)

    def of(self, port: int) -> set[str]:
        """What a bridge on this port is called, of what is there just now."""
        return self.names & both(port)

    def look_up(self, port: int, kind: str) -> zeroconf.ServiceInfo:
        """Where one service of a bridge is."""
        found = self._zeroconf.get_service_info(kind, f"Segue {port}.{kind}")
        assert found
        return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One that was there before the bridges."""
    with Browser() as here:
        yield here


@contextmanager
def segue(*arguments: str, prelude: str = "") -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A real `segue` command and its OSC port; `prelude` is Python that runs before it."""
    with subprocess.Popen(
        [sys.executable, "-c", f"{prelude}\n{CODE}", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            found = PORT.search(process.stdout.readline())
            assert found
            yield process, int(found[1])
        finally:
            process.terminate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_bridge_is_there_while_it_runs(
    browser: Browser, client: httpx.Client, number: signal.Signals
) -> None:
    """Both services lead to its one port number; OSCQuery answers; a signal withdraws both."""
    with segue(*BRIDGE, "--mdns") as (bridge, port):
        until(lambda: browser.of(port) == both(port))
        for kind in TYPES:
            info = browser.look_up(port, kind)
            assert (info.parsed_addresses(), info.port) == (["127.0.0.1"], port)
            assert (info.server, info.properties) == (f"{host_name(port)}.", {b"txtvers": b"1"})
        url = f"http://127.0.0.1:{port}/?HOST_INFO"
        for host in ("127.0.0.1", host_name(port), f"{host_name(port)}.:{port}"):
            assert client.get(url, headers={"host": host}).json()["OSC_PORT"] == port
        bridge.send_signal(number)
        assert bridge.wait(DEADLINE_SECONDS) == 0
        until(lambda: not browser.of(port))


def test_two_bridges_have_names_of_their_own(browser: Browser) -> None:
    """Both are found, by one that comes later too, and the end of one leaves the other."""
    with (
        segue(*BRIDGE, "--mdns") as (_, first),
        segue(*BRIDGE, "--mdns") as (other, second),
        Browser() as late,
    ):
        until(lambda: browser.of(first) | browser.of(second) == both(first) | both(second))
        until(lambda: late.of(first) | late.of(second) == both(first) | both(second))
        other.terminate()
        until(lambda: not browser.of(second))
        assert browser.of(first) == both(first)


def ask(address: str, port: int) -> socket.socket:
    """A socket at `address` that has asked all of loopback for the bridge, to be answered alone."""
    labels = (f"Segue {port}".encode(), *(each.encode() for each in TYPES[0].split(".")))
    name = b"".join(bytes([len(each)]) + each for each in labels)
    question = struct.pack(">6H", port, 0, 1, 0, 0, 0) + name + struct.pack(">2H", SRV, UNICAST_IN)
    asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asker.bind((address, 0))
    asker.settimeout(DEADLINE_SECONDS)
    asker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    asker.sendto(question, ("224.0.0.251", 5353))
    return asker


@pytest.fixture
def ears() -> Iterator[socket.socket]:
    """Hears mDNS on loopback and on the default network, and is told which of them it was."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard:
        heard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        heard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        heard.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        heard.bind(("", 5353))
        heard.setblocking(False)
        for interface in ("127.0.0.1", "0.0.0.0"):
            group = socket.inet_aton("224.0.0.251") + socket.inet_aton(interface)
            with suppress(OSError):  # a machine without a network
                heard.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
        yield heard


@pytest.mark.skipif(sys.platform != "linux", reason="the number of IP_PKTINFO is Linux's")
def test_nothing_leaves_the_machine(browser: Browser, ears: socket.socket) -> None:
    """From the first announcement to the last goodbye, all that is sent goes to loopback."""
    with segue(*BRIDGE, "--mdns") as (_, port):
        until(lambda: browser.of(port) == both(port))
    until(lambda: not browser.of(port))
    interfaces = []
    with suppress(BlockingIOError):
        while True:
            data, [(_, _, where)], _, _ = ears.recvmsg(9000, 64)
            if f"Segue {port}".encode() in data:
                interfaces.append(int.from_bytes(where[:4], sys.byteorder))
    assert set(interfaces) == {socket.if_nametoindex("lo")}


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is an address on Linux alone")
def test_a_stranger_gets_no_answer(browser: Browser) -> None:
    """Only 127.0.0.1 is answered directly; any other address may be another machine's."""
    with segue(*BRIDGE, "--mdns") as (_, port):
        until(lambda: browser.of(port) == both(port))
        with ask("127.0.0.2", port) as stranger, ask("127.0.0.1", port) as neighbour:
            number, flags, _, answers = struct.unpack_from(">4H", neighbour.recv(9000))
            assert (number, flags >> 15, answers) == (port, 1, 1)
            stranger.setblocking(False)  # it had asked before
            with pytest.raises(BlockingIOError):
                stranger.recv(9000)


@pytest.mark.slow
def test_segue_up_passes_it_on(browser: Browser, tmp_path: Path) -> None:
    """`segue up --mdns` is found as well, and withdrawn with the rest."""
    where = ("--port", "0", "--osc-port", "0", "--data", str(tmp_path))
    with segue("up", *where, "--mdns") as (_, port):
        until(lambda: browser.of(port) == both(port))
    until(lambda: not browser.of(port))


WITHOUT = "import sys; sys.modules['zeroconf'] = None"


def test_off_unless_asked_for() -> None:
    """A bridge does without zeroconf, and so does not import it."""
    with segue(*BRIDGE, prelude=WITHOUT) as (_, port), Daw(port) as daw:
        assert daw.ask().address == "/segue/error"


def test_without_zeroconf() -> None:
    """Who asks for it and has no zeroconf is told what to install."""
    command = [sys.executable, "-c", f"{WITHOUT}\n{CODE}", *BRIDGE, "--mdns"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS)
    assert (done.returncode, done.stdout) == (1, "")
    assert "--mdns needs zeroconf" in done.stderr
    assert "pip install 'segue[mdns]'" in done.stderr


TAKEN = """
import errno, os, socket
class Taken(socket.socket):
    def bind(self, address):
        if address[1] == 5353:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        super().bind(address)
socket.socket = Taken
"""


def test_a_port_that_is_taken_ends_nothing() -> None:
    """Where mDNS cannot be had that is said, and the bridge goes on."""
    with segue(*BRIDGE, "--mdns", prelude=TAKEN) as (bridge, port), Daw(port) as daw:
        log = bridge.stderr
        assert log is not None
        until(lambda: "not announced by mDNS: OSError" in log.readline())
        assert daw.ask().address == "/segue/error"
        bridge.terminate()
        assert bridge.wait(DEADLINE_SECONDS) == 0
