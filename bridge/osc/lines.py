"""An OSC message as a line of text: address, type tags and arguments, parted by tabs.

An order is one message a line, for whoever has no OSC: the spool's files, and HTTP.
"""

from __future__ import annotations

import re

from segue.bridge.osc.codec import Message, OscError, Value, decode, encode

MAX_LINES = 16_384  # of one order

_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_UNESCAPES = {escape: character for character, escape in _ESCAPES.items()}


def encode_line(message: Message) -> str:
    """`/segue/job/progress<TAB>sds<TAB>a<TAB>0.5<TAB>decoding`, without an end of line.

    Text becomes `s`, fractions `d`, whole numbers `h`. Raises ValueError for anything else.
    """
    tags, fields = "", []
    for value in message.args:
        match value:
            case str():
                tag, field = "s", "".join(_ESCAPES.get(each, each) for each in value)
            case float():
                tag, field = "d", repr(value)
            case int():
                tag, field = "h", str(int(value))
            case _:
                raise ValueError(f"{message.address}: {value!r} has no place in a line")
        tags += tag
        fields.append(field)
    return "\t".join((message.address, tags, *fields))


def decode_line(line: str) -> tuple[str, list[tuple[str, Value]]]:
    """The address and the (tag, value) pairs of a line. Raises ValueError."""
    address, _, rest = line.partition("\t")
    tags, *fields = rest.split("\t")
    if len(tags) != len(fields):
        raise ValueError(f"{address}: {len(tags)} type tags for {len(fields)} arguments")
    return address, [(tag, _value(tag, field)) for tag, field in zip(tags, fields, strict=True)]


def packets(text: str) -> list[bytes]:
    """The messages of an order, as the bridge reads them. Raises ValueError saying which is bad.

    A byte order mark and ends of lines as on Windows are no part of it.
    """
    ended = (line.removesuffix("\r") for line in text.removeprefix("\ufeff").split("\n"))
    lines = [line for line in ended if line]
    if not 0 < len(lines) <= MAX_LINES:
        raise ValueError(f"an order has 1 to {MAX_LINES} lines, not {len(lines)}")
    return [_packet(line) for line in lines]


def _packet(line: str) -> bytes:
    address, arguments = decode_line(line)
    if not address.startswith("/segue/"):
        raise ValueError(f"{address}: only what begins with /segue/ is sent")
    packet = encode(address, *arguments)
    try:
        decode(packet)  # the bridge would drop it without a word
    except OscError as error:
        raise ValueError(f"{address}: {error}") from error
    return packet


def _value(tag: str, field: str) -> Value:
    if tag == "s":
        return re.sub(r"\\[\\tnr]", lambda found: _UNESCAPES[found[0]], field)
    if tag in "fd":
        return float(field)
    if tag in "ih":
        return int(field)
    raise ValueError(f"type tag {tag}: a line holds s, d, f, h and i")
