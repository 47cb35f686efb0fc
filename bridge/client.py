"""The bridge's side of the server's HTTP and WebSocket: asks, follows events, repairs losses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import ValidationError
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from segue.presets.vocabulary import (
    EVENT,
    Code,
    Event,
    Failure,
    Health,
    Progress,
    Request,
    SegueError,
    Status,
    Word,
)

ANSWER_SECONDS = 10.0  # how long one HTTP answer may take
REPAIR_SECONDS = 5.0  # how often open jobs are asked about when nothing else prompts it
RECONNECT_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)  # the last one repeats

LOGGER = logging.getLogger("segue.bridge")
_Answer = TypeVar("_Answer", bound=Word)


def port_of(url: str) -> int:
    """The port of a server's URL. Raises SegueError where it names none that can be."""
    parts = urlsplit(url)
    try:
        return parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        text = f"{url!r} is not a URL like http://127.0.0.1:9136: {error}"
        raise SegueError(Code.BAD_REQUEST, text) from error


class ServerClient:
    """Talks to one server. `on_event` gets its events, from the WebSocket or by asking.

    Events may come twice, or for jobs nobody here waits for; `open_ids` says which are
    waited for. All methods belong to one event loop.
    """

    def __init__(
        self,
        url: str,
        on_event: Callable[[Event], None],
        open_ids: Callable[[], Iterable[str]],
    ) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise SegueError(Code.BAD_REQUEST, f"{url!r} is not a URL like http://127.0.0.1:9136")
        port_of(url)
        self._url = url.rstrip("/")
        self._on_event = on_event
        self._open_ids = open_ids
        self._look = asyncio.Event()
        timeout = httpx.Timeout(ANSWER_SECONDS, pool=None)  # counts from when it is sent
        # No proxy of the environment belongs between two programs of one machine.
        self._http = httpx.AsyncClient(
            base_url=self._url, timeout=timeout, trust_env=False, follow_redirects=False
        )

    async def close(self) -> None:
        """Give back the HTTP connections."""
        await self._http.aclose()

    async def health(self) -> Health:
        """`GET /health`. Raises SegueError, as all requests do."""
        return await self._ask("GET", "/health", Health)

    async def submit(self, request: Request) -> Status:
        """`POST /jobs`."""
        return await self._ask("POST", "/jobs", Status, request)

    async def cancel(self, job_id: str) -> Status:
        """`POST /jobs/{id}/cancel`; `job_id` must be a valid Id."""
        return await self._ask("POST", f"/jobs/{job_id}/cancel", Status)

    def look(self) -> None:
        """Ask about every open job soon: it may have ended before anyone listened."""
        self._look.set()

    async def follow(self) -> None:
        """Pass events on, through every loss of the server, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._repair())

    async def _listen(self) -> None:
        address = f"ws{self._url.removeprefix('http')}/events"
        failures = 0
        while True:
            try:
                async with connect(address, proxy=None, close_timeout=1) as events:
                    failures = 0
                    self.look()
                    async for frame in events:
                        self._take(frame)
                problem = "it closed the connection"
            except (OSError, WebSocketException) as error:
                problem = str(error) or type(error).__name__
            if failures == 0:
                LOGGER.warning("no events from %s: %s; trying again", self._url, problem)
            await asyncio.sleep(RECONNECT_SECONDS[min(failures, len(RECONNECT_SECONDS) - 1)])
            failures += 1

    def _take(self, frame: str | bytes) -> None:
        try:
            event = EVENT.validate_json(frame)
        except ValidationError as error:
            LOGGER.warning("the server sent an event that is none: %s", error.errors()[0]["msg"])
        else:
            self._on_event(event)

    async def _repair(self) -> None:
        """Learn the end of jobs whose last event was missed: before, between or without events."""
        while True:
            # Not wait_for: until Python 3.12 it can swallow the cancellation that stops us.
            with suppress(TimeoutError):
                async with asyncio.timeout(REPAIR_SECONDS):
                    await self._look.wait()
            self._look.clear()
            for job_id in self._open_ids():
                event = await self._newest(job_id)
                # Progress comes by the WebSocket; an older one from here would go backwards.
                if event is not None and not isinstance(event, Progress):
                    self._on_event(event)

    async def _newest(self, job_id: str) -> Event | None:
        try:
            return (await self._ask("GET", f"/jobs/{job_id}", Status)).event
        except SegueError as error:
            if error.code is not Code.UNKNOWN_ID:
                return None  # the server is away: ask again later
        text = "the server was restarted and does not know this job any more: send it again"
        return Failure(id=job_id, code=Code.INTERRUPTED, text=text)

    async def _ask(
        self, method: str, path: str, answer: type[_Answer], body: Request | None = None
    ) -> _Answer:
        headers = {"Content-Type": "application/json"} if body else {}
        content = body.model_dump_json() if body else None
        try:
            response = await self._http.request(method, path, content=content, headers=headers)
        except httpx.TimeoutException as error:
            text = f"the server at {self._url} did not answer within {ANSWER_SECONDS:g} s"
            raise SegueError(Code.SERVER_UNREACHABLE, f"{text}; send it again") from error
        except httpx.HTTPError as error:
            text = f"no server at {self._url}: run `segue serve`, or `segue up` for both"
            raise SegueError(Code.SERVER_UNREACHABLE, text) from error
        try:
            if response.is_success:
                return answer.model_validate_json(response.content)
            failure = Failure.model_validate_json(response.content)
        except ValidationError as error:
            text = (
                f"{self._url}{path} answered HTTP {response.status_code}, but not as a Segue"
                " server does: is another program listening there?"
            )
            raise SegueError(Code.INTERNAL, text) from error
        raise SegueError(failure.code, failure.text)
