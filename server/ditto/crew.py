"""How many threads the search runs on, on a CPU: as many as are quickest just now.

After every layer all threads wait for the last of them. Alone on the machine many are quicker;
where another program, such as a DAW, holds one of the cores, they all wait for the thread that
has none, and fewer are. No system says which it is, so now and then another count is tried.

Sums on another count of threads are rounded otherwise, and hundreds of steps later that is another
clip. So what a trial computes is thrown away: as long as a count stays the best, the same request
gives the same samples.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Hashable
from statistics import median
from typing import TypeVar

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

Answer = TypeVar("Answer")

HEARD = 3  # calls whose median is what a count costs
TRIED = 2  # calls of a trial; what the last of them took is what counts
PATIENCE = 50  # times what a trial took pass until the next
SOONEST = 0.5  # seconds between trials at least
GAIN = 0.8  # another count is taken when it costs no more than this share


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
        self.count = most or torch.get_num_threads()
        self._used = 0  # what was set last; setting it again has PyTorch forget its kernels
        self.counts = [self.count >> i for i in range(self.count.bit_length())]
        self._costs: dict[int, deque[float]] = {}
        self._work: Hashable = None
        self._heard: dict[int, float] = {}  # when each count was last in use
        self._due = 0.0

    def run(self, work: Hashable, call: Callable[[], Answer]) -> Answer:
        """Call, on as many threads as seem best; in a trial on others before, to no effect."""
        if work != self._work:
            self._work = work
            self._costs.clear()
        known = self._costs.get(self.count, ())
        if len(known) == HEARD and not self._moved() and self._clock() >= self._due:
            self._try(call)
        return self._timed(self.count, call)

    def _timed(self, count: int, call: Callable[[], Answer]) -> Answer:
        if count != self._used:
            self._use(count)
            self._used = count
        begun = self._clock()
        answer = call()
        self._heard[count] = self._clock()
        taken = self._heard[count] - begun
        self._costs.setdefault(count, deque(maxlen=HEARD)).append(taken)
        return answer

    def _cost(self, count: int) -> float:
        return median(self._costs[count])

    def _moved(self) -> bool:
        """Take the best count of those known, if it is another."""
        best = min(self._costs, key=self._cost)
        if self._cost(best) > GAIN * self._cost(self.count):
            return False
        self.count = best
        self._due = self._clock() + SOONEST
        return True

    def _try(self, call: Callable[[], object]) -> None:
        """Try a neighbour, the one that was not heard of for longest."""
        place = self.counts.index(self.count)
        others = [self.counts[i] for i in (place + 1, place - 1) if 0 <= i < len(self.counts)]
        if not others:
            return
        tried = min(others, key=lambda count: self._heard.get(count, -math.inf))
        begun = self._clock()
        with saved_tensors_hooks(_as_it_is, _as_it_is):  # a checkpoint around it counts none
            for _ in range(TRIED):
                self._costs.pop(tried, None)
                self._timed(tried, call)
        if not self._moved():
            now = self._clock()
            self._due = now + max(SOONEST, PATIENCE * (now - begun))


def _as_it_is(saved: Tensor) -> Tensor:
    return saved
