"""OSC packets in a stream of bytes: each behind its length (OSC 1.0), or in SLIP (OSC 1.1).

The first byte tells which: a length below 16 MiB begins with 0, SLIP with its END.
"""

from __future__ import annotations

import re
import struct
from typing import Protocol

from segue.bridge.osc.codec import MAX_DATAGRAM_BYTES

MAX_BUFFERED_BYTES = 2 * MAX_DATAGRAM_BYTES  # a packet of which SLIP escapes every byte
END, ESC = b"\xc0", b"\xdb"
ESC_END, ESC_ESC = b"\xdb\xdc", b"\xdb\xdd"

_LENGTH = struct.Struct(">i")
_BAD_ESCAPE = re.compile(rb"\xdb(?![\xdc\xdd])", re.DOTALL)


class StreamError(Exception):
    """Bytes after which nobody can tell where the next packet begins."""


class Framing(Protocol):
    """How packets lie in a stream."""

    over: bool  # whether nothing goes out any more

    def feed(self, data: bytes) -> list[bytes]:
        """The packets that are now whole. Raises StreamError."""
        ...

    def frame(self, packet: bytes) -> bytes:
        """A packet as it goes out."""
        ...


def framing(first: int) -> Framing:
    """What a stream that begins with this byte speaks."""
    return Slip() if first == END[0] else Lengths()


class Lengths:
    """OSC 1.0 over TCP: an int32 says how long the packet behind it is."""

    over = False

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The packets that are now whole. Raises StreamError for a length that can't be."""
        self._buffer += data
        found, at = [], 0
        while len(self._buffer) - at >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self._buffer, at)
            if not 0 < size <= MAX_DATAGRAM_BYTES:
                text = f"a packet has 1 to {MAX_DATAGRAM_BYTES} bytes, not {size}"
                raise StreamError(f"{text}; neither an int32 length nor SLIP")
            start = at + _LENGTH.size
            if len(self._buffer) < start + size:
                break
            found.append(bytes(self._buffer[start : start + size]))
            at = start + size
        del self._buffer[:at]
        return found

    def frame(self, packet: bytes) -> bytes:
        """A packet behind its length."""
        return _LENGTH.pack(len(packet)) + packet


class Slip:
    """RFC 1055 with an END on both sides of each packet, as OSC 1.1 asks."""

    over = False

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The packets that are now whole. Raises StreamError: too long, or a bad escape."""
        *whole, rest = (bytes(self._buffer) + data).split(END)
        if len(rest) > MAX_BUFFERED_BYTES:
            raise StreamError(f"more than {MAX_BUFFERED_BYTES} bytes without an END of SLIP")
        self._buffer[:] = rest
        return [_unescaped(each) for each in whole if each]

    def frame(self, packet: bytes) -> bytes:
        """A packet between two ENDs."""
        escaped = packet.replace(ESC, ESC_ESC).replace(END, ESC_END)
        return END + escaped + END


def _unescaped(data: bytes) -> bytes:
    if _BAD_ESCAPE.search(data):
        raise StreamError("after SLIP's ESC comes one of its two codes")
    return data.replace(ESC_END, END).replace(ESC_ESC, ESC)
