"""The bridge at work: one event loop between the DAW's OSC port and the server."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import time
from collections.abc import Callable, Coroutine, Hashable
from contextlib import ExitStack, suppress

from segue.bridge.client import ServerClient, port_of
from segue.bridge.osc.addresses import DEFAULT_OSC_PORT
from segue.bridge.osc.commands import Cancel, Command, Hello, Sender, Submit
from segue.bridge.osc.port_file import Ports, announced, default_path
from segue.bridge.osc.session import MAX_WAITING_COMMANDS, Outcome, Reply, Session
from segue.bridge.osc.tcp_port import TcpPort
from segue.bridge.osc.udp_port import HOST, UdpPort
from segue.presets.library import load_preset, preset_names
from segue.presets.vocabulary import Code, Event, SegueError

PORT_TRIES = 16  # to find one that is free for UDP and TCP

LOGGER = logging.getLogger("segue.bridge")

Announce = Callable[[int], Coroutine[None, None, None]]


class Bridge:
    """Wires session, client and port together. Belongs to one event loop."""

    def __init__(
        self,
        server_url: str,
        clock: Callable[[], float] = time.monotonic,
        announce: Announce | None = None,
    ) -> None:
        self.port = UdpPort(self.receive)
        self.stream_port = TcpPort(self.receive, self._leave)
        self._clock, self._announce = clock, announce
        self.session = Session({name: load_preset(name) for name in preset_names()})
        self._client = ServerClient(server_url, self._on_event, self.session.open_ids)
        self._commands: asyncio.Queue[Command] = asyncio.Queue()
        self._waiting = 0  # commands that are not answered yet

    async def run(self, osc_port: int, ready: Callable[[int], None], stop: asyncio.Event) -> None:
        """Serve until `stop` is set. Raises SegueError if the port cannot be had."""
        try:
            await self._open(osc_port)
            ready(self.port.port)
            jobs = [self._work(), self._client.follow()]
            if self._announce is not None:
                jobs.append(self._announce(self.port.port))
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(job) for job in jobs]
                await stop.wait()
                for task in tasks:
                    task.cancel()
        finally:
            self.port.close()
            self.stream_port.close()
            await self._client.close()

    def receive(self, data: bytes, sender: Sender) -> None:
        """Take one packet: answer it, or queue what it asks of the server, all of it or nothing."""
        room = MAX_WAITING_COMMANDS - self._waiting
        found = self.session.receive(data, sender, self._clock(), room)
        self._send([each for each in found if isinstance(each, Reply)])
        for command in found:
            if not isinstance(command, Reply):
                self._waiting += 1
                self._commands.put_nowait(command)

    async def _open(self, osc_port: int) -> None:
        """UDP and TCP on the same number; where any will do, one that is free for both."""
        for tries_left in reversed(range(PORT_TRIES)):
            await self.port.open(osc_port)
            try:
                await self.stream_port.open(self.port.port)
                return
            except SegueError:
                self.port.close()
                if osc_port or not tries_left:
                    raise

    def _leave(self, sender: Sender) -> None:
        self.session.leave(sender)

    def _send(self, replies: list[Reply]) -> None:
        for reply in replies:
            port = self.stream_port if reply.to.stream else self.port
            port.send(reply)

    def _on_event(self, event: Event) -> None:
        self._send(self.session.handle(event, self._clock()))

    async def _work(self) -> None:
        """Carry out commands side by side, but for those that must come one after the other."""
        last: dict[Hashable, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                command = await self._commands.get()
                last = {turn: task for turn, task in last.items() if not task.done()}
                turns = _turns(command)
                before = [last[turn] for turn in turns if turn in last]
                task = group.create_task(self._carry_out(command, before))
                last |= dict.fromkeys(turns, task)

    async def _carry_out(self, command: Command, before: list[asyncio.Task[None]]) -> None:
        if before:
            await asyncio.wait(before)
        outcome = await self._outcome(command)
        self._waiting -= 1
        self._send(self.session.answer(command, outcome, self._clock()))
        # Events that came before the session listened for them are found by asking.
        if not isinstance(command, Hello):
            self._client.look()

    async def _outcome(self, command: Command) -> Outcome:
        try:
            match command:
                case Hello():
                    return await self._client.health()
                case Submit(request=request):
                    return await self._client.submit(request)
                case Cancel(id=job_id):
                    return await self._client.cancel(job_id)
        except SegueError as error:
            return error
        except Exception as error:
            LOGGER.exception("%s failed", type(command).__name__)
            text = f"{type(error).__name__} in the bridge: this is a bug; its log has the details"
            return SegueError(Code.INTERNAL, text)


def _turns(command: Command) -> tuple[Hashable, ...]:
    """What a command waits its turn for: its job, so that a cancel cannot overtake an order.

    A sender's orders are also made in the order they came in.
    """
    match command:
        case Hello(sender=sender):
            return ((Hello, sender),)
        case Submit(id=job_id, sender=sender):
            return job_id, sender
        case Cancel(id=job_id):
            return (job_id,)


def run_bridge(
    server_url: str,
    osc_port: int = DEFAULT_OSC_PORT,
    ready: Callable[[int], None] = lambda port: None,
    *,
    mdns: bool = False,
) -> None:
    """Run the bridge until SIGINT or SIGTERM; print and pass to `ready` the port that is bound.

    `osc_port` 0 takes any free one; the port file names it meanwhile, and with `mdns` so does
    DNS-SD. Raises SegueError if the port or the URL is no good, or zeroconf is missing.
    """
    by_mdns = _mdns() if mdns else None
    with ExitStack() as until_the_end:

        def announce(port: int) -> None:
            ports = Ports(osc_port=port, http_port=port_of(server_url), pid=os.getpid())
            until_the_end.enter_context(announced(default_path(), ports))
            print(f"bridge: OSC on udp://{HOST}:{port}, server {server_url}", flush=True)
            ready(port)

        gc.freeze()  # a full collection takes 20 ms and more, in which UDP loses what comes
        with suppress(KeyboardInterrupt):  # where the loop cannot take signals (Windows)
            asyncio.run(_serve(Bridge(server_url, announce=by_mdns), osc_port, announce))


def _mdns() -> Announce:
    try:
        from segue.bridge.osc import mdns
    except ImportError as error:
        text = f"--mdns needs zeroconf ({error}): pip install 'segue[mdns]'"
        raise SegueError(Code.UNSUPPORTED, text) from error
    return mdns.announce


async def _serve(bridge: Bridge, osc_port: int, ready: Callable[[int], None]) -> None:
    stop = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        # Not on Windows, and not outside the main thread.
        with suppress(NotImplementedError, RuntimeError, ValueError):
            asyncio.get_running_loop().add_signal_handler(each, stop.set)
    await bridge.run(osc_port, ready, stop)
