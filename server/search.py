"""The search of one job: every gap filled, window by window, with progress and previews told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from segue.presets.vocabulary import Preview, Progress, Request, State
from segue.server.clip import Clip, Gap
from segue.server.ditto.canvas import Canvas
from segue.server.ditto.clap import ClapBackend
from segue.server.ditto.controls import intensity
from segue.server.ditto.optimize import OptStep
from segue.server.framing import Frames, canvas_of
from segue.server.painter import Due, Painter
from segue.server.render import Painted
from segue.server.wanted import Scene, Term, terms

OPTIMIZING_SHARE = 0.9  # of the progress bar
OPTIMIZING_TIME = 0.5  # of the time given, the rest is for polish, decoding and writing

OnProgress = Callable[[Progress], None]
Show = Callable[[list[Painted]], Preview | None]  # what there is so far


@dataclass(frozen=True)
class Searched:
    """A gap made, and the losses of each batch row."""

    made: Painted
    best: Tensor
    traces: list[tuple[float, ...]]


@dataclass(frozen=True)
class Task:
    """A gap to fill, and what is asked of it."""

    gap: Gap
    frames: Frames
    canvas: Canvas
    wanted: tuple[Term, ...]


@dataclass(frozen=True, kw_only=True)
class Search:
    """`started`: when the job was, by `clock`. `on_progress` hears of every iteration."""

    request: Request
    clip: Clip
    painter: Painter
    started: float
    clock: Callable[[], float]
    on_progress: OnProgress
    show: Show
    clap: ClapBackend | None

    def run(self) -> list[Searched]:
        """Fill the gaps, in order."""
        tasks = [self._task(gap) for gap in self.clip.gaps]
        windows = sum(len(self._starts(task)) for task in tasks)
        done, searched = 0, list[Searched]()
        for task in tasks:
            best, traces = torch.zeros(self.request.settings.seeds), []
            starts = self._starts(task)
            for start in starts:
                optimized = self.painter.window(
                    task.canvas,
                    start,
                    task.wanted,
                    self._due(done + 1, windows),
                    self._reporter(searched, task, start, done, windows),
                )
                best = best + optimized.best.cpu() / len(starts)
                traces.append(optimized.losses)
                done += 1
            searched.append(Searched(Painted(task.gap, task.frames, task.canvas), best, traces))
        return searched

    def _task(self, gap: Gap) -> Task:
        painter, rate = self.painter, self.clip.wave.sample_rate
        frames = Frames.of(gap, rate, self._overlap_seconds, painter.noise.shape[1], painter.mel)
        seeds = self.request.settings.seeds
        canvas = canvas_of(self.clip, gap, frames, painter.mel, painter.scale, seeds)
        scene = Scene(
            request=self.request,
            clip=self.clip,
            gap=gap,
            frames=frames.new,
            level_db=self._level(canvas),
            mel=painter.mel,
            clap=self.clap,
        )
        return Task(gap, frames, canvas, terms(scene))

    @property
    def _overlap_seconds(self) -> float:
        return getattr(self.request.place, "overlap_seconds", 1.0)

    def _starts(self, task: Task) -> list[int]:
        overlap = self.painter.mel.frames(self._overlap_seconds)
        return task.canvas.starts(self.painter.noise.shape[1], overlap)

    def _level(self, canvas: Canvas) -> float | None:
        """Mean level of the known frames."""
        if not canvas.pinned.any():
            return None
        known = self.painter.scale.restore(canvas.mel[:1, :, canvas.pinned])
        return float(intensity.feature(known, self.painter.mel).mean())

    def _due(self, window: int, windows: int) -> Due:
        """Of the time from now until a window's share of all the time is up."""
        within = self.request.settings.within_seconds
        if within is None:
            return lambda share: False
        begun = self.clock()
        left = self.started + within * OPTIMIZING_TIME * window / windows - begun
        return lambda share: self.clock() >= begun + share * left

    def _reporter(
        self, searched: list[Searched], task: Task, start: int, window: int, windows: int
    ) -> Callable[[OptStep], None]:
        def report(step: OptStep) -> None:
            done = (window + (step.iteration + 1) / step.iterations) / windows
            self.on_progress(
                Progress(
                    id=self.request.id,
                    fraction=done * OPTIMIZING_SHARE,
                    stage=State.OPTIMIZING,
                    loss=step.loss,
                    preview=self._preview(searched, task, start),
                )
            )

        return report

    def _preview(self, searched: list[Searched], task: Task, start: int) -> Preview | None:
        """What is there, with the window that starts there as it was last heard."""
        if self.painter.heard is None:
            return None
        drawn = replace(task.canvas, mel=task.canvas.drawn(self.painter.heard(), start))
        return self.show([*(each.made for each in searched), Painted(task.gap, task.frames, drawn)])
