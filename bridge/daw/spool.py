"""OSC by way of files, for DAWs whose scripts can send but never listen.

A script leaves `<id>.order` in a folder: one OSC message a line (`osc.lines`). What Segue
answers is added to `<id>.answers` in the same form. The script removes the order once it has
what it wanted; sooner, and the job is cancelled. Audio that it sends lies beside it, as `<id>.wav`.

No files, sockets or clock here: texts and datagrams go in, things to do come out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from segue.bridge.osc import codec
from segue.bridge.osc.addresses import ENDS
from segue.bridge.osc.lines import encode_line, packets
from segue.presets.vocabulary import Code

MAX_ORDERS = 64
RETRY_SECONDS = 2.0  # until an order is accepted
MISSING_SECONDS = 0.2  # until rows that got lost are sent again
QUIET_SECONDS = 30.0  # of an accepted one: the bridge may have been started anew
MIN_STEP = 0.01  # of progress that is worth a line

WAITING = "/spool/waiting"  # s:id s:text: nothing is lost, and nothing happens yet
UNANSWERED = "nobody answers: start it with `segue up`"

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MAY_PASS = (Code.SERVER_UNREACHABLE, Code.QUEUE_FULL)


@dataclass(frozen=True, slots=True)
class Send:
    """A datagram for the bridge."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """A line for the script that ordered `id`."""

    id: str
    line: str


Step = Send | Answer


class Stage(Enum):
    """How far an order is, as far as its script needs to know."""

    ASKED = "asked"
    ACCEPTED = "accepted"
    ENDED = "ended"


# What is passed on, and what it makes of an order.
STAGES = {
    "/segue/job/accepted": Stage.ACCEPTED,
    "/segue/job/progress": Stage.ACCEPTED,
    "/segue/job/variation": Stage.ACCEPTED,
} | dict.fromkeys(ENDS, Stage.ENDED)


@dataclass(slots=True)
class _Order:
    sends: list[Send]
    again_at: float
    stage: Stage = Stage.ASKED
    answered: bool = False
    incomplete: bool = False  # rows got lost since it was last sent, so it was refused
    told: str = ""  # the last text of a WAITING
    fraction: float = -1.0  # of the last progress that was passed on, and its stage
    working: str = ""


class Spool:
    """The orders under way; asks again until each has been answered."""

    def __init__(self) -> None:
        self._orders: dict[str, _Order] = {}

    def take(self, order_id: str, text: str, now: float) -> list[Step]:
        """Begin an order; one that cannot be read is answered with what is wrong with it."""
        try:
            if len(self._orders) >= MAX_ORDERS:
                raise ValueError(f"{MAX_ORDERS} orders are under way: try again later")
            sends = [Send(packet) for packet in packets(text)]
        except ValueError as error:
            message = codec.Message("/segue/error", (order_id, Code.BAD_REQUEST.value, str(error)))
            return [Answer(order_id, encode_line(message))]
        self._orders[order_id] = _Order(sends, now + RETRY_SECONDS)
        return list(sends)

    def forget(self, order_id: str) -> list[Step]:
        """The script has taken its order away."""
        order = self._orders.pop(order_id, None)
        if order is None or order.stage is Stage.ENDED:
            return []
        return [Send(codec.encode("/segue/cancel", ("s", order_id)))]

    def due(self, now: float) -> list[Step]:
        """What to ask again, and whom to tell that nobody answers."""
        steps: list[Step] = []
        for order_id, order in self._orders.items():
            if order.stage is Stage.ENDED or now < order.again_at:
                continue
            steps += order.sends
            order.incomplete = False
            if not order.answered:
                steps += _wait(order_id, order, UNANSWERED)
            order.again_at = now + RETRY_SECONDS
        return steps

    def hear(self, data: bytes, now: float) -> list[Step]:
        """Lines for the scripts that a datagram of the bridge concerns."""
        try:
            messages = codec.decode(data)
        except codec.OscError:
            return []
        steps: list[Step] = []
        for message in messages:
            order_id = message.args[0] if message.args else None
            order = self._orders.get(order_id) if isinstance(order_id, str) else None
            if order and order.stage is not Stage.ENDED:
                steps += _heard(str(order_id), order, message, now)
        return steps


def _heard(order_id: str, order: _Order, message: codec.Message, now: float) -> list[Step]:
    match message:
        case codec.Message("/segue/rows/missing"):
            order.again_at = now + MISSING_SECONDS
            order.answered = order.incomplete = True
            return []
        case codec.Message("/segue/error", (_, Code.BAD_REQUEST, _)) if order.incomplete:
            return []
        case codec.Message("/segue/error", (_, code, str(text))) if code in MAY_PASS:
            order.answered = True
            return _wait(order_id, order, text)
    if message.address not in STAGES or not _is_news(order, message):
        return []
    order.again_at = now + QUIET_SECONDS
    order.stage, order.answered, order.told = STAGES[message.address], True, ""
    return [Answer(order_id, encode_line(message))]


def _is_news(order: _Order, message: codec.Message) -> bool:
    match message:
        case codec.Message("/segue/job/accepted"):
            return order.stage is Stage.ASKED  # else it was asked for again
        case codec.Message("/segue/job/progress", (_, float(fraction), str(working))):
            if working == order.working and abs(fraction - order.fraction) < MIN_STEP:
                return False
            order.fraction, order.working = fraction, working
    return True


def _wait(order_id: str, order: _Order, text: str) -> list[Step]:
    if text == order.told:
        return []
    order.told = text
    return [Answer(order_id, encode_line(codec.Message(WAITING, (order_id, text))))]
