"""OSC 1.0 packets: a guarded decoder whose work is bounded and linear, and an encoder.

Decoding is our own because it meets hostile bytes. Building is left to python-osc.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass

from pythonosc.osc_message_builder import BuildError, OscMessageBuilder

MAX_DATAGRAM_BYTES = 65_535
MAX_MESSAGES = 256  # in one datagram
MAX_BUNDLE_DEPTH = 8
MAX_ADDRESS_BYTES = 256
MAX_ARGUMENTS = 16_384  # a full datagram of floats fits
MAX_STRING_BYTES = 16_384  # a path of 4,096 characters at four UTF-8 bytes each fits

Value = int | float | str | bytes | bool | None

_BUNDLE = b"#bundle\0"
_BUNDLE_HEADER_BYTES = 16
_INT32 = struct.Struct(">i")
# OSC 1.0 keeps these and the space out of names; in an address they would be a pattern.
_ADDRESS_BYTES = bytes(byte for byte in range(33, 127) if byte not in b"#*,?[]{}")


class OscError(Exception):
    """Bytes that are not OSC within our limits: the only exception `decode` raises."""


@dataclass(frozen=True, slots=True)
class Message:
    """One OSC message. Numbers may be NaN or infinite here: what they mean is not known yet."""

    address: str
    args: tuple[Value, ...] = ()


def decode(datagram: bytes) -> tuple[Message, ...]:
    """Every message of a datagram in order, nested bundles flattened, timetags ignored.

    OSC 1.0 lets a bundle wait for its timetag; a control surface means now, so late and
    future ones are applied at once. A datagram is taken whole or refused whole: OscError.
    """
    if len(datagram) > MAX_DATAGRAM_BYTES:
        raise OscError(f"a datagram has at most {MAX_DATAGRAM_BYTES} bytes, not {len(datagram)}")
    found: list[Message] = []
    _packet(datagram, 0, len(datagram), 0, found)
    return tuple(found)


def encode(address: str, *arguments: tuple[str, Value]) -> bytes:
    """Build one message from (type tag, value) pairs; tags are those of python-osc.

    Raises ValueError when a value does not fit its tag: a mistake of the caller.
    """
    builder = OscMessageBuilder(address)
    try:
        for tag, value in arguments:
            if isinstance(value, str) and "\0" in value:
                raise ValueError("an OSC string cannot hold a NUL character")
            builder.add_arg(value, tag)
        return bytes(builder.build().dgram)
    except (BuildError, struct.error, OverflowError, TypeError) as error:
        raise ValueError(f"{address}: {error}") from error


def _packet(data: bytes, at: int, end: int, depth: int, found: list[Message]) -> None:
    # Multiples of four everywhere (OSC 1.0, "OSC Packets") also keep `at` aligned below.
    if at == end or (end - at) % 4:
        raise OscError(f"a packet has a size of 4, 8, 12, … bytes, not {end - at}")
    if data.startswith(_BUNDLE, at, end):
        _bundle(data, at, end, depth + 1, found)
    elif len(found) == MAX_MESSAGES:
        raise OscError(f"a datagram has at most {MAX_MESSAGES} messages")
    else:
        found.append(_message(data, at, end))


def _bundle(data: bytes, at: int, end: int, depth: int, found: list[Message]) -> None:
    if depth > MAX_BUNDLE_DEPTH:
        raise OscError(f"bundles nest at most {MAX_BUNDLE_DEPTH} deep")
    at += _BUNDLE_HEADER_BYTES
    if at > end:
        raise OscError("a bundle ends before its timetag does")
    while at < end:
        size, at = _int32(data, at, end)
        if not 0 < size <= end - at:
            raise OscError(f"a bundle element claims {size} bytes where {end - at} are left")
        _packet(data, at, at + size, depth, found)
        at += size


def _message(data: bytes, at: int, end: int) -> Message:
    raw, at = _string(data, at, end, MAX_ADDRESS_BYTES)
    if not raw.startswith(b"/") or raw.translate(None, _ADDRESS_BYTES):
        raise OscError("an address starts with '/', is plain ASCII and holds no pattern")
    address = raw.decode("ascii")
    if at == end:  # OSC 1.0: older senders omit the type tag string
        return Message(address)
    tags, at = _string(data, at, end, MAX_ARGUMENTS + 1)
    if not tags.startswith(b","):
        raise OscError("type tags start with ','")
    args: list[Value] = []
    for code in tags[1:]:
        read = _READERS.get(code)
        if read is None:
            raise OscError(f"type tag {chr(code)!r} is not one of {''.join(map(chr, _READERS))}")
        value, at = read(data, at, end)
        args.append(value)
    if at != end:
        raise OscError(f"{end - at} bytes are left after the last argument")
    return Message(address, tuple(args))


def _string(data: bytes, at: int, end: int, limit: int) -> tuple[bytes, int]:
    """The bytes before the NUL, and where the padding that follows them ends."""
    stop = data.find(b"\0", at, min(end, at + limit + 1))
    if stop < 0:
        raise OscError(f"a string does not end, or is longer than {limit} bytes")
    after = (stop | 3) + 1
    return data[at:stop], _padded(data, stop, after, end)


def _padded(data: bytes, stop: int, after: int, end: int) -> int:
    if after > end or any(data[stop:after]):
        raise OscError("padding is not zeros up to a multiple of four")
    return after


def _int32(data: bytes, at: int, end: int) -> tuple[int, int]:
    if end - at < _INT32.size:
        raise OscError("a number is cut short")
    return _INT32.unpack_from(data, at)[0], at + _INT32.size


def _text(data: bytes, at: int, end: int) -> tuple[Value, int]:
    raw, at = _string(data, at, end, MAX_STRING_BYTES)
    try:
        return raw.decode("utf-8"), at
    except UnicodeDecodeError as error:
        raise OscError("a string is not UTF-8") from error


def _blob(data: bytes, at: int, end: int) -> tuple[Value, int]:
    size, at = _int32(data, at, end)
    if not 0 <= size <= end - at:
        raise OscError(f"a blob claims {size} bytes where {end - at} are left")
    stop = at + size
    return data[at:stop], _padded(data, stop, -(-stop // 4) * 4, end)


_Reader = Callable[[bytes, int, int], tuple[Value, int]]


def _fixed(layout: str) -> _Reader:
    form = struct.Struct(layout)

    def read(data: bytes, at: int, end: int) -> tuple[Value, int]:
        if end - at < form.size:
            raise OscError("a number is cut short")
        value: Value = form.unpack_from(data, at)[0]
        return value, at + form.size

    return read


def _constant(value: Value) -> _Reader:
    return lambda data, at, end: (value, at)


def _character(data: bytes, at: int, end: int) -> tuple[Value, int]:
    code, at = _int32(data, at, end)
    if not 0 <= code < 128:
        raise OscError("a character is not ASCII")
    return chr(code), at


# OSC 1.0's required and optional type tags; arrays ('[' and ']') are not spoken here.
_READERS: dict[int, _Reader] = {
    ord("i"): _fixed(">i"),
    ord("f"): _fixed(">f"),
    ord("s"): _text,
    ord("b"): _blob,
    ord("h"): _fixed(">q"),
    ord("d"): _fixed(">d"),
    ord("t"): _fixed(">Q"),
    ord("S"): _text,
    ord("c"): _character,
    ord("r"): _fixed(">4s"),
    ord("m"): _fixed(">4s"),
    ord("T"): _constant(True),
    ord("F"): _constant(False),
    ord("N"): _constant(None),
    ord("I"): _constant(math.inf),
}
