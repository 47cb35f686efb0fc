"""The folder and the socket of a spool: scripts write files there, the bridge is asked by UDP."""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from pathlib import Path

from segue.bridge.daw.spool import ID, Answer, Send, Spool, Step
from segue.bridge.osc.addresses import ENDS
from segue.bridge.osc.codec import MAX_DATAGRAM_BYTES
from segue.bridge.osc.udp_port import HOST, RECEIVE_BUFFER_BYTES

POLL_SECONDS = 0.05
MAX_ORDER_BYTES = 4 * 1024 * 1024
MAX_AGE_SECONDS = 24 * 3600.0  # of an order that nobody came back for
ORDER, ANSWERS, SOUND = ".order", ".answers", ".wav"
ARDOURS = re.compile(r"ardour-[0-9a-f]+-[0-9a-f]+-[0-9a-f]+")  # orders' names: only it writes sound
PING = ".ping"  # left by a script that wants to know whether we are there: we take it away


class SpoolFolder:
    """Carries files and datagrams between a folder and the bridge on `port` of this machine."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._spool = Spool()
        self._known: set[str] = set()
        folder.mkdir(parents=True, exist_ok=True)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self._socket.settimeout(POLL_SECONDS)
        self._bridge = (HOST, port)
        self._socket.bind((HOST, 0))

    def close(self) -> None:
        """Let go of the socket; the files stay and are taken up again next time."""
        self._socket.close()

    def turn(self, now: float, wall: float) -> None:
        """Look once at folder and socket; waits POLL_SECONDS for a datagram.

        `now` is any clock that only rises; `wall` is the time that files carry.
        """
        self._look(now, wall)
        self._do(self._spool.due(now))
        with suppress(TimeoutError, ConnectionError):  # nobody listens there yet
            data, sender = self._socket.recvfrom(MAX_DATAGRAM_BYTES)
            if sender == self._bridge:
                self._do(self._spool.hear(data, now))

    def _look(self, now: float, wall: float) -> None:
        for path in self._folder.glob(f"*{PING}"):
            _remove(path)
        found = {path.stem: path for path in self._folder.glob(f"*{ORDER}")}
        for order_id in self._known - found.keys():
            self._do(self._spool.forget(order_id))
            for ending in (ANSWERS, SOUND):
                _remove(self._folder / f"{order_id}{ending}")
        for order_id in found.keys() - self._known:
            if ID.fullmatch(order_id):
                self._take(order_id, found[order_id], now, wall)
        self._known = set(found)
        self._sweep(wall)

    def _sweep(self, wall: float) -> None:
        """Remove old sound whose order never came: its script was stopped while it wrote it."""
        for path in self._folder.glob(f"*{SOUND}"):
            if ARDOURS.fullmatch(path.stem) and path.stem not in self._known:
                with suppress(OSError):  # gone meanwhile
                    if wall - path.stat().st_mtime > MAX_AGE_SECONDS:
                        _remove(path)

    def _take(self, order_id: str, path: Path, now: float, wall: float) -> None:
        try:
            stat = path.stat()
            if wall - stat.st_mtime > MAX_AGE_SECONDS:
                _remove(path)  # and next time, when it is missed, what belongs to it
                return
            if self._has_ended(path):
                return
            with path.open(encoding="utf-8", newline="\n") as file:
                text = file.read(MAX_ORDER_BYTES)
        except (OSError, UnicodeDecodeError):
            return  # gone again, or no order
        self._do(self._spool.take(order_id, text, now))

    def _has_ended(self, path: Path) -> bool:
        """Whether an earlier run of ours has carried the answer already."""
        answers = path.with_suffix(ANSWERS)
        if not answers.exists():
            return False
        lines = answers.read_text(encoding="utf-8").split("\n")
        return any(line.startswith(ENDS) for line in lines)

    def _do(self, steps: list[Step]) -> None:
        for step in steps:
            match step:
                case Send(data=data):
                    with suppress(OSError):  # nobody listens there yet, or too long for it
                        self._socket.sendto(data, self._bridge)
                case Answer(id=order_id, line=line):
                    self._append(order_id, line)

    def _append(self, order_id: str, line: str) -> None:
        path = self._folder / f"{order_id}{ANSWERS}"
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(f"{line}\n")


def _remove(path: Path) -> None:
    with suppress(OSError):  # gone already; or, on Windows, its script is reading it
        path.unlink()
