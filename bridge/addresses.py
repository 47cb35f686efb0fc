"""The OSC wire format as data: one row an address; reading, writing and the README walk it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from segue.bridge import osc
from segue.presets.vocabulary import Code, SegueError

DEFAULT_OSC_PORT = 9137  # 8000, 9000 and 11000 are taken by other music software
PREFIX = "/segue/"
MAX_REPLY_BYTES = 1400  # stays below the Ethernet MTU: never fragmented, never EMSGSIZE
MAX_ECHOED_ID_BYTES = 256
DRAW_SEED = -1


class Direction(StrEnum):
    """Who sends a message."""

    TO_SEGUE = "to Segue"
    TO_DAW = "to the DAW"


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: `tag` is the OSC type tag it is sent with."""

    name: str
    tag: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One address in one direction, its arguments in order and what it means."""

    direction: Direction
    address: str
    arguments: tuple[Argument, ...]
    meaning: str

    @property
    def signature(self) -> str:
        """The arguments as people read them: `s:id d:start_seconds [i:seed]`."""
        named = ((f"{a.tag}:{a.name}", a.optional) for a in self.arguments)
        return " ".join(f"[{text}]" if optional else text for text, optional in named)


_ID = Argument("id", "s")
_PATH = Argument("path", "s")
_START = Argument("start_seconds", "d")

_PREVIEWS = Argument("previews", "i", optional=True)

HELLO = Row(
    Direction.TO_SEGUE,
    "/segue/hello",
    (Argument("client", "s"),),
    "Says who asks; answered by what is running.",
)
OUTPAINT = Row(
    Direction.TO_SEGUE,
    "/segue/outpaint",
    (
        _ID,
        _PATH,
        _START,
        Argument("length_seconds", "d"),
        Argument("new_seconds", "d"),
        Argument("seed", "i", optional=True),
        Argument("preset", "s", optional=True),
        _PREVIEWS,
    ),
    "Continues a region of an audio file. The sender chooses the id; a seed of -1 draws one; an "
    "empty preset is the default; previews other than 0 asks for them. Sending the same message "
    "again is harmless and asks for its answers again.",
)
MAKE = Row(
    Direction.TO_SEGUE,
    "/segue/make",
    (
        _ID,
        _PATH,
        _START,
        Argument("length_seconds", "d"),
        Argument("preset", "s"),
        Argument("new_seconds", "d", optional=True),
        Argument("new_bars", "d", optional=True),
        Argument("bpm", "d", optional=True),
        Argument("seed", "i", optional=True),
        Argument("text", "s", optional=True),
        _PREVIEWS,
    ),
    "Makes music as a preset says: after, before, inside or in place of a region, or, with an "
    "empty path, out of nothing. A length of 0 or less is the preset's own; bars need a bpm "
    "above 0, and start with the region; an empty text asks for nothing.",
)
CANCEL = Row(Direction.TO_SEGUE, "/segue/cancel", (_ID,), "Stops a job.")
WELCOME = Row(
    Direction.TO_DAW,
    "/segue/hello",
    (Argument("version", "s"), Argument("device", "s")),
    "The server's version and device; `loading` until the model is there.",
)
ACCEPTED = Row(Direction.TO_DAW, "/segue/job/accepted", (_ID,), "The job is queued.")
PROGRESS = Row(
    Direction.TO_DAW,
    "/segue/job/progress",
    (_ID, Argument("fraction", "d"), Argument("stage", "s")),
    "How far the job is, from 0 to 1; sent many times.",
)
PREVIEW = Row(
    Direction.TO_DAW,
    "/segue/job/preview",
    (
        _ID,
        _PATH,
        _START,
        Argument("length_samples", "h"),
        Argument("sample_rate", "i"),
        Argument("number", "i"),
    ),
    "The clip as it would be now, roughly decoded; written over by the next one, and gone when "
    "the job has ended.",
)
DONE = Row(
    Direction.TO_DAW,
    "/segue/job/done",
    (
        _ID,
        _PATH,
        _START,
        Argument("length_samples", "h"),
        Argument("sample_rate", "i"),
        Argument("seed", "i"),
    ),
    "The clip, region and new music in one WAV, and where on the timeline it starts.",
)
CANCELLED = Row(Direction.TO_DAW, "/segue/job/cancelled", (_ID,), "The job was stopped.")
ERROR = Row(
    Direction.TO_DAW,
    "/segue/error",
    (_ID, Argument("code", "s"), Argument("text", "s")),
    "What went wrong and what to do; the id is empty where none is known.",
)

ROWS = (HELLO, OUTPAINT, MAKE, CANCEL, WELCOME, ACCEPTED, PROGRESS, PREVIEW, DONE, CANCELLED, ERROR)
INCOMING = {row.address: row for row in ROWS if row.direction is Direction.TO_SEGUE}
OUTGOING = {row.address: row for row in ROWS if row.direction is Direction.TO_DAW}


def markdown_table() -> str:
    """The README's table of addresses."""
    lines = ["| direction | address | arguments | meaning |", "|---|---|---|---|"]
    for row in ROWS:
        cells = (row.direction, f"`{row.address}`", f"`{row.signature}`", row.meaning)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def read(row: Row, args: tuple[osc.Value, ...]) -> dict[str, str | int | float]:
    """Arguments by name; an optional one left out, or sent as nil, is absent.

    Any numeric tag serves where a number is meant; arguments beyond the row's are ignored.
    Raises SegueError(BAD_REQUEST) whose text starts with the argument's name.
    """
    values: dict[str, str | int | float] = {}
    for place, argument in enumerate(row.arguments):
        value = args[place] if place < len(args) else None
        if value is not None:
            values[argument.name] = _meant(argument, value)
        elif not argument.optional:
            raise _bad(argument, f"is missing; send {row.address} {row.signature}")
    return values


def _meant(argument: Argument, value: osc.Value) -> str | int | float:
    if argument.tag == "s":
        if isinstance(value, str):
            return value
        raise _bad(argument, "send a string")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _bad(argument, "send a finite number")
    if argument.tag == "d":
        return float(value)
    if value != int(value):
        raise _bad(argument, "send a whole number")
    return int(value)


def _bad(argument: Argument, text: str) -> SegueError:
    return SegueError(Code.BAD_REQUEST, f"{argument.name}: {text}")


def write(row: Row, *values: str | int | float) -> bytes:
    """One packet; optional arguments at the end may be left out.

    ValueError where a value does not fit its tag, or all of them not the row or the datagram.
    """
    needed = sum(not argument.optional for argument in row.arguments)
    if not needed <= len(values) <= len(row.arguments):
        raise ValueError(f"{row.address} takes {row.signature}, not {len(values)} values")
    tags = (argument.tag for argument in row.arguments)
    packet = osc.encode(row.address, *zip(tags, values, strict=False))
    if len(packet) > MAX_REPLY_BYTES:
        raise ValueError(
            f"{row.address} would need {len(packet)} bytes, more than the {MAX_REPLY_BYTES}"
            " of one datagram"
        )
    return packet


def write_error(job_id: str, code: Code, text: str) -> bytes:
    """A `/segue/error` that always fits: the text is shortened, an overlong id left out.

    A cut id could name another job, so it is never cut.
    """
    job_id = _clean(job_id)
    if len(job_id.encode()) > MAX_ECHOED_ID_BYTES:
        job_id = ""
    text = _clean(text)
    # An empty text takes four bytes of padding; one byte must stay for its NUL.
    room = MAX_REPLY_BYTES - len(write(ERROR, job_id, code.value, "")) + 4 - 1
    if len(text.encode()) > room:
        ellipsis = "…"
        text = text.encode()[: room - len(ellipsis.encode())].decode(errors="ignore") + ellipsis
    return write(ERROR, job_id, code.value, text)


def _clean(text: str) -> str:
    return text.replace("\0", "").encode(errors="replace").decode()
