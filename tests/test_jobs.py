from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from segue.presets.vocabulary import (
    Cancelled,
    Code,
    Event,
    Failure,
    Progress,
    Request,
    SegueError,
    Settings,
    State,
)
from segue.server.jobs import (
    MAX_ATTEMPTS,
    RUNNING,
    TERMINAL,
    TRANSITIONS,
    IllegalMoveError,
    Job,
    Jobs,
    advance,
    check_request,
    recovered,
    state_after,
)
from tests.recorder import make_request, result_of

LEGAL = {
    ("queued", "optimizing"),
    ("queued", "failed"),
    ("queued", "cancelled"),
    ("optimizing", "optimizing"),
    ("optimizing", "decoding"),
    ("optimizing", "done"),
    ("optimizing", "failed"),
    ("optimizing", "cancelled"),
    ("optimizing", "queued"),
    ("decoding", "decoding"),
    ("decoding", "optimizing"),
    ("decoding", "done"),
    ("decoding", "failed"),
    ("decoding", "cancelled"),
    ("decoding", "queued"),
}


def announcing(state: State) -> Event:
    """An event that leads to a state."""
    match state:
        case State.DONE:
            return result_of(make_request(seed=1), Path("/a.wav"))
        case State.FAILED:
            return Failure(id="a", code=Code.INTERNAL, text="broken")
        case State.CANCELLED:
            return Cancelled(id="a")
        case _:
            return Progress(id="a", fraction=0.25, stage=state)


def job_in(state: State, *, attempts: int = 0, cancelling: bool = False) -> Job:
    """A job in a state."""
    return Job(
        request=make_request(seed=1),
        event=announcing(state),
        state=state,
        place=1,
        attempts=attempts,
        cancelling=cancelling,
    )


def filled(*ids: str, queue_limit: int = 8, history_limit: int = 8) -> Jobs:
    """A queue with these jobs, in this order."""
    jobs = Jobs(queue_limit=queue_limit, history_limit=history_limit)
    for job_id in ids:
        jobs.submit(make_request(job_id, seed=1), now=0.0)
    return jobs


@pytest.mark.parametrize(("before", "after"), list(itertools.product(State, State)))
def test_lifecycle_is_the_table(before: State, after: State) -> None:
    """Every pair of states is either a listed move or an error that names both."""
    job, event = job_in(before), announcing(after)
    if (before.value, after.value) in LEGAL:
        moved = advance(job, event, now=7.0)
        assert moved == replace(job, event=event, state=after, changed=7.0)
    else:
        with pytest.raises(IllegalMoveError, match=f"from {before.value} to {after.value}"):
            advance(job, event, now=7.0)


def test_every_state_has_its_row() -> None:
    """The table covers all states, and exactly the terminal ones lead nowhere."""
    assert set(TRANSITIONS) == set(State)
    assert {state for state, after in TRANSITIONS.items() if not after} == TERMINAL


@pytest.mark.parametrize("stage", sorted(TERMINAL))
def test_progress_never_ends_a_job(stage: State) -> None:
    """Only a result, a failure or a cancellation is an end."""
    with pytest.raises(IllegalMoveError, match=stage.value):
        state_after(Progress(id="a", fraction=1.0, stage=stage))


def test_jobs_run_one_at_a_time_in_order_of_arrival() -> None:
    """The next job is the one that waits longest, and none while one runs."""
    jobs = filled("a", "b")
    first = jobs.next(now=1.0)
    assert first is not None
    assert (first.id, first.state, first.attempts) == ("a", State.OPTIMIZING, 1)
    assert jobs.next(now=1.0) is None
    jobs.report(result_of(first.request, Path("/a.wav")), now=2.0)
    second = jobs.next(now=3.0)
    assert second is not None
    assert second.id == "b"
    jobs.report(Cancelled(id="b"), now=4.0)
    assert jobs.next(now=5.0) is None


def test_same_request_again_is_the_same_job() -> None:
    """The id with the same body, its seed given or not, changes nothing at any stage."""
    jobs = filled("a")
    steps: list[Callable[[], object]] = [
        lambda: jobs.next(now=1.0),
        lambda: jobs.report(Cancelled(id="a"), now=2.0),
        lambda: None,
    ]
    for step in steps:
        for seed in (1, None):
            assert jobs.submit(make_request("a", seed=seed), now=9.0) == jobs.get("a")
        assert jobs.newest_first() == [jobs.get("a")]
        step()


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (make_request("a", seed=2), "belongs to another request"),
        (make_request("a", seed=1, path="/other.wav"), "belongs to another request"),
        (make_request("A", seed=1), "differs from the known id 'a' by case only"),
    ],
)
def test_id_of_another_request_is_taken(request_: Request, text: str) -> None:
    """An id means one request; one that differs by case would share its file."""
    jobs = filled("a")
    with pytest.raises(SegueError, match=text) as caught:
        jobs.submit(request_, now=1.0)
    assert caught.value.code == Code.ID_TAKEN
    assert jobs.get("A") is None


def test_queue_is_bounded() -> None:
    """Exactly `queue_limit` jobs wait, beside the running one."""
    jobs = filled("a", "b", queue_limit=2)
    with pytest.raises(SegueError) as caught:
        jobs.submit(make_request("c", seed=1), now=1.0)
    assert caught.value.code == Code.QUEUE_FULL
    jobs.next(now=1.0)
    jobs.submit(make_request("c", seed=1), now=1.0)
    assert jobs.queued == 2


def of_slot(job_id: str, slot: str | None) -> Request:
    """A request of a slot."""
    request = make_request(job_id, seed=1)
    return request.model_copy(update={"settings": Settings(slot=slot)})


def test_the_newest_of_a_slot_outdates_those_that_wait() -> None:
    """Not the running one, not those of another slot or of none, and not itself."""
    jobs = Jobs(queue_limit=9)
    for job_id, slot in (("run", "x"), ("b", "x"), ("c", "y"), ("d", None), ("e", "x")):
        jobs.submit(of_slot(job_id, slot), now=0.0)
    jobs.next(now=1.0)
    outdated = {name: jobs.outdated_by(of_slot("e", name)) for name in ("x", "y", "z", None)}
    named = {name: [job.id for job in found] for name, found in outdated.items()}
    assert named == {"x": ["b"], "y": ["c"], "z": [], None: []}


def test_a_full_queue_has_room_for_what_takes_a_place() -> None:
    """One more of another slot is refused."""
    jobs = Jobs(queue_limit=1)
    jobs.submit(of_slot("a", "x"), now=0.0)
    with pytest.raises(SegueError, match="1 jobs are waiting"):
        jobs.submit(of_slot("b", "y"), now=1.0)
    assert jobs.submit(of_slot("b", "x"), now=1.0).state is State.QUEUED


def test_history_is_bounded() -> None:
    """Of the finished jobs the newest stay in memory; waiting ones always do."""
    jobs = filled("a", "b", "c", "d", history_limit=2)
    for job_id in ("b", "c", "d"):
        jobs.cancel(job_id, now=1.0)
    assert [job.id for job in jobs.newest_first()] == ["d", "c", "a"]


def test_cancel_at_every_stage() -> None:
    """Waiting: at once. Running: asked to. Finished or asked twice: nothing more happens."""
    jobs = filled("a", "b")
    assert jobs.cancel("b", now=1.0).state == State.CANCELLED
    assert jobs.cancel("b", now=2.0).changed == 1.0
    running = jobs.next(now=3.0)
    assert running is not None
    for stage in (State.OPTIMIZING, State.DECODING):
        jobs.report(Progress(id="a", fraction=0.5, stage=stage), now=4.0)
        for _ in range(2):
            asked = jobs.cancel("a", now=5.0)
            assert (asked.state, asked.cancelling) == (stage, True)
    jobs.report(Cancelled(id="a"), now=6.0)
    assert jobs.cancel("a", now=7.0).state == State.CANCELLED


def test_cancel_of_a_stranger() -> None:
    """An unknown id is an error that names it."""
    with pytest.raises(SegueError, match="nobody") as caught:
        filled("a").cancel("nobody", now=0.0)
    assert caught.value.code == Code.UNKNOWN_ID


def test_released_job_keeps_its_place() -> None:
    """A clean stop is no attempt, and the job is first in line again."""
    jobs = filled("a", "b")
    jobs.next(now=1.0)
    released = jobs.release("a", now=2.0)
    assert (released.state, released.attempts) == (State.QUEUED, 0)
    again = jobs.next(now=3.0)
    assert again is not None
    assert again.id == "a"


def test_release_of_a_cancelled_job() -> None:
    """A cancel that was accepted holds over a stop."""
    jobs = filled("a")
    jobs.next(now=1.0)
    jobs.cancel("a", now=2.0)
    assert jobs.release("a", now=3.0).state == State.CANCELLED


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("attempts", [1, MAX_ATTEMPTS])
@pytest.mark.parametrize("cancelling", [False, True])
def test_recovery_after_a_crash(state: State, attempts: int, cancelling: bool) -> None:
    """Finished stays, cancelled is honoured, the rest waits, unless it crashed us twice."""
    job = recovered(job_in(state, attempts=attempts, cancelling=cancelling), now=1.0)
    if state in TERMINAL:
        assert job.state == state
    elif cancelling:
        assert job.state == State.CANCELLED
    elif state in RUNNING and attempts == MAX_ATTEMPTS:
        assert isinstance(job.event, Failure)
        assert job.event.code == Code.INTERRUPTED
    else:
        assert (job.state, job.attempts) == (State.QUEUED, attempts)


@pytest.mark.parametrize("job_id", ["con", "NUL", "aux.wav", "Com1", "lpt9.x.y"])
def test_device_names_are_no_ids(job_id: str) -> None:
    """On Windows these would be written to a device."""
    with pytest.raises(SegueError, match="device name") as caught:
        check_request(make_request(job_id))
    assert caught.value.code == Code.BAD_REQUEST


@pytest.mark.parametrize("job_id", ["console", "com10", "x.con", "a" * 64])
def test_ordinary_names_are_ids(job_id: str) -> None:
    """Names that only resemble a device are fine."""
    check_request(make_request(job_id))


@pytest.mark.parametrize("path", ["take.wav", "./take.wav", "../take.wav", "~/take.wav"])
def test_relative_paths_are_refused(path: str) -> None:
    """The server's folder is nobody's idea of where a file is."""
    with pytest.raises(SegueError, match="give an absolute path"):
        check_request(make_request(path=path))
