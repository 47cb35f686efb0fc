"""One job's conversation with the bridge, without a socket and with a clock of the test's own."""

from __future__ import annotations

from typing import Any

import pytest

from segue.bridge.daw.ableton.Segue.job import (
    ANSWER_SECONDS,
    GONE,
    GONE_SECONDS,
    MAX_CLIPS,
    NOBODY,
    QUIET_SECONDS,
    START_SECONDS,
    TRANSITIONS,
    Clip,
    Failed,
    Job,
    Progress,
    Result,
    State,
    Waiting,
)
from segue.bridge.daw.ableton.Segue.osc import decode
from segue.bridge.daw.ableton.Segue.region import Region, RowList, announce, order, repeat
from segue.bridge.daw.ableton.Segue.wish import make_wish
from segue.presets.vocabulary import MAX_SEEDS

WISH = make_wish("rise", 8, "")
CURVE = RowList("intensity", ((0.0, 1.0), (1.0, 2.0)))
REGION = Region("/a.wav", 1.5, 4.0, 120.0, 4.0, 0.0, (CURVE,))
DONE = ("j", "/c.wav", 1.5, 80_000, 8000, 7, "/o.wav", 5.4)
ROWS = [packet for rows in REGION.all_lists() for packet in announce("j", rows)]
ORDER = order("j", REGION, WISH)


@pytest.fixture
def job() -> Job:
    """A job of which nothing was sent, at second 0."""
    return Job("j", REGION, WISH, 0.0)


def answers(job: Job, now: float, *messages: tuple[Any, ...]) -> tuple[list[bytes], list[Any]]:
    """Hear messages; all that is to be sent, and all that happened."""
    packets, events = [], []
    for address, *args in messages:
        more, event = job.hear(f"/segue/{address}", ["j", *args], now)
        packets += more
        events += [] if event is None else [event]
    return packets, events


def is_now(job: Job, state: State) -> bool:
    """Whether the conversation is that far."""
    return job.state is state


def ordered(job: Job, now: float = 0.0) -> None:
    """Its rows are acknowledged, the order is out."""
    assert job.packets(now) == ROWS
    acks = ("rows/ack", "tempo", 1), ("rows/ack", "intensity", 2)
    assert answers(job, now, *acks) == ([ORDER], [])
    assert is_now(job, State.ORDERED)


def test_rows_first_then_the_order(job: Job) -> None:
    """The order goes out once, when the last list is acknowledged."""
    ordered(job)
    assert job.packets(0.5) == []
    assert answers(job, 0.5, ("rows/ack", "tempo", 1)) == ([], [])
    job.hear("/segue/job/accepted", ["j"], 0.6)
    assert is_now(job, State.RUNNING)
    assert answers(job, 1.0, ("job/progress", 0.5, "optimizing")) == ([], [Progress(0.5)])
    overlay = Clip("/c.wav", 1.5, "/o.wav", 5.4)
    assert answers(job, 2.0, ("job/done", *DONE[1:])) == ([], [Result((overlay,), 11.5, 7)])
    assert is_now(job, State.ENDED)
    assert job.packets(1e9) == []
    assert job.overdue(1e9) is None


def test_missing_rows_are_sent_again(job: Job) -> None:
    """Those that are named, and the end that asks once more."""
    job.packets(0.0)
    packets, _ = answers(job, 0.1, ("rows/missing", "intensity", -1, 0), ("rows/missing", "x", 0))
    assert packets == repeat("j", CURVE, [-1, 0])


def test_silence_tells_everything_again(job: Job) -> None:
    """After a second while nothing was accepted, after five when the job runs."""
    assert job.packets(0.0) == ROWS
    assert job.packets(ANSWER_SECONDS - 0.01) == []
    ordered(job, ANSWER_SECONDS)
    assert job.packets(2 * ANSWER_SECONDS) == ROWS
    assert is_now(job, State.TELLING)
    job = Job("j", REGION, WISH, 0.0)
    ordered(job)
    answers(job, 1.0, ("job/accepted",))
    assert job.packets(QUIET_SECONDS) == []
    ordered(job, 1.0 + QUIET_SECONDS)


def test_patience_ends(job: Job) -> None:
    """After six seconds when nobody was there, after ten minutes when somebody was."""
    job.packets(0.0)
    assert job.overdue(START_SECONDS) is None
    assert job.overdue(START_SECONDS + 0.1) == Failed(NOBODY)
    job = Job("j", REGION, WISH, 0.0)
    ordered(job)
    answers(job, 1.0, ("job/accepted",))
    assert job.overdue(1.0 + GONE_SECONDS) is None
    assert job.overdue(1.1 + GONE_SECONDS) == Failed(GONE)


def test_a_server_that_is_slow_to_accept(job: Job) -> None:
    """As long as the bridge answers somebody is there: it is the one to say what is wrong."""
    for second in range(20):
        ordered(job, float(second))
        assert job.overdue(second + 0.9) is None
    answers(job, 20.0, ("job/accepted",))
    assert is_now(job, State.RUNNING)


def test_cancelled_before_it_was_ordered(job: Job) -> None:
    """Rows that are acknowledged after the cancel lead to no order."""
    job.packets(0.0)
    job.cancel()
    assert len(job.packets(0.1)) == 1
    acks = ("rows/ack", "tempo", 1), ("rows/ack", "intensity", 2)
    assert answers(job, 0.2, *acks) == ([], [])


def test_cancelling_is_repeated(job: Job) -> None:
    """At once and every second, whatever progress is told meanwhile, until it is answered."""
    ordered(job)
    answers(job, 1.0, ("job/accepted",))
    job.cancel()
    answers(job, 1.0, ("job/progress", 0.1, "optimizing"))
    (packet,) = job.packets(1.0)
    assert decode(packet) == [("/segue/cancel", ("j",))]
    answers(job, 1.9, ("job/progress", 0.2, "optimizing"))
    assert job.packets(1.0 + ANSWER_SECONDS - 0.01) == []
    assert job.packets(1.0 + ANSWER_SECONDS) == [packet]
    assert answers(job, 9.0, ("job/cancelled",)) == ([], [Failed("stopped")])


def test_a_server_that_is_away_while_the_job_runs(job: Job) -> None:
    """It is waited for, not for ever; of a job that never ran, the same error is the end."""
    ordered(job)
    answers(job, 1.0, ("job/accepted",))
    away = ("error", "server-unreachable", "no server")
    assert answers(job, 2.0, away) == ([], [Waiting("no server")])
    assert is_now(job, State.RUNNING)
    for second in range(10, 600, 5):
        answers(job, float(second), away)
        assert job.overdue(float(second)) is None
    assert job.overdue(602.0) == Failed(GONE)
    job = Job("j", REGION, WISH, 0.0)
    ordered(job)
    answers(job, 1.0, ("job/accepted",), away)
    assert answers(job, 3.0, ("error", "no-model", "what to do")) == ([], [Failed("what to do")])
    other = Job("j", REGION, WISH, 0.0)
    ordered(other)
    assert answers(other, 1.0, away) == ([], [Failed("no server")])


def test_further_clips(job: Job) -> None:
    """They come before done, perhaps twice, and start where the first one does."""
    ordered(job)
    second = ("job/variation", 2, "/c~2.wav", "/o~2.wav", 5.4)
    _, (result,) = answers(job, 1.0, second, second, ("job/done", *DONE[1:]))
    assert result.clips[1:] == (Clip("/c~2.wav", 1.5, "/o~2.wav", 5.4),)
    many = Job("j", REGION, WISH, 0.0)
    for number in range(2, 80):
        answers(many, 1.0, ("job/variation", number, f"/{number}.wav", "", 0.0))
    _, (result,) = answers(many, 1.0, ("job/done", *DONE[1:]))
    assert len(result.clips) == MAX_CLIPS == MAX_SEEDS


def test_a_bridge_without_overlays(job: Job) -> None:
    """The clip alone is a result too."""
    ordered(job)
    _, (result,) = answers(job, 1.0, ("job/done", *DONE[1:6]))
    assert result.clips == (Clip("/c.wav", 1.5, "", 0.0),)


def test_answers_that_do_not_belong_there(job: Job) -> None:
    """Early, late and unknown ones change nothing."""
    job.packets(0.0)
    for name in ("job/progress", "job/preview", "hello"):
        answers(job, 0.1, (name, 0.5, "x"))
    assert is_now(job, State.TELLING)
    assert answers(job, 0.2, ("job/cancelled",)) == ([], [Failed("stopped")])
    answers(job, 0.3, ("job/accepted",))
    assert is_now(job, State.ENDED)
    assert TRANSITIONS[State.ENDED] == {}
