"""Many sockets on one UDP port of Linux, which together hold a burst of thousands.

What comes while we wait for a processor lies in the socket, and the rest of it is lost: at the
usual net.core.rmem_max of 212,992 bytes about 550 small datagrams fit, and only root can raise
that. A reuseport group may have any number of sockets. By itself the kernel gives all of one
sender's datagrams to the same socket; here a classic BPF program draws one for each datagram.
The kernel's time stamps then tell the order. Sources: socket(7), SO_ATTACH_REUSEPORT_CBPF and
SO_RCVBUF; the kernel's Documentation/networking/filter.rst (rand) and timestamping.rst, 1.1.
"""

from __future__ import annotations

import ctypes
import select
import socket
import struct
import sys
import time
from bisect import bisect_right
from contextlib import ExitStack, suppress
from operator import itemgetter

from segue.bridge.osc.codec import MAX_DATAGRAM_BYTES

OVERHEAD_BYTES = 256  # of one datagram that waits in this process
MAX_SOCKETS = 64
STAMP_TRIES = 2000  # a millisecond each: on a busy machine the kernel begins late

SO_TIMESTAMPNS = 35  # include/uapi/asm-generic/socket.h
SO_ATTACH_REUSEPORT_CBPF = 51
STAMP = struct.Struct("@ll")  # struct timespec
INSTRUCTION = struct.Struct("@HBBI")  # struct sock_filter
LOAD, MODULO, ADD, RETURN = 0x20, 0x94, 0x04, 0x16  # A = word k, A %= k, A += k, return A
RANDOM = 0xFFFF_F000 + 56  # SKF_AD_OFF + SKF_AD_RANDOM: a word that is drawn

Datagram = tuple[bytes, tuple[str, int]]
stamp_of = itemgetter(0)
NEVER = -1


class UdpGroup:
    """The sockets that join one that is bound, which then gets nothing but can send.

    Raises OSError where the system does not know how.
    """

    def __init__(self, endpoint: socket.socket, count: int, buffer_bytes: int) -> None:
        self.held_bytes = 0
        self._look_bytes = 2 * buffer_bytes * count  # Linux grants the double: socket(7)
        self._held: list[tuple[int, Datagram]] = []  # by stamp; some before them may be missing
        with ExitStack() as opened:
            self._ready = opened.enter_context(select.epoll())
            probe = opened.enter_context(_stamping())  # the kernel stamps while one wants it
            _await_stamps(probe)
            endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            opened.callback(endpoint.setsockopt, socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
            self._sockets: dict[int, socket.socket] = {}
            for _ in range(count):
                member = opened.enter_context(_stamping())
                member.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
                member.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                member.bind(endpoint.getsockname())
                self._sockets[member.fileno()] = member
                self._ready.register(member, select.EPOLLIN)
            _spread(endpoint, count)
            opened.pop_all()
        probe.close()

    def __len__(self) -> int:
        return len(self._sockets)

    def fileno(self) -> int:
        """Readable when any of the sockets is."""
        return self._ready.fileno()

    @property
    def most_bytes(self) -> int:
        """What is held back and what the next look may find."""
        return self.held_bytes + self._look_bytes

    def look(self) -> list[Datagram]:
        """Read all sockets empty; return, in order, those that were held back until now.

        While one socket is read, an earlier datagram may come into one that was read before,
        but not after the look is over: by then the later one, too, had come. So each is held
        back for one more look. By the clock this could not be told: between stamp and socket a
        datagram may wait for a processor itself.
        """
        last = self._held[-1][0] if self._held else NEVER
        found = self._held
        for number, _ in self._ready.poll(0, len(self._sockets)):
            with suppress(BlockingIOError):
                while True:
                    found.append(_receive(self._sockets[number]))
        found.sort(key=stamp_of)
        sure = bisect_right(found, last, key=stamp_of)
        self._held = found[sure:]
        self.held_bytes = sum(len(data) + OVERHEAD_BYTES for _, (data, _) in self._held)
        return [datagram for _, datagram in found[:sure]]

    def close(self) -> None:
        """Leave the port to the one that was there first."""
        self._ready.close()
        for each in self._sockets.values():
            each.close()


def gather(endpoint: socket.socket, buffer_bytes: int, limit_bytes: int) -> UdpGroup | None:
    """Sockets of `buffer_bytes` each beside one that is bound, or None where that cannot be.

    `endpoint` is bound alone, so no other program has the port. From then on only sockets of this
    user that ask for SO_REUSEPORT could join, and the program draws none of them. What two looks
    find (one is held back) stays within `limit_bytes`.
    """
    count = min(MAX_SOCKETS, limit_bytes // (4 * buffer_bytes))
    if sys.platform != "linux" or count < 2:
        return None
    try:
        return UdpGroup(endpoint, count, buffer_bytes)
    except (OSError, LookupError, struct.error):  # an old kernel, or something like one
        return None


def _stamping() -> socket.socket:
    """A socket that says when a datagram came."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    return made


def _await_stamps(probe: socket.socket) -> None:
    """Wait until the kernel stamps what comes; at first it may do so when it is read."""
    probe.bind(("127.0.0.1", 0))
    for _ in range(STAMP_TRIES):
        probe.sendto(b"", probe.getsockname())
        sent = time.time_ns()
        time.sleep(0.001)
        with suppress(BlockingIOError):
            if _receive(probe)[0] <= sent:
                return
    raise OSError("no time stamps")


def _receive(member: socket.socket) -> tuple[int, Datagram]:
    """The next datagram and when it came, in nanoseconds."""
    data, said, _, sender = member.recvmsg(MAX_DATAGRAM_BYTES, socket.CMSG_SPACE(STAMP.size))
    seconds, nanoseconds = STAMP.unpack(said[0][2])
    return seconds * 1_000_000_000 + nanoseconds, (data, sender)


def _spread(endpoint: socket.socket, count: int) -> None:
    """Have the kernel draw one of the `count` that came after `endpoint`, which is number 0."""
    steps = (LOAD, RANDOM), (MODULO, count), (ADD, 1), (RETURN, 0)
    code = b"".join(INSTRUCTION.pack(step, 0, 0, k) for step, k in steps)
    memory = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(steps), ctypes.addressof(memory))  # struct sock_fprog
    endpoint.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program)
