from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from segue.presets.vocabulary import Cancelled, Event, Progress, Result, State
from segue.server.app import MAX_SOCKET_MESSAGE_BYTES
from segue.server.events import MAX_LISTENERS, MAX_PENDING, Mailbox, TooSlowError
from tests.recorder import DEADLINE_SECONDS, Recorder, make_request, serving
from tests.wire import ended, heard, listening_to, send, until


def test_large_socket_message(url: str, client: httpx.Client) -> None:
    """A listener that talks too much is cut off (1009), the others are served."""
    with listening_to(url) as other, listening_to(url) as talker:
        talker.send("x" * MAX_SOCKET_MESSAGE_BYTES)
        talker.send("x" * (MAX_SOCKET_MESSAGE_BYTES + 1))
        with pytest.raises(ConnectionClosed) as caught:
            talker.recv(timeout=DEADLINE_SECONDS)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009
        send(client, url, make_request())
        assert isinstance(heard(other)[-1], Result)


def test_number_of_listeners(url: str) -> None:
    """As many as the limit may listen; the next is told so and may come when one has left."""
    with ExitStack() as stack:
        for _ in range(MAX_LISTENERS - 1):
            stack.enter_context(listening_to(url))
        with listening_to(url), pytest.raises(InvalidStatus) as caught, listening_to(url):
            pass
        assert caught.value.response.status_code == 503

        def room() -> bool:
            try:
                with listening_to(url):
                    return True
            except InvalidStatus:
                return False

        until(room)


def test_slow_listener_still_gets_the_end(tmp_path: Path, client: httpx.Client) -> None:
    """Who reads nothing for 5000 steps gets the result, and no job waits for it."""
    with serving(tmp_path, Recorder(steps=2500)) as url, listening_to(url) as listener:
        send(client, url, make_request())
        ended(client, url, "a")
        events = heard(listener)
    assert isinstance(events[-1], Result)
    assert len(events) <= 5003


def progress(job_id: str, fraction: float) -> Progress:
    """A step of a job."""
    return Progress(id=job_id, fraction=fraction, stage=State.OPTIMIZING)


def test_mailbox_keeps_the_newest_of_each_job() -> None:
    """Progress is coalesced; an end takes the place of progress and is delivered once."""

    async def take_all() -> list[Event]:
        mailbox = Mailbox()
        for step in range(1000):
            mailbox.put(progress("a", step / 1000))
            mailbox.put(progress("b", step / 1000))
        mailbox.put(Cancelled(id="a"))
        taken = [await mailbox.take(), await mailbox.take()]
        mailbox.put(progress("c", 0.0))
        return [*taken, await mailbox.take()]

    expected = [Cancelled(id="a"), progress("b", 0.999), progress("c", 0.0)]
    assert asyncio.run(take_all()) == expected


def test_mailbox_is_bounded() -> None:
    """News of as many jobs as the limit is kept; of one more, the listener is given up."""

    async def fill(jobs: int) -> Event:
        mailbox = Mailbox()
        for number in range(jobs):
            mailbox.put(Cancelled(id=f"j{number}"))
        mailbox.put(progress("j0", 1.0))
        return await mailbox.take()

    assert asyncio.run(fill(MAX_PENDING)) == progress("j0", 1.0)
    with pytest.raises(TooSlowError):
        asyncio.run(fill(MAX_PENDING + 1))
