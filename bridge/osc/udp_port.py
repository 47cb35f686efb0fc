"""The UDP socket of the bridge: bytes with their sender in, replies out, nothing understood."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Literal, cast

from segue.bridge.osc.commands import Sender
from segue.bridge.osc.session import Reply
from segue.presets.vocabulary import Code, SegueError

HOST = "127.0.0.1"
RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024  # asked for; the system may grant less


class UdpPort(asyncio.DatagramProtocol):
    """One UDP port of 127.0.0.1. Errors of single datagrams are counted, never fatal."""

    port = 0  # the one that is bound
    dropped = 0  # replies that the system would not take in time
    errors = 0  # reported by the system, such as ECONNRESET after a client went away

    def __init__(self, receive: Callable[[bytes, Sender], None]) -> None:
        self._receive = receive
        self._full = False
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self, port: int) -> None:
        """Bind `port` (0: any free one) and begin. Raises SegueError if it cannot be had."""
        endpoint = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            endpoint.setblocking(False)
            endpoint.bind((HOST, port))
        except (OSError, OverflowError) as error:
            endpoint.close()
            raise SegueError(Code.BAD_REQUEST, bind_problem(port, error, "udp")) from error
        self.port = endpoint.getsockname()[1]
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, sock=endpoint)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio.DatagramProtocol."""
        self._transport = cast(asyncio.DatagramTransport, transport)  # not by class until 3.12

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Part of asyncio.DatagramProtocol."""
        if addr != (HOST, self.port):  # a forged sender must not make us talk to ourselves
            self._receive(data, Sender(*addr))

    def error_received(self, exc: Exception) -> None:
        """Part of asyncio.DatagramProtocol."""
        self.errors += 1

    def pause_writing(self) -> None:
        """Part of asyncio.DatagramProtocol: its buffer of unsent packets (64 KiB) is full."""
        self._full = True

    def resume_writing(self) -> None:
        """Part of asyncio.DatagramProtocol."""
        self._full = False

    def send(self, reply: Reply) -> None:
        """Send without waiting; dropped and counted while the system takes no more."""
        if self._full or self._transport is None:
            self.dropped += 1
        else:
            self._transport.sendto(reply.data, (reply.to.host, reply.to.port))

    def close(self) -> None:
        """Give the port back."""
        if self._transport is not None:
            self._transport.abort()


def bind_problem(port: int, error: OSError | OverflowError, kind: Literal["udp", "tcp"]) -> str:
    """Why a port cannot be had, and what to do."""
    if getattr(error, "errno", None) != errno.EADDRINUSE:
        return f"OSC port {port} cannot be opened: {error}; choose another with --osc-port"
    owner = port_owner(port, kind) or "another program"
    over = " over TCP" if kind == "tcp" else ""
    return f"OSC port {port} is in use{over} by {owner}: stop it, or choose another with --osc-port"


def port_owner(port: int, kind: Literal["udp", "tcp"]) -> str | None:
    """The process that holds a port, as `name (pid 123)`: on Linux, where it may be seen."""
    try:
        rows = Path(f"/proc/net/{kind}").read_text().splitlines()[1:]
        held = {row.split()[9] for row in rows if int(row.split()[1].split(":")[1], 16) == port}
        links = {f"socket:[{inode}]" for inode in held}
        for entry in Path("/proc").glob("[0-9]*/fd/*"):
            if _target(entry) in links:
                process = entry.parent.parent
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    except (OSError, ValueError, IndexError):
        return None
    return None


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:  # gone meanwhile, or another user's
        return ""
