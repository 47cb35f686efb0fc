"""OSC over TCP: packets in a stream, in both framings; real foreign clients on the real port."""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import closing

import pytest
from pythonosc.osc_message_builder import OscMessageBuilder
from pythonosc.tcp_client import SimpleTCPClient

from segue.bridge.osc import tcp_port
from segue.bridge.osc.codec import MAX_DATAGRAM_BYTES, Message, decode, encode
from segue.bridge.osc.commands import Sender
from segue.bridge.osc.session import Reply
from segue.bridge.osc.stream import MAX_BUFFERED_BYTES, Framing, Lengths, Slip, StreamError, framing
from segue.bridge.osc.tcp_port import MAX_CONNECTIONS, TcpPort
from tests.osc_client import DEADLINE_SECONDS, Running
from tests.wire import until

NOBODY = "http://127.0.0.1:9"
HELLO = encode("/segue/hello", ("s", "test"))
NO_LIBLO = "NOT TESTED: liblo is not here; `apt-get install liblo-tools` brings oscsend"
# SLIP's own bytes in any company, and every byte there is.
PACKETS = [b"\xc0", b"\xdb", b"\xdb\xdc\xdb\xdd\xc0\xc0", bytes(range(256)), b"\0", HELLO]


@pytest.mark.parametrize(
    ("known", "packet", "wire"),
    [
        (Lengths(), b"abcd", b"\0\0\0\4abcd"),
        (Slip(), b"abcd", b"\xc0abcd\xc0"),
        (Slip(), b"a\xc0b\xdbc", b"\xc0a\xdb\xdcb\xdb\xddc\xc0"),
    ],
)
def test_how_a_packet_goes_out(known: Framing, packet: bytes, wire: bytes) -> None:
    """Behind its length, or between two ENDs with two escapes; and that is read back."""
    assert known.frame(packet) == wire
    assert known.feed(wire) == [packet]


@pytest.mark.parametrize("kind", [Lengths, Slip])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
def test_pieces_of_any_size(kind: type[Lengths] | type[Slip], size: int) -> None:
    """However the stream is cut, byte by byte too, the same packets come out."""
    wire = b"".join(kind().frame(packet) for packet in PACKETS)
    reader = framing(wire[0])
    assert isinstance(reader, kind)
    pieces = [wire[at : at + size] for at in range(0, len(wire), size)]
    assert [packet for piece in pieces for packet in reader.feed(piece)] == PACKETS


def test_empty_slip_packets_are_nothing() -> None:
    """ENDs may come in any number."""
    assert Slip().feed(b"\xc0\xc0\xc0ab\xc0cd\xc0\xc0") == [b"ab", b"cd"]


@pytest.mark.parametrize(
    ("reader", "data"),
    [
        (Lengths(), struct.pack(">i", 0)),
        (Lengths(), struct.pack(">i", -4)),
        (Lengths(), struct.pack(">i", MAX_DATAGRAM_BYTES + 1)),
        (Lengths(), b"POST / HTTP/1.1\r\n"),
        (Lengths(), b"\x16\x03\x01\x02\x00"),
        (Slip(), b"\xc0" + b"a" * (MAX_BUFFERED_BYTES + 1)),
        (Slip(), b"\xc0\xdb\xc0"),
        (Slip(), b"\xc0a\xdb\xdbb\xc0"),
    ],
)
def test_streams_that_are_lost(reader: Framing, data: bytes) -> None:
    """A length that can't be, a packet without end, an escape that is none: nobody can go on."""
    with pytest.raises(StreamError):
        reader.feed(data)


def test_the_longest_packets() -> None:
    """As long as a datagram may be, and every byte escaped."""
    packet = b"\xc0" * MAX_DATAGRAM_BYTES
    for reader in (Lengths(), Slip()):
        assert reader.feed(reader.frame(packet)[:-1]) == []
        assert reader.feed(reader.frame(packet)[-1:]) == [packet]


def test_random_bytes_only_ever_end_the_stream() -> None:
    """Whatever comes, packets or StreamError come out, and little is kept."""
    dice = random.Random(7)
    for _ in range(500):
        data = dice.randbytes(dice.randrange(1, 400))
        reader = framing(data[0])
        try:
            for at in range(0, len(data), 9):
                assert sum(map(len, reader.feed(data[at : at + 9]))) <= len(data)
        except StreamError:
            continue


@pytest.fixture
def running() -> Iterator[Running]:
    """A bridge whose server is down."""
    with Running(NOBODY) as bridge:
        yield bridge


class Line:
    """A TCP client with a framing of its choice."""

    def __init__(self, port: int, known: Framing) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS)
        self.framing = known
        self._packets: list[bytes] = []

    def send(self, *packets: bytes) -> None:
        """All in one piece."""
        self.socket.sendall(b"".join(map(self.framing.frame, packets)))

    def hear(self) -> Message:
        """The next message."""
        while not self._packets:
            data = self.socket.recv(65536)
            assert data, "it has hung up"
            self._packets += self.framing.feed(data)
        (message,) = decode(self._packets.pop(0))
        return message

    def close(self) -> None:
        """Hang up."""
        self.socket.close()


@pytest.mark.parametrize("known", [Lengths(), Slip()])
def test_answers_come_back_down_the_line(running: Running, known: Framing) -> None:
    """Framed as the question was; several in one piece, and one byte by byte."""
    with closing(Line(running.port, known)) as line:
        line.send(HELLO, HELLO)
        wanted = line.hear()
        assert wanted.args[:2] == ("", "server-unreachable")
        assert line.hear() == wanted
        for byte in known.frame(HELLO):
            line.socket.sendall(bytes([byte]))
        assert line.hear() == wanted


def test_a_line_subscribes_and_hangs_up(running: Running) -> None:
    """It hears of what others do; when it is closed nothing of it is kept."""
    with closing(Line(running.port, Slip())) as line, closing(Line(running.port, Lengths())) as daw:
        line.send(encode("/segue/subscribe"), HELLO)
        assert line.hear().address == "/segue/error"
        daw.send(encode("/segue/cancel", ("s", "j1")))
        assert daw.hear() == line.hear() == _unreachable("j1")
    until(lambda: not running.bridge.stream_port.connections)
    assert running.bridge.session.open_ids() == []


def test_a_broken_line_is_closed_and_the_others_are_not(running: Running) -> None:
    """Bytes without sense end their own connection only."""
    with closing(Line(running.port, Lengths())) as good:
        for nonsense in (b"post", b"\xff" * 64, b"\xc0\xdba\xc0"):
            with socket.create_connection(("127.0.0.1", running.port), DEADLINE_SECONDS) as bad:
                bad.sendall(nonsense)
                assert _rest(bad) == b""
        good.send(HELLO)
        assert good.hear() == _unreachable("")


def test_connections_are_bounded(running: Running) -> None:
    """One too many is closed; when another has gone there is room."""
    lines = [Line(running.port, Lengths()) for _ in range(MAX_CONNECTIONS)]
    for line in lines:
        line.send(HELLO)
        assert line.hear() == _unreachable("")
    with socket.create_connection(("127.0.0.1", running.port), DEADLINE_SECONDS) as refused:
        assert _rest(refused) == b""
    lines.pop().close()
    until(lambda: len(running.bridge.stream_port.connections) < MAX_CONNECTIONS)
    lines.append(Line(running.port, Lengths()))
    lines[-1].send(HELLO)
    assert lines[-1].hear() == _unreachable("")
    for line in lines:
        line.close()


def test_who_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers wait up to a limit, then the connection goes."""
    monkeypatch.setattr(tcp_port, "MAX_UNSENT_BYTES", 1024)

    async def scenario() -> None:
        gone: list[Sender] = []
        port = TcpPort(lambda data, sender: port.send(Reply(b"x" * 60_000, sender)), gone.append)
        await port.open(0)
        _, writer = await asyncio.open_connection("127.0.0.1", port.port, limit=1024)
        frame = Lengths().frame(b"ask!")
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not gone:
                if not writer.is_closing():
                    writer.write(frame)
                await asyncio.sleep(0)
        writer.close()
        port.close()

    asyncio.run(scenario())


def test_last_words_are_heard() -> None:
    """Also where an answer meets a connection that was reset, for the other end had not read all
    when it hung up.
    """
    heard: list[bytes] = []

    async def scenario() -> None:
        senders: list[Sender] = []

        def receive(packet: bytes, sender: Sender) -> None:
            heard.append(packet)
            senders.append(sender)

        port = TcpPort(receive, lambda sender: None)
        await port.open(0)
        with socket.create_connection(("127.0.0.1", port.port)) as client:
            client.sendall(Lengths().frame(b"first"))
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not senders:
                    await asyncio.sleep(0.01)
            port.send(Reply(b"unread", senders[0]))
            client.sendall(Lengths().frame(b"last"))
        for _ in range(2):
            port.send(Reply(b"too late", senders[0]))
        await asyncio.sleep(0.1)
        port.close()

    asyncio.run(scenario())
    assert heard == [b"first", b"last"]


@pytest.mark.skipif(shutil.which("oscsend") is None, reason=NO_LIBLO)
def test_liblo_over_tcp(running: Running) -> None:
    """liblo's oscsend orders over TCP, with lengths; a subscriber hears that the server is away."""
    with closing(Line(running.port, Slip())) as ear:
        ear.send(encode("/segue/subscribe"), HELLO)
        assert ear.hear() == _unreachable("")
        url = f"osc.tcp://127.0.0.1:{running.port}/"
        values = ["ssddd", "take1", "/m/loop.wav", "0.0", "8.0", "6.0"]
        command = ["oscsend", url, "/segue/outpaint", *values]
        subprocess.run(command, check=True, timeout=DEADLINE_SECONDS)
        assert ear.hear() == _unreachable("take1")


@pytest.mark.parametrize("mode", ["1.0", "1.1"])
def test_python_osc_over_tcp(running: Running, mode: str) -> None:
    """python-osc's client speaks both framings and understands our answers in both."""
    builder = OscMessageBuilder("/segue/hello")
    builder.add_arg("python-osc \u00c0\u00db")
    with SimpleTCPClient("127.0.0.1", running.port, mode=mode) as client:
        client.send(builder.build())
        answers = client.receive(timeout=int(DEADLINE_SECONDS))
    (answer,) = answers
    assert decode(answer) == (_unreachable(""),)


def test_udp_and_tcp_have_the_same_number(running: Running) -> None:
    """And TCP's is on this machine only."""
    port = running.bridge.stream_port
    assert port.port == running.bridge.port.port == running.port


def _unreachable(job_id: str) -> Message:
    text = f"no server at {NOBODY}: run `segue serve`, or `segue up` for both"
    return Message("/segue/error", (job_id, "server-unreachable", text))


def _rest(line: socket.socket) -> bytes:
    """All until the other end hangs up, one way or the other."""
    try:
        return line.recv(65536)
    except ConnectionResetError:
        return b""
