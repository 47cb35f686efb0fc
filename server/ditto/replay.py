"""Iterations on a CUDA device as graphs: recorded once, then replayed.

An iteration is a thousand small kernels, and launching each takes longer than running it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch

EAGER = 4  # calls that set up what a recording can't: caches, Adam's state; whole turns of two

Step = Callable[[Any], None]  # of an objective
Recorder = Callable[[Callable[[], None]], Callable[[], None]]  # runs it once: what runs it again

log = logging.getLogger(__name__)


class Replay:
    """A step that is recorded and replayed for each objective; it must not branch on values.

    An objective whose calls differ in turn says how many `turns` there are: each is recorded.
    """

    def __init__(self, step: Step, record: Recorder | None = None) -> None:
        self._step, self._record = step, record or cuda_graph
        self._objective: object = None
        self._calls, self._replays = 0, list[Callable[[], None]]()

    def __call__(self, objective: Any) -> None:
        """The step, whichever way."""
        if objective is not self._objective:
            self._objective, self._calls, self._replays = objective, 0, []
        turns = getattr(objective, "turns", 1)
        turn = self._calls - EAGER
        self._calls += 1
        if turn < 0:
            self._step(objective)
        elif turn < turns:
            self._replays.append(self._record(lambda: self._step(objective)))
        else:
            self._replays[turn % turns]()


def cuda_graph(run: Callable[[], None]) -> Callable[[], None]:
    """Record what `run` does and do it; where that can't be recorded, `run` itself is returned."""
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            run()
    except RuntimeError as error:
        log.warning("iterations are launched one by one, they can't be recorded: %s", error)
        run()
        return run
    graph.replay()
    return graph.replay
