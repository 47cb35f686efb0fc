"""A server as its clients see it, over real HTTP and WebSocket."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from segue.presets.vocabulary import EVENT, Event, Failure, Progress, Request, Status
from tests.recorder import DEADLINE_SECONDS

PROMPT_SECONDS = 5.0  # far above any answer, far below a hang
JSON = {"content-type": "application/json"}


def until(rule: Callable[[], Any]) -> Any:
    """Wait for a rule to hold and return what it gave."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (value := rule()):
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.01)
    return value


def send(client: httpx.Client, url: str, request: Request) -> httpx.Response:
    """POST a request as the bridge does."""
    return client.post(f"{url}/jobs", content=request.model_dump_json(), headers=JSON)


def status_of(client: httpx.Client, url: str, job_id: str) -> Status:
    """The job as the server tells it."""
    return Status.model_validate_json(client.get(f"{url}/jobs/{job_id}").content)


def ended(client: httpx.Client, url: str, job_id: str) -> Status:
    """The job once it has ended."""

    def rule() -> Status | None:
        status = status_of(client, url, job_id)
        return status if status.state in ("done", "failed", "cancelled") else None

    status = until(rule)
    assert isinstance(status, Status)
    return status


def failure_of(response: httpx.Response) -> Failure:
    """The body of an error."""
    assert response.headers["content-type"] == "application/json"
    return Failure.model_validate_json(response.content)


@contextmanager
def listening_to(url: str) -> Iterator[ClientConnection]:
    """A real WebSocket client."""
    address = url.replace("http", "ws") + "/events"
    with connect(address, open_timeout=DEADLINE_SECONDS, proxy=None) as listener:
        yield listener


def heard(listener: ClientConnection) -> list[Event]:
    """All events up to the end of a job."""
    events: list[Event] = []
    while not events or isinstance(events[-1], Progress):
        events.append(EVENT.validate_json(listener.recv(timeout=DEADLINE_SECONDS)))
    return events
