"""Tables and pictures of an evaluation: TSV with its conditions on the first line, and PNG."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from segue.presets.vocabulary import Code, SegueError

Cell = str | int | float


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under named columns. `note` says n, embedding, seed and what else holds for all."""

    name: str
    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def texts(self) -> list[list[str]]:
        """The rows as people read them."""
        return [[shown(cell) for cell in row] for row in self.rows]

    def write(self, folder: Path) -> Path:
        """FOLDER/NAME.tsv: the note behind a '#', the columns, the rows."""
        lines = [f"# {self.title}. {self.note}", "\t".join(self.columns)]
        lines += ["\t".join(row) for row in self.texts()]
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.tsv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path


def shown(cell: Cell) -> str:
    """Numbers with four significant digits."""
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One curve of a picture."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]


def draw_lines(
    lines: Iterable[Line],
    path: Path,
    *,
    title: str,
    x_label: str,
    y_label: str,
    levels: dict[str, float] | None = None,
    log_x: bool = True,
) -> Path:
    """Curves over x, with horizontal `levels` to compare them with, as PNG.

    Raises SegueError naming the extra if matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        text = 'pictures need matplotlib: pip install "segue[export]"'
        raise SegueError(Code.UNSUPPORTED, text) from error
    figure = Figure(figsize=(7, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    curves = list(lines)
    for line in curves:
        axes.plot(line.x, line.y, marker="o", label=line.label)
    for label, level in (levels or {}).items():
        axes.axhline(level, linestyle="--", color="grey")
        axes.annotate(label, (0.01, level), xycoords=("axes fraction", "data"), fontsize=8)
    if log_x:
        ticks = sorted({x for line in curves for x in line.x})
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    axes.set(title=title, xlabel=x_label, ylabel=y_label)
    axes.set_ylim(bottom=0)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path
