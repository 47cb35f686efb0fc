"""When messages came, by what rtmidi tells."""

from __future__ import annotations

import pytest

from segue.bridge.midi import inlet
from segue.bridge.midi.inlet import Inlet


class Queue:
    """A queue of rtmidi's, filled by a test, and a clock."""

    def __init__(self) -> None:
        self.now, self.lost = 10.0, 0
        self.waiting: list[tuple[list[int], float]] = []
        self.came: list[tuple[float, bytes]] = []
        self.inlet = Inlet(self, self._arrived, self._overflowed, lambda: self.now)

    def get_message(self) -> tuple[list[int], float] | None:
        """As rtmidi's: bytes and the seconds since the message before."""
        return self.waiting.pop(0) if self.waiting else None

    def times(self, now: float, *passed: float) -> list[float]:
        """A look at messages that came so long after one another."""
        self.now, self.came = now, []
        self.waiting += [([i], seconds) for i, seconds in enumerate(passed)]
        self.inlet.empty()
        assert [data for _, data in self.came] == [bytes([i]) for i in range(len(self.came))]
        return [at for at, _ in self.came]

    def _arrived(self, at: float, data: bytes) -> None:
        self.came.append((at, data))

    def _overflowed(self) -> None:
        self.lost += 1


def test_times_are_sums() -> None:
    """However late a look is; the first message came between two looks."""
    queue = Queue()
    assert queue.times(11.0) == []
    assert queue.times(12.0, 0.0, 0.125, 0.25) == [11.5, 11.625, 11.875]
    assert queue.times(14.0, 0.5, 0.25) == [12.375, 12.625]


def test_times_that_cannot_be() -> None:
    """Not before a look that saw no message, nor after this one; from there on sums count again."""
    queue = Queue()
    assert queue.times(11.0, 0.0) == [10.5]
    assert queue.times(12.0, 0.25, 0.25) == [11.0, 11.25]
    assert queue.times(12.5, 3.0) == [12.5]
    assert queue.times(13.0, 0.25) == [12.75]


def test_a_full_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told, once a look; until a look sees it empty, times can only be sums."""
    monkeypatch.setattr(inlet, "MAX_WAITING", 3)
    queue = Queue()
    assert queue.times(11.0, 0.0, 0.25, 0.25, 0.25) == [10.5, 10.75]
    assert queue.lost == 1
    queue.now, queue.came = 12.0, []
    queue.inlet.empty()
    assert [at for at, _ in queue.came] == [11.0, 11.25]
    assert queue.lost == 2
    assert queue.times(13.0) == []
    assert queue.times(14.0, 0.25) == [13.0]
    assert queue.lost == 2
