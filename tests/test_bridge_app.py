"""The bridge on a real UDP port, without a server: it survives all and says what is wrong."""

import asyncio
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from segue.bridge.app import Bridge, run_bridge
from segue.bridge.osc.codec import Message, OscError, decode, encode
from segue.bridge.osc.commands import Sender
from segue.bridge.osc.session import MAX_WAITING_COMMANDS, Reply
from segue.bridge.osc.udp_port import UdpPort
from segue.presets.vocabulary import Code, SegueError
from tests.osc_client import Daw, Running

NOBODY = "http://127.0.0.1:9"  # the discard port: no server listens there
UNREACHABLE = f"no server at {NOBODY}: run `segue serve`, or `segue up` for both"
HELLO = encode("/segue/hello", ("s", "test"))


def served(daw: Daw) -> None:
    """The bridge answers, and nothing but this answer was on its way."""
    assert daw.ask() == Message("/segue/error", ("", "server-unreachable", UNREACHABLE))


@pytest.fixture
def running() -> Iterator[Running]:
    """A bridge whose server is down."""
    with Running(NOBODY) as bridge:
        yield bridge


@pytest.fixture
def daw(running: Running) -> Iterator[Daw]:
    """A client of that bridge."""
    with Daw(running.port) as client:
        yield client


class Recorder(UdpPort):
    """A port that keeps what it should send."""

    def __init__(self, receive: Callable[[bytes, Sender], None]) -> None:
        super().__init__(receive)
        self.sent: list[Reply] = []

    def send(self, reply: Reply) -> None:
        """Keep it."""
        self.sent.append(reply)


def nested(depth: int) -> bytes:
    """Bundles within bundles, the innermost empty."""
    sizes = (16 + 20 * (depth - level - 1) for level in range(1, depth))
    return b"".join(b"#bundle\0" + bytes(8) + struct.pack(">i", size) for size in sizes) + (
        b"#bundle\0" + bytes(8)
    )


# What crashed, hung or confused python-osc 1.10 in our probes.
HOSTILE = {
    "bundle element of size -4": b"#bundle\0" + bytes(8) + b"\xff\xff\xff\xfc" + bytes(4),
    "8 stars": b"/ditto/********!" + b"\0\0\0\0,\0\0\0",
    "10 stars": b"/ditto/**********!" + b"\0\0,\0\0\0",
    "bundles 400 deep": nested(400),
    "bundles 1,500 deep": nested(1500),
    "bundles 3,000 deep": nested(3000),
    "address not UTF-8": b"/segue/\xff\0,\0\0\0",
    "string not UTF-8": b"/segue/hello\0\0\0\0,s\0\0\xff\xfe\xfd\0",
    "blob of negative size": b"/segue/hello\0\0\0\0,b\0\0\xff\xff\xff\xfc" + bytes(4),
    "unknown type tag": b"/segue/hello\0\0\0\0,x\0\0" + bytes(4),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_datagrams_are_refused(name: str) -> None:
    """Each is refused by the codec within 50 ms."""
    waits = []
    for _ in range(3):  # the shortest of three: another process may hold the core
        begun = time.perf_counter()
        with pytest.raises(OscError):
            decode(HOSTILE[name])
        waits.append(time.perf_counter() - begun)
    assert min(waits) < 0.05


def test_hostile_datagrams_leave_the_bridge_serving(running: Running, daw: Daw) -> None:
    """None gets an answer; the next good message does."""
    for datagram in HOSTILE.values():
        daw.socket.send(datagram)
        served(daw)
    assert running.bridge.session.malformed == len(HOSTILE)


def test_well_formed_nonsense_is_answered_within_50_ms(daw: Daw) -> None:
    """NaN and infinite times are refused by name; a timetag of all ones does not delay anything."""
    for bad in (float("nan"), float("inf"), -float("inf")):
        outpaint = encode(
            "/segue/outpaint", ("s", "j1"), ("s", "/a.wav"), ("d", bad), ("f", 4.0), ("f", 6.0)
        )
        future = b"#bundle\0" + b"\xff" * 8 + struct.pack(">i", len(outpaint)) + outpaint
        for datagram in (outpaint, future):
            waits = []
            for _ in range(3):  # the shortest of three: another process may hold the core
                begun = time.perf_counter()
                daw.socket.send(datagram)
                text = "start_seconds: send a finite number"
                assert daw.hear() == Message("/segue/error", ("j1", "bad-request", text))
                waits.append(time.perf_counter() - begun)
            assert min(waits) < 0.05


def test_the_largest_datagrams_arrive_whole(running: Running, daw: Daw) -> None:
    """65,507 bytes are the most UDP carries; nothing is cut on the way in."""
    arguments = b"," + b"f" * 13_000
    tags = arguments + bytes(4 - len(arguments) % 4)
    daw.socket.send(b"/other\0\0" + tags + bytes(4 * 13_000))
    daw.socket.send(b"\1" * 65_507)
    served(daw)
    assert (running.bridge.session.ignored, running.bridge.session.malformed) == (1, 1)


def test_bursts_are_counted_in_full(running: Running, daw: Daw) -> None:
    """5,000 small datagrams in bursts of 250: none is lost, the bridge goes on."""
    for _ in range(20):
        for _ in range(125):
            daw.socket.send(b"/x\0\0")
            daw.socket.send(b"x")
        served(daw)
    assert (running.bridge.session.ignored, running.bridge.session.malformed) == (2500, 2500)


def test_a_server_that_is_down_is_said(daw: Daw) -> None:
    """A request that cannot be passed on is answered with the URL and what to run."""
    daw.outpaint("j1")
    assert daw.hear() == Message("/segue/error", ("j1", "server-unreachable", UNREACHABLE))
    daw.send("/segue/cancel", ("s", "j1"))
    assert daw.hear() == Message("/segue/error", ("j1", "server-unreachable", UNREACHABLE))
    served(daw)


def test_a_client_that_went_away_is_harmless(running: Running, daw: Daw) -> None:
    """Answers to a closed port are lost without a trace."""
    for _ in range(5):
        with Daw(running.port) as gone:
            gone.socket.send(HELLO)
        served(daw)


def test_the_queue_of_commands_is_bounded() -> None:
    """While the server keeps the bridge waiting, one message too many is answered queue-full."""

    async def scenario() -> list[Message]:
        bridge = Bridge(NOBODY)
        bridge.port = recorder = Recorder(bridge.receive)
        for _ in range(MAX_WAITING_COMMANDS):
            bridge.receive(HELLO, Sender("127.0.0.1", 50001))
        assert recorder.sent == []
        bridge.receive(encode("/segue/cancel", ("s", "j1")), Sender("127.0.0.1", 50001))
        return [message for reply in recorder.sent for message in decode(reply.data)]

    text = "1024 messages wait for the server: send it again later"
    assert asyncio.run(scenario()) == [Message("/segue/error", ("j1", "queue-full", text))]


def test_the_bridge_does_not_talk_to_itself() -> None:
    """A datagram forged to come from the bridge's own port is dropped."""

    async def scenario() -> list[bytes]:
        got: list[bytes] = []
        port = UdpPort(lambda data, sender: got.append(data))
        await port.open(0)
        port.datagram_received(b"own", ("127.0.0.1", port.port))
        port.datagram_received(b"other", ("127.0.0.1", port.port ^ 1))
        port.close()
        return got

    assert asyncio.run(scenario()) == [b"other"]


def test_replies_are_dropped_while_the_system_is_full() -> None:
    """Nothing is buffered without bound: packets the system does not take are counted."""

    async def scenario() -> tuple[int, bytes]:
        port = UdpPort(lambda data, sender: None)
        await port.open(0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
            listener.bind(("127.0.0.1", 0))
            listener.settimeout(10)
            port.pause_writing()
            port.send(Reply(b"lost", Sender(*listener.getsockname())))
            port.resume_writing()
            port.send(Reply(b"sent", Sender(*listener.getsockname())))
            heard = listener.recv(16)
        port.close()
        return port.dropped, heard

    assert asyncio.run(scenario()) == (1, b"sent")


def test_a_port_in_use_names_its_owner(running: Running) -> None:
    """The sentence has the port, on Linux the process that holds it, and what to do."""
    with pytest.raises(SegueError) as caught:
        run_bridge(NOBODY, running.port)
    text = str(caught.value)
    assert text.startswith(f"OSC port {running.port} is in use by ")
    assert text.endswith(": stop it, or choose another with --osc-port")
    if sys.platform == "linux":
        assert f"(pid {os.getpid()})" in text


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_that_is_none(port: int) -> None:
    """A port number that cannot be is an error with a sentence too."""
    with pytest.raises(SegueError, match=f"OSC port {port} cannot be opened"):
        run_bridge(NOBODY, port)


@pytest.mark.parametrize("url", ["", "127.0.0.1:9136", "ftp://x", "http://", "http://x:65536"])
def test_a_url_that_is_none(url: str) -> None:
    """A server that cannot be addressed is refused at once."""
    with pytest.raises(SegueError, match="is not a URL like http") as caught:
        run_bridge(url, 0)
    assert caught.value.code is Code.BAD_REQUEST


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_process_prints_its_port_and_stops_cleanly(number: signal.Signals) -> None:
    """One line with the actual port once it serves; a signal ends it with status 0."""
    code = f"from segue.bridge.app import run_bridge; run_bridge({NOBODY!r}, 0)"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as bridge:
        assert bridge.stdout is not None
        line = bridge.stdout.readline()
        head, _, rest = line.partition("udp://127.0.0.1:")
        port, _, tail = rest.partition(",")
        assert (head, tail) == ("bridge: OSC on ", f" server {NOBODY}\n")
        with Daw(int(port)) as client:
            served(client)
        bridge.send_signal(number)
        assert bridge.wait(10) == 0
        assert bridge.stdout.read() == ""
