"""OSCQuery: the table of addresses over real HTTP on the bridge's own port."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import httpx
import pytest

from segue.bridge.osc import http, oscquery
from segue.bridge.osc.addresses import INCOMING, OUTGOING, ROWS
from segue.bridge.osc.stream import StreamError
from tests.osc_client import Running

ORIGIN = b"Host: 127.0.0.1:9137"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A bridge; nobody needs its server."""
    with Running("http://127.0.0.1:9") as bridge:
        yield f"http://127.0.0.1:{bridge.port}"


def leaves(node: dict[str, Any]) -> list[dict[str, Any]]:
    """All nodes that are addresses."""
    below = [leaf for child in node.get("CONTENTS", {}).values() for leaf in leaves(child)]
    return [node, *below] if "TYPE" in node else below


def test_the_tree_is_the_table(client: httpx.Client, url: str) -> None:
    """Every address once, at its path, with its type tags and who may send it."""
    answer = client.get(url)
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    root = answer.json()
    assert (root["FULL_PATH"], root["ACCESS"]) == ("/", 0)
    found = {leaf["FULL_PATH"]: leaf for leaf in leaves(root)}
    assert found.keys() == {row.address for row in ROWS}
    for address, leaf in found.items():
        assert leaf["ACCESS"] == 2 * (address in INCOMING) + (address in OUTGOING)
    assert found["/segue/job/done"]["TYPE"] == "ssdhiisd"
    assert found["/segue/hello"]["ACCESS"] == 3
    assert found["/segue/hello"]["TYPE"] == "s"
    assert found["/segue/cancel"]["DESCRIPTION"] == "to Segue: s:id. Stops a job."


def test_a_part_of_the_tree(client: httpx.Client, url: str) -> None:
    """A path has its node, an attribute is told alone, what is not there is said as HTTP does."""
    whole = client.get(url).json()
    segue = whole["CONTENTS"]["segue"]
    assert client.get(f"{url}/segue").json() == segue
    assert (
        client.get(f"{url}/segue/rows/add").json() == segue["CONTENTS"]["rows"]["CONTENTS"]["add"]
    )
    assert client.get(f"{url}/segue/cancel?TYPE").json() == {"TYPE": "s"}
    assert client.get(f"{url}/segue/rows?ACCESS").json() == {"ACCESS": 0}
    for nothing in ("segue/rows?TYPE", "segue/cancel?VALUE", "segue/cancel?RANGE"):
        empty = client.get(f"{url}/{nothing}")
        assert (empty.status_code, empty.content) == (204, b"")
    assert client.get(f"{url}/segue/cancel?COLOUR").status_code == 400
    assert client.get(f"{url}/segue/nothing").status_code == 404


def test_host_info(client: httpx.Client, url: str) -> None:
    """Where OSC goes: the same number, and this machine."""
    assert client.get(f"{url}/?HOST_INFO").json() == {
        "NAME": f"Segue {version('segue')}",
        "OSC_IP": "127.0.0.1",
        "OSC_PORT": int(url.rpartition(":")[2]),
        "OSC_TRANSPORT": "UDP",
        "EXTENSIONS": {"ACCESS": True, "DESCRIPTION": True, "VALUE": False, "LISTEN": False},
    }


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost:9137", "LOCALHOST", "[::1]:1", "segue-9137.local.:9137"]
)
def test_own_names(client: httpx.Client, url: str, host: str) -> None:
    """This machine's names are answered."""
    assert client.get(url, headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "segue-1.local.evil.example", "localhost:x", ""],
)
def test_a_rebound_name_is_refused(client: httpx.Client, url: str, host: str) -> None:
    """A page that made its own name this machine's learns nothing."""
    assert client.get(url, headers={"host": host}).status_code == 421


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\n" + ORIGIN, 200),
        (b"GET / HTTP/1.1", 421),
        (b"GET / HTTP/1.1\r\n" + ORIGIN + b"\r\n" + ORIGIN, 421),
        (b"GOT / HTTP/1.1\r\n" + ORIGIN, 405),
        (b"GET\r\n" + ORIGIN, 200),
        (b"G\xff\xfe\r\n\r\r\n:::\r\n" + ORIGIN, 405),
    ],
)
def test_heads(head: bytes, status: int) -> None:
    """Whatever stands in a head, one whole answer comes."""
    answer, _, body = oscquery.respond(head, 9137).partition(b"\r\n\r\n")
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert f"Content-Length: {len(body)}".encode() in answer
    assert isinstance(json.loads(body), dict)


def test_a_head_in_pieces_and_its_limit() -> None:
    """Byte by byte it comes once; what follows is ignored; 8 KiB are enough."""
    whole = b"GET / HTTP/1.1\r\n" + ORIGIN
    reader = http.Head()
    data = whole + b"\r\n\r\nbody"
    assert [head for byte in data for head in reader.feed(bytes([byte]))] == [whole]
    with pytest.raises(StreamError):
        http.Head().feed(b"G" * (http.MAX_HEAD_BYTES + 1))
