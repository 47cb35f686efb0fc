"""What the bridge says and to whom: OSC datagrams and server events in, commands and replies out.

No socket, thread, clock or HTTP: `receive` turns a datagram into commands, whoever carries
them out reports back with `answer`, and `handle` routes the server's events.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from segue.bridge import addresses, osc
from segue.bridge.commands import Cancel, Command, Hello, Sender, Submit, named_id, understand
from segue.presets.library import Preset
from segue.presets.vocabulary import (
    Cancelled,
    Code,
    Event,
    Failure,
    Health,
    Preview,
    Progress,
    Result,
    SegueError,
    State,
    Status,
)

MAX_OPEN_JOBS = 1024
MAX_LISTENERS = 8  # senders told about one job
LOG_EVERY = 1000  # malformed datagrams

LOGGER = logging.getLogger("segue.bridge")


@dataclass(frozen=True, slots=True)
class Reply:
    """A packet for the DAW."""

    data: bytes
    to: Sender


Outcome = Status | Health | SegueError


class Session:
    """Remembers who asked for which unfinished job, and what came in that made no sense."""

    def __init__(self, presets: Mapping[str, Preset]) -> None:
        self._presets = presets
        self._listeners: dict[str, tuple[Sender, ...]] = {}
        self._previewed: dict[str, int] = {}  # the number of the newest one passed on
        self.malformed = 0
        self.ignored = 0

    def open_ids(self) -> list[str]:
        """Jobs someone still waits for, oldest first."""
        return list(self._listeners)

    def receive(self, data: bytes, sender: Sender) -> list[Command | Reply]:
        """What a datagram asks for: commands to carry out, replies that need no server.

        Garbage is counted and gets no reply, so nothing can be amplified with it.
        """
        try:
            messages = osc.decode(data)
        except osc.OscError as error:
            self._count_malformed(error, sender)
            return []
        if not sender[1]:  # nobody listens on port 0
            self.ignored += len(messages)
            return []
        found = (self._command(message, sender) for message in messages)
        return [each for each in found if each is not None]

    def answer(self, command: Command, outcome: Outcome) -> list[Reply]:
        """Tell the sender of a command what came of it."""
        match command, outcome:
            case _, SegueError():
                return [_error(command.sender, command.id, outcome.code, outcome.text)]
            case Hello(), Health():
                device = outcome.device or outcome.worker
                return [_reply(command.sender, "", addresses.WELCOME, outcome.version, device)]
            case Submit(), Status():
                accepted = _reply(command.sender, command.id, addresses.ACCEPTED, command.id)
                return [*self._listen(command.id, command.sender), accepted]
            case Cancel(), Status():
                return self._answer_cancel(command, outcome)
            case _:
                raise TypeError(f"{type(outcome).__name__} does not answer {command}")

    def handle(self, event: Event) -> list[Reply]:
        """Packets for everyone waiting for the event's job; the last one is sent once."""
        if isinstance(event, Progress):
            listeners = self._listeners.get(event.id, ())
            new = self._new_preview(event) if listeners else None
            previews = [_preview_reply(event.id, new, to) for to in listeners] if new else []
            return [*previews, *(_event_reply(event, to) for to in listeners)]
        listeners = self._listeners.pop(event.id, ())
        self._previewed.pop(event.id, None)
        return [_event_reply(event, to) for to in listeners]

    def _new_preview(self, event: Progress) -> Preview | None:
        """The event's preview, unless it has been passed on: each stays until the next.

        A job that runs again, on a server that was started again, counts from 1 again.
        """
        preview = event.preview
        if preview is None or preview.number == self._previewed.get(event.id):
            return None
        self._previewed[event.id] = preview.number
        return preview

    def _command(self, message: osc.Message, sender: Sender) -> Command | Reply | None:
        address = message.address
        row = addresses.INCOMING.get(address)
        if row is None:
            # Answering what only we send would let two bridges talk to each other for ever.
            if not address.startswith(addresses.PREFIX) or address in addresses.OUTGOING:
                self.ignored += 1
                return None
            known = ", ".join(addresses.INCOMING)
            return _error(sender, "", Code.BAD_REQUEST, f"no address {address}; there are: {known}")
        try:
            return understand(row, message.args, sender, self._presets)
        except SegueError as error:
            return _error(sender, named_id(row, message.args), error.code, error.text)

    def _answer_cancel(self, command: Cancel, status: Status) -> list[Reply]:
        if status.state is State.CANCELLED:
            told = self.handle(Cancelled(id=command.id))
            if any(reply.to == command.sender for reply in told):
                return told
            return [*told, _event_reply(Cancelled(id=command.id), command.sender)]
        if status.state in (State.DONE, State.FAILED):
            text = f"there is nothing to cancel: the job is already {status.state}"
            return [_error(command.sender, command.id, Code.BAD_REQUEST, text)]
        return self._listen(command.id, command.sender)

    def _listen(self, job_id: str, sender: Sender) -> list[Reply]:
        """Route a job's events to `sender` too; the oldest of too many is told, then forgotten."""
        others = tuple(to for to in self._listeners.get(job_id, ()) if to != sender)
        self._listeners[job_id] = (*others, sender)[-MAX_LISTENERS:]
        if len(self._listeners) <= MAX_OPEN_JOBS:
            return []
        oldest = next(iter(self._listeners))
        text = f"the bridge follows {MAX_OPEN_JOBS} jobs; this one goes on: send it again later"
        return self.handle(Failure(id=oldest, code=Code.QUEUE_FULL, text=text))

    def _count_malformed(self, error: osc.OscError, sender: Sender) -> None:
        if self.malformed % LOG_EVERY == 0:
            LOGGER.warning("malformed datagram %d from %s: %s", self.malformed + 1, sender, error)
        self.malformed += 1


def _event_reply(event: Event, to: Sender) -> Reply:
    match event:
        case Progress():
            return _reply(to, event.id, addresses.PROGRESS, event.id, event.fraction, event.stage)
        case Result():
            place = (event.start_seconds, event.length_samples, event.sample_rate, event.seed)
            return _reply(to, event.id, addresses.DONE, event.id, event.path, *place)
        case Cancelled():
            return _reply(to, event.id, addresses.CANCELLED, event.id)
        case Failure():
            return _error(to, event.id, event.code, event.text)


def _preview_reply(job_id: str, preview: Preview, to: Sender) -> Reply:
    place = (preview.start_seconds, preview.length_samples, preview.sample_rate, preview.number)
    return _reply(to, job_id, addresses.PREVIEW, job_id, preview.path, *place)


def _reply(to: Sender, job_id: str, row: addresses.Row, *values: str | int | float) -> Reply:
    """A reply, or the error that says why it cannot be sent: nothing is cut in silence."""
    try:
        return Reply(addresses.write(row, *values), to)
    except ValueError as error:
        text = f"{error}; read the job over HTTP at /jobs/{job_id}, or keep clips in a shorter path"
        return _error(to, job_id, Code.UNSUPPORTED, text)


def _error(to: Sender, job_id: str, code: Code, text: str) -> Reply:
    return Reply(addresses.write_error(job_id, code, text), to)
