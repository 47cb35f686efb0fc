"""Where the cost of one run goes, read off what an engine calls: no clock inside the engine.

A run is cut where it first calls the network to search with (optimizing begins), the network to
decode the noise with, the decoder, and its listener. Every moment between belongs to one part, so
the parts add up to the whole.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from segue.presets.vocabulary import Progress, Request, State
from segue.server.ditto.network import Network
from segue.server.engine import DECODED_SHARE, Engine

READ, OPTIMIZE, DECODE = "read", "optimize", "decode network"
ONNX, SEAM, WRITE = "ONNX decode", "seam", "write"
PARTS = (READ, OPTIMIZE, DECODE, ONNX, SEAM, WRITE)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a run cost by part and by iteration, in the unit of its counter (seconds or FLOPs).

    An iteration lasts from one report to the next; the first from the network's first call on.
    """

    parts: Mapping[str, float]
    iterations: tuple[float, ...]
    music_seconds: float = 0.0

    @property
    def whole(self) -> float:
        """All parts together."""
        return sum(self.parts.values())

    def over(self, iterations: int) -> Cost:
        """What so many iterations would have cost: the median of those there were, and the rest.

        Raises statistics.StatisticsError when there were none.
        """
        each = statistics.median(self.iterations)
        parts = {**self.parts, OPTIMIZE: each * iterations}
        return replace(self, parts=parts, iterations=(each,) * iterations)


@dataclass
class Recorder:
    """Notes when each part of a run begins; `now` is a clock, or any counter that only rises."""

    now: Callable[[], float]
    begun: list[tuple[str, float]] = field(default_factory=list)
    iterations: list[float] = field(default_factory=list)
    _since: float = 0.0

    def begin(self, part: str) -> None:
        """A part begins, unless it already runs."""
        if self.begun and self.begun[-1][0] == part:
            return
        self._since = self.now()
        self.begun.append((part, self._since))

    def hear(self, progress: Progress) -> None:
        """What the engine reports: an iteration done, the last window decoded, the clip whole."""
        if progress.stage == State.OPTIMIZING:
            if self.begun and self.begun[-1][0] == DECODE:
                return  # the last iteration, told again while the clip is polished
            at = self.now()
            self.iterations.append(at - self._since)
            self._since = at
        else:
            self.begin(WRITE if progress.fraction >= DECODED_SHARE else SEAM)

    def cost(self, music_seconds: float = 0.0) -> Cost:
        """The parts up to now."""
        parts = dict.fromkeys(PARTS, 0.0)
        ends = [at for _, at in self.begun[1:]] + [self.now()]
        for (part, start), end in zip(self.begun, ends, strict=True):
            parts[part] += end - start
        iterations = tuple(self.iterations)
        return Cost(parts=parts, iterations=iterations, music_seconds=music_seconds)


class Watched:
    """A network whose calls begin a part."""

    def __init__(self, network: Network, part: str, recorder: Recorder) -> None:
        self.network, self.config = network, network.config
        self._part, self._recorder = part, recorder

    def __call__(
        self, x_t: Tensor, t: Tensor, tags: Tensor | None = None, w: Tensor | None = None
    ) -> Tensor:
        """The network's answer."""
        self._recorder.begin(self._part)
        return self.network(x_t, t, tags, w)


def watched(engine: Engine, recorder: Recorder) -> Engine:
    """The same engine, its networks and its decoder telling a recorder when they are called."""

    def decode(mel: Tensor) -> np.ndarray:
        recorder.begin(ONNX)
        audio = engine.decode(mel)
        recorder.begin(SEAM)
        return audio

    search: Any = Watched(engine.search or engine.network, OPTIMIZE, recorder)
    network = Watched(engine.network, DECODE, recorder)
    return replace(engine, network=network, search=search, decode=decode)


def measure(engine: Engine, request: Request, path: Path, now: Callable[[], float]) -> Cost:
    """Run a request and say what it cost. Raises SegueError as the engine does."""
    recorder = Recorder(now)
    heard = watched(engine, recorder)
    recorder.begin(READ)
    result = heard.run(request, path, recorder.hear)
    return recorder.cost(result.new_samples / result.sample_rate)
