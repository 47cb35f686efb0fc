"""An order over HTTP, for what can run curl and has no sockets: its lines in, answers out as lines.

`POST /orders`; the answer goes on, in chunks, until the job has ended. No socket here.
"""

from __future__ import annotations

import re
from http import HTTPStatus

from segue.bridge.osc import codec, http
from segue.bridge.osc.addresses import CANCEL, ENDS, MAKE, OUTPAINT
from segue.bridge.osc.lines import encode_line, packets

PATH = "/orders"
# None of those that a page may send anywhere without asking first (Fetch, "CORS-safelisted").
CONTENT_TYPE = "application/x-osc-lines"
MAX_BODY_BYTES = 4 * 1024 * 1024
ORDERS = tuple(row.address for row in (OUTPAINT, MAKE, CANCEL))

_BEGIN = http.begin(
    HTTPStatus.OK, f"{CONTENT_TYPE}; charset=utf-8", ("Transfer-Encoding", "chunked")
)
_LAST = b"0\r\n\r\n"
_LENGTH = re.compile(r"[0-9]{1,15}")


class Order:
    """A framing whose packets are the lines of one request; answers to it go out as chunks."""

    def __init__(self) -> None:
        self.over = False
        self._head = http.Head()
        self._body: bytearray | None = None  # once the head is whole
        self._size = 0
        self._read = False
        self._id = ""
        self._begun = False

    def feed(self, data: bytes) -> list[bytes]:
        """The order's packets, once it is whole. Raises http.HttpError or StreamError."""
        if self._read:
            return []
        try:
            return self._feed(data)
        except http.HttpError:
            self._read = True
            raise

    def frame(self, packet: bytes) -> bytes:
        """The lines of a packet; nothing after that of the job's end."""
        if self.over:
            return b""
        messages = codec.decode(packet)
        self.over = any(self._ends(message) for message in messages)
        text = "".join(f"{encode_line(message)}\n" for message in messages).encode()
        begin, self._begun = b"" if self._begun else _BEGIN, True
        return begin + b"%x\r\n%b\r\n" % (len(text), text) + (_LAST if self.over else b"")

    def _feed(self, data: bytes) -> list[bytes]:
        if self._body is None:
            for head in self._head.feed(data):
                self._size, self._body = body_bytes(head), bytearray(self._head.rest)
        else:
            self._body += data
        if self._body is None or len(self._body) < self._size:
            return []
        self._read = True
        return self._packets(bytes(self._body[: self._size]))

    def _packets(self, body: bytes) -> list[bytes]:
        try:
            found = packets(body.decode())
        except ValueError as error:
            raise http.HttpError(HTTPStatus.BAD_REQUEST, str(error)) from error
        (last,) = codec.decode(found[-1])
        if last.address not in ORDERS or not last.args or not isinstance(last.args[0], str):
            text = f"the last line is one of {', '.join(ORDERS)}, with an id"
            raise http.HttpError(HTTPStatus.BAD_REQUEST, text)
        self._id = last.args[0]
        return found

    def _ends(self, message: codec.Message) -> bool:
        # An error without an id is about one that no job can have.
        return message.address in ENDS and message.args[0] in (self._id, "")


def body_bytes(head: bytes) -> int:
    """How long the body of an order is. Raises http.HttpError where it may not be one."""
    request = http.read(head)
    lengths = request.values("content-length")
    types = [value.partition(";")[0].strip().lower() for value in request.values("content-type")]
    if request.method != "POST":
        raise http.HttpError(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and POST are answered")
    if request.target != PATH:
        raise http.HttpError(HTTPStatus.NOT_FOUND, f"orders are posted to {PATH}")
    if request.version != "HTTP/1.1":
        raise http.HttpError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "ask by HTTP/1.1")
    if request.values("origin"):
        raise http.HttpError(HTTPStatus.FORBIDDEN, "a page in a browser cannot order")
    if types != [CONTENT_TYPE]:
        raise http.HttpError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Type: send {CONTENT_TYPE}"
        )
    if len(lengths) != 1 or not _LENGTH.fullmatch(lengths[0]):
        raise http.HttpError(
            HTTPStatus.LENGTH_REQUIRED, "Content-Length: say how long the order is"
        )
    if int(lengths[0]) > MAX_BODY_BYTES:
        text = f"an order has at most {MAX_BODY_BYTES} bytes, not {lengths[0]}"
        raise http.HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)
    return int(lengths[0])
