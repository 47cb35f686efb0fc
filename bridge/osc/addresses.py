"""The OSC wire format as data: one row an address; reading, writing and the README walk it."""

from __future__ import annotations

from segue.bridge.osc.grammar import (
    MAX_REPLY_BYTES,
    Argument,
    Direction,
    Row,
    read,
    read_many,
    write,
)
from segue.presets.vocabulary import Code

__all__ = ["MAX_REPLY_BYTES", "Argument", "Direction", "Row", "read", "read_many", "write"]

DEFAULT_OSC_PORT = 9137  # 8000, 9000 and 11000 are taken by other music software
PREFIX = "/segue/"
MAX_ECHOED_ID_BYTES = 256
DRAW_SEED = -1
MAX_ROWS_A_MESSAGE = 64
MAX_MISSING = 64  # numbers in one message
BEGIN_ITSELF = -1  # among the numbers of missing rows

_ID = Argument("id", "s", names_job=True)
_ANY_ID = Argument("id", "s")
_PATH = Argument("path", "s")
_START = Argument("start_seconds", "d")
_WHAT = Argument("what", "s")
_TOTAL = Argument("total", "i")
_PORT = Argument("port", "i", optional=True)
_OVERLAY = (Argument("overlay_path", "s"), Argument("overlay_start_seconds", "d"))

_PREVIEWS = Argument("previews", "i", optional=True)

HELLO = Row(
    Direction.TO_SEGUE,
    "/segue/hello",
    (Argument("client", "s"),),
    "Says who asks; answered by what is running. One with two strings is an answer, and gets none.",
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
BEGIN = Row(
    Direction.TO_SEGUE,
    "/segue/rows/begin",
    (
        _ID,
        _WHAT,
        _TOTAL,
        Argument("unit", "s", optional=True),
        Argument("scale", "s", optional=True),
        Argument("first_beat", "d", optional=True),
    ),
    "Announces rows of numbers for the order that will have this id: `intensity` (time, level) and "
    "`melody` (start, length, pitch), from the beginning of the new music; `gaps` (start, length) "
    "and `tempo` (seconds, bpm, beats a bar), from the region's start, which is `first_beat` beats "
    "into its bar. The unit is `seconds`, `beats`, `bars` or `share`, and always seconds for "
    "`tempo`; the scale of levels `db`, `share` or `dbfs`. A begin that says something else begins "
    "anew; the same one again changes nothing.",
)
ADD = Row(
    Direction.TO_SEGUE,
    "/segue/rows/add",
    (_ID, _WHAT, Argument("first", "i"), Argument("numbers", "d", many=True)),
    f"At most {MAX_ROWS_A_MESSAGE} rows, one after the other, from row number `first` on, which "
    "counts from 0. Begin, add and end may come in any order, and again.",
)
END = Row(
    Direction.TO_SEGUE,
    "/segue/rows/end",
    (_ID, _WHAT, _TOTAL),
    "Asks whether all rows are there. An order takes every list of its id, over a bpm and a "
    "preset's own; where rows are missing it is refused.",
)
SUBSCRIBE = Row(
    Direction.TO_SEGUE,
    "/segue/subscribe",
    (_PORT,),
    "The sender hears of every job, until 60 seconds after its last message. With a port, that UDP "
    "port of its host does so in its place, and also hears every answer that the sender gets.",
)
UNSUBSCRIBE = Row(Direction.TO_SEGUE, "/segue/unsubscribe", (_PORT,), "Ends that.")
WELCOME = Row(
    Direction.TO_DAW,
    "/segue/hello",
    (Argument("version", "s"), Argument("device", "s")),
    "The server's version and device; `loading` until the model is there, `failed` where it cannot "
    "be had.",
)
ACCEPTED = Row(Direction.TO_DAW, "/segue/job/accepted", (_ID,), "The job is queued.")
PROGRESS = Row(
    Direction.TO_DAW,
    "/segue/job/progress",
    (_ID, Argument("fraction", "d"), Argument("stage", "s")),
    "How far the job is, from 0 to 1; sent many times.",
)
ACK = Row(
    Direction.TO_DAW,
    "/segue/rows/ack",
    (_ID, _WHAT, _TOTAL),
    "All rows are there; it follows by itself where some came after the end.",
)
MISSING = Row(
    Direction.TO_DAW,
    "/segue/rows/missing",
    (_ID, _WHAT, Argument("first", "i", many=True)),
    f"Send {MAX_ROWS_A_MESSAGE} rows from each of these numbers on (as far as there are so many), "
    f"then the end; {BEGIN_ITSELF} stands for the begin. At most {MAX_MISSING} numbers.",
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
VARIATION = Row(
    Direction.TO_DAW,
    "/segue/job/variation",
    (_ID, Argument("number", "i"), _PATH, *_OVERLAY),
    "Comes before done for each further clip that a preset keeps, from number 2 on: as long as "
    "the clip of done, and at the same place.",
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
        *_OVERLAY,
    ),
    "The clip, region and new music in one WAV, and where on the timeline it starts. The overlay "
    "is for another track: laid over the untouched region it sounds as the clip does. Where the "
    "clip replaces what is there it is empty.",
)
CANCELLED = Row(Direction.TO_DAW, "/segue/job/cancelled", (_ID,), "The job was stopped.")
ERROR = Row(
    Direction.TO_DAW,
    "/segue/error",
    (_ANY_ID, Argument("code", "s"), Argument("text", "s")),
    "What went wrong and what to do; the id is empty where none is known.",
)

ROWS = (
    *(HELLO, OUTPAINT, MAKE, CANCEL, BEGIN, ADD, END, SUBSCRIBE, UNSUBSCRIBE),
    *(WELCOME, ACCEPTED, PROGRESS, PREVIEW, VARIATION, DONE, CANCELLED, ACK, MISSING, ERROR),
)
INCOMING = {row.address: row for row in ROWS if row.direction is Direction.TO_SEGUE}
OUTGOING = {row.address: row for row in ROWS if row.direction is Direction.TO_DAW}
ENDS = tuple(row.address for row in (DONE, CANCELLED, ERROR))  # nothing of a job comes after


def markdown_table() -> str:
    """The README's table of addresses."""
    lines = ["| direction | address | arguments | meaning |", "|---|---|---|---|"]
    for row in ROWS:
        cells = (row.direction, f"`{row.address}`", f"`{row.signature}`", row.meaning)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


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
