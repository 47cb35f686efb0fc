"""The TCP port of the bridge: OSC in either framing, OSCQuery and orders over HTTP.

The first byte tells them apart.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from string import ascii_uppercase
from typing import cast

from segue.bridge.osc import http, oscquery
from segue.bridge.osc.codec import MAX_DATAGRAM_BYTES
from segue.bridge.osc.commands import Sender
from segue.bridge.osc.http_order import Order
from segue.bridge.osc.session import Reply
from segue.bridge.osc.stream import Framing, StreamError, framing
from segue.bridge.osc.udp_port import HOST, bind_problem
from segue.presets.vocabulary import Code, SegueError

MAX_CONNECTIONS = 64
MAX_UNSENT_BYTES = 4 * 1024 * 1024  # of one connection whose other end does not read

LOGGER = logging.getLogger("segue.bridge")


class TcpPort:
    """One TCP port of 127.0.0.1. What a connection breaks is that connection alone."""

    port = 0  # the one that is bound

    def __init__(
        self, receive: Callable[[bytes, Sender], None], leave: Callable[[Sender], None]
    ) -> None:
        self.receive, self.leave = receive, leave
        self.connections: dict[Sender, Connection] = {}
        self._server: asyncio.Server | None = None

    async def open(self, port: int) -> None:
        """Listen on `port` (0: any free one). Raises SegueError if it cannot be had."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: Connection(self), HOST, port)
        except (OSError, OverflowError) as error:
            raise SegueError(Code.BAD_REQUEST, bind_problem(port, error, "tcp")) from error
        self.port = self._server.sockets[0].getsockname()[1]

    def send(self, reply: Reply) -> None:
        """Send down the connection a message came by, if it still is there."""
        connection = self.connections.get(reply.to)
        if connection is not None:
            connection.send(reply.data)

    def close(self) -> None:
        """Give the port back, and all connections."""
        for connection in list(self.connections.values()):
            connection.close()
        if self._server is not None:
            self._server.close()


class Connection(asyncio.Protocol):
    """One client: OSC in the framing it came in, or a single request over HTTP."""

    def __init__(self, port: TcpPort) -> None:
        self._port = port
        self._sender = Sender("", 0, stream=True)
        self._framing: Framing | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)
        host, port = transport.get_extra_info("peername")
        self._sender = Sender(host, port, stream=True)
        if len(self._port.connections) == MAX_CONNECTIONS:
            LOGGER.warning("more than %d connections: one is refused", MAX_CONNECTIONS)
            self.close()
            return
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._transport.set_write_buffer_limits(high=MAX_UNSENT_BYTES)
        self._port.connections[self._sender] = self

    def data_received(self, data: bytes) -> None:
        """Part of asyncio.Protocol."""
        if self._framing is None:
            self._framing = _spoken(data[0])
        try:
            packets = self._framing.feed(data)
        except StreamError as error:
            LOGGER.warning("connection %s closed: %s", self._sender, error)
            self.close()
            return
        except http.HttpError as error:
            self._refuse(error)
            return
        for packet in packets:
            if not self._framing.over:
                self._take(packet)

    def _take(self, packet: bytes) -> None:
        assert self._transport is not None
        if isinstance(self._framing, http.Head):
            self._transport.write(oscquery.respond(packet, self._port.port))
            self._transport.close()
        else:
            self._port.receive(packet, self._sender)

    def send(self, data: bytes) -> None:
        """One packet, framed as this client frames its own."""
        if self._transport is not None and self._framing is not None:
            self._transport.write(self._framing.frame(data))
            if self._framing.over:
                self._transport.close()

    def _refuse(self, error: http.HttpError) -> None:
        """Answer, and go on reading: hanging up on a client that sends might lose it the answer."""
        assert self._transport is not None
        LOGGER.warning("a request over HTTP is refused: %s", error)
        self._transport.write(error.answer)
        self._transport.write_eof()

    def pause_writing(self) -> None:
        """Part of asyncio.Protocol: the other end does not read."""
        LOGGER.warning("connection %s closed: it does not read its answers", self._sender)
        self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of asyncio.Protocol."""
        if exc is not None:
            self._read_the_rest()
        if self._port.connections.get(self._sender) is self:
            del self._port.connections[self._sender]
            self._port.leave(self._sender)

    def _read_the_rest(self) -> None:
        """What was said before hanging up, which asyncio drops where an answer finds nobody."""
        assert self._transport is not None
        with suppress(OSError), self._transport.get_extra_info("socket").dup() as rest:
            while data := rest.recv(MAX_DATAGRAM_BYTES):
                self.data_received(data)

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()


def _spoken(first: int) -> Framing:
    """What a client speaks whose first byte this is; a method of HTTP is in capitals."""
    if first == oscquery.GET:
        return http.Head()
    return Order() if chr(first) in ascii_uppercase else framing(first)
