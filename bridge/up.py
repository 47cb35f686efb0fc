"""`segue up`: server and bridge as child processes, kept alive together and gone together."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from types import TracebackType
from typing import IO

from segue.presets.vocabulary import Code, SegueError

START_SECONDS = 60.0  # a cold disk may need long; a warm one needs a second or two
STOP_SECONDS = 10.0
POLL_SECONDS = 0.2  # a blocking wait would keep Ctrl-C from being seen on Windows
MAX_UNREAD_LINES = 1000  # a child that talks faster than this is read waits
RESTART_SECONDS = 3.0  # at least, from one start of a child to the next
STEADY_SECONDS = 60.0  # having lived so long it was well: what kills it then is something new
MAX_DEATHS = 5  # in a row; then it is left alone

SERVER_READY = re.compile(r"http://\S+:(\d+)")
BRIDGE_READY = re.compile(r"udp://\S+?:(\d+)")


class Restarts:
    """When a child that has died may start again; time is passed in."""

    def __init__(self) -> None:
        self._started = 0.0
        self._deaths = 0
        self._again_at: float | None = None

    def started(self, now: float) -> None:
        """It lives from now on."""
        self._started, self._again_at = now, None

    def died(self, now: float) -> bool:
        """It has ended; whether it will be `due` once more."""
        steady = now - self._started >= STEADY_SECONDS
        self._deaths = 1 if steady else self._deaths + 1
        if self._deaths < MAX_DEATHS:
            self._again_at = max(now, self._started + RESTART_SECONDS)
        return self._again_at is not None

    def due(self, now: float) -> bool:
        """Whether it is to be started now."""
        return self._again_at is not None and now >= self._again_at


class Pair:
    """Server and bridge as a context: both ready inside, both gone after it.

    Port 0 takes any free one; `url` and `osc_port` say which it became. With None in place of
    the bridge's port the server is alone. What the children write to stderr goes to `log` (or to
    ours), what they print goes to `tell`. With `spool` a third child serves the user's folder of
    orders, for scripts in DAWs that have no sockets. What dies, `watch` starts again where it was.
    """

    def __init__(
        self,
        *,
        port: int,
        osc_port: int | None,
        server_options: tuple[str, ...] = (),
        bridge_options: tuple[str, ...] = (),
        log: IO[str] | None = None,
        tell: Callable[[str], None] = print,
        spool: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ports, self._spool = (port, osc_port), spool
        self._server_options, self._bridge_options = server_options, bridge_options
        self._log, self._tell, self._clock = log, tell, clock
        self._children: dict[str, subprocess.Popen[str]] = {}
        self._commands: dict[str, tuple[str, ...]] = {}  # to start a child again
        self._restarts: dict[str, Restarts] = {}
        self._lines: Queue[tuple[str, str | None]] = Queue(MAX_UNREAD_LINES)
        self.url = ""
        self.osc_port = 0

    def __enter__(self) -> Pair:
        port, osc_port = self._ports
        try:
            self._start("server", self._serve(port))
            ready = self._ready("server", SERVER_READY)
            self.url, self._commands["server"] = ready[0], self._serve(int(ready[1]))
            if osc_port is not None:
                self._start("bridge", self._bridge(osc_port))
                self.osc_port = int(self._ready("bridge", BRIDGE_READY)[1])
                self._commands["bridge"] = self._bridge(self.osc_port)
                if self._spool:
                    self._start("spool", ("spool", "--osc-port", str(self.osc_port)))
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def watch(self) -> SegueError:
        """Wait until server or bridge can't be kept alive; the error says which.

        They go on without a spool.
        """
        while True:
            name, line = self._next()
            if line is not None:
                self._tell(line)
                continue
            ended = self._ended(name)
            if self._restarts[name].died(self._clock()):
                self._tell(f"{ended.text}; it is started again")
            elif name == "spool":
                again = f"segue spool --osc-port {self.osc_port}"
                without = f"scripts that need it get no answers until you start `{again}`"
                self._tell(f"{ended.text}; {without}")
            else:
                return ended

    def check(self) -> None:
        """Raise the error that says which child is gone, if one is; does not wait."""
        for name, child in self._children.items():
            if child.poll() is not None:
                raise self._ended(name)

    def _serve(self, port: int) -> tuple[str, ...]:
        return ("serve", "--port", str(port), *self._server_options)

    def _bridge(self, osc_port: int) -> tuple[str, ...]:
        where = ("--server", self.url, "--osc-port", str(osc_port))
        return ("bridge", *where, *self._bridge_options)

    def _start(self, name: str, arguments: tuple[str, ...]) -> None:
        self._commands[name] = arguments
        self._restarts.setdefault(name, Restarts()).started(self._clock())
        # -P keeps files of the folder we happen to be in from shadowing modules.
        command = [sys.executable, "-P", "-u", "-m", "segue.bridge.cli.main", *arguments]
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        self._children[name] = child
        Thread(target=self._listen, args=(name, child), daemon=True).start()

    def _listen(self, name: str, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        with child.stdout:
            for line in child.stdout:
                self._lines.put((name, line.rstrip()))
        self._lines.put((name, None))

    def _ready(self, name: str, pattern: re.Pattern[str]) -> re.Match[str]:
        deadline = self._clock() + START_SECONDS
        while True:
            said_by, line = self._next(deadline)
            if line is None:
                raise self._ended(said_by)
            found = pattern.search(line)
            if found and said_by == name:
                return found
            self._tell(line)

    def _next(self, deadline: float | None = None) -> tuple[str, str | None]:
        while True:
            for name, lives in self._restarts.items():
                if lives.due(self._clock()):
                    self._start(name, self._commands[name])
            try:
                return self._lines.get(timeout=POLL_SECONDS)
            except Empty:
                if deadline is not None and self._clock() > deadline:
                    text = f"not ready within {START_SECONDS:g} s: try again, or run `segue doctor`"
                    raise SegueError(Code.SERVER_UNREACHABLE, text) from None

    def _ended(self, name: str) -> SegueError:
        code = self._children[name].wait(STOP_SECONDS)
        text = f"the {name} has ended (exit code {code}); its own words above say why"
        return SegueError(Code.SERVER_UNREACHABLE, text)

    def _stop(self) -> None:
        for child in reversed(self._children.values()):
            child.terminate()
        for child in self._children.values():
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def run_up(port: int, osc_port: int, model: str, data: Path, *, mdns: bool = False) -> None:
    """Run both until Ctrl-C or SIGTERM; SegueError if one of them ends again and again."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    pair = Pair(
        port=port,
        osc_port=osc_port,
        server_options=("--model", model, "--data", str(data)),
        bridge_options=("--mdns",) if mdns else (),
        spool=True,
    )
    try:
        with pair:
            address = f"OSC on udp 127.0.0.1:{pair.osc_port}, server {pair.url}"
            print(f"segue is up: {address}. Ctrl-C stops both.", flush=True)
            raise pair.watch()
    except KeyboardInterrupt:
        print("segue is down.", flush=True)
