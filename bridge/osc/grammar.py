"""What a row of the OSC wire format is, and how one is read and written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from pydantic import TypeAdapter, ValidationError

from segue.bridge.osc import codec
from segue.presets.vocabulary import Code, Id, SegueError

MAX_REPLY_BYTES = 1400  # stays below the Ethernet MTU: never fragmented, never EMSGSIZE

_ID: TypeAdapter[str] = TypeAdapter(Id)


class Direction(StrEnum):
    """Who sends a message."""

    TO_SEGUE = "to Segue"
    TO_DAW = "to the DAW"


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: `tag` is the OSC type tag it is sent with.

    `many`: once or more often, as a row's last argument. `names_job`: only an id will do.
    """

    name: str
    tag: str
    optional: bool = False
    many: bool = False
    names_job: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One address in one direction, its arguments in order and what it means."""

    direction: Direction
    address: str
    arguments: tuple[Argument, ...]
    meaning: str

    @property
    def signature(self) -> str:
        """The arguments as people read them: `s:id d:start_seconds [i:seed]`, `i:first…`."""
        named = ((f"{a.tag}:{a.name}{'…' * a.many}", a.optional) for a in self.arguments)
        return " ".join(f"[{text}]" if optional else text for text, optional in named)


def read(row: Row, args: tuple[codec.Value, ...]) -> dict[str, str | int | float]:
    """Arguments by name, but for a repeated one; one left out, or sent as nil, is absent.

    Any numeric tag serves where a number is meant; arguments beyond the row's are ignored.
    Raises SegueError(BAD_REQUEST) whose text starts with the argument's name.
    """
    values: dict[str, str | int | float] = {}
    for place, argument in enumerate(row.arguments):
        value = args[place] if place < len(args) else None
        if value is None and not argument.optional:
            raise _bad(argument, f"is missing; send {row.address} {row.signature}")
        if value is not None and not argument.many:
            values[argument.name] = _meant(argument, value)
    return values


def read_many(row: Row, args: tuple[codec.Value, ...]) -> tuple[float, ...]:
    """The numbers of a row's repeated argument. Raises SegueError as `read` does."""
    argument = row.arguments[-1]
    return tuple(float(_number(argument, value)) for value in args[len(row.arguments) - 1 :])


def write(row: Row, *values: str | int | float) -> bytes:
    """One packet; optional arguments at the end may be left out.

    ValueError where a value does not fit its tag, or all of them not the row or the datagram.
    """
    tags = [argument.tag for argument in row.arguments]
    if row.arguments and row.arguments[-1].many:
        tags += tags[-1:] * (len(values) - len(tags))
    needed = sum(not argument.optional for argument in row.arguments)
    if not needed <= len(values) <= len(tags):
        raise ValueError(f"{row.address} takes {row.signature}, not {len(values)} values")
    packet = codec.encode(row.address, *zip(tags, values, strict=False))
    if len(packet) > MAX_REPLY_BYTES:
        raise ValueError(
            f"{row.address} would need {len(packet)} bytes, more than the {MAX_REPLY_BYTES}"
            " of one datagram"
        )
    return packet


def _meant(argument: Argument, value: codec.Value) -> str | int | float:
    if argument.tag == "s":
        return _text(argument, value)
    number = _number(argument, value)
    if argument.tag == "d":
        return float(number)
    if number != int(number):
        raise _bad(argument, "send a whole number")
    return int(number)


def _text(argument: Argument, value: codec.Value) -> str:
    if not isinstance(value, str):
        raise _bad(argument, "send a string")
    if not argument.names_job:
        return value
    try:
        return _ID.validate_python(value)
    except ValidationError as error:
        raise _bad(argument, "use 1 to 64 letters, digits, '.', '_' or '-'") from error


def _number(argument: Argument, value: codec.Value) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _bad(argument, "send a finite number")
    return value


def _bad(argument: Argument, text: str) -> SegueError:
    return SegueError(Code.BAD_REQUEST, f"{argument.name}: {text}")
