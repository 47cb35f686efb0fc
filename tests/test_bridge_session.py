"""Who is told what, and how often: the bridge's session without socket or server."""

import subprocess
import sys

import pytest

from segue.bridge.osc import addresses, audience
from segue.bridge.osc.addresses import write_error
from segue.bridge.osc.codec import Message, Value, decode, encode
from segue.bridge.osc.commands import Cancel, Hello, Sender, Submit
from segue.bridge.osc.session import Reply, Session
from segue.presets.library import load_preset, preset_names
from segue.presets.vocabulary import (
    Cancelled,
    Code,
    Event,
    Failure,
    Health,
    Preview,
    Progress,
    Region,
    Request,
    Result,
    SegueError,
    State,
    Status,
)

DAW = Sender("127.0.0.1", 50001)
NOW = 100.0
OTHER = Sender("127.0.0.1", 50002)
REGION = Region(path="/m/loop.wav", start_seconds=1.25, length_seconds=4.0)
REQUEST = Request(id="j1", region=REGION, new_seconds=6.0, seed=7)
RESULT = Result(
    id="j1",
    path="/m/j1.wav",
    start_seconds=1.25,
    length_samples=2**40,
    new_samples=264600,
    sample_rate=44100,
    channels=2,
    seed=7,
    loss_first=1.0,
    loss_last=0.1,
    taken_seconds=3.0,
    device="cpu",
)
PROGRESS = Progress(id="j1", fraction=0.5, stage=State.OPTIMIZING, loss=0.3)
HEALTH = Health(
    version="0.1.0", instance="x", pid=1, model="m", device="cpu", worker="ready", queued=0
)


@pytest.fixture
def talk() -> Session:
    """A session that knows the shipped presets."""
    return Session({name: load_preset(name) for name in preset_names()})


def status(state: State, event: Event = PROGRESS) -> Status:
    """The server's answer about job j1."""
    return Status(id="j1", state=state, request=REQUEST, event=event)


def heard(replies: list[Reply]) -> list[tuple[Message, Sender]]:
    """Replies as the DAW reads them, and who gets them."""
    return [(message, reply.to) for reply in replies for message in decode(reply.data)]


def started(talk: Session, sender: Sender = DAW) -> None:
    """Let `sender` ask for j1 and the server take it."""
    talk.answer(Submit(REQUEST, sender), status(State.QUEUED), NOW)


def test_a_jobs_replies(talk: Session) -> None:
    """Times go out as d, the length in samples as h; the last event is sent exactly once."""
    accepted = talk.answer(Submit(REQUEST, DAW), status(State.QUEUED), NOW)
    assert heard(accepted) == [(Message("/segue/job/accepted", ("j1",)), DAW)]
    assert talk.open_ids() == ["j1"]
    (progress,) = talk.handle(PROGRESS, NOW)
    assert progress.data == encode(
        "/segue/job/progress", ("s", "j1"), ("d", 0.5), ("s", "optimizing")
    )
    (done,) = talk.handle(RESULT, NOW)
    last: list[tuple[str, Value]] = [("d", 1.25), ("h", 2**40), ("i", 44100), ("i", 7)]
    overlay: list[tuple[str, Value]] = [("s", ""), ("d", 1.25)]
    assert done.data == encode("/segue/job/done", ("s", "j1"), ("s", "/m/j1.wav"), *last, *overlay)
    assert talk.open_ids() == []
    assert (
        talk.handle(RESULT, NOW)
        == talk.handle(PROGRESS, NOW)
        == talk.handle(Cancelled(id="j1"), NOW)
        == []
    )


def test_a_preview_is_passed_on_once(talk: Session) -> None:
    """Every progress carries the newest; to all who wait, before the progress itself. A job that
    runs again counts anew.
    """
    started(talk)
    started(talk, OTHER)

    def preview(number: int) -> Preview:
        return Preview(
            number=number,
            path="/m/j1~preview.wav",
            start_seconds=1.25,
            length_samples=2**40,
            sample_rate=48000,
        )

    def addresses_of(number: int) -> list[tuple[str, Sender]]:
        event = PROGRESS.model_copy(update={"preview": preview(number)})
        return [(message.address, to) for message, to in heard(talk.handle(event, NOW))]

    both = [("/segue/job/progress", DAW), ("/segue/job/progress", OTHER)]
    first, *_ = talk.handle(PROGRESS.model_copy(update={"preview": preview(1)}), NOW)
    last: list[tuple[str, Value]] = [("d", 1.25), ("h", 2**40), ("i", 48000), ("i", 1)]
    assert first.data == encode(
        "/segue/job/preview", ("s", "j1"), ("s", "/m/j1~preview.wav"), *last
    )
    assert addresses_of(1) == both
    assert addresses_of(3) == [("/segue/job/preview", to) for to in (DAW, OTHER)] + both
    assert addresses_of(3) == both
    assert addresses_of(1) == [("/segue/job/preview", to) for to in (DAW, OTHER)] + both
    talk.handle(RESULT, NOW)
    started(talk)
    assert addresses_of(1) == [("/segue/job/preview", DAW), ("/segue/job/progress", DAW)]


def test_a_result_with_overlays_and_further_clips(talk: Session) -> None:
    """The further clips are told first, from number 2 on, each with its overlay, if it has one."""
    started(talk)
    clips = ("/m/j1~2.wav", "/m/j1~3.wav")
    several = RESULT.model_copy(update={"variations": clips, "start_seconds": -2.0})
    overlay = {"overlay_path": "/m/o.wav", "overlay_start_seconds": 5.05}
    laid = several.model_copy(update={**overlay, "variation_overlays": ("/m/o2.wav", "/m/o3.wav")})
    last = (-2.0, 2**40, 44100, 7)
    assert [message for message, _ in heard(talk.handle(laid, NOW))] == [
        Message("/segue/job/variation", ("j1", 2, "/m/j1~2.wav", "/m/o2.wav", 5.05)),
        Message("/segue/job/variation", ("j1", 3, "/m/j1~3.wav", "/m/o3.wav", 5.05)),
        Message("/segue/job/done", ("j1", "/m/j1.wav", *last, "/m/o.wav", 5.05)),
    ]
    started(talk)
    assert [message for message, _ in heard(talk.handle(several, NOW))] == [
        Message("/segue/job/variation", ("j1", 2, "/m/j1~2.wav", "", -2.0)),
        Message("/segue/job/variation", ("j1", 3, "/m/j1~3.wav", "", -2.0)),
        Message("/segue/job/done", ("j1", "/m/j1.wav", *last, "", -2.0)),
    ]


def test_every_ending_has_its_message(talk: Session) -> None:
    """A failure becomes an error with its code and text, a cancelled job says so."""
    started(talk)
    failure = Failure(id="j1", code=Code.MISSING_FILE, text="no file /m/loop.wav")
    wanted = Message("/segue/error", ("j1", "missing-file", "no file /m/loop.wav"))
    assert heard(talk.handle(failure, NOW)) == [(wanted, DAW)]
    started(talk)
    assert heard(talk.handle(Cancelled(id="j1"), NOW)) == [
        (Message("/segue/job/cancelled", ("j1",)), DAW)
    ]


def test_asking_again_is_answered_again(talk: Session) -> None:
    """A DAW that lost the answers sends the same request and gets them; others get nothing."""
    started(talk)
    started(talk)
    assert [to for _, to in heard(talk.handle(RESULT, NOW))] == [DAW]
    started(talk, OTHER)
    assert [to for _, to in heard(talk.handle(RESULT, NOW))] == [OTHER]


def test_a_refused_request_leaves_the_others_job_alone(talk: Session) -> None:
    """Whoever takes an id that is in use hears it; the job's owner keeps its events."""
    started(talk)
    refusal = SegueError(Code.ID_TAKEN, "j1 is taken")
    wanted = Message("/segue/error", ("j1", "id-taken", "j1 is taken"))
    assert heard(talk.answer(Submit(REQUEST, OTHER), refusal, NOW)) == [(wanted, OTHER)]
    assert [to for _, to in heard(talk.handle(RESULT, NOW))] == [DAW]


def test_cancelling(talk: Session) -> None:
    """Both who asked for the job and who stops it are told, each once."""
    started(talk)
    assert talk.answer(Cancel("j1", OTHER), status(State.OPTIMIZING), NOW) == []
    assert [to for _, to in heard(talk.handle(Cancelled(id="j1"), NOW))] == [DAW, OTHER]
    started(talk)
    told = heard(talk.answer(Cancel("j1", OTHER), status(State.CANCELLED), NOW))
    assert told == [(Message("/segue/job/cancelled", ("j1",)), to) for to in (DAW, OTHER)]
    assert talk.handle(Cancelled(id="j1"), NOW) == []
    (again,) = heard(talk.answer(Cancel("j1", DAW), status(State.CANCELLED), NOW))
    assert again == (Message("/segue/job/cancelled", ("j1",)), DAW)


def test_cancelling_what_is_over_changes_nothing(talk: Session) -> None:
    """A finished job is not cancelled: the sender learns that, and nobody gets the clip twice."""
    (reply,) = heard(talk.answer(Cancel("j1", DAW), status(State.DONE, RESULT), NOW))
    text = "there is nothing to cancel: the job is already done"
    assert reply == (Message("/segue/error", ("j1", "bad-request", text)), DAW)


def test_hello_says_what_runs(talk: Session) -> None:
    """The answer is version and device; while the model loads it says that."""
    (reply,) = heard(talk.answer(Hello("x", DAW), HEALTH, NOW))
    assert reply == (Message("/segue/hello", ("0.1.0", "cpu")), DAW)
    loading = HEALTH.model_copy(update={"device": "", "worker": "loading"})
    (reply,) = heard(talk.answer(Hello("x", DAW), loading, NOW))
    assert reply[0].args == ("0.1.0", "loading")


def test_no_reply_exceeds_a_datagram(talk: Session) -> None:
    """An error's text is shortened; a path is never cut but the error says it does not fit."""
    for length in range(1300, 1500):
        packet = write_error("j1", Code.INTERNAL, "é" * (length // 2) + "x" * (length % 2))
        assert len(packet) <= addresses.MAX_REPLY_BYTES
        assert decode(packet)[0].args[:2] == ("j1", "internal")
    assert write_error("i" * 300, Code.INTERNAL, "t") == write_error("", Code.INTERNAL, "t")
    assert decode(write_error("\ud800\0", Code.INTERNAL, "a\0b"))[0].args[2] == "ab"
    fits = 0
    for length in range(1300, 1400):
        started(talk)
        path = "/" + "p" * length
        ((message, _),) = heard(talk.handle(RESULT.model_copy(update={"path": path}), NOW))
        if message.address == "/segue/job/done":
            fits += 1
            assert message.args[1] == path
        else:
            assert message.args[:2] == ("j1", "unsupported")
            assert "more than the 1400 of one datagram" in str(message.args[2])
    assert 0 < fits < 100


def test_the_oldest_of_too_many_jobs_is_told(talk: Session) -> None:
    """Open jobs are bounded; the one that is dropped is answered, never silently forgotten."""
    for n in range(audience.MAX_OPEN_JOBS):
        job = REQUEST.model_copy(update={"id": f"n{n}"})
        assert len(talk.answer(Submit(job, DAW), status(State.QUEUED), NOW)) == 1
    told = heard(talk.answer(Submit(REQUEST, OTHER), status(State.QUEUED), NOW))
    assert [(message.address, message.args[0], to) for message, to in told] == [
        ("/segue/error", "n0", DAW),
        ("/segue/job/accepted", "j1", OTHER),
    ]
    assert len(talk.open_ids()) == audience.MAX_OPEN_JOBS


def test_listeners_of_one_job_are_bounded(talk: Session) -> None:
    """The newest eight senders of one job are told."""
    senders = [Sender("127.0.0.1", 50_000 + n) for n in range(audience.MAX_LISTENERS + 1)]
    for sender in senders:
        started(talk, sender)
    assert [to for _, to in heard(talk.handle(RESULT, NOW))] == senders[1:]


def test_importing_the_bridge_does_not_load_torch() -> None:
    """The bridge starts light: neither torch nor the server room comes with it."""
    code = (
        "import sys, segue.bridge.app;"
        "print([m for m in sys.modules if m.startswith(('torch', 'segue.server'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
