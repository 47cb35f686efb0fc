"""Orders over HTTP: what is taken and what is refused, with a real curl at the real port."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from segue.bridge.osc import http
from segue.bridge.osc.codec import Message, decode, encode
from segue.bridge.osc.http_order import CONTENT_TYPE, MAX_BODY_BYTES, Order
from segue.bridge.osc.lines import MAX_LINES, decode_line
from tests.osc_client import DEADLINE_SECONDS, Running
from tests.recorder import Recorder, serving
from tests.wire import until

NOBODY = "http://127.0.0.1:9"
NO_CURL = "NOT TESTED: `apt-get install curl` brings curl, which carries orders over HTTP"
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason=NO_CURL)
HOST = "Host: 127.0.0.1:9137"
TYPE = f"Content-Type: {CONTENT_TYPE}"
ORDER = '/segue/outpaint\tssddd\ta\t/it\'s "a" ümlaut 響 %41.wav\t1.5\t4\t6\n'
CANCEL = "/segue/cancel\ts\ta\n"


def request(body: bytes, *fields: str, line: str = "POST /orders HTTP/1.1") -> bytes:
    """What a client sends."""
    head = "\r\n".join((line, *(fields or (HOST, TYPE)), f"Content-Length: {len(body)}"))
    return head.encode() + b"\r\n\r\n" + body


def status(error: http.HttpError) -> int:
    """Of a refusal; it says in JSON what to do."""
    head, _, body = error.answer.partition(b"\r\n\r\n")
    assert json.loads(body) == {"error": str(error)}
    assert f"Content-Length: {len(body)}".encode() in head
    return int(head.split()[1])


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_an_order_in_pieces(size: int) -> None:
    """However it is cut it comes once, as OSC packets; what follows is ignored."""
    order = Order()
    rows = "/segue/rows/end\tssi\ta\tgaps\t0\n"
    data = request((rows + ORDER).encode()) + b"more"
    found = [each for at in range(0, len(data), size) for each in order.feed(data[at : at + size])]
    path = '/it\'s "a" ümlaut 響 %41.wav'
    assert [decode(each)[0] for each in found] == [
        Message("/segue/rows/end", ("a", "gaps", 0)),
        Message("/segue/outpaint", ("a", path, 1.5, 4.0, 6.0)),
    ]


def test_an_order_that_was_written_on_windows() -> None:
    """Its editors end lines by CR LF, and may put a byte order mark before the first."""
    rows = "/segue/rows/end\tssi\ta\tgaps\t0\r\n\r\n"
    found = Order().feed(request(f"\ufeff{rows}/segue/cancel\ts\ta\r\n".encode()))
    assert [decode(each)[0] for each in found] == [
        Message("/segue/rows/end", ("a", "gaps", 0)),
        Message("/segue/cancel", ("a",)),
    ]


def test_answers_are_chunks_up_to_the_end() -> None:
    """A head, then every answer as a line; the job's own end is the last, and nothing follows."""
    order = Order()
    order.feed(request(ORDER.encode()))
    first = order.frame(encode("/segue/job/accepted", ("s", "a")))
    head, _, chunk = first.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nTransfer-Encoding: chunked\r\n" in head
    assert chunk == b"18\r\n/segue/job/accepted\ts\ta\n\r\n"
    other = order.frame(encode("/segue/job/cancelled", ("s", "b")))
    assert (other, order.over) == (b"19\r\n/segue/job/cancelled\ts\tb\n\r\n", False)
    last = order.frame(encode("/segue/job/cancelled", ("s", "a")))
    assert (last, order.over) == (b"19\r\n/segue/job/cancelled\ts\ta\n\r\n0\r\n\r\n", True)
    assert order.frame(encode("/segue/job/accepted", ("s", "a"))) == b""


LIMIT = f"Content-Length: {MAX_BODY_BYTES}"
REFUSED = [
    (400, request(b"")),
    (400, request(b"\xff\n")),
    (400, request(b"/segue/outpaint\n")),
    (400, request(b"/other/cancel\ts\ta\n" + CANCEL.encode())),
    (400, request(b"/segue/can cel\ts\ta\n" + CANCEL.encode())),
    (400, request(b"/segue/hello\ts\ta\n")),
    (400, request(CANCEL.encode() + b"/segue/cancel\t\n")),
    (400, request(CANCEL.encode() + b"/segue/cancel\ti\t1\n")),
    (400, request(f"/segue/cancel\ts\t{'a' * 20_000}\n".encode())),
    (400, request(CANCEL.encode() * (MAX_LINES + 1))),
    (403, request(b"", HOST, TYPE, "Origin: http://127.0.0.1:9137")),
    (403, request(b"", HOST, TYPE, "ORIGIN: null")),
    (404, request(b"", line="POST / HTTP/1.1")),
    (405, request(b"", line="OPTIONS /orders HTTP/1.1")),
    (405, request(b"", line="PUT /orders HTTP/1.1")),
    (411, f"POST /orders HTTP/1.1\r\n{HOST}\r\n{TYPE}\r\n\r\n".encode()),
    (411, request(b"", HOST, TYPE, "Content-Length: 0")),
    (411, f"POST /orders HTTP/1.1\r\n{HOST}\r\n{TYPE}\r\nContent-Length: -1\r\n\r\n".encode()),
    (413, f"POST /orders HTTP/1.1\r\n{HOST}\r\n{TYPE}\r\n{LIMIT[:-1]}9\r\n\r\n".encode()),
    (415, request(b"", HOST)),
    (415, request(b"", HOST, "Content-Type: text/plain")),
    (415, request(b"", HOST, "Content-Type: application/x-www-form-urlencoded")),
    (421, request(b"", "Host: evil.example", TYPE)),
    (421, request(b"", TYPE)),
    (505, request(b"", line="POST /orders HTTP/1.0")),
]


@pytest.mark.parametrize(("code", "data"), REFUSED)
def test_what_is_refused(code: int, data: bytes) -> None:
    """With HTTP's status and a sentence; what comes after is ignored."""
    order = Order()
    with pytest.raises(http.HttpError) as refused:
        order.feed(data)
    assert status(refused.value) == code
    assert order.feed(request(ORDER.encode())) == []


def test_the_limits_are_reached() -> None:
    """As many lines and bytes as there may be."""
    order = Order()
    assert len(order.feed(request(CANCEL.encode() * MAX_LINES))) == MAX_LINES
    full = CANCEL.encode() + b"\n" * (MAX_BODY_BYTES - len(CANCEL))
    assert len(Order().feed(request(full))) == 1


@pytest.fixture
def running() -> Iterator[Running]:
    """A bridge whose server is down."""
    with Running(NOBODY) as bridge:
        yield bridge


def curl(port: int, body: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """What a curl that posts this says; the status is its last line."""
    path = folder / "order"
    path.write_text(body, "utf-8")
    url, data = f"http://127.0.0.1:{port}/orders", f"@{path}"
    command = ["curl", "-q", "-sS", "--noproxy", "*", "-w", "%{http_code}", "--data-binary", data]
    return subprocess.run(
        [*command, "-H", TYPE, *options, url],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )


@needs_curl
def test_curl_orders(tmp_path: Path) -> None:
    """An order's whole life comes back as lines, and curl ends by itself; a bad one is told."""
    engine = Recorder()
    with serving(tmp_path / "data", engine) as url, Running(url) as bridge:
        done = curl(bridge.port, ORDER, tmp_path)
        bad = curl(bridge.port, "/segue/make\ts\ta b\n", tmp_path)
        until(lambda: not bridge.bridge.stream_port.connections)
    *lines, code = done.stdout.splitlines()
    found = [decode_line(line) for line in lines]
    assert (done.returncode, code, found[0]) == (0, "200", ("/segue/job/accepted", [("s", "a")]))
    assert {address for address, _ in found[1:-1]} == {"/segue/job/progress"}
    address, (_, (_, path), *_) = found[-1]
    assert (address, path) == ("/segue/job/done", str(tmp_path / "data" / "results" / "a.wav"))
    assert [each.region and each.region.path for each in engine.requests] == [
        '/it\'s "a" ümlaut 響 %41.wav'
    ]
    line, code = bad.stdout.splitlines()
    address, ((_, job), (_, why), _) = decode_line(line)
    assert (address, job, why, code) == ("/segue/error", "a b", "bad-request", "200")


@needs_curl
def test_curl_is_refused(running: Running, tmp_path: Path) -> None:
    """One that sends more than is taken, or for a page of another origin, still hears why."""
    big = curl(running.port, CANCEL * (MAX_BODY_BYTES // len(CANCEL) + 1), tmp_path)
    assert big.stdout.endswith("413")
    assert f"an order has at most {MAX_BODY_BYTES} bytes" in big.stdout
    page = curl(running.port, CANCEL, tmp_path, "-H", "Origin: https://evil.example")
    assert page.stdout == '{"error": "a page in a browser cannot order"}403'
    form = curl(running.port, CANCEL, tmp_path, "-H", "Content-Type: text/plain")
    assert form.stdout.endswith("415")
    until(lambda: not running.bridge.stream_port.connections)


def talk(port: int, data: bytes) -> bytes:
    """All of the answer, which nobody reads before all has been sent."""
    with closing(socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS)) as line:
        line.sendall(data)
        return b"".join(iter(lambda: line.recv(65536), b""))


def test_a_refusal_is_heard_to_the_end(running: Running) -> None:
    """Also by who sends all of what is refused before it listens."""
    body = CANCEL.encode() * (2 * MAX_BODY_BYTES // len(CANCEL))
    head, _, said = talk(running.port, request(body)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"an order has at most" in said


def test_the_first_error_ends_an_order(tmp_path: Path) -> None:
    """What comes after a line that is refused is not done."""
    add = "/segue/rows/add\tssid\ta\tnothing\t0\t1\n"
    engine = Recorder()
    with serving(tmp_path / "data", engine) as url, Running(url) as bridge:
        answer = talk(bridge.port, request((add + ORDER).encode()))
        talk(bridge.port, request(ORDER.replace("\ta\t", "\tb\t").encode()))
    assert (answer.count(b"/segue/error"), answer.count(b"bad-request")) == (1, 1)
    assert answer.endswith(b"\r\n0\r\n\r\n")
    assert [each.id for each in engine.requests] == ["b"]
