"""Who hears of jobs it did not ask for, and for how long."""

from __future__ import annotations

import pytest

from segue.bridge.osc import addresses
from segue.bridge.osc.audience import MAX_OPEN_JOBS
from segue.bridge.osc.codec import decode, encode
from segue.bridge.osc.commands import Cancel, Hello, Sender, Submit
from segue.bridge.osc.grammar import write
from segue.bridge.osc.leases import LEASE_SECONDS, MAX_SUBSCRIBERS
from segue.bridge.osc.session import Reply, Session
from segue.presets.vocabulary import (
    Cancelled,
    Code,
    Health,
    Preview,
    Progress,
    Request,
    SegueError,
    State,
    Status,
)

DAW = Sender("127.0.0.1", 50001)
DESK = Sender("127.0.0.1", 50002)
EAR = Sender("127.0.0.1", 9000)
REQUEST = Request(id="j1", new_seconds=6.0, controls=())
PROGRESS = Progress(id="j1", fraction=0.5, stage=State.OPTIMIZING)
STATUS = Status(id="j1", state=State.QUEUED, request=REQUEST, event=PROGRESS)
HEALTH = Health(
    version="0.1.0", instance="x", pid=1, model="m", device="cpu", worker="ready", queued=0
)
HELLO = write(addresses.HELLO, "x")


@pytest.fixture
def talk() -> Session:
    """A session without presets."""
    return Session({})


def heard(replies: list[Reply]) -> list[tuple[str, Sender]]:
    """Which addresses go to whom."""
    return [(decode(reply.data)[0].address.rpartition("/")[2], reply.to) for reply in replies]


def subscribe(talk: Session, sender: Sender, now: float, *port: int) -> None:
    """Somebody wants to hear of every job; there is no answer."""
    assert talk.receive(write(addresses.SUBSCRIBE, *port), sender, now) == []


def progress(talk: Session, now: float) -> list[Sender]:
    """Who hears of j1's progress."""
    return [to for _, to in heard(talk.handle(PROGRESS, now))]


def test_a_subscriber_hears_of_every_job(talk: Session) -> None:
    """Acceptance, progress, previews and end, each once, beside whoever asked for the job."""
    subscribe(talk, DESK, 0)
    talk.receive(HELLO, DAW, 0)
    told = [*talk.answer(Submit(REQUEST, DAW), STATUS, 1), *talk.handle(PROGRESS, 2)]
    preview = Preview(number=1, path="/p.wav", start_seconds=0, length_samples=1, sample_rate=8000)
    told += talk.handle(PROGRESS.model_copy(update={"preview": preview}), 3)
    told += talk.handle(Cancelled(id="j1"), 4)
    told += talk.handle(Cancelled(id="j1"), 5)
    names = ("accepted", "progress", "preview", "progress", "cancelled")
    assert heard(told) == [(name, to) for name in names for to in (DAW, DESK)]


def test_jobs_that_nobody_asked_for_here(talk: Session) -> None:
    """One that came over HTTP is heard of too, its end once; asked for again, once more."""
    subscribe(talk, DESK, 0)
    assert progress(talk, 1) == [DESK]
    assert heard(talk.handle(Cancelled(id="j1"), 2)) == [("cancelled", DESK)]
    assert progress(talk, 3) == []
    assert heard(talk.handle(Cancelled(id="j1"), 4)) == []
    talk.answer(Submit(REQUEST, DAW), STATUS, 5)
    told = [("cancelled", DAW), ("cancelled", DESK)]
    assert heard(talk.handle(Cancelled(id="j1"), 6)) == told


def test_who_asks_and_subscribes_is_told_once(talk: Session) -> None:
    """One packet each, not two."""
    subscribe(talk, DAW, 0)
    told = [*talk.answer(Submit(REQUEST, DAW), STATUS, 1), *talk.handle(PROGRESS, 2)]
    assert heard(told) == [("accepted", DAW), ("progress", DAW)]


@pytest.mark.parametrize("port", [(), (9000,)])
def test_a_lease_lasts_a_minute(talk: Session, port: tuple[int, ...]) -> None:
    """Any message of whoever took it renews it, and so does one of the port itself."""
    where = EAR if port else DESK
    subscribe(talk, DESK, 0, *port)
    assert progress(talk, LEASE_SECONDS - 0.001) == [where]
    assert progress(talk, LEASE_SECONDS) == []
    assert progress(talk, 0) == []
    for renewer in (DESK, where):
        subscribe(talk, DESK, 100, *port)
        talk.receive(encode("/other/thing"), renewer, 130)
        talk.receive(HELLO, DAW, 140)
        assert progress(talk, 130 + LEASE_SECONDS - 0.001) == [where]
        assert progress(talk, 130 + LEASE_SECONDS) == []


def test_unsubscribing(talk: Session) -> None:
    """It ends what was subscribed, the socket or the port; twice is harmless."""
    subscribe(talk, DESK, 0)
    subscribe(talk, DESK, 0, 9000)
    assert progress(talk, 1) == [DESK, EAR]
    for _ in range(2):
        assert talk.receive(write(addresses.UNSUBSCRIBE, 9000), DESK, 1) == []
        assert progress(talk, 1) == [DESK]
    talk.receive(write(addresses.UNSUBSCRIBE), DESK, 2)
    assert progress(talk, 2) == []


def test_a_port_hears_all_answers_to_its_sender(talk: Session) -> None:
    """For programs whose sending socket hears nothing: hello and errors come there too, and
    what is about no job goes to no other subscriber."""
    subscribe(talk, DESK, 0, 9000)
    assert heard(talk.answer(Hello("x", DESK), HEALTH, 1)) == [("hello", DESK), ("hello", EAR)]
    assert heard(talk.answer(Hello("x", DAW), HEALTH, 1)) == [("hello", DAW)]
    refused = talk.receive(encode("/segue/nothing"), DESK, 1)
    assert [each.to for each in refused if isinstance(each, Reply)] == [DESK, EAR]
    error = SegueError(Code.QUEUE_FULL, "later")
    assert heard(talk.answer(Submit(REQUEST, DAW), error, 1)) == [("error", DAW), ("error", EAR)]


def test_what_is_wrong_with_anothers_message(talk: Session) -> None:
    """Nothing comes after the error of a job: while one goes on, only the sender hears of it, and
    where else it listens."""
    subscribe(talk, DAW, 0)
    taken = SegueError(Code.ID_TAKEN, "j1 is taken")
    assert heard(talk.answer(Submit(REQUEST, DESK), taken, 1)) == [("error", DESK)]
    talk.answer(Submit(REQUEST, DAW), STATUS, 1)
    assert heard(talk.answer(Submit(REQUEST, DESK), taken, 1)) == [("error", DESK)]
    away = SegueError(Code.SERVER_UNREACHABLE, "no server")
    assert heard(talk.answer(Cancel("j1", DESK), away, 1)) == [("error", DESK)]
    rows = talk.receive(write(addresses.BEGIN, "j1", "intensity", 2), DESK, 1)
    assert heard([each for each in rows if isinstance(each, Reply)]) == [("error", DESK)]
    assert progress(talk, 1) == [DAW]
    subscribe(talk, DESK, 2, 9000)
    told = heard(talk.answer(Submit(REQUEST, DESK), taken, 2))
    assert told == [("error", DESK), ("error", EAR)]


@pytest.mark.parametrize("port", [0, -1, 65_536])
def test_a_port_that_is_none(talk: Session, port: int) -> None:
    """The error names the argument."""
    (reply,) = talk.receive(write(addresses.SUBSCRIBE, port), DESK, 0)
    assert isinstance(reply, Reply)
    wanted = ("", "bad-request", "port: send 1 to 65535, or none for this socket")
    assert decode(reply.data)[0].args == wanted


def test_subscribers_are_bounded(talk: Session) -> None:
    """One too many is told to come back; when a lease has ended there is room."""
    for port in range(1, MAX_SUBSCRIBERS + 1):
        subscribe(talk, DESK, 0, port)
    (reply, *_) = talk.receive(write(addresses.SUBSCRIBE), DAW, 1)
    assert isinstance(reply, Reply)
    assert decode(reply.data)[0].args[1] == "queue-full"
    subscribe(talk, DAW, 1 + LEASE_SECONDS)


def test_a_connection_that_is_closed_hears_nothing(talk: Session) -> None:
    """Neither as a subscriber nor as who asked for a job; nobody waits for that job then."""
    line = Sender("127.0.0.1", 50003, stream=True)
    subscribe(talk, line, 0)
    subscribe(talk, line, 0, 9000)
    for sender in (line, DAW):
        talk.answer(Submit(REQUEST, sender), STATUS, 1)
    only = STATUS.model_copy(update={"id": "j2"})
    talk.answer(Submit(REQUEST.model_copy(update={"id": "j2"}), line), only, 1)
    talk.leave(line)
    assert progress(talk, 2) == [DAW]
    assert talk.open_ids() == ["j1"]


def test_what_subscribers_heard_is_bounded(talk: Session) -> None:
    """A job is forgotten after 1,024 others; until then its end is not told twice."""
    subscribe(talk, DESK, 0)
    for n in range(MAX_OPEN_JOBS):
        assert len(talk.handle(Cancelled(id=f"n{n}"), 1)) == 1
    assert talk.handle(Cancelled(id="n0"), 1) == []
    assert len(talk.handle(Cancelled(id="new"), 1)) == 1
    assert talk.handle(Cancelled(id="n1"), 1) == []
    assert len(talk.handle(Cancelled(id="n0"), 1)) == 1
