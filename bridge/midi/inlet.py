"""MIDI messages out of rtmidi's own queues, by one thread of ours, and when each came.

rtmidi could call us instead, but over JACK from JACK's thread. JACK ends that where it is; if it
waits for Python's lock there, nobody ever gets the lock again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

MAX_WAITING = 65_536  # messages of a port; at 31,250 baud a second brings 1,042 notes
POLL_SECONDS = 0.004  # from one look at the queues to the next


class Inlet:
    """An open port of rtmidi's and its queue, and where its messages go.

    With each message rtmidi tells the seconds since the one before, by the system's clock; with
    the first, none. It came between the last look at an empty queue and now: the first in the
    middle, others at the sum of what was told, or at the nearer end where that lies outside, as
    it does after messages that were lost.
    """

    def __init__(
        self,
        midi: Any,
        arrived: Callable[[float, bytes], None],
        overflowed: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.midi = midi
        self._arrived, self._overflowed, self._clock = arrived, overflowed, clock
        self._at: float | None = None
        self._seen_empty = clock()

    def empty(self) -> None:
        """Hand on what is queued. A queue that was full has lost what came after."""
        began = self._clock()
        for _ in range(MAX_WAITING - 1):  # rtmidi keeps one place free
            message = self.midi.get_message()
            if message is None:
                self._seen_empty = began
                return
            numbers, passed = message
            early, late = self._seen_empty, self._clock()
            at = (early + late) / 2 if self._at is None else self._at + passed
            self._at = min(max(at, early), late)
            self._arrived(self._at, bytes(numbers))
        self._overflowed()


class Inlets:
    """The thread, and the inlets that it empties."""

    def __init__(self) -> None:
        self._open: list[Inlet] = []
        self._lock = threading.Lock()  # nothing may ask a port that is deleted
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="MIDI inlets", daemon=True)
        self._thread.start()

    def add(self, inlet: Inlet) -> None:
        """From now on it is emptied."""
        with self._lock:
            self._open.append(inlet)

    def remove(self, midi: Any) -> None:
        """From now on it is not, where it was."""
        with self._lock:
            self._open = [each for each in self._open if each.midi is not midi]

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._thread.join()

    def _run(self) -> None:
        while not self._closed:
            time.sleep(POLL_SECONDS)
            with self._lock:
                for inlet in self._open:
                    inlet.empty()
