from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest
from fastapi import FastAPI

from segue.presets.vocabulary import (
    Cancelled,
    Code,
    Failure,
    Health,
    Progress,
    Request,
    Result,
    SegueError,
    Settings,
    State,
    Status,
)
from segue.server.desk import Desk
from segue.server.events import Hub
from segue.server.routes import STALL_SECONDS, build_app
from segue.server.store import Store
from segue.server.worker import Engine, Worker
from tests.recorder import DEADLINE_SECONDS, FRAMES, Recorder, make_request, result_of, serving
from tests.wire import PROMPT_SECONDS, ended, failure_of, heard, listening_to, send, status_of


def test_a_job_from_request_to_file(tmp_path: Path, client: httpx.Client) -> None:
    """Accepted, followed over the WebSocket, fetched; each answer is the vocabulary's."""
    with serving(tmp_path) as url, listening_to(url) as listener:
        response = send(client, url, make_request(seed=3))
        assert response.status_code == 202
        assert Status.model_validate_json(response.content).request == make_request(seed=3)
        result = heard(listener)[-1]
        assert result == result_of(make_request(seed=3), tmp_path / "results" / "a.wav")
        status = status_of(client, url, "a")
        assert (status.state, status.event) == (State.DONE, result)
        clip = client.get(f"{url}/jobs/a/result")
        assert clip.content == (tmp_path / "results" / "a.wav").read_bytes()
        assert clip.headers["content-disposition"] == 'attachment; filename="a.wav"'
        assert clip.headers["x-content-type-options"] == "nosniff"


def test_progress_never_falls_and_comes_before_the_end(url: str) -> None:
    """What one listener hears of a job is in order, coalesced or not."""
    with listening_to(url) as listener, httpx.Client(trust_env=False) as client:
        send(client, url, make_request())
        *progress, end = heard(listener)
    fractions = [event.fraction for event in progress if isinstance(event, Progress)]
    assert fractions == sorted(fractions)
    assert isinstance(end, Result)


def test_same_request_again(url: str, client: httpx.Client) -> None:
    """A repeat, with the drawn seed or without one, is 200 and the same job."""
    first = Status.model_validate_json(send(client, url, make_request()).content)
    done = ended(client, url, "a")
    for request in (make_request(), first.request):
        response = send(client, url, request)
        assert response.status_code == 200
        assert Status.model_validate_json(response.content) == done


@pytest.mark.parametrize("other", [make_request("a", seed=1), make_request("A", seed=0)])
def test_taken_id(url: str, client: httpx.Client, other: Request) -> None:
    """Another request under a known id, in any case of letters, is 409 and harms nothing."""
    send(client, url, make_request("a", seed=0))
    done = ended(client, url, "a")
    response = send(client, url, other)
    assert (response.status_code, failure_of(response).code) == (409, Code.ID_TAKEN)
    assert failure_of(response).id == other.id
    assert status_of(client, url, "a") == done


def test_list_of_jobs(url: str, client: httpx.Client) -> None:
    """Newest first."""
    for job_id in ("a", "b", "c"):
        send(client, url, make_request(job_id))
    assert [status["id"] for status in client.get(f"{url}/jobs").json()] == ["c", "b", "a"]


def test_result_that_is_not_there(tmp_path: Path, client: httpx.Client) -> None:
    """404 before the end and after somebody deleted the file, each with its sentence."""
    gate = threading.Event()
    with serving(tmp_path, Recorder(gate=gate)) as url:
        send(client, url, make_request())
        early = client.get(f"{url}/jobs/a/result")
        gate.set()
        ended(client, url, "a")
        (tmp_path / "results" / "a.wav").unlink()
        late = client.get(f"{url}/jobs/a/result")
    assert [early.status_code, late.status_code] == [404, 404]
    assert "has no result" in failure_of(early).text
    assert "moved or deleted" in failure_of(late).text


@pytest.mark.parametrize("ranges", ["0-1", "5-2", "-99999999", ",".join(["0-1"] * 5000)])
def test_ranges_are_ignored(url: str, client: httpx.Client, ranges: str) -> None:
    """Whatever range is asked for, the whole file comes at once."""
    send(client, url, make_request())
    ended(client, url, "a")
    response = client.get(
        f"{url}/jobs/a/result", headers={"range": f"bytes={ranges}"}, timeout=PROMPT_SECONDS
    )
    assert (response.status_code, len(response.content)) == (200, 44 + 2 * FRAMES)


def test_health_while_loading_and_after(tmp_path: Path, client: httpx.Client) -> None:
    """The server answers and takes jobs before its engine is there."""
    gate = threading.Event()

    def load() -> Engine:
        assert gate.wait(DEADLINE_SECONDS)
        return Recorder()

    with serving(tmp_path, load=load) as url:
        health = Health.model_validate_json(client.get(f"{url}/health").content)
        assert (health.worker, health.device, health.pid) == ("loading", "", os.getpid())
        assert send(client, url, make_request()).status_code == 202
        assert client.get(f"{url}/health").json()["queued"] == 1
        gate.set()
        assert ended(client, url, "a").state == State.DONE
        ready = Health.model_validate_json(client.get(f"{url}/health").content)
        assert (ready.worker, ready.device) == ("ready", "recorder")
        assert (ready.queued, ready.problem, ready.instance) == (0, None, health.instance)


def test_health_while_a_job_runs(tmp_path: Path, client: httpx.Client) -> None:
    """Health answers in the middle of a job and names it."""
    gate = threading.Event()
    engine = Recorder(gate=gate)
    with serving(tmp_path, engine) as url:
        send(client, url, make_request())
        assert engine.started.wait(DEADLINE_SECONDS)
        for _ in range(20):
            assert client.get(f"{url}/health").json()["running"] == "a"
        gate.set()
        ended(client, url, "a")
        assert client.get(f"{url}/health").json()["running"] is None


def test_load_that_fails(tmp_path: Path, client: httpx.Client) -> None:
    """The server stays up, health tells the problem, a job fails with it."""

    def load() -> Engine:
        raise SegueError(Code.NO_MODEL, "no model named recorder")

    with serving(tmp_path, load=load) as url:
        send(client, url, make_request())
        event = ended(client, url, "a").event
        assert isinstance(event, Failure)
        assert event.code == Code.NO_MODEL
        health = client.get(f"{url}/health").json()
    assert (health["worker"], health["problem"]) == ("failed", "no model named recorder")


def asked(app: FastAPI, path: str) -> httpx.Response:
    """What an app without a socket answers."""

    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get(path)

    return asyncio.run(get())


@contextmanager
def app_at(folder: Path, now: float) -> Iterator[tuple[FastAPI, Desk, Store]]:
    """An app over a real desk whose clock stands still."""
    hub = Hub()
    with closing(Store(folder)) as store:
        desk = Desk(store, hub, queue_limit=8, now=0.0)
        yield build_app(desk, hub, Worker(desk, Recorder), "m", clock=lambda: now), desk, store


@pytest.mark.parametrize(("silence", "problem"), [(0.0, None), (1.0, "job a has made no progress")])
def test_job_that_hangs(tmp_path: Path, silence: float, problem: str | None) -> None:
    """Health names a job that has not moved for longer than the limit; it is not killed."""
    with app_at(tmp_path, 10.0 + STALL_SECONDS + silence) as (app, desk, _):
        desk.submit(make_request(), now=0.0)
        desk.next(now=10.0)
        told = Health.model_validate_json(asked(app, "/health").content).problem
    assert (told or "").startswith(problem or "")
    assert (told is None) == (problem is None)


def test_bug_and_broken_disk(tmp_path: Path) -> None:
    """Even what should not happen is answered with a Failure, without the details of a bug."""
    with app_at(tmp_path, 0.0) as (app, _, store):

        @app.get("/bug")
        def bug() -> None:
            raise ZeroDivisionError("secret")

        answers = [asked(app, "/bug")]
        store.close()
        answers.append(asked(app, "/jobs/a"))
    assert [answer.status_code for answer in answers] == [500, 507]
    assert [failure_of(answer).code for answer in answers] == [Code.INTERNAL, Code.DISK]
    assert "secret" not in failure_of(answers[0]).text


def test_cancel_at_every_stage(tmp_path: Path, client: httpx.Client) -> None:
    """Waiting, running, ended, twice: always 200, and each job ends exactly once."""
    engine = Recorder(gate=threading.Event())
    with serving(tmp_path, engine) as url, listening_to(url) as listener:
        send(client, url, make_request("running"))
        assert engine.started.wait(DEADLINE_SECONDS)
        send(client, url, make_request("waiting"))
        for job_id in ("waiting", "waiting", "running", "running"):
            assert client.post(f"{url}/jobs/{job_id}/cancel").status_code == 200
        assert ended(client, url, "running").event == Cancelled(id="running")
        assert client.post(f"{url}/jobs/running/cancel").json()["state"] == "cancelled"
        ends = [heard(listener)[-1], heard(listener)[-1]]
    assert ends == [Cancelled(id="waiting"), Cancelled(id="running")]
    assert [request.id for request in engine.requests] == ["running"]


def test_cancel_of_a_finished_job(url: str, client: httpx.Client) -> None:
    """A result stays a result."""
    send(client, url, make_request())
    done = ended(client, url, "a")
    response = client.post(f"{url}/jobs/a/cancel")
    assert response.status_code == 200
    assert Status.model_validate_json(response.content) == done


@pytest.mark.parametrize("job_id", ["nobody", "%2e%2e", "a" * 300, "%00", "a%5cb"])
@pytest.mark.parametrize(("method", "rest"), [("GET", ""), ("GET", "/result"), ("POST", "/cancel")])
def test_unknown_id(
    strict_url: str, client: httpx.Client, method: str, rest: str, job_id: str
) -> None:
    """404 with the id, wherever one is named."""
    response = client.request(method, f"{strict_url}/jobs/{job_id}{rest}")
    assert (response.status_code, failure_of(response).code) == (404, Code.UNKNOWN_ID)
    assert failure_of(response).id == unquote(job_id)


def test_full_queue(tmp_path: Path, client: httpx.Client) -> None:
    """429 with Retry-After, and room again as soon as one has left."""
    engine = Recorder(gate=threading.Event())
    with serving(tmp_path, engine, queue_limit=1) as url:
        send(client, url, make_request("running"))
        assert engine.started.wait(DEADLINE_SECONDS)
        assert send(client, url, make_request("waiting")).status_code == 202
        refused = send(client, url, make_request("late"))
        assert (refused.status_code, failure_of(refused).code) == (429, Code.QUEUE_FULL)
        assert int(refused.headers["retry-after"]) > 0
        assert failure_of(refused).id == "late"
        client.post(f"{url}/jobs/waiting/cancel")
        assert send(client, url, make_request("late")).status_code == 202


def test_the_newest_of_a_slot_wins(tmp_path: Path, client: httpx.Client) -> None:
    """One that still waits is cancelled; one that is refused takes nobody's place."""
    engine = Recorder(gate=threading.Event())
    first, second, third = (
        make_request(name).model_copy(update={"settings": Settings(slot="knob")})
        for name in ("first", "second", "third")
    )
    with serving(tmp_path, engine) as url:
        send(client, url, first)
        assert engine.started.wait(DEADLINE_SECONDS)
        send(client, url, second)
        refused = send(client, url, first.model_copy(update={"new_seconds": 9.0}))
        assert failure_of(refused).code is Code.ID_TAKEN
        assert client.get(f"{url}/jobs/second").json()["state"] == "queued"
        assert send(client, url, third).status_code == 202
        assert client.get(f"{url}/jobs/second").json()["state"] == "cancelled"
        assert client.get(f"{url}/health").json()["queued"] == 1
        assert client.get(f"{url}/jobs/first").json()["state"] == "optimizing"
