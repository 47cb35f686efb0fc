# Segue: placed by `segue install`
"""The UDP socket of the script, which never waits, and the files by which ports are found.

Answers of the bridge and commands from elsewhere come to the same socket, of this machine only.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
from contextlib import suppress
from typing import Iterator, Tuple

HOST = "127.0.0.1"
BRIDGE_PORT = 9137
OWN_PORT = 9139  # for commands; any free one when it is taken
RECEIVE_BUFFER_BYTES = 1 << 20
MAX_BYTES = 65535
MAX_FILE_BYTES = 4096

Sender = Tuple[str, int]


class Port:
    """A socket of 127.0.0.1 that is asked on every tick."""

    def __init__(self, wanted: int = OWN_PORT) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self._socket.setblocking(False)
        try:
            self._socket.bind((HOST, wanted))
        except OSError:
            self._socket.bind((HOST, 0))
        self.number = self._socket.getsockname()[1]

    def receive(self, most: int) -> Iterator[tuple[bytes, Sender]]:
        """What has arrived, at most so many datagrams."""
        for _ in range(most):
            try:
                yield self._socket.recvfrom(MAX_BYTES)
            except (BlockingIOError, socket.timeout):  # the latter no OSError's name until 3.10
                return
            except OSError as error:
                # Windows tells here that an earlier packet found nobody: no reason to stop.
                if error.errno not in (errno.ECONNRESET, errno.ECONNREFUSED):
                    return

    def send(self, data: bytes, to: Sender) -> None:
        """Send without waiting; what cannot be sent now is sent again when nobody answers."""
        with suppress(OSError):
            self._socket.sendto(data, to)

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()


def runtime_folder() -> str:
    """Where Segue's running parts leave their ports; the bridge asks platformdirs for it."""
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA") or os.path.expanduser("~\\AppData\\Local")
        return os.path.join(local, "Temp", "segue")
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Caches/TemporaryItems/segue")
    base = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    return os.path.join(base, "segue")


def bridge_ports(folder: str) -> list[int]:
    """Ports at which the bridge may be, the usual one first."""
    told = _told_port(os.path.join(folder, "bridge.json"))
    return [BRIDGE_PORT] if told == BRIDGE_PORT else [BRIDGE_PORT, told]


def _told_port(path: str) -> int:
    """The port that a running bridge has left there, else the usual one."""
    try:
        with open(path, encoding="utf-8") as file:
            port = json.loads(file.read(MAX_FILE_BYTES))["osc_port"]
    except (OSError, ValueError, KeyError, TypeError):
        return BRIDGE_PORT
    return port if isinstance(port, int) and 0 < port < 65536 else BRIDGE_PORT


class PortFile:
    """`live.json`: where to send commands to, while the script runs."""

    def __init__(self, folder: str, port: int) -> None:
        self._path = os.path.join(folder, "live.json")
        self._text = json.dumps({"osc_port": port, "pid": os.getpid()})
        with suppress(OSError):  # commands then find the usual port only
            os.makedirs(folder, mode=0o700, exist_ok=True)
            with open(self._path, "w", encoding="utf-8") as file:
                file.write(self._text)

    def remove(self) -> None:
        """Take it away, unless another script has written its own."""
        with suppress(OSError):
            with open(self._path, encoding="utf-8") as file:
                own = file.read(MAX_FILE_BYTES) == self._text
            if own:
                os.remove(self._path)
