"""OSCQuery: the table of addresses as JSON over HTTP, for programs that want to explore it.

After github.com/Vidvox/OSCQueryProposal. A connection asks one question. No socket here.
"""

from __future__ import annotations

from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from segue.bridge.osc.addresses import ROWS
from segue.bridge.osc.grammar import Direction, Row
from segue.bridge.osc.http import HttpError, answer, read

GET = ord("G")  # no length of a packet and no SLIP begins with it
# Of OSCQuery's, those that may be asked for; no address here has a value or a range to tell.
ATTRIBUTES = ("FULL_PATH", "CONTENTS", "TYPE", "ACCESS", "DESCRIPTION", "VALUE", "RANGE")
ACCESS = {Direction.TO_DAW: 1, Direction.TO_SEGUE: 2}  # to be read, to be written; 3 is both

Node = dict[str, Any]


def respond(head: bytes, osc_port: int) -> bytes:
    """The whole answer to a request."""
    try:
        request = read(head)
    except HttpError as error:
        return error.answer
    if request.method != "GET":
        return answer(HTTPStatus.METHOD_NOT_ALLOWED, {"error": "only GET is answered"})
    path, _, attribute = request.target.partition("?")
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
        return answer(HTTPStatus.OK, host_info(osc_port))
    node = tree()
    for name in filter(None, path.split("/")):
        node = node.get("CONTENTS", {}).get(name)
        if node is None:
            return answer(HTTPStatus.NOT_FOUND, {"error": f"no address {path}"})
    if not attribute:
        return answer(HTTPStatus.OK, node)
    if attribute not in ATTRIBUTES:
        return answer(HTTPStatus.BAD_REQUEST, {"error": f"no attribute {attribute}"})
    if attribute not in node:
        return answer(HTTPStatus.NO_CONTENT, None)
    return answer(HTTPStatus.OK, {attribute: node[attribute]})
