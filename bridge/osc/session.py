"""What the bridge says and to whom: OSC datagrams and server events in, commands and replies out.

No socket, thread, clock or HTTP: `receive` turns a datagram into commands, whoever carries
them out reports back with `answer`, and `handle` routes the server's events. `now` is the time
in seconds, by any clock that never goes back.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from segue.bridge.osc import addresses, codec, rows
from segue.bridge.osc.audience import MAX_OPEN_JOBS, Audience
from segue.bridge.osc.commands import (
    Cancel,
    Command,
    Hello,
    Sender,
    Submit,
    Subscribe,
    Unsubscribe,
    named_id,
    understand,
)
from segue.bridge.osc.leases import Leases
from segue.bridge.osc.replies import event_packets, packet, preview_packet
from segue.presets.library import Preset
from segue.presets.vocabulary import (
    Cancelled,
    Code,
    Event,
    Failure,
    Health,
    Preview,
    Progress,
    SegueError,
    State,
    Status,
)

MAX_WAITING_COMMANDS = 1024  # for the server's answers
MAX_ERRORS = 8  # told of one bundle: more would not help anybody
LOG_EVERY = 1000  # malformed datagrams

LOGGER = logging.getLogger("segue.bridge")


@dataclass(frozen=True, slots=True)
class Reply:
    """A packet for the DAW."""

    data: bytes
    to: Sender


Outcome = Status | Health | SegueError
_Understood = Command | Subscribe | Unsubscribe | rows.Answer | None


@dataclass(slots=True)
class _Draft:
    """What the messages of a bundle change, unless one of them is wrong."""

    gathered: rows.Rows
    leases: Leases
    room: int  # for so many more commands

    def take_room(self) -> None:
        """For one of them. Raises SegueError(QUEUE_FULL)."""
        if not self.room:
            text = f"{MAX_WAITING_COMMANDS} messages wait for the server: send it again later"
            raise SegueError(Code.QUEUE_FULL, text)
        self.room -= 1


class Session:
    """Understands what comes in, and tells everyone who should hear what came of it."""

    def __init__(self, presets: Mapping[str, Preset]) -> None:
        self._presets = presets
        self._rows = rows.Rows()
        self._audience = Audience()
        self._previewed: dict[str, int] = {}  # the number of the newest one passed on
        self.malformed = 0
        self.ignored = 0

    def open_ids(self) -> list[str]:
        """Jobs someone still waits for, oldest first."""
        return self._audience.open_ids()

    def receive(
        self, data: bytes, sender: Sender, now: float, room: int = MAX_WAITING_COMMANDS
    ) -> list[Command | Reply]:
        """What a datagram asks for: commands to carry out, `room` at most, and replies.

        The messages of a bundle are done all or, where one of them is wrong, none: the first that
        are wrong get their errors. Garbage is counted and gets no reply, so nothing can be
        amplified with it.
        """
        try:
            messages = codec.decode(data)
        except codec.OscError as error:
            self._count_malformed(error, sender)
            return []
        if not sender.port:  # nobody listens on port 0
            self.ignored += len(messages)
            return []
        self._audience.leases.renew(sender, now)
        return self._together(messages, sender, now, room)

    def answer(self, command: Command, outcome: Outcome, now: float) -> list[Reply]:
        """Tell the sender of a command what came of it."""
        match command, outcome:
            case _, SegueError():
                return self._error(command.sender, command.id, outcome, now)
            case Hello(), Health():
                device = outcome.device or outcome.worker
                welcome = packet("", addresses.WELCOME, outcome.version, device)
                return self._tell(command.sender, "", welcome, now)
            case Submit(), Status():
                accepted = packet(command.id, addresses.ACCEPTED, command.id)
                told = self._listen(command.id, command.sender, now)
                return [*told, *self._tell(command.sender, command.id, accepted, now)]
            case Cancel(), Status():
                return self._answer_cancel(command, outcome, now)
            case _:
                raise TypeError(f"{type(outcome).__name__} does not answer {command}")

    def handle(self, event: Event, now: float) -> list[Reply]:
        """Packets for everyone who hears of the event's job; the last one is sent once."""
        if not isinstance(event, Progress):
            self._previewed.pop(event.id, None)
            self._rows.release(event.id)
            return _to_all(self._audience.close(event.id, now), event_packets(event))
        listeners = self._audience.of(event.id, now)
        new = self._new_preview(event) if listeners else None
        previews = [preview_packet(event.id, new)] if new else []
        return _to_all(listeners, [*previews, *event_packets(event)])

    def leave(self, sender: Sender) -> None:
        """A connection is closed: its sender hears nothing any more."""
        self._audience.leave(sender)

    def _together(
        self, messages: tuple[codec.Message, ...], sender: Sender, now: float, room: int
    ) -> list[Command | Reply]:
        draft = _Draft(self._rows, self._audience.leases, room)
        if len(messages) > 1:
            draft = _Draft(draft.gathered.draft(_ids(messages)), draft.leases.draft(), room)
        understood: list[Command | rows.Answer | None] = []
        refused: list[tuple[str, SegueError]] = []
        for number, message in enumerate(messages, start=1):
            try:
                understood.append(self._prepare(message, sender, draft, now))
            except SegueError as error:
                which = f" (message {number} of {len(messages)} in a bundle: none was done)"
                told = SegueError(error.code, error.text + which * (len(messages) > 1))
                refused.append((_id(message), told))
        if refused:
            few = refused[:MAX_ERRORS]
            return [each for job, told in few for each in self._error(sender, job, told, now)]
        self._rows, self._audience.leases = draft.gathered, draft.leases
        return [each for found in understood for each in self._begin(found, sender, now)]

    def _prepare(
        self, message: codec.Message, sender: Sender, draft: _Draft, now: float
    ) -> Command | rows.Answer | None:
        """Change the draft as a message says; what is left to do. Raises SegueError."""
        match self._understand(message, sender, draft.gathered):
            case Subscribe(at=subscriber):
                draft.leases.take(subscriber, sender, now)
            case Unsubscribe(at=subscriber):
                draft.leases.drop(subscriber)
            case rows.Answer() | None as found:
                return found
            case command:
                draft.take_room()
                return command
        return None

    def _understand(
        self, message: codec.Message, sender: Sender, gathered: rows.Rows
    ) -> _Understood:
        address = message.address
        if _is_answer(message):
            self.ignored += 1
            return None
        row = addresses.INCOMING.get(address)
        if row is None:
            if not address.startswith(addresses.PREFIX):
                self.ignored += 1
                return None
            known = ", ".join(addresses.INCOMING)
            raise SegueError(Code.BAD_REQUEST, f"no address {address}; there are: {known}")
        if address in rows.ADDRESSES:
            return gathered.receive(row, message.args, self._audience.open_ids())
        return understand(row, message.args, sender, self._presets, gathered.of(_id(message)))

    def _begin(
        self, found: Command | rows.Answer | None, sender: Sender, now: float
    ) -> list[Command | Reply]:
        match found:
            case None:
                return []
            case rows.Answer(job_id=job_id):
                return [*self._tell(sender, job_id, packet(job_id, found.row, *found.values), now)]
            case _:
                return [found]

    def _new_preview(self, event: Progress) -> Preview | None:
        """The event's preview, unless it has been passed on: each stays until the next.

        A job that runs again, on a server that was started again, counts from 1 again.
        """
        preview = event.preview
        if preview is None or preview.number == self._previewed.get(event.id):
            return None
        self._previewed[event.id] = preview.number
        if len(self._previewed) > MAX_OPEN_JOBS:
            del self._previewed[next(iter(self._previewed))]
        return preview

    def _answer_cancel(self, command: Cancel, status: Status, now: float) -> list[Reply]:
        if status.state is State.CANCELLED:
            cancelled = Cancelled(id=command.id)
            told = self.handle(cancelled, now)
            if any(reply.to == command.sender for reply in told):
                return told
            return [*told, *_to_all([command.sender], event_packets(cancelled))]
        if status.state in (State.DONE, State.FAILED):
            text = f"there is nothing to cancel: the job is already {status.state}"
            error = SegueError(Code.BAD_REQUEST, text)
            return self._error(command.sender, command.id, error, now)
        return self._listen(command.id, command.sender, now)

    def _listen(self, job_id: str, sender: Sender, now: float) -> list[Reply]:
        """Route a job's events to `sender` too; the oldest of too many is told, then forgotten."""
        oldest = self._audience.listen(job_id, sender)
        if oldest is None:
            return []
        text = f"the bridge follows {MAX_OPEN_JOBS} jobs; this one goes on: send it again later"
        return self.handle(Failure(id=oldest, code=Code.QUEUE_FULL, text=text), now)

    def _tell(self, sender: Sender, job_id: str, data: bytes, now: float) -> list[Reply]:
        return _to_all(self._audience.beside(sender, job_id, now), [data])

    def _error(self, sender: Sender, job_id: str, error: SegueError, now: float) -> list[Reply]:
        """For everyone; where a job of that id goes on, whose end it would seem, for the sender."""
        data = addresses.write_error(job_id, error.code, error.text)
        goes_on = error.code is Code.ID_TAKEN or job_id in self.open_ids()
        return self._tell(sender, "" if goes_on else job_id, data, now)

    def _count_malformed(self, error: codec.OscError, sender: Sender) -> None:
        if self.malformed % LOG_EVERY == 0:
            LOGGER.warning("malformed datagram %d from %s: %s", self.malformed + 1, sender, error)
        self.malformed += 1


def _is_answer(message: codec.Message) -> bool:
    """Whether only we say this: were it answered, two bridges could talk to each other for ever.

    Of a hello, which goes both ways, its two strings tell.
    """
    if message.address == addresses.HELLO.address:
        return [type(value) for value in message.args] == [str, str]
    return message.address in addresses.OUTGOING


def _id(message: codec.Message) -> str:
    row = addresses.INCOMING.get(message.address)
    return named_id(row, message.args) if row else ""


def _ids(messages: tuple[codec.Message, ...]) -> set[str]:
    return {_id(message) for message in messages}


def _to_all(listeners: list[Sender], packets: list[bytes]) -> list[Reply]:
    return [Reply(data, to) for data in packets for to in listeners]
