"""OSCQuery: the table of addresses as JSON over HTTP, for programs that want to explore it.

After github.com/Vidvox/OSCQueryProposal. A connection asks one question. No socket here.
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from segue.bridge.osc.addresses import ROWS
from segue.bridge.osc.grammar import Direction, Row
from segue.bridge.osc.stream import StreamError

GET = ord("G")  # no length of a packet and no SLIP begins with it
MAX_HEAD_BYTES = 8192
# As the server does: a page that rebinds a name of its own to this machine gives itself away.
OWN_HOST = re.compile(
    r"(127\.0\.0\.1|localhost|\[::1\]|segue-[0-9]{1,5}\.local\.?)(:[0-9]{1,5})?", re.IGNORECASE
)
# Of OSCQuery's, those that may be asked for; no address here has a value or a range to tell.
ATTRIBUTES = ("FULL_PATH", "CONTENTS", "TYPE", "ACCESS", "DESCRIPTION", "VALUE", "RANGE")
ACCESS = {Direction.TO_DAW: 1, Direction.TO_SEGUE: 2}  # to be read, to be written; 3 is both

_END_OF_HEAD = b"\r\n\r\n"

Node = dict[str, Any]


class Head:
    """Gathers the head of a request; what follows it is ignored."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._whole = False

    def feed(self, data: bytes) -> list[bytes]:
        """The head, once it is whole. Raises StreamError when it gets too long."""
        if self._whole:
            return []
        self._buffer += data
        head, end, _ = bytes(self._buffer).partition(_END_OF_HEAD)
        if len(head) > MAX_HEAD_BYTES:
            raise StreamError(f"a request's head has more than {MAX_HEAD_BYTES} bytes")
        self._whole = bool(end)
        return [head] if end else []

    def frame(self, packet: bytes) -> bytes:
        """Nothing: no OSC goes this way."""
        return b""


def respond(head: bytes, osc_port: int) -> bytes:
    """The whole answer to a request."""
    line, *fields = head.decode("latin-1").split("\r\n")
    method, _, rest = line.partition(" ")
    target = rest.partition(" ")[0]
    hosts = [value.strip() for name, _, value in map(_split, fields) if name == "host"]
    if len(hosts) != 1 or not OWN_HOST.fullmatch(hosts[0]):
        return _answer(HTTPStatus.MISDIRECTED_REQUEST, {"error": "ask 127.0.0.1 or localhost"})
    if method != "GET":
        return _answer(HTTPStatus.METHOD_NOT_ALLOWED, {"error": "only GET is answered"})
    path, _, attribute = target.partition("?")
    return _look_up(path, attribute, osc_port)


def host_name(osc_port: int) -> str:
    """The name that mDNS gives 127.0.0.1 for this bridge: the machine's own has other addresses."""
    return f"segue-{osc_port}.local"


def host_info(osc_port: int) -> Node:
    """What OSCQuery's `?HOST_INFO` answers."""
    return {
        "NAME": f"Segue {version('segue')}",
        "OSC_IP": "127.0.0.1",
        "OSC_PORT": osc_port,
        "OSC_TRANSPORT": "UDP",
        "EXTENSIONS": {"ACCESS": True, "DESCRIPTION": True, "VALUE": False, "LISTEN": False},
    }


def tree() -> Node:
    """Every address of the table; one that goes both ways is one node."""
    root = _container("/")
    for row in ROWS:
        node, names = root, row.address.split("/")[1:]
        for depth, name in enumerate(names, start=1):
            full = "/" + "/".join(names[:depth])
            node = node.setdefault("CONTENTS", {}).setdefault(name, _container(full))
        _describe(node, row)
    return root


def _container(path: str) -> Node:
    return {"FULL_PATH": path, "ACCESS": 0}


def _describe(node: Node, row: Row) -> None:
    said = f"{row.direction}: {row.signature}. {row.meaning}"
    node["ACCESS"] |= ACCESS[row.direction]
    node.setdefault("TYPE", "".join(argument.tag for argument in row.arguments))
    node["DESCRIPTION"] = "\n".join(filter(None, (node.get("DESCRIPTION"), said)))


def _look_up(path: str, attribute: str, osc_port: int) -> bytes:
    if attribute == "HOST_INFO":
        return _answer(HTTPStatus.OK, host_info(osc_port))
    node = tree()
    for name in filter(None, path.split("/")):
        node = node.get("CONTENTS", {}).get(name)
        if node is None:
            return _answer(HTTPStatus.NOT_FOUND, {"error": f"no address {path}"})
    if not attribute:
        return _answer(HTTPStatus.OK, node)
    if attribute not in ATTRIBUTES:
        return _answer(HTTPStatus.BAD_REQUEST, {"error": f"no attribute {attribute}"})
    if attribute not in node:
        return _answer(HTTPStatus.NO_CONTENT, None)
    return _answer(HTTPStatus.OK, {attribute: node[attribute]})


def _split(field: str) -> tuple[str, str, str]:
    name, colon, value = field.partition(":")
    return name.lower(), colon, value


def _answer(status: HTTPStatus, body: Node | None) -> bytes:
    content = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
    lines = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Content-Type: application/json; charset=utf-8",
        f"Content-Length: {len(content)}",
        "Cache-Control: no-store",
        "Connection: close",
    )
    return "\r\n".join(lines).encode() + _END_OF_HEAD + content
