"""JSON lines: requests and cancels in, events out; no ports, threads or clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from segue.bridge.job_sheet import request_of_sheet
from segue.presets.vocabulary import (
    Cancelled,
    Code,
    Event,
    Failure,
    Id,
    Progress,
    Request,
    SegueError,
    State,
    Status,
)

MAX_LINE_BYTES = 2**20  # as of a body over HTTP
MAX_ID_CHARACTERS = 64  # of a wrong one, repeated so that its sender knows it
MAX_OPEN_JOBS = 1024
TOO_LONG = f"a line may have {MAX_LINE_BYTES} bytes at most: make it shorter"

_ID: TypeAdapter[str] = TypeAdapter(Id)


@dataclass(frozen=True, slots=True)
class Submit:
    """Have a job done."""

    request: Request

    @property
    def id(self) -> str:
        """The job it is about."""
        return self.request.id


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop a job."""

    id: str


Command = Submit | Cancel


class Lines:
    """Cuts bytes into lines; of one that is too long, None is all that comes out."""

    def __init__(self) -> None:
        self._rest = b""
        self._too_long = False

    def feed(self, data: bytes) -> list[bytes | None]:
        """The lines that end in `data`, without their ends."""
        *whole, rest = data.split(b"\n")
        lines = [self._line(part) for part in whole]
        self._keep(rest)
        return lines

    def end(self) -> list[bytes | None]:
        """What follows the last line's end, if anything does."""
        return [self._line(b"")] if self._rest or self._too_long else []

    def _line(self, part: bytes) -> bytes | None:
        self._keep(part)
        line = None if self._too_long else self._rest
        self._rest, self._too_long = b"", False
        return line

    def _keep(self, part: bytes) -> None:
        self._too_long = self._too_long or len(self._rest) + len(part) > MAX_LINE_BYTES
        self._rest = b"" if self._too_long else self._rest + part


def read_line(line: bytes | None, base: Path) -> Command | Failure | None:
    """A line's command, or what is wrong with it; None for an empty one.

    Paths in it count from `base`.
    """
    if line is None:
        return Failure(id="", code=Code.BAD_REQUEST, text=TOO_LONG)
    if not line.strip():
        return None
    try:
        fields = from_json(line)
    except ValueError as error:
        return Failure(id="", code=Code.BAD_REQUEST, text=f"not a line of JSON: {error}")
    if not isinstance(fields, dict):
        text = 'give an object: a request, or {"cancel": "its id"}'
        return Failure(id="", code=Code.BAD_REQUEST, text=text)
    try:
        return _cancel(fields) if "cancel" in fields else Submit(request_of_sheet(fields, base))
    except SegueError as error:
        named = fields.get("cancel", fields.get("id"))
        return error.failure(named[:MAX_ID_CHARACTERS] if isinstance(named, str) else "")


def _cancel(fields: dict[str, Any]) -> Cancel:
    if len(fields) > 1:
        raise SegueError(Code.BAD_REQUEST, "cancel: it goes alone, without other keys")
    try:
        return Cancel(_ID.validate_python(fields["cancel"]))
    except ValidationError as error:
        text = "cancel: give an id of 1 to 64 letters, digits, '.', '_' or '-'"
        raise SegueError(Code.BAD_REQUEST, text) from error


class Pipe:
    """Which jobs are waited for, and which events are news about them."""

    def __init__(self) -> None:
        self._open: dict[str, None] = {}
        self._only_cancelled = False  # the command under way is about a job of somebody else's

    def open_ids(self) -> Iterable[str]:
        """Jobs whose end has not been told, oldest first."""
        return list(self._open)

    def begin(self, command: Command) -> None:
        """To be called before the server is asked. Raises SegueError if no job may be added.

        The end of a job that is being cancelled may come before the answer does.
        """
        if isinstance(command, Cancel):
            self._only_cancelled = command.id not in self._open
            self._open[command.id] = None
        elif len(self._open) >= MAX_OPEN_JOBS:
            text = f"{MAX_OPEN_JOBS} jobs are waited for: send it again when one has ended"
            raise SegueError(Code.QUEUE_FULL, text)

    def answer(self, command: Command, outcome: Status | SegueError) -> Event | None:
        """What to say about what came of a command, before the next one begins."""
        if isinstance(command, Cancel):
            return self._answer_cancel(command.id, outcome)
        if isinstance(outcome, SegueError):
            return outcome.failure(command.id)
        self._open[command.id] = None
        return self.handle(outcome.event)

    def handle(self, event: Event) -> Event | None:
        """The event, if it is about a job that is waited for; its end is told once."""
        if event.id not in self._open:
            return None
        if not isinstance(event, Progress):
            del self._open[event.id]
        return event

    def _answer_cancel(self, job_id: str, outcome: Status | SegueError) -> Event | None:
        if isinstance(outcome, Status):
            if outcome.state is State.CANCELLED:
                return self.handle(Cancelled(id=job_id))
            if outcome.state not in (State.DONE, State.FAILED):
                return None
            text = f"there is nothing to cancel: the job is already {outcome.state}"
            outcome = SegueError(Code.BAD_REQUEST, text)
        if self._only_cancelled:
            self._open.pop(job_id, None)
        return outcome.failure(job_id)
