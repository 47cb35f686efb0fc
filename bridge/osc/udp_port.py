"""The UDP socket of the bridge: bytes with their sender in, replies out, nothing understood."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal, cast

from segue.bridge.osc.codec import MAX_DATAGRAM_BYTES
from segue.bridge.osc.commands import Sender
from segue.bridge.osc.session import Reply
from segue.bridge.osc.udp_group import OVERHEAD_BYTES, Datagram, UdpGroup, gather
from segue.presets.vocabulary import Code, SegueError

HOST = "127.0.0.1"
RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024  # asked for; the system may grant less
MAX_KEPT_BYTES = 16 * 1024 * 1024  # of datagrams that are taken from the system, not understood yet
TURN = 16  # datagrams that are understood before something else gets its turn


class UdpPort(asyncio.DatagramProtocol):
    """One UDP port of 127.0.0.1. Errors of single datagrams are counted, never fatal.

    Where one socket would hold too little of a burst, a UdpGroup receives beside it, if it can.
    """

    port = 0  # the one that is bound
    dropped = 0  # replies that the system would not take in time
    errors = 0  # reported by the system, such as ECONNRESET after a client went away

    def __init__(self, receive: Callable[[bytes, Sender], None]) -> None:
        self._receive = receive
        self._full = False
        self._transport: asyncio.DatagramTransport | None = None
        self._socket: socket.socket | None = None
        self._group: UdpGroup | None = None
        self._kept: deque[Datagram] = deque()
        self._kept_bytes = 0

    async def open(self, port: int) -> None:
        """Bind `port` (0: any free one) and begin. Raises SegueError if it cannot be had."""
        endpoint = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            granted = ask_for_room(endpoint)
            endpoint.setblocking(False)
            endpoint.bind((HOST, port))
        except (OSError, OverflowError) as error:
            endpoint.close()
            raise SegueError(Code.BAD_REQUEST, bind_problem(port, error, "udp")) from error
        self.port = endpoint.getsockname()[1]
        loop = asyncio.get_running_loop()
        self._group = more_sockets(endpoint, granted)
        if self._group is not None:
            loop.add_reader(self._group, self._take)
        elif os.name == "posix":  # on Windows the loop has a read of its own under way
            self._socket = endpoint
        await loop.create_datagram_endpoint(lambda: self, sock=endpoint)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio.DatagramProtocol."""
        self._transport = cast(asyncio.DatagramTransport, transport)  # not by class until 3.12

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Part of asyncio.DatagramProtocol."""
        self._take((data, addr))

    def _take(self, *came: Datagram) -> None:
        idle = not self._kept
        for each in came:
            self._keep(*each)
        self._drain()
        if idle:
            self._understand()

    def _keep(self, data: bytes, addr: tuple[str, int]) -> None:
        self._kept.append((data, addr))
        self._kept_bytes += len(data) + OVERHEAD_BYTES

    def _drain(self) -> None:
        """Take all that came: what the system has no room for it drops."""
        with suppress(OSError):  # nothing there, or closed meanwhile
            while self._socket is not None and self._kept_bytes < MAX_KEPT_BYTES:
                self._keep(*self._socket.recvfrom(MAX_DATAGRAM_BYTES))
        group = self._group
        while group is not None and self._kept_bytes + group.most_bytes <= MAX_KEPT_BYTES:
            for each in group.look():
                self._keep(*each)
            if not group.held_bytes:
                return

    def _understand(self) -> None:
        try:
            for _ in range(min(TURN, len(self._kept))):
                data, addr = self._kept.popleft()
                self._kept_bytes -= len(data) + OVERHEAD_BYTES
                if addr != (HOST, self.port):  # a forged sender must not make us talk to ourselves
                    self._receive(data, Sender(*addr))
                self._drain()
        finally:
            if self._kept:
                asyncio.get_running_loop().call_soon(self._understand)

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
        self._socket = None
        if self._group is not None:
            asyncio.get_running_loop().remove_reader(self._group)
            self._group.close()
            self._group = None
        if self._transport is not None:
            self._transport.abort()


def ask_for_room(endpoint: socket.socket) -> int:
    """Have the system keep RECEIVE_BUFFER_BYTES of what comes at once; how many it will."""
    with suppress(OSError):  # BSD refuses what Linux cuts down
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    granted = endpoint.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    return granted // 2 if sys.platform == "linux" else granted  # socket(7): it tells the double


def more_sockets(endpoint: socket.socket, granted: int) -> UdpGroup | None:
    """A group beside a bound socket that was granted less than we ask for; None: it is alone."""
    if granted >= RECEIVE_BUFFER_BYTES:
        return None
    return gather(endpoint, granted, MAX_KEPT_BYTES)


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
