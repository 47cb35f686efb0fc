"""How many threads the search runs on, on a CPU: as many as are quickest just now.

After every layer all threads wait for the last of them. Alone on the machine many are quicker;
where another program, such as a DAW, holds one of the cores, they all wait for the thread that
has none, and fewer are. No system says which it is, so now and then another count is tried.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from statistics import median

import torch

HEARD = 3  # calls whose median is what a count costs
TRIED = 2  # calls of a trial; what the last of them took is what counts
PATIENCE = 100  # times what a trial lost pass until the next
SOONEST = 0.5  # seconds between trials at least
GAIN = 0.9  # another count is taken when it costs no more than this share


class Crew:
    """A count of threads, one of `most` and its halves, and what a call costs on each of them.

    `use` sets the count. Costs of different kinds of work do not compare: another begins anew.
    """

    def __init__(
        self,
        most: int | None = None,
        clock: Callable[[], float] = time.perf_counter,
        use: Callable[[int], None] = torch.set_num_threads,
    ) -> None:
        self._clock, self._use = clock, use
        self.count = self._home = most or torch.get_num_threads()  # home: that before a trial
        self._used = 0  # what was set last; setting it again has PyTorch forget its kernels
        self.counts = [self.count >> i for i in range(self.count.bit_length())]
        self._costs: dict[int, deque[float]] = {}
        self._work: Hashable = None
        self._heard: dict[int, float] = {}  # when each count was last in use
        self._left = 0  # calls of a trial
        self._due = 0.0

    @contextmanager
    def at(self, work: Hashable) -> Iterator[None]:
        """Run a call on as many threads as seem best, and learn from it."""
        if work != self._work:
            self._work, self._left = work, 0
            self._costs.clear()
            self.count = self._home
        if self.count != self._used:
            self._use(self.count)
            self._used = self.count
        begun = self._clock()
        yield
        now = self._clock()
        self._costs.setdefault(self.count, deque(maxlen=HEARD)).append(now - begun)
        self._heard[self.count] = now
        if self._left:
            self._go_on(now)
        elif not self._moved(now) and now >= self._due and len(self._costs[self.count]) == HEARD:
            self._try()

    def _cost(self, count: int) -> float:
        return median(self._costs[count])

    def _moved(self, now: float) -> bool:
        """Take the best count of those known, if it is another."""
        best = min(self._costs, key=self._cost)
        if self._cost(best) > GAIN * self._cost(self._home):
            return False
        self.count = self._home = best
        self._due = now + SOONEST
        return True

    def _try(self) -> None:
        """Begin a trial of a neighbour, the one that was not heard of for longest."""
        place = self.counts.index(self._home)
        others = [self.counts[i] for i in (place + 1, place - 1) if 0 <= i < len(self.counts)]
        if others:
            self.count = min(others, key=lambda count: self._heard.get(count, -math.inf))
            self._left = TRIED

    def _go_on(self, now: float) -> None:
        """Go on with a trial, and end it after its last call."""
        self._left -= 1
        if self._left:
            return
        tried, taken = self._costs[self.count], self._costs[self.count][-1]
        tried.clear()
        tried.append(taken)
        if not self._moved(now):
            lost = TRIED * max(0.0, taken - self._cost(self._home))
            self._due = now + max(SOONEST, PATIENCE * lost)
            self.count = self._home
