"""`segue evaluate controls`: what each control reaches on finished audio, in one table.

Every figure stands beside those of uncontrolled samples or simpler means on the same targets,
and beside the FAD of the same clips and of as many uncontrolled ones of the same length.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from segue.export.evaluation import control_targets as targets
from segue.export.evaluation.control_clips import OPTIMIZED, SHIPPED, UNCONTROLLED, Studio
from segue.export.evaluation.control_figures import (
    FIGURES,
    Clip,
    Ears,
    flux_at_seams,
    level_steps,
)
from segue.export.evaluation.control_material import gather
from segue.export.evaluation.control_sheet import Sheet
from segue.export.evaluation.control_table import (
    COLUMNS,
    LACKS,
    draw_controls,
    mean_of,
    required,
    share,
)
from segue.export.evaluation.control_targets import TASKS, Material, Target
from segue.export.evaluation.fad import fad
from segue.export.evaluation.measure import Bench, Measured, flat
from segue.export.evaluation.real_audio import choose, tracks
from segue.export.evaluation.tables import Cell, Table
from segue.presets.vocabulary import Code, SegueError, Settings
from segue.server.asked import fitting_iterations
from segue.server.ditto.mel import log_mel
from segue.server.ditto.weights import sha256


@dataclass(frozen=True, kw_only=True)
class ControlsConfig:
    """How much is made and measured: `n` targets a task, `ditto_n` of them by plain DITTO.

    `reference` clips of real music a set; `iterations` instead of each task's own K.
    """

    n: int = 64
    ditto_n: int = 4
    tasks: tuple[str, ...] = tuple(TASKS)
    reference: int = 240
    seed: int = 0
    iterations: int | None = None

    def __post_init__(self) -> None:
        for task in self.tasks:
            if task not in TASKS:
                text = f"no task {task!r}; there are: {', '.join(TASKS)}"
                raise SegueError(Code.BAD_REQUEST, text)
        if min(self.n, self.reference) < 2 or self.ditto_n < 0:
            text = "n must be at least 2: an interval needs a spread; DITTO's may be 0"
            raise SegueError(Code.BAD_REQUEST, text)

    @classmethod
    def sized(
        cls, n: int | None, ditto_n: int | None, tasks: tuple[str, ...], seed: int, *, quick: bool
    ) -> ControlsConfig:
        """The table's sizes, or small ones without DITTO."""
        return cls(
            n=n or (4 if quick else cls.n),
            ditto_n=(0 if quick else cls.ditto_n) if ditto_n is None else ditto_n,
            tasks=tasks or tuple(TASKS),
            seed=seed,
            reference=32 if quick else cls.reference,
        )

    def settings(self, task: str) -> Settings:
        """How our clips of a task are made; T = 2."""
        given = self.iterations if task != "uncontrolled" else None
        return Settings(iterations=given or TASKS[task].iterations, decode_steps=2)


@dataclass(frozen=True, kw_only=True)
class Row:
    """The clips of one task by one method that are there: targets, sheets and files."""

    task: str
    method: str
    found: tuple[tuple[Target, Sheet, Path], ...]

    def clips(self) -> Iterator[Clip]:
        """Read one after the other."""
        return (Clip.read(*each) for each in self.found)

    @property
    def samples(self) -> int:
        """How much new music each clip has."""
        return self.found[0][1].last - self.found[0][1].first


@dataclass
class ControlsEvaluation:
    """Makes the clips of `config.tasks`, then one table of all clips that are there."""

    studio: Studio
    bench: Bench
    data: Path
    out: Path
    config: ControlsConfig
    ears: Ears

    def make(self) -> None:
        """Make what is not there yet: uncontrolled samples first, they stand beside the rest."""
        for task in dict.fromkeys(("uncontrolled", *self.config.tasks)):
            for method in TASKS[task].methods:
                for number in range(self._count(method)):
                    home, target, settings = self._asked(task, method, number)
                    self.studio.make(home, method, target, settings)
                self.bench.say(f"{task}, {method}: {self._count(method)} clips are there")

    def run(self) -> Iterator[Table]:
        """The table of all clips with its picture, and that of what must be shown."""
        table = self.table()
        table.write(self.out)
        draw_controls(table, self.out / "controls.png")
        yield table
        last = required(table)
        last.write(self.out)
        yield last

    def table(self) -> Table:
        """A row a figure of each task and method of which clips are there."""
        rows: list[tuple[Cell, ...]] = []
        machines: dict[str, None] = {}
        for name, task in TASKS.items():
            for method in task.methods:
                row = self._row(name, method)
                if row.found:
                    machines |= dict.fromkeys(sheet.machine for _, sheet, _ in row.found)
                    rows += self._measured(row)
        c = self.config
        note = (
            f"{self.bench.embedding}; seed {c.seed}; curves around {self._material.level_db:.1f}"
            f" dB, the mean of training music; {len(self._material.stretches)} held-out regions;"
            f" T = 2, DITTO's M = T = 20; re-noising holds the overlap by construction;"
            f" made on {' and '.join(machines)}"
        )
        title = "Controls on finished audio, means and 95 % intervals"
        return Table(name="controls", title=title, note=note, columns=COLUMNS, rows=tuple(rows))

    def _count(self, method: str) -> int:
        if method != "DITTO":
            return self.config.n
        return min(self.config.ditto_n, self.config.n) if self.studio.base else 0

    def _asked(self, task: str, method: str, number: int) -> tuple[str, Target, Settings]:
        """Whose clip it is, its target and settings; uncontrolled ones are the same everywhere."""
        if method == "uncontrolled":
            return "uncontrolled", targets.nothing(number), UNCONTROLLED
        target = TASKS[task].target(self._material, number)
        return task, target, self.config.settings(task)

    def _row(self, task: str, method: str) -> Row:
        found = []
        for number in range(self._count(method)):
            home, target, settings = self._asked(task, method, number)
            sheet = self.studio.found(home, method, target, settings)
            if sheet is not None:
                wanted = TASKS[task].target(self._material, number)
                found.append((wanted, sheet, self.studio.wav(home, method, number)))
        return Row(task=task, method=method, found=tuple(found))

    def _measured(self, row: Row) -> list[tuple[Cell, ...]]:
        """The table's rows, one a figure; what they share stands in the first."""
        task = TASKS[row.task]
        values: dict[str, list[float]] = {name: [] for name in task.figures}
        ratios: list[float] = []
        steps: list[float] = []
        for clip in row.clips():
            for name in values:
                value = FIGURES[name].of(clip, self.ears)
                values[name] += [] if value is None else [value]
            ratios += flux_at_seams(clip)
            steps += level_steps(clip)
        seconds = float(np.median([sheet.seconds for _, sheet, _ in row.found]))
        of_music = row.samples / self.bench.mel.sample_rate
        shared: tuple[Cell, ...] = (
            *((share(ratios), *mean_of(steps), share(steps)) if ratios else (LACKS,) * 4),
            *self._distances(row),
            *((seconds, seconds / of_music) if row.method != "original" else (LACKS, LACKS)),
        )
        K: Cell = LACKS
        if row.method in OPTIMIZED:
            K = self.config.settings(row.task).iterations or LACKS
        elif row.method == SHIPPED and task.figures:
            kinds = {control.kind for control in row.found[0][0].controls}
            K = fitting_iterations(kinds, polished=self.studio.ours.engine.base is not None)
        start: tuple[Cell, ...] = (row.task, row.method, K, len(row.found))
        papers: list[Cell] = [*task.paper, *[LACKS] * len(task.figures)]
        measured: list[tuple[Cell, ...]] = [
            (*start, name, *mean_of(values[name]), paper)
            for name, paper in zip(task.figures, papers, strict=False)
            if values[name]
        ]
        first, *others = measured or [(*start, LACKS, LACKS, LACKS, LACKS)]
        blank: tuple[Cell, ...] = (LACKS,) * len(shared)
        return [(*first, *shared), *((*each, *blank) for each in others)]

    def _distances(self, row: Row) -> tuple[Cell, ...]:
        """FAD to both kinds of real music, each of the row and of uncontrolled clips alike."""
        plain = self._row("uncontrolled", "uncontrolled")
        alike = Row(task="", method="uncontrolled", found=plain.found[: len(row.found)])
        mine = self._embedded(row, row.samples)
        beside = self._embedded(alike, row.samples)
        pairs = [(made, real) for real in self._real for made in (mine, beside)]
        return tuple(
            fad(made, real) if made is not None and len(made) > 1 else LACKS for made, real in pairs
        )

    def _embedded(self, row: Row, samples: int) -> np.ndarray | None:
        """Embeddings of the first so many samples of each clip's new music."""
        if not row.found:
            return None

        def pairs() -> Iterator[tuple[np.ndarray, torch.Tensor]]:
            for clip in row.clips():
                new = np.ascontiguousarray(clip.new[:samples], np.float32)
                yield new, log_mel(torch.from_numpy(new.T.copy()), self.bench.mel)

        key = " ".join(sha256(path) for _, _, path in row.found)
        name = f"{row.task} {row.method}".strip()
        return flat(self.bench.kept(name, f"{samples} {key}", pairs(), len(row.found)))

    @cached_property
    def _real(self) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings of held-out and of training music."""
        frames = self.studio.ours.engine.network.config.frames
        sets: list[Measured] = []
        for split, name in (("heldout", "held-out music"), ("train", "training music")):
            cut = tracks(self.data, split, frames, self.bench.mel)
            chosen = choose(
                cut, self.config.reference, torch.Generator().manual_seed(self.config.seed)
            )
            sets.append(self.bench.real(name, chosen))
        return flat(sets[0]), flat(sets[1])

    @cached_property
    def _material(self) -> Material:
        return gather(self.data, self.config.n, self.config.seed, self.bench.mel)
