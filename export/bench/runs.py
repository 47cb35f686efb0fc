"""A request run again and again: the first run apart, then medians, spread and peak memory."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from segue.export.bench import machine
from segue.export.bench.tasks import iterating
from segue.export.bench.timing import OPTIMIZE, Cost, measure
from segue.presets.vocabulary import Request
from segue.server.engine import Engine


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to time. `timed` iterations are run where all would take too long; None: all."""

    task: str
    method: str
    engine: Engine
    request: Request
    timed: int | None = None

    @property
    def iterations(self) -> int:
        """K, as asked for."""
        assert self.request.settings.iterations, "the bench names K"
        return self.request.settings.iterations

    @property
    def shortened(self) -> Request:
        """The request as it is run."""
        return iterating(self.request, min(self.timed or self.iterations, self.iterations))

    @property
    def extrapolated(self) -> bool:
        """Whether fewer iterations are run than asked for."""
        return self.shortened != self.request


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a job cost: the first run, and those after it.

    Costs are those of all K iterations, extrapolated if the job says so; `raw` are as run.
    """

    job: Job
    first: Cost
    runs: tuple[Cost, ...]
    raw: tuple[Cost, ...]
    peak_mib: float | None

    @property
    def seconds(self) -> tuple[float, float, float]:
        """Median, least and most of a whole run."""
        wholes = [run.whole for run in self.runs]
        return statistics.median(wholes), min(wholes), max(wholes)

    def part(self, name: str) -> float:
        """A part's median seconds."""
        return statistics.median(run.parts[name] for run in self.runs)

    @property
    def per_second(self) -> float:
        """Iterations a second while optimizing."""
        return statistics.median(len(run.iterations) / run.parts[OPTIMIZE] for run in self.runs)

    @property
    def ratio(self) -> float:
        """Seconds of work for a second of music."""
        return self.seconds[0] / self.runs[0].music_seconds


def repeated(job: Job, repeat: int, path: Path, now: Callable[[], float]) -> Measured:
    """One run to warm up and `repeat` that count. Raises SegueError."""
    device = job.engine.torch_device

    def run() -> Cost:
        return measure(job.engine, job.shortened, path, now)

    def whole(cost: Cost) -> Cost:
        return cost.over(job.iterations) if job.extrapolated else cost

    first = run()
    machine.reset_peak(device)
    raw = tuple(run() for _ in range(repeat))
    return Measured(
        job=job,
        first=whole(first),
        runs=tuple(map(whole, raw)),
        raw=raw,
        peak_mib=machine.peak_mib(device),
    )
