# Segue: placed by `segue install`
"""The part of OSC 1.0 that Segue and touch controllers speak, written and read.

Live's Python has no OSC. `decode` takes a datagram whole or raises OscError, nothing else.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

MAX_DATAGRAM_BYTES = 65535
MAX_MESSAGES = 64  # in one datagram
MAX_DEPTH = 4  # of bundles within bundles

_BUNDLE = b"#bundle\0"
_HEADER_BYTES = 16
_FIXED = {"i": ">i", "f": ">f", "h": ">q", "d": ">d"}
_CONSTANTS = {"T": True, "F": False, "N": None}


class OscError(Exception):
    """Bytes that are no OSC within our limits."""


class Message(NamedTuple):
    """An address and its arguments."""

    address: str
    args: tuple[Any, ...]


def encode(address: str, tags: str, *values: Any) -> bytes:
    """One message; `tags` are of i, f, h, d, s, one for each value."""
    assert len(tags) == len(values), address
    packed = (_text(v) if t == "s" else struct.pack(_FIXED[t], v) for t, v in zip(tags, values))
    return _text(address) + _text("," + tags) + b"".join(packed)


def decode(data: bytes) -> list[Message]:
    """All messages of a datagram in order, bundles flattened, their timetags ignored."""
    if len(data) > MAX_DATAGRAM_BYTES:
        raise OscError("too long")
    found: list[Message] = []
    try:
        _packet(data, 0, found)
    except (struct.error, UnicodeDecodeError) as error:
        raise OscError(str(error)) from error
    return found


def _packet(data: bytes, depth: int, found: list[Message]) -> None:
    if len(data) % 4 or not data:
        raise OscError("a packet's size is a multiple of four")
    if data.startswith(_BUNDLE):
        _bundle(data, depth, found)
    elif len(found) == MAX_MESSAGES:
        raise OscError("too many messages")
    else:
        found.append(_message(data))


def _bundle(data: bytes, depth: int, found: list[Message]) -> None:
    if depth == MAX_DEPTH or len(data) < _HEADER_BYTES:
        raise OscError("bundles too deep, or one cut short")
    at = _HEADER_BYTES
    while at < len(data):
        (size,) = struct.unpack_from(">i", data, at)
        at += 4
        if not 0 < size <= len(data) - at:
            raise OscError("a bundle's element has no such size")
        _packet(data[at : at + size], depth + 1, found)
        at += size


def _message(data: bytes) -> Message:
    address, at = _string(data, 0)
    if not address.startswith("/"):
        raise OscError("an address starts with a slash")
    tags, at = _string(data, at) if at < len(data) else (",", at)
    if not tags.startswith(","):
        raise OscError("type tags start with a comma")
    args: list[Any] = []
    for tag in tags[1:]:
        value, at = _value(tag, data, at)
        args.append(value)
    if at != len(data):
        raise OscError("bytes are left over")
    return Message(address, tuple(args))


def _value(tag: str, data: bytes, at: int) -> tuple[Any, int]:
    if tag in _FIXED:
        (value,) = struct.unpack_from(_FIXED[tag], data, at)
        return value, at + struct.calcsize(_FIXED[tag])
    if tag in "sS":
        return _string(data, at)
    if tag in _CONSTANTS:
        return _CONSTANTS[tag], at
    if tag == "b":
        (size,) = struct.unpack_from(">i", data, at)
        if not 0 <= size <= len(data) - at - 4:
            raise OscError("a blob has no such size")
        return data[at + 4 : at + 4 + size], at + 4 + (size + 3) // 4 * 4
    raise OscError(f"unknown type tag {tag!r}")


def _string(data: bytes, at: int) -> tuple[str, int]:
    end = data.find(b"\0", at)
    if end < 0:
        raise OscError("a string does not end")
    return data[at:end].decode("utf-8"), (end | 3) + 1


def _text(text: str) -> bytes:
    """UTF-8, ended by one to four NULs; what cannot be encoded (lone surrogates) becomes '?'."""
    raw = text.replace("\0", "").encode("utf-8", "replace")
    return raw + bytes(4 - len(raw) % 4)
