"""The table of the controls: its columns, its picture, and what of it must be reached."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from segue.export.evaluation.control_figures import OWN_PERCENTILE, interval
from segue.export.evaluation.tables import Cell, Table
from segue.presets.vocabulary import Code, SegueError

LACKS = "-"
PANELS_ACROSS = 4
COLUMNS = (
    *("task", "method", "K", "n", "figure", "mean", "95 % +-", "paper"),
    *("flux passes, %", "level step, LU", "LU 95 % +-", "within 1 LU, %"),
    *("FAD to held-out", "uncontrolled to held-out", "FAD to training", "uncontrolled to training"),
    *("s a clip", "s / s of music"),
)

BRIEFLY = (
    "task",
    "method",
    "n",
    "figure",
    "mean",
    "95 % +-",
    "paper",
    "FAD to training",
    "s a clip",
)


def brief(table: Table) -> Table:
    """The columns that fit on a terminal."""
    at = [table.columns.index(column) for column in BRIEFLY]
    rows = tuple(tuple(row[i] for i in at) for row in table.rows)
    return replace(table, columns=BRIEFLY, rows=rows)


def mean_of(values: list[float]) -> tuple[Cell, Cell]:
    """The mean and half the width of its 95 % confidence interval, as cells."""
    if not values:
        return LACKS, LACKS
    mean, half = interval(values)
    return mean, LACKS if math.isnan(half) else half


def share(values: list[float]) -> Cell:
    """How many are at most 1, in percent."""
    return 100.0 * float(np.mean([value <= 1 for value in values])) if values else LACKS


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """What a column of our clips' row must be: at most a limit, or at least it."""

    task: str
    figure: str
    limit: float
    column: str = "mean"
    at_least: bool = False
    beyond: str | None = None  # the method whose figure is taken off first

    def value(self, table: Table) -> float | None:
        """What was measured; None when it was not."""
        ours = self._cell(table, "ours")
        if self.beyond is None or ours is None:
            return ours
        other = self._cell(table, self.beyond)
        return None if other is None else ours - other

    def _cell(self, table: Table, method: str) -> float | None:
        at = table.columns.index(self.column)
        for row in table.rows:
            cell = row[at]
            if (row[0], row[1], row[4]) == (self.task, method, self.figure):
                return None if isinstance(cell, str) else float(cell)
        return None


MUST = (
    Requirement(task="intensity", figure="intensity MSE, dB^2", limit=3.3),
    Requirement(task="melody", figure="melody accuracy, %", limit=85, at_least=True),
    Requirement(task="structure", figure="structure MSE", limit=0.022),
    Requirement(task="intensity+outpaint", figure="intensity MSE, dB^2", limit=5.8),
    *(
        Requirement(task="text", figure=figure, limit=0, at_least=True, beyond="uncontrolled")
        for figure in ("text, our score", "text, another judge")
    ),
    *(
        each
        for task in ("outpaint", "inpaint")
        for each in (
            Requirement(
                task=task,
                figure="overlap error",
                column="flux passes, %",
                limit=OWN_PERCENTILE,
                at_least=True,
            ),
            Requirement(task=task, figure="overlap error", column="level step, LU", limit=1),
        )
    ),
)


def required(table: Table) -> Table:
    """Each figure that must be reached: value, limit, and whether it is."""
    rows: list[tuple[Cell, ...]] = []
    for must in MUST:
        value = must.value(table)
        figure = must.figure if must.column == "mean" else must.column
        text = f"{must.task}: {figure}" + (f", above {must.beyond}" if must.beyond else "")
        sign = "at least" if must.at_least else "at most"
        met = "not measured"
        if value is not None:
            reached = value >= must.limit if must.at_least else value <= must.limit
            met = "met" if reached else "missed"
        rows.append((text, LACKS if value is None else value, sign, must.limit, met))
    return Table(
        name="controls-required",
        title="What must be shown of the controls",
        note=table.note,
        columns=("figure", "value", "must be", "limit", ""),
        rows=tuple(rows),
    )


def draw_controls(table: Table, path: Path) -> None:
    """One panel a task and figure: a bar a method with its interval, the paper's as a line.

    A table without figures draws nothing. Raises SegueError naming the extra if matplotlib is
    missing.
    """
    panels: dict[tuple[Cell, Cell], list[tuple[Cell, ...]]] = {}
    for row in table.rows:
        if not isinstance(row[5], str):
            panels.setdefault((row[0], row[4]), []).append(row)
    if not panels:
        return
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        text = 'pictures need matplotlib: pip install "segue[export]"'
        raise SegueError(Code.UNSUPPORTED, text) from error
    across = min(len(panels), PANELS_ACROSS)
    down = math.ceil(len(panels) / across)
    figure = Figure(figsize=(3.6 * across, 3.4 * down), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for i, ((task, name), rows) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(down, across, i)
        labels = [f"{row[1]} n={row[3]}".replace(" ", "\n") for row in rows]
        means = [float(row[5]) for row in rows]
        halves = [0.0 if isinstance(row[6], str) else float(row[6]) for row in rows]
        colours = ["tab:blue" if row[1] == "ours" else "silver" for row in rows]
        bars = axes.bar(labels, means, yerr=halves, color=colours, capsize=4)
        behind = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
        axes.bar_label(bars, fmt="%.3g", padding=2, fontsize=8, bbox=behind)
        axes.margins(y=0.12)
        if not isinstance(rows[0][7], str):
            axes.axhline(float(rows[0][7]), linestyle="--", color="tab:red", label="the paper's")
            axes.legend(fontsize=8)
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_title(f"{task}: {name}", fontsize=9)
        axes.tick_params(labelsize=8)
    figure.suptitle(table.title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
