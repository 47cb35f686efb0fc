"""HTTP/1.1 as the bridge speaks it: one request a connection, for programs of this machine alone.

RFC 9112, and of it what OSCQuery and orders need. No socket here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from segue.bridge.osc.stream import StreamError

MAX_HEAD_BYTES = 8192
END_OF_HEAD = b"\r\n\r\n"
# As the server does: a page that rebinds a name of its own to this machine gives itself away.
OWN_HOST = re.compile(
    r"(127\.0\.0\.1|localhost|\[::1\]|segue-[0-9]{1,5}\.local\.?)(:[0-9]{1,5})?", re.IGNORECASE
)


class HttpError(Exception):
    """A request that is not granted."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.answer = answer(status, {"error": text})


class Head:
    """Gathers the head of a request; `rest` is what came behind it in the same piece."""

    over = False
    rest = b""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._whole = False

    def feed(self, data: bytes) -> list[bytes]:
        """The head, once it is whole. Raises StreamError when it gets too long."""
        if self._whole:
            return []
        self._buffer += data
        head, end, rest = bytes(self._buffer).partition(END_OF_HEAD)
        if len(head) > MAX_HEAD_BYTES:
            raise StreamError(f"a request's head has more than {MAX_HEAD_BYTES} bytes")
        self._whole = bool(end)
        if self._whole:
            self.rest = rest
        return [head] if end else []

    def frame(self, packet: bytes) -> bytes:
        """Nothing: no OSC goes this way."""
        return b""


@dataclass(frozen=True, slots=True)
class Request:
    """What a head says. The names of its fields are in lower case."""

    method: str
    target: str
    version: str
    fields: tuple[tuple[str, str], ...]

    def values(self, name: str) -> list[str]:
        """What the fields of a name say; most have one."""
        return [value for each, value in self.fields if each == name]


def read(head: bytes) -> Request:
    """A head's request. Raises HttpError where it was meant for another host."""
    line, *fields = head.decode("latin-1").split("\r\n")
    method, _, rest = line.partition(" ")
    target, _, version = rest.partition(" ")
    request = Request(method, target, version, tuple(map(_field, fields)))
    hosts = request.values("host")
    if len(hosts) != 1 or not OWN_HOST.fullmatch(hosts[0]):
        raise HttpError(HTTPStatus.MISDIRECTED_REQUEST, "ask 127.0.0.1 or localhost")
    return request


def answer(status: HTTPStatus, body: dict[str, Any] | None) -> bytes:
    """A whole answer, in JSON."""
    content = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
    fields = (("Content-Length", str(len(content))),)
    return begin(status, "application/json; charset=utf-8", *fields) + content


def begin(status: HTTPStatus, content_type: str, *fields: tuple[str, str]) -> bytes:
    """The head of an answer."""
    lines = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {content_type}",
        *(f"{name}: {value}" for name, value in fields),
        "Cache-Control: no-store",
        "Connection: close",
    )
    return "\r\n".join(lines).encode() + END_OF_HEAD


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.lower(), value.strip()
