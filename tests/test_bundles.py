"""A bundle is done as a whole or not at all; its messages may build on one another."""

from __future__ import annotations

import struct

import pytest

from segue.bridge.osc import addresses
from segue.bridge.osc.codec import Message, decode, encode
from segue.bridge.osc.commands import Cancel, Command, Hello, Sender, Submit
from segue.bridge.osc.grammar import write
from segue.bridge.osc.leases import MAX_SUBSCRIBERS
from segue.bridge.osc.session import MAX_ERRORS, Reply, Session
from segue.presets.controls import Intensity
from segue.presets.library import load_preset, preset_names
from segue.presets.vocabulary import Cancelled

DAW = Sender("127.0.0.1", 50001)
OTHER = Sender("127.0.0.1", 50002)
NOW = 100.0
CURVE = [
    write(addresses.BEGIN, "j1", "intensity", 2),
    write(addresses.ADD, "j1", "intensity", 0, 0.0, -6.0, 4.0, 0.0),
    write(addresses.END, "j1", "intensity", 2),
]
ORDER = write(addresses.OUTPAINT, "j1", "/m/a.wav", 0.0, 8.0, 4.0)
BAD = write(addresses.OUTPAINT, "j2", "/m/a.wav", -1.0, 8.0, 4.0)
ACK = Message("/segue/rows/ack", ("j1", "intensity", 2))


@pytest.fixture
def talk() -> Session:
    """A session that knows the shipped presets."""
    return Session({name: load_preset(name) for name in preset_names()})


def bundle(*packets: bytes) -> bytes:
    """Packets that belong together, now."""
    sized = (struct.pack(">i", len(packet)) + packet for packet in packets)
    return b"#bundle\0" + struct.pack(">Q", 1) + b"".join(sized)


def errors(talk: Session, data: bytes) -> list[Message]:
    """What a refused bundle is answered with: errors alone."""
    found = talk.receive(data, DAW, NOW)
    assert all(isinstance(each, Reply) and each.to == DAW for each in found)
    return [m for each in found if isinstance(each, Reply) for m in decode(each.data)]


def test_a_list_and_its_order_in_one_bundle(talk: Session) -> None:
    """The order takes the rows that stand before it; everything is answered in its order."""
    reply, command, hello = talk.receive(
        bundle(*CURVE, ORDER, write(addresses.HELLO, "x")), DAW, NOW
    )
    assert isinstance(reply, Reply)
    assert decode(reply.data) == (ACK,)
    assert isinstance(command, Submit)
    assert command.request.controls[1] == Intensity(points=((0, -6), (4, 0)))
    assert hello == Hello("x", DAW)


def test_one_bad_message_undoes_all(talk: Session) -> None:
    """Neither rows nor subscription nor order are kept; the error says which message it was."""
    subscribe = write(addresses.SUBSCRIBE)
    (error,) = errors(talk, bundle(*CURVE, subscribe, ORDER, BAD))
    assert error.args[:2] == ("j2", "bad-request")
    text = str(error.args[2])
    assert text.startswith("start_seconds: ")
    assert text.endswith(" (message 6 of 6 in a bundle: none was done)")
    assert nothing_is_there(talk)
    assert _told_of_another_job(talk) == []


def test_every_bad_message_is_told(talk: Session) -> None:
    """Each with its own number; those of other programs are none of ours, and not wrong."""
    other = encode("/other/thing", ("i", 1))
    found = errors(talk, bundle(other, BAD, ORDER, encode("/segue/nothing"), other))
    assert [(each.args[0], str(each.args[2]).rpartition("(")[2]) for each in found] == [
        ("j2", "message 2 of 5 in a bundle: none was done)"),
        ("", "message 4 of 5 in a bundle: none was done)"),
    ]
    (command,) = talk.receive(bundle(other, ORDER), DAW, NOW)
    assert isinstance(command, Submit)


def test_errors_of_one_bundle_are_bounded(talk: Session) -> None:
    """The first eight are told."""
    found = errors(talk, bundle(*[BAD] * 20))
    assert [str(each.args[2]).partition("(message ")[2][:1] for each in found] == list("12345678")
    assert len(found) == MAX_ERRORS


def test_rows_from_before_a_refused_bundle_stay(talk: Session) -> None:
    """What a bundle would have changed is as it was."""
    for data in CURVE:
        talk.receive(data, DAW, NOW)
    changed = write(addresses.ADD, "j1", "intensity", 0, 0.0, 12.0)
    assert len(errors(talk, bundle(changed, BAD))) == 1
    (command,) = talk.receive(ORDER, DAW, NOW)
    assert isinstance(command, Submit)
    assert command.request.controls[1] == Intensity(points=((0, -6), (4, 0)))
    (command,) = talk.receive(bundle(changed, ORDER), DAW, NOW)
    assert isinstance(command, Submit)
    assert command.request.controls[1] == Intensity(points=((0, 12), (4, 0)))


def test_bundles_in_bundles_are_one(talk: Session) -> None:
    """Nesting changes nothing: all or none."""
    cancel = write(addresses.CANCEL, "j3")
    assert talk.receive(bundle(bundle(cancel), cancel), DAW, NOW) == [Cancel("j3", DAW)] * 2
    assert len(errors(talk, bundle(bundle(cancel), bundle(BAD)))) == 1


def test_one_subscriber_too_many_undoes_all(talk: Session) -> None:
    """As any message that cannot be done; where the bundle makes room for one, it is done."""
    for port in range(1, MAX_SUBSCRIBERS + 1):
        talk.receive(write(addresses.SUBSCRIBE, port), OTHER, NOW)
    (error,) = errors(talk, bundle(*CURVE, write(addresses.SUBSCRIBE), ORDER))
    text = "there are 32 subscribers: try again in 60 s (message 4 of 5 in a bundle: none was done)"
    assert error.args == ("", "queue-full", text)
    assert nothing_is_there(talk)
    hello = write(addresses.HELLO, "x")
    swap = bundle(write(addresses.UNSUBSCRIBE, 7), write(addresses.SUBSCRIBE), hello)
    assert [type(each) for each in talk.receive(swap, OTHER, NOW)] == [Hello]
    assert _told_of_another_job(talk).count(OTHER) == 1


def test_one_command_too_many_undoes_all(talk: Session) -> None:
    """Neither rows nor subscription are kept of an order that has no room."""
    data = bundle(*CURVE, write(addresses.SUBSCRIBE), write(addresses.HELLO, "x"), ORDER)
    (error,) = [decode(each.data)[0] for each in replies(talk.receive(data, DAW, NOW, room=1))]
    text = "1024 messages wait for the server: send it again later"
    which = "(message 6 of 6 in a bundle: none was done)"
    assert error.args == ("j1", "queue-full", f"{text} {which}")
    assert nothing_is_there(talk)
    assert _told_of_another_job(talk) == []
    found = talk.receive(data, DAW, NOW, room=2)
    assert [type(each) for each in found if not isinstance(each, Reply)] == [Hello, Submit]


def replies(found: list[Command | Reply]) -> list[Reply]:
    """Those that need no server."""
    return [each for each in found if isinstance(each, Reply)]


def nothing_is_there(talk: Session) -> bool:
    """Whether no row of the curve came."""
    reply, *_ = replies(talk.receive(CURVE[2], DAW, NOW))
    return decode(reply.data) == (Message("/segue/rows/missing", ("j1", "intensity", -1, 0)),)


def _told_of_another_job(talk: Session) -> list[Sender]:
    """Who hears of a job that nobody asked for here."""
    return [each.to for each in talk.handle(Cancelled(id="another"), NOW)]
