"""The server's socket: taken before anything else, or a sentence about who has it."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from segue.presets.vocabulary import Code, SegueError

LISTENING = "0A"  # TCP_LISTEN in the kernel's tables


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any free port.

    Raises SegueError(BAD_REQUEST) when the port cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        taken = socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            text = f"port {port} is in use{_owner(port)}: stop that, or choose another with --port"
        else:
            text = f"cannot listen on {host} port {port}: {error.strerror}"
        raise SegueError(Code.BAD_REQUEST, text) from error
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it on,
    # every answer waits 40 ms for a delayed acknowledgement.
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, taken.detach())


def _owner(port: int) -> str:
    """` by NAME (pid N)` where the system tells; Linux only, for processes one may look into."""
    inodes = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            found = os.readlink(link) in inodes
        except OSError:  # gone since, or another user's
            continue
        if found:
            process = link.parent.parent
            name = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
            return f" by {name} (pid {process.name})"
    return ""


def _listening_inodes(port: int) -> Iterator[str]:
    """Inodes of the sockets that listen on a port (proc(5), /proc/net/tcp)."""
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        lines = table.read_text(encoding="ascii").splitlines()[1:] if table.exists() else []
        for line in lines:
            columns = line.split()
            if columns[3] == LISTENING and int(columns[1].rpartition(":")[2], 16) == port:
                yield columns[9]
