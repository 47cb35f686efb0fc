from __future__ import annotations

import itertools
import threading
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from segue.presets.vocabulary import (
    Cancelled,
    Code,
    Failure,
    Progress,
    Request,
    Result,
    SegueError,
    State,
)
from segue.server.desk import Desk
from segue.server.store import Store
from segue.server.worker import MAX_TEXT, Engine, Worker
from tests.recorder import DEADLINE_SECONDS, FRAMES, Recorder, Transcript, make_request, result_of


@pytest.fixture
def hub() -> Transcript:
    """What crossed the wire."""
    return Transcript()


@pytest.fixture
def desk(tmp_path: Path, hub: Transcript) -> Iterator[Desk]:
    """A desk over a real store."""
    with closing(Store(tmp_path)) as store:
        yield Desk(store, hub, queue_limit=8, now=0.0)


def worker_with(desk: Desk, engine: Engine) -> Worker:
    """A worker that has loaded an engine, without its thread; its clock takes whole seconds."""
    worker = Worker(desk, lambda: engine, clock=itertools.count().__next__)
    worker.load()
    return worker


class Saboteur(Recorder):
    """An engine that lets something happen to its job at a given step."""

    def __init__(self, act: Callable[[str], object], at: State | None) -> None:
        super().__init__()
        self._act = act
        self._at = at

    def run(
        self, request: Request, out_path: Path, on_progress: Callable[[Progress], None]
    ) -> Result:
        """Act at the first progress of the stage, or after the last when there is none."""

        def spy(progress: Progress) -> None:
            if progress.stage is self._at:
                self._act(request.id)
            on_progress(progress)

        result = super().run(request, out_path, spy)
        if self._at is None:
            self._act(request.id)
        return result


def test_job_runs_to_a_real_file(desk: Desk, hub: Transcript) -> None:
    """Events come in the lifecycle's order and the last names a readable WAV."""
    status, _ = desk.submit(make_request(seed=5), now=0.0)
    assert worker_with(desk, Recorder()).run_once(now=1.0)
    stages = [event.stage for event in hub.events if isinstance(event, Progress)]
    optimizing, decoding = [State.OPTIMIZING] * 4, [State.DECODING] * 2
    assert stages == [State.QUEUED, *optimizing, *decoding]
    path = desk.result_path("a")
    assert hub.events[-1] == result_of(status.request, path)
    with wave.open(str(path)) as file:
        assert file.getnframes() == FRAMES


def test_progress_is_told_in_measure(desk: Desk, hub: Transcript) -> None:
    """While the clock stands still one progress a stage is told; a cancel is heard all the same."""
    for name in ("a", "b"):
        desk.submit(make_request(name), now=0.0)
    engine = Saboteur(lambda job_id: job_id == "b" and desk.cancel("b", now=2.0), State.DECODING)
    worker = Worker(desk, lambda: engine, clock=lambda: 0.0)
    worker.load()
    assert worker.run_once(now=1.0)
    assert worker.run_once(now=2.0)
    stages = [event.stage for event in hub.events if isinstance(event, Progress)]
    expected = [State.OPTIMIZING, State.OPTIMIZING, State.DECODING]  # the first by the desk
    assert stages == [State.QUEUED, State.QUEUED, *expected, *expected]
    assert hub.events[-1] == Cancelled(id="b")


def test_nothing_to_do(desk: Desk) -> None:
    """Without a waiting job `run_once` says so."""
    assert not worker_with(desk, Recorder()).run_once(now=1.0)


@pytest.mark.parametrize("at", [State.OPTIMIZING, State.DECODING, None])
def test_cancel_while_it_runs(desk: Desk, hub: Transcript, at: State | None) -> None:
    """Asked at any stage, even after the last step, it is cancelled and leaves no file."""
    desk.submit(make_request(), now=0.0)
    engine = Saboteur(lambda job_id: desk.cancel(job_id, now=2.0), at)
    assert worker_with(desk, engine).run_once(now=1.0)
    assert hub.events[-1] == Cancelled(id="a")
    assert [event for event in hub.events if isinstance(event, Result)] == []
    assert list(desk.result_path("a").parent.iterdir()) == []


def test_a_preview_that_cannot_be_removed(desk: Desk, hub: Transcript) -> None:
    """A player on Windows holds on to it; here it is a folder. The next job runs all the same."""
    for name in ("a", "b"):
        desk.submit(make_request(name), now=0.0)
    desk.result_path("a~preview").mkdir()
    engine = Saboteur(lambda job_id: job_id == "a" and desk.cancel("a", now=2.0), State.OPTIMIZING)
    worker = worker_with(desk, engine)
    assert worker.run_once(now=1.0)
    assert hub.events[-1] == Cancelled(id="a")
    assert worker.run_once(now=3.0)
    assert desk.status("b").state == State.DONE


def test_next_job_after_a_cancelled_one(desk: Desk) -> None:
    """A cancel ends one job and no other."""
    desk.submit(make_request("a"), now=0.0)
    desk.submit(make_request("b"), now=0.0)
    engine = Saboteur(lambda job_id: job_id == "a" and desk.cancel("a", now=2.0), State.OPTIMIZING)
    worker = worker_with(desk, engine)
    assert worker.run_once(now=1.0)
    assert worker.run_once(now=3.0)
    assert desk.status("b").state == State.DONE


def test_error_the_user_can_act_on(desk: Desk, hub: Transcript) -> None:
    """A SegueError is passed on word for word."""
    desk.submit(make_request(), now=0.0)
    error = SegueError(Code.MISSING_FILE, "/take.wav is not there")
    worker_with(desk, Recorder(error=error)).run_once(now=1.0)
    assert hub.events[-1] == Failure(id="a", code=Code.MISSING_FILE, text="/take.wav is not there")


def test_any_other_error(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """A bug is told by class and text, bounded; the log has the traceback; the worker goes on."""
    desk.submit(make_request("a"), now=0.0)
    desk.submit(make_request("b"), now=0.0)
    worker = worker_with(desk, Recorder(error=ZeroDivisionError("x" * 10 * MAX_TEXT)))
    assert worker.run_once(now=1.0)
    event = desk.status("a").event
    assert isinstance(event, Failure)
    assert event.code == Code.INTERNAL
    assert event.text.startswith("ZeroDivisionError: " + "x" * MAX_TEXT + " (")
    assert "Traceback" in caplog.text
    assert worker.run_once(now=2.0)


def test_answer_for_another_job(desk: Desk) -> None:
    """An engine that mixes up ids fails its job instead of blocking the queue."""

    class Muddled(Recorder):
        def run(
            self, request: Request, out_path: Path, on_progress: Callable[[Progress], None]
        ) -> Result:
            return super().run(request, out_path, on_progress).model_copy(update={"id": "z"})

    desk.submit(make_request(), now=0.0)
    worker_with(desk, Muddled()).run_once(now=1.0)
    assert desk.status("a").state == State.FAILED
    assert desk.running is None


@pytest.mark.parametrize(
    ("error", "problem", "traced"),
    [
        (SegueError(Code.NO_MODEL, "no model x: run segue doctor"), "no model x", False),
        (ImportError("no module named torch"), "ImportError: no module named torch", True),
    ],
)
def test_load_that_fails(
    desk: Desk, caplog: pytest.LogCaptureFixture, error: Exception, problem: str, traced: bool
) -> None:
    """The worker says why, without a traceback where the user can act on it, and so does each job
    that then fails.
    """

    def load() -> Engine:
        raise error

    worker = Worker(desk, load)
    worker.load()
    assert (worker.state, worker.device) == ("failed", "")
    assert worker.problem is not None
    assert problem in worker.problem
    (logged,) = caplog.records
    assert logged.getMessage() == f"the model could not be loaded: {worker.problem}"
    assert bool(logged.exc_info) == traced
    desk.submit(make_request(), now=0.0)
    worker.run_once(now=1.0)
    event = desk.status("a").event
    assert isinstance(event, Failure)
    assert event.code == Code.NO_MODEL
    assert worker.problem in event.text


def test_the_engine_is_warm_before_it_is_ready(desk: Desk) -> None:
    """What only a first job would pay for is paid while loading; if that fails, jobs still run."""
    engine = Recorder()
    worker = Worker(desk, lambda: engine)
    worker.load()
    assert engine.warmed
    assert worker.state == "ready"

    class Cold(Recorder):
        def warm(self) -> None:
            raise OSError("no room for temporary files")

    worker = Worker(desk, Cold)
    worker.load()
    assert worker.state == "ready"


def test_stop_puts_the_job_back(desk: Desk) -> None:
    """A clean stop in mid-job returns within an iteration; the job waits, uncounted."""
    engine = Recorder(gate=threading.Event())
    worker = Worker(desk, lambda: engine)
    worker.start()
    desk.submit(make_request(), now=0.0)
    assert engine.started.wait(DEADLINE_SECONDS)
    worker.stop()
    assert desk.status("a").state == State.QUEUED
    kept = desk._store.find("a")
    assert kept is not None
    assert (kept.state, kept.attempts) == (State.QUEUED, 0)


def until(rule: Callable[[], bool]) -> None:
    """Wait for a rule to hold; the suite's own time limit ends it."""
    while not rule():
        time.sleep(0.01)


def finished(desk: Desk, name: str) -> None:
    """Wait until a job is done."""
    until(lambda: isinstance(desk.status(name).event, Result))


@pytest.mark.parametrize("allowed", ["1", "0"])
def test_a_server_at_rest_makes_later_jobs_faster(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, allowed: str
) -> None:
    """Step by step, and only after a first job; never when SEGUE_COMPILE says no."""
    monkeypatch.setenv("SEGUE_COMPILE", allowed)
    monkeypatch.setattr("segue.server.worker.REST_SECONDS", 0.05)
    engine = Recorder()
    worker = Worker(desk, lambda: engine)
    worker.start()
    assert not engine.quickened.wait(0.3)
    for name in ("a", "b"):
        desk.submit(make_request(name), now=0.0)
        finished(desk, name)
        assert engine.quickened_again.wait(0.3) == (allowed == "1")
    assert engine.quickened.is_set() == (allowed == "1")
    worker.stop()


def test_jobs_come_before_faster_ones(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two steps that make them faster a job that waits is made; a failed step ends it."""
    monkeypatch.setattr("segue.server.worker.REST_SECONDS", 0.05)
    engine, jobs = Recorder(), list[int]()

    def quicken() -> Iterator[float]:
        desk.submit(make_request("b"), now=0.0)
        yield 60.0
        jobs.append(len(engine.requests))
        yield 0.0
        jobs.append(len(engine.requests))
        raise RuntimeError("out of memory")

    monkeypatch.setattr(engine, "quicken", quicken)
    worker = Worker(desk, lambda: engine)
    worker.start()
    desk.submit(make_request("a"), now=0.0)
    finished(desk, "a")
    until(lambda: len(engine.requests) == 2)
    finished(desk, "b")
    monkeypatch.setattr(worker, "_quiet", 0.0)
    desk.submit(make_request("c"), now=0.0)
    finished(desk, "c")
    until(lambda: len(jobs) == 2)
    desk.submit(make_request("d"), now=0.0)
    finished(desk, "d")
    assert jobs == [3, 3]
    worker.stop()


def test_stop_before_the_start(desk: Desk) -> None:
    """A worker whose server never came up can be stopped."""
    Worker(desk, Recorder).stop()


def test_desk_takes_back_what_a_stuck_engine_holds(desk: Desk) -> None:
    """When the thread does not end in time, its job still goes back to the queue."""
    desk.submit(make_request(), now=0.0)
    desk.next(now=1.0)
    desk.stop(now=2.0)
    assert desk.status("a").state == State.QUEUED
