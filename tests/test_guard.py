from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from segue.presets.vocabulary import Code
from segue.server.guard import MAX_BODY_BYTES
from tests.recorder import DEADLINE_SECONDS, make_request
from tests.wire import JSON, PROMPT_SECONDS, failure_of

ROUTES = [
    ("GET", "/health"),
    ("GET", "/jobs"),
    ("POST", "/jobs"),
    ("GET", "/jobs/a"),
    ("POST", "/jobs/a/cancel"),
    ("GET", "/jobs/a/result"),
    ("GET", "/events"),
    ("GET", "/nothing"),
]
UPGRADE = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "MDEyMzQ1Njc4OWFiY2RlZg==",
}


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.", "127.0.0.1:80@evil", "[::1", "0", ""],
)
def test_foreign_host(
    strict_url: str, client: httpx.Client, method: str, path: str, host: str
) -> None:
    """A name rebound to this machine is 421 on every address and on the WebSocket."""
    headers = {"host": host} | (UPGRADE if path == "/events" else {})
    response = client.request(method, strict_url + path, headers=headers)
    assert (response.status_code, failure_of(response).code) == (421, Code.BAD_REQUEST)


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost", "LOCALHOST:9136", "[::1]:9136"])
def test_own_host(strict_url: str, client: httpx.Client, host: str) -> None:
    """This machine's own names are served, with any port (tunnels have another)."""
    assert client.get(f"{strict_url}/health", headers={"host": host}).status_code == 200


FOREIGN = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": ""},
    {"origin": "http://127.0.0.1:1"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
]


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/jobs"), ("POST", "/jobs/a/cancel"), ("DELETE", "/jobs/a"), ("OPTIONS", "/jobs")],
)
def test_foreign_page(
    strict_url: str, client: httpx.Client, method: str, path: str, headers: dict[str, str]
) -> None:
    """A page of another site, or of another port of this one, changes nothing."""
    body = make_request().model_dump_json()
    response = client.request(method, strict_url + path, content=body, headers=JSON | headers)
    assert (response.status_code, failure_of(response).code) == (403, Code.BAD_REQUEST)
    assert client.get(f"{strict_url}/jobs").json() == []


def test_foreign_form(strict_url: str, client: httpx.Client) -> None:
    """A multipart form, which browsers send across sites without asking, is refused."""
    files = {"file": ("../../etc/passwd", b"x")}
    headers = {"origin": "https://evil.example"}
    assert client.post(f"{strict_url}/jobs", files=files, headers=headers).status_code == 403
    assert client.post(f"{strict_url}/jobs", files=files).status_code == 415


@pytest.mark.parametrize("headers", FOREIGN)
def test_foreign_page_on_the_socket(strict_url: str, headers: dict[str, str]) -> None:
    """The same for the WebSocket, which no CORS rule covers."""
    address = strict_url.replace("http", "ws") + "/events"
    with (
        pytest.raises(InvalidStatus) as caught,
        connect(address, additional_headers=headers, proxy=None),
    ):
        pass
    assert caught.value.response.status_code == 403


def test_own_page(url: str, client: httpx.Client) -> None:
    """A page that this server itself serves may do everything."""
    headers = JSON | {"origin": url, "sec-fetch-site": "same-origin"}
    body = make_request().model_dump_json()
    assert client.post(f"{url}/jobs", content=body, headers=headers).status_code == 202
    address = url.replace("http", "ws") + "/events"
    with connect(address, additional_headers={"origin": url}, proxy=None):
        pass


def padded(length: int) -> bytes:
    """A valid request of exactly so many bytes."""
    return make_request().model_dump_json().encode().ljust(length)


def in_pieces(body: bytes) -> Iterator[bytes]:
    """The body without a Content-Length."""
    for start in range(0, len(body), 65536):
        yield body[start : start + 65536]


@pytest.mark.parametrize("streamed", [False, True])
def test_body_limit(url: str, client: httpx.Client, streamed: bool) -> None:
    """A body of the limit passes; one byte more is 413, declared or not."""

    def post(body: bytes) -> httpx.Response:
        content = in_pieces(body) if streamed else body
        return client.post(f"{url}/jobs", content=content, headers=JSON)

    refused = post(padded(MAX_BODY_BYTES + 1))
    assert (refused.status_code, failure_of(refused).code) == (413, Code.BAD_REQUEST)
    assert post(padded(MAX_BODY_BYTES)).status_code == 202


def test_declared_length_is_enough(url: str) -> None:
    """A body announced as too long is refused before any of it has come."""
    head = f"POST /jobs HTTP/1.1\r\nhost: localhost\r\ncontent-length: {MAX_BODY_BYTES + 1}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0)) as sender:
        sender.settimeout(DEADLINE_SECONDS)
        sender.sendall(head.encode())
        assert sender.recv(12) == b"HTTP/1.1 413"


def test_health_beside_a_huge_body(url: str, client: httpx.Client) -> None:
    """20 MB are refused, and health answers while they are pushed."""
    refused = client.post(f"{url}/jobs", content=b" " * 20_000_000, headers=JSON)
    assert refused.status_code == 413
    with socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0)) as slow:
        head = "POST /jobs HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n["
        slow.sendall(head.encode())
        assert client.get(f"{url}/health", timeout=PROMPT_SECONDS).status_code == 200
