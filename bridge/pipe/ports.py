"""stdin and stdout of `segue pipe`, each in a thread of its own, so that neither waits for jobs."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Condition, Thread

from segue.bridge.pipe.session import Lines
from segue.presets.vocabulary import Event, Progress

READ_BYTES = 2**16
MAX_UNREAD = 10_000  # events; with so many, reading waits until somebody takes some


class Writer:
    """Writes events as lines; of each job's unread progress the newest is kept.

    `write` takes some of the bytes, says how many, and may wait. `on_broken` is called, in the
    writing thread, when it raises OSError: nobody reads any more.
    """

    def __init__(self, write: Callable[[bytes], int], on_broken: Callable[[], None]) -> None:
        self._write, self._on_broken = write, on_broken
        self._unread: dict[object, Event] = {}
        self._changed = Condition()
        self._closing = False
        self._thread = Thread(target=self._write_all, daemon=True)
        self._thread.start()

    def say(self, event: Event) -> None:
        """Have it written; does not wait."""
        with self._changed:
            self._unread.pop(event.id, None)
            self._unread[event.id if isinstance(event, Progress) else object()] = event
            self._changed.notify_all()

    def wait_for_room(self) -> None:
        """Return once fewer than MAX_UNREAD events are unread."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._unread) < MAX_UNREAD)

    def close(self, patience_seconds: float | None = None) -> None:
        """Return once all is written, or nobody reads, or they take longer than that."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(patience_seconds)

    def _write_all(self) -> None:
        while (event := self._next()) is not None:
            line = f"{event.model_dump_json()}\n".encode()
            try:
                while line:
                    line = line[self._write(line) :]
            except OSError:
                self._on_broken()
                return

    def _next(self) -> Event | None:
        with self._changed:
            self._changed.wait_for(lambda: self._unread or self._closing)
            if not self._unread:
                return None
            event = self._unread.pop(next(iter(self._unread)))
            self._changed.notify_all()
            return event


def read_lines(descriptor: int, take: Callable[[bytes | None], None]) -> None:
    """Pass every line on, until there are no more; see `Lines`."""
    lines = Lines()
    while data := os.read(descriptor, READ_BYTES):
        for line in lines.feed(data):
            take(line)
    for line in lines.end():
        take(line)
