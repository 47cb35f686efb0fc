"""A DAW as the bridge sees it, and a bridge at work in a thread of its own."""

from __future__ import annotations

import asyncio
import queue
import socket
import threading
from types import TracebackType

from segue.bridge.app import Bridge
from segue.bridge.osc.codec import MAX_DATAGRAM_BYTES, Message, Value, decode, encode

DEADLINE_SECONDS = 20.0  # for real threads and processes; never reached when all is well


class Daw:
    """A UDP client of the bridge on `port`, as a context."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(("127.0.0.1", port))
        self.socket.settimeout(DEADLINE_SECONDS)

    def __enter__(self) -> Daw:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(self, address: str, *arguments: tuple[str, Value]) -> None:
        """One message to the bridge."""
        self.socket.send(encode(address, *arguments))

    def hear(self) -> Message:
        """The next message from the bridge."""
        (message,) = decode(self.socket.recv(MAX_DATAGRAM_BYTES))
        return message

    def ask(self) -> Message:
        """What the bridge answers to a hello, if nothing else is on its way."""
        self.send("/segue/hello", ("s", "test"))
        return self.hear()

    def outpaint(self, job_id: str, *rest: tuple[str, Value]) -> None:
        """Ask for six seconds after four of a file that nobody opens."""
        numbers: list[tuple[str, Value]] = [("d", 1.5), ("d", 4.0), ("d", 6.0)]
        self.send("/segue/outpaint", ("s", job_id), ("s", "/take.wav"), *numbers, *rest)

    def until(self, address: str) -> list[Message]:
        """Everything up to the first message at an address."""
        heard = [self.hear()]
        while heard[-1].address != address:
            heard.append(self.hear())
        return heard


class Running:
    """A bridge on a free port, with `url` as its server, as a context."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._ports: queue.Queue[int] = queue.Queue()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    async def _main(self) -> None:
        self.bridge = Bridge(self._url)
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await self.bridge.run(0, self._ports.put, self._stop)

    def hang_up(self) -> None:
        """Break every TCP connection; the bridge goes on."""
        for each in list(self.bridge.stream_port.connections.values()):
            self._loop.call_soon_threadsafe(each.close)

    def __enter__(self) -> Running:
        self._thread.start()
        self.port = self._ports.get(timeout=DEADLINE_SECONDS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(DEADLINE_SECONDS)
        assert not self._thread.is_alive()
