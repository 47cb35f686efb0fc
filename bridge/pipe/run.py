"""`segue pipe` at work: lines from stdin to a server, its events to stdout."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from threading import Thread

from segue.bridge.client import ServerClient
from segue.bridge.pipe.ports import Writer, read_lines
from segue.bridge.pipe.session import Command, Pipe, Submit, read_line
from segue.bridge.up import Pair
from segue.presets.vocabulary import Code, Event, Failure, SegueError, Status

MAX_WAITING_COMMANDS = 1024  # with so many, reading waits until the server has answered one
CHECK_SECONDS = 1.0  # how often we look whether our own server lives
STOP_SECONDS = 1.0  # how long a slow reader may take when we are told to stop
STOPPED = "stopped before stdin and all jobs had ended; a server of our own does them later"
NOBODY = "nobody reads what segue pipe writes any more: it has stopped"


class PipeRun:
    """Wires lines, client and writer together. Belongs to one event loop.

    `check` raises SegueError when the server is gone for good.
    """

    def __init__(self, url: str, say: Callable[[Event], None], check: Callable[[], None]) -> None:
        self._pipe, self._say, self._check = Pipe(), say, check
        self._client = ServerClient(url, self._on_event, self._pipe.open_ids)
        self._commands: asyncio.Queue[Command | None] = asyncio.Queue(MAX_WAITING_COMMANDS)
        self._ended = asyncio.Event()  # a job has, maybe the last one

    async def put(self, command: Command | None) -> None:
        """Queue a command; None says that it was the last one."""
        await self._commands.put(command)

    async def run(self, stop: asyncio.Event) -> None:
        """Carry out all commands and wait for the jobs' ends, or until `stop` is set."""
        jobs = (self._work(), self._client.follow(), self._watch_server(), stop.wait())
        work, *others = tasks = [asyncio.create_task(job) for job in jobs]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in (work, *others):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._client.close()

    def fail(self, error: SegueError) -> None:
        """Tell the end of every job that is still waited for."""
        for job_id in self._pipe.open_ids():
            self._on_event(error.failure(job_id))

    async def _work(self) -> None:
        """One command after the other, so that a cancel cannot overtake its job."""
        while (command := await self._commands.get()) is not None:
            self._tell(self._pipe.answer(command, await self._outcome(command)))
            # What happened before the job was waited for is found by asking.
            self._client.look()
        while self._pipe.open_ids():
            self._ended.clear()
            await self._ended.wait()

    async def _outcome(self, command: Command) -> Status | SegueError:
        try:
            self._pipe.begin(command)
            if isinstance(command, Submit):
                return await self._client.submit(command.request)
            return await self._client.cancel(command.id)
        except SegueError as error:
            return error

    async def _watch_server(self) -> None:
        while True:
            self._check()
            await asyncio.sleep(CHECK_SECONDS)

    def _on_event(self, event: Event) -> None:
        self._tell(self._pipe.handle(event))

    def _tell(self, event: Event | None) -> None:
        if event is not None:
            self._say(event)
            self._ended.set()


def run_pipe(server: str | None, default: str, server_options: tuple[str, ...]) -> None:
    """Serve stdin and stdout until stdin ends and all its jobs have. Raises SegueError.

    The server is `server`; without one, that at `default` if it is there, else one of our own.
    """
    with ExitStack() as stack:
        url, check = _server(server, default, server_options, stack)
        asyncio.run(_serve(url, check))


def _server(
    server: str | None, default: str, options: tuple[str, ...], stack: ExitStack
) -> tuple[str, Callable[[], None]]:
    try:
        asyncio.run(_find(server or default))
    except SegueError:
        if server is not None:
            raise
        pair = Pair(port=0, osc_port=None, server_options=options, tell=_to_stderr)
        return stack.enter_context(pair).url, pair.check
    return server or default, lambda: None


async def _find(url: str) -> None:
    client = ServerClient(url, lambda event: None, tuple)
    try:
        await client.health()
    finally:
        await client.close()


async def _serve(url: str, check: Callable[[], None]) -> None:
    loop, stop, broken = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def on_broken() -> None:
        for each in (broken, stop):
            loop.call_soon_threadsafe(each.set)

    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # on Windows
            loop.add_signal_handler(number, stop.set)
    writer = Writer(partial(os.write, sys.stdout.fileno()), on_broken)
    pipe = PipeRun(url, writer.say, check)
    Thread(target=_read_all, args=(pipe, writer, loop), daemon=True).start()
    try:
        await pipe.run(stop)
        if stop.is_set():
            raise SegueError(Code.INTERRUPTED, NOBODY if broken.is_set() else STOPPED)
    except SegueError as error:
        pipe.fail(error)
        raise
    finally:
        await asyncio.to_thread(writer.close, STOP_SECONDS if stop.is_set() else None)


def _read_all(pipe: PipeRun, writer: Writer, loop: asyncio.AbstractEventLoop) -> None:
    base = Path.cwd()

    def take(line: bytes | None) -> None:
        writer.wait_for_room()
        found = read_line(line, base)
        if isinstance(found, Failure):
            writer.say(found)
        elif found is not None:
            put(found)

    def put(command: Command | None) -> None:
        asyncio.run_coroutine_threadsafe(pipe.put(command), loop).result()

    read_lines(sys.stdin.fileno(), take)
    put(None)


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
