"""What a server costs from its start to its clips, asked over OSC as a DAW asks.

Server and bridge are processes of their own, as `segue up` starts them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import httpx

from segue.bridge.cli.demo import JOB_SECONDS, LOAD_SECONDS, Daw
from segue.bridge.osc import addresses
from segue.bridge.up import Pair
from segue.presets.vocabulary import Code, Health, Result, SegueError, Status

POLL_SECONDS = 0.02  # while the model loads
SEED = 7
SHORT_PRESET, SHORT_SECONDS = "sketch", 1.0  # of the clips of a queue


@dataclass(frozen=True, kw_only=True)
class Order:
    """A region of a file from its start on, and how much of what comes after it, by a preset."""

    region: Path
    length_seconds: float
    new_seconds: float
    preset: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Seconds from the OSC request to the OSC answer, and those of them that the engine took."""

    waited: float
    engine: float

    @property
    def transport(self) -> float:
        """All but the engine: OSC, HTTP, queue and database, there and back."""
        return self.waited - self.engine


@dataclass(frozen=True, kw_only=True)
class Served:
    """Seconds until server and bridge listen, then until the model is loaded; memory then.

    The first answer is that of a server that has made nothing yet. `queued`: from asking for many
    short clips at once to the end of each.
    """

    start: float
    load: float
    idle_mib: float | None
    answers: tuple[Answer, ...]
    queued: tuple[float, ...] = ()

    @property
    def first_sound(self) -> float:
        """Seconds from the start of the processes to the first clip."""
        return self.start + self.load + self.answers[0].waited

    @property
    def steady(self) -> Sequence[Answer]:
        """The later answers, or the only one."""
        return self.answers[1:] or self.answers

    @property
    def transport(self) -> float:
        """Its median over the later answers."""
        return statistics.median(answer.transport for answer in self.steady)


class Client(Daw):
    """A DAW that asks for one clip after another."""

    def clip(self, job_id: str, order: Order) -> float:
        """Have a clip made; the seconds from asking to the answer. Raises SegueError."""
        packet, begun = _packet(job_id, order), self._clock()
        for address, args in self._answers(packet, JOB_SECONDS):
            if address == addresses.DONE.address and args[0] == job_id:
                return self._clock() - begun
        raise AssertionError("unreachable: answers end with an error")

    def clips(self, count: int, order: Order) -> tuple[float, ...]:
        """Ask for many at once; the seconds from then to the end of each. Raises SegueError."""
        *others, last = (_packet(f"queued-{i}", order) for i in range(count))
        begun, ends = self._clock(), list[float]()
        for packet in others:
            self._socket.sendto(packet, self._bridge)
        for address, _ in self._answers(last, JOB_SECONDS):
            if address == addresses.DONE.address:
                ends.append(self._clock() - begun)
            if len(ends) == count:
                break
        return tuple(ends)


def _packet(job_id: str, order: Order) -> bytes:
    place = (str(order.region), 0.0, order.length_seconds, order.new_seconds)
    return addresses.write(addresses.OUTPAINT, job_id, *place, SEED, order.preset)


def serve_clips(
    options: tuple[str, ...],
    order: Order,
    count: int,
    queue: int,
    log: IO[str],
    resident_mib: Callable[[int], float | None],
    clock: Callable[[], float] = time.perf_counter,
) -> Served:
    """Start a server with `options`, have `count` clips made, then `queue` short ones, and stop it.

    Raises SegueError.
    `resident_mib` says how much memory a process holds.
    """
    begun = clock()
    with Pair(port=0, osc_port=0, server_options=options, log=log, tell=lambda line: None) as pair:
        listening = clock()
        health = _loaded(pair, clock)
        loaded = clock()
        idle = resident_mib(health.pid)
        client = Client(pair.osc_port, pair.check, clock)
        try:
            answers = tuple(_answer(client, pair, f"bench-{i}", order) for i in range(count))
            short = replace(order, new_seconds=SHORT_SECONDS, preset=SHORT_PRESET)
            queued = client.clips(queue, short) if queue else ()
        finally:
            client.close()
    return Served(
        start=listening - begun,
        load=loaded - listening,
        idle_mib=idle,
        answers=answers,
        queued=queued,
    )


def _loaded(pair: Pair, clock: Callable[[], float]) -> Health:
    deadline = clock() + LOAD_SECONDS
    while clock() < deadline:
        pair.check()
        answer = httpx.get(f"{pair.url}/health", trust_env=False)
        health = Health.model_validate_json(answer.content)
        if health.worker == "failed":
            raise SegueError(Code.NO_MODEL, f"the server has no model: {health.problem}")
        if health.worker == "ready":
            return health
        time.sleep(POLL_SECONDS)
    raise SegueError(Code.SERVER_UNREACHABLE, f"no model within {LOAD_SECONDS:g} s")


def _answer(client: Client, pair: Pair, job_id: str, order: Order) -> Answer:
    waited = client.clip(job_id, order)
    answer = httpx.get(f"{pair.url}/jobs/{job_id}", trust_env=False)
    result = Status.model_validate_json(answer.content).event
    assert isinstance(result, Result), "it has been answered"
    return Answer(waited=waited, engine=result.taken_seconds)
