"""Keeps web pages and oversized bodies away from a server that listens on this machine.

A page in the user's browser can reach 127.0.0.1: by a name that it rebinds to
that address (the Host header then gives it away), or by plain cross-site
requests, which run before any CORS check (Origin and Sec-Fetch-Site do).
"""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from segue.presets.vocabulary import Code, Failure

MAX_BODY_BYTES = 2**23  # the longest curve, melody and tempo map together
SAFE_METHODS = frozenset({"GET", "HEAD"})
OWN_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
OWN_FETCH_SITES = frozenset({"same-origin", "none"})


class Guard:
    """ASGI middleware: 421 for a foreign Host, 403 for a foreign page, 413 for a large body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refused request here, pass the others on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not _own_host(headers):
            text = "this server answers to 127.0.0.1, localhost and [::1] only"
            await _refuse(scope, send, 421, text)
        elif scope.get("method") not in SAFE_METHODS and _foreign_page(headers):
            await _refuse(scope, send, 403, "a page of another site may not do this")
        elif scope["type"] == "websocket":
            await self._app(scope, receive, send)
        else:
            await self._within_limit(scope, headers, receive, send)

    async def _within_limit(
        self, scope: Scope, headers: Headers, receive: Receive, send: Send
    ) -> None:
        declared = headers.get("content-length", "0")
        body = None
        if not declared.isdecimal() or int(declared) <= MAX_BODY_BYTES:
            body = await _read(receive)
        if body is None:
            await _refuse(scope, send, 413, f"a body may have {MAX_BODY_BYTES} bytes at most")
            return
        unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return unread.pop() if unread else await receive()

        await self._app(scope, replay, send)


def _own_host(headers: Headers) -> bool:
    hosts = headers.getlist("host")
    return len(hosts) == 1 and OWN_HOST.fullmatch(hosts[0]) is not None


def _foreign_page(headers: Headers) -> bool:
    """Whether a browser says that the request comes from a page that is not ours.

    Our own page's Origin is the Host it was loaded from, which is checked before.
    """
    own = f"http://{headers['host'].lower()}"
    origins, sites = headers.getlist("origin"), headers.getlist("sec-fetch-site")
    return any(origin != own for origin in origins) or not OWN_FETCH_SITES.issuperset(sites)


async def _read(receive: Receive) -> bytes | None:
    """The whole body; None once it passes the limit, or when the client goes before its end."""
    body, more = bytearray(), True
    while more:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES or message["type"] == "http.disconnect":
            return None
        more = message.get("more_body", False)
    return bytes(body)


async def _refuse(scope: Scope, send: Send, status: int, text: str) -> None:
    body = Failure(id="", code=Code.BAD_REQUEST, text=text).model_dump_json().encode()
    # A WebSocket that is not accepted yet may be answered with plain HTTP (ASGI extension).
    prefix = "websocket.http" if scope["type"] == "websocket" else "http"
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": f"{prefix}.response.start", "status": status, "headers": headers})
    await send({"type": f"{prefix}.response.body", "body": body, "more_body": False})
