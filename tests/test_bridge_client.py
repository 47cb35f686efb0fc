"""The bridge against a stand-in server that answers late, twice, wrongly or not at all."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from fastapi import Response

from segue.bridge import client
from segue.bridge.app import Bridge
from segue.bridge.osc.codec import Message, Value, decode, encode
from segue.bridge.osc.commands import Sender
from segue.bridge.osc.session import Reply
from segue.bridge.osc.udp_port import UdpPort
from segue.presets.vocabulary import Cancelled, Code, Failure, Progress, Result, State
from tests.stand_in import StandIn

DAW = Sender("127.0.0.1", 50001)
HALF = Progress(id="j1", fraction=0.5, stage=State.OPTIMIZING)
RESULT = Result(
    id="j1",
    path="/m/j1.wav",
    start_seconds=1.0,
    length_samples=300000,
    new_samples=200000,
    sample_rate=44100,
    channels=2,
    seed=7,
    loss_first=1.0,
    loss_last=0.1,
    taken_seconds=3.0,
    device="cpu",
)
OUTPAINT: list[tuple[str, Value]] = [("s", "j1"), ("s", "/m/a.wav")] + [("d", 4.0)] * 3
ACCEPTED = Message("/segue/job/accepted", ("j1",))
PROGRESS = Message("/segue/job/progress", ("j1", 0.5, "optimizing"))
DONE = Message("/segue/job/done", ("j1", "/m/j1.wav", 1.0, 300000, 44100, 7, "", 1.0))


class Bench(UdpPort):
    """A bridge whose replies are kept, in order, with who gets them left to the session's tests."""

    def __init__(self, url: str) -> None:
        self.bridge = Bridge(url)
        super().__init__(self.bridge.receive)
        self.bridge.port = self
        self._replies: asyncio.Queue[Reply] = asyncio.Queue()

    def send(self, reply: Reply) -> None:
        """Keep it."""
        self._replies.put_nowait(reply)

    def ask(self, address: str, *arguments: tuple[str, Value]) -> None:
        """As if the DAW had sent it."""
        self.bridge.receive(encode(address, *arguments), DAW)

    async def hear(self) -> Message:
        """The next reply."""
        reply = await asyncio.wait_for(self._replies.get(), 10)
        return decode(reply.data)[0]

    async def served(self) -> None:
        """The bridge answers, and nothing but this answer was on its way."""
        self.ask("/segue/hello", ("s", "test"))
        assert await self.hear() == Message("/segue/hello", ("1", "cpu"))


async def eventually(condition: Callable[[], object]) -> None:
    """Wait, with a deadline, for what another task does."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def bridged(port: int) -> AsyncIterator[Bench]:
    """A bridge at work for the server on `port`."""
    bench, stop = Bench(f"http://127.0.0.1:{port}"), asyncio.Event()
    task = asyncio.create_task(bench.bridge.run(0, lambda _: None, stop))
    yield bench
    stop.set()
    await task


def play(scenario: Callable[[StandIn, Bench], Awaitable[None]]) -> None:
    """Run a scenario with a bridge that hears the stand-in's events."""

    async def main() -> None:
        server = StandIn()
        async with server.serving() as port, bridged(port) as bench:
            await eventually(lambda: server.sockets)
            await scenario(server, bench)

    asyncio.run(main())


def test_events_are_passed_on() -> None:
    """Progress as it comes, the end once, events of others' jobs never."""

    async def scenario(server: StandIn, bench: Bench) -> None:
        bench.ask("/segue/outpaint", *OUTPAINT)
        assert await bench.hear() == ACCEPTED
        await server.tell(HALF)
        assert await bench.hear() == PROGRESS
        await server.tell(HALF.model_copy(update={"id": "another"}))
        server.end(RESULT)
        await server.tell(RESULT)
        assert await bench.hear() == DONE
        await bench.served()

    play(scenario)


def test_a_result_before_the_answer_to_its_request() -> None:
    """The WebSocket may be faster than the POST: accepted still comes first, and done once."""

    async def scenario(server: StandIn, bench: Bench) -> None:
        async def before_answer() -> None:
            server.end(RESULT)
            await server.tell(HALF)
            await server.tell(RESULT)
            # A second connection's turn round the loop: the events have arrived by then.
            await bench.bridge._client.health()

        server.before_answer = before_answer  # type: ignore[method-assign]
        bench.ask("/segue/outpaint", *OUTPAINT)
        assert await bench.hear() == ACCEPTED
        assert await bench.hear() == DONE
        await server.tell(RESULT)
        await bench.served()

    play(scenario)


def test_without_events_the_end_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that ends while the WebSocket does not work is found by asking, time and again."""
    monkeypatch.setattr(client, "REPAIR_SECONDS", 0.02)

    async def main() -> None:
        server = StandIn()
        server.events_work = False
        async with server.serving() as port, bridged(port) as bench:
            bench.ask("/segue/outpaint", *OUTPAINT)
            assert await bench.hear() == ACCEPTED
            await bench.served()
            server.end(RESULT)
            assert await bench.hear() == DONE
            await bench.served()

    asyncio.run(main())


@pytest.mark.parametrize("known", [True, False])
def test_a_server_that_was_restarted_is_asked_about_open_jobs(known: bool) -> None:
    """What it knows is passed on; what it has lost is an error, never silence."""

    async def main() -> None:
        server = StandIn()
        async with server.serving() as port:
            context = bridged(port)
            bench = await context.__aenter__()
            await eventually(lambda: server.sockets)
            bench.ask("/segue/outpaint", *OUTPAINT)
            assert await bench.hear() == ACCEPTED
        if known:
            server.end(RESULT)
        else:
            server.jobs.clear()
        async with server.serving(port):
            message = await bench.hear()
            if known:
                assert message == DONE
            else:
                assert (message.address, message.args[:2]) == (
                    "/segue/error",
                    ("j1", "interrupted"),
                )
            await eventually(lambda: server.sockets)
            await server.tell(RESULT)
            await bench.served()
            await context.__aexit__(None, None, None)

    asyncio.run(main())


def test_what_is_no_event_is_passed_over() -> None:
    """A frame of a newer server, or of none, leaves the connection as it is."""

    async def scenario(server: StandIn, bench: Bench) -> None:
        bench.ask("/segue/outpaint", *OUTPAINT)
        assert await bench.hear() == ACCEPTED
        for frame in ('{"type":"preview","id":"j1"}', "[]", "{", ""):
            await server.sockets[0].send_text(frame)
        await server.tell(HALF)
        assert await bench.hear() == PROGRESS
        assert len(server.sockets) == 1

    play(scenario)


def test_a_slow_answer_holds_nobody_else_up() -> None:
    """Hello, another DAW's order and another job's cancel are answered; this job's cancel waits."""

    async def scenario(server: StandIn, bench: Bench) -> None:
        bench.ask("/segue/outpaint", ("s", "old"), *OUTPAINT[1:])
        assert await bench.hear() == Message("/segue/job/accepted", ("old",))
        released = asyncio.Event()
        answers = iter([released.wait])

        async def before_answer() -> None:
            for wait in answers:  # the first one alone
                await wait()

        server.before_answer = before_answer  # type: ignore[method-assign]
        bench.ask("/segue/outpaint", *OUTPAINT)
        await eventually(lambda: "j1" in server.jobs)
        bench.ask("/segue/outpaint", ("s", "j2"), *OUTPAINT[1:])
        bench.ask("/segue/cancel", ("s", "j1"))
        await bench.served()
        server.jobs["old"] = server.jobs["old"].model_copy(update={"state": State.CANCELLED})
        bench.ask("/segue/cancel", ("s", "old"))
        assert await bench.hear() == Message("/segue/job/cancelled", ("old",))
        other = encode("/segue/outpaint", ("s", "j3"), *OUTPAINT[1:])
        bench.bridge.receive(other, Sender("127.0.0.1", 50002))
        assert await bench.hear() == Message("/segue/job/accepted", ("j3",))
        assert (server.cancelled, list(server.jobs)) == (["old"], ["old", "j1", "j3"])
        released.set()
        accepted = {await bench.hear(), await bench.hear()}
        assert accepted == {Message("/segue/job/accepted", (each,)) for each in ("j1", "j2")}
        await eventually(lambda: server.cancelled == ["old", "j1"])
        await bench.served()

    play(scenario)


def test_orders_of_one_sender_keep_their_order() -> None:
    """A hundred at once reach the server as they were sent."""

    async def scenario(server: StandIn, bench: Bench) -> None:
        ids = [f"j{number}" for number in range(100)]
        for each in ids:
            bench.ask("/segue/outpaint", ("s", each), *OUTPAINT[1:])
        assert [(await bench.hear()).args[0] for _ in ids] == ids
        assert list(server.jobs) == ids

    play(scenario)


def test_cancelling_a_running_job() -> None:
    """The answer to a cancel is the job's end, when the worker has let go of it."""

    async def scenario(server: StandIn, bench: Bench) -> None:
        bench.ask("/segue/outpaint", *OUTPAINT)
        bench.ask("/segue/cancel", ("s", "j1"))
        assert await bench.hear() == ACCEPTED
        await bench.served()
        server.end(Cancelled(id="j1"))
        await server.tell(Cancelled(id="j1"))
        assert await bench.hear() == Message("/segue/job/cancelled", ("j1",))
        await bench.served()

    play(scenario)


@pytest.mark.parametrize(
    ("status", "code"), [(409, Code.ID_TAKEN), (422, Code.BAD_REQUEST), (429, Code.QUEUE_FULL)]
)
def test_a_refusal_is_passed_on(status: int, code: Code) -> None:
    """The server's code and text reach the DAW as they are."""

    async def scenario(server: StandIn, bench: Bench) -> None:
        failure = Failure(id="j1", code=code, text="do something else")
        server.refusal = Response(failure.model_dump_json(), status)
        bench.ask("/segue/outpaint", *OUTPAINT)
        assert await bench.hear() == Message("/segue/error", ("j1", code, "do something else"))
        assert bench.bridge.session.open_ids() == []

    play(scenario)


@pytest.mark.parametrize("status", [200, 302, 404, 500])
def test_another_program_behind_the_url_is_noticed(status: int) -> None:
    """An answer that no Segue server gives is an error that says so."""

    async def scenario(server: StandIn, bench: Bench) -> None:
        server.refusal = Response("<html>", status, {"location": "/elsewhere"})
        bench.ask("/segue/outpaint", *OUTPAINT)
        message = await bench.hear()
        assert message.args[:2] == ("j1", "internal")
        assert f"/jobs answered HTTP {status}, but not as a Segue server" in str(message.args[2])

    play(scenario)


def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting has an end, and the sender hears of it."""
    monkeypatch.setattr(client, "ANSWER_SECONDS", 0.2)

    async def scenario(server: StandIn, bench: Bench) -> None:
        released = asyncio.Event()

        async def before_answer() -> None:
            await released.wait()

        server.before_answer = before_answer  # type: ignore[method-assign]
        bench.ask("/segue/outpaint", *OUTPAINT)
        message = await bench.hear()
        released.set()
        assert message.args[:2] == ("j1", "server-unreachable")
        assert "did not answer within 0.2 s" in str(message.args[2])

    play(scenario)
