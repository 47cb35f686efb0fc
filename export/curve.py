"""The curve of a training run: two tables that go on after a stop, and a picture of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segue.presets.vocabulary import Code, SegueError

Points = list[tuple[int, float]]


class Curve:
    """`curve.tsv` (step, loss, seconds), `heldout.tsv` (step, name, value), `curve.png`."""

    def __init__(self, folder: Path, step: int = 0) -> None:
        self.losses, self.held_out = folder / "curve.tsv", folder / "heldout.tsv"
        self.picture = folder / "curve.png"
        for table in (self.losses, self.held_out):
            _forget_after(step, table)

    def add(self, step: int, loss: float, seconds: float) -> str:
        """Append the mean loss of the last steps; returns the line. Raises SegueError(DISK)."""
        line = f"{step}\t{loss:.5f}\t{seconds:.0f}"
        _append(self.losses, line + "\n")
        return line

    def add_held_out(self, step: int, values: Mapping[str, float]) -> str:
        """Append what was measured on held-out data, a line a name; returns them in one line.

        Raises SegueError(DISK).
        """
        lines = (f"{step}\t{name}\t{value:.5f}\n" for name, value in values.items())
        _append(self.held_out, "".join(lines))
        return ", ".join(f"{name}: {value:.5f}" for name, value in values.items())

    def draw(self) -> str | None:
        """Write the picture; returns why there is none, for it is not worth a training."""
        lines = {"loss": _points(self.losses)}
        measured: dict[str, Points] = {}
        for step, name, value in _rows(self.held_out):
            measured.setdefault(name, []).append((int(step), float(value)))
        try:
            _draw([("loss", lines), *([("held out", measured)] if measured else [])], self.picture)
        except Exception as error:  # matplotlib may be missing or broken, the disk full
            self.picture.with_suffix(".partial").unlink(missing_ok=True)
            return f"no {self.picture}: {error}"
        return None


def _append(table: Path, text: str) -> None:
    try:
        with table.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        text = f"can't write {table}: {error}; the last checkpoint is whole"
        raise SegueError(Code.DISK, text) from error


def _rows(table: Path) -> list[list[str]]:
    """The whole lines of a table; a last one that was cut short by a full disk is none."""
    if not table.exists():
        return []
    lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    rows = [line.removesuffix("\n").split("\t") for line in lines if line.endswith("\n")]
    return [row for row in rows if len(row) == 3]


def _points(table: Path) -> Points:
    return [(int(step), float(loss)) for step, loss, _ in _rows(table)]


def _forget_after(step: int, table: Path) -> None:
    """Drop the lines of steps that a killed run made after its last checkpoint."""
    if table.exists():
        partial = table.with_suffix(".partial")
        kept = ["\t".join(row) + "\n" for row in _rows(table) if int(row[0]) <= step]
        partial.write_text("".join(kept), encoding="utf-8")
        partial.replace(table)


def _draw(panels: list[tuple[str, dict[str, Points]]], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6 * len(panels)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    all_axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (title, lines) in zip(all_axes, panels, strict=True):
        _draw_panel(axes, title, lines)
    all_axes[-1].set_xlabel("step")
    partial = path.with_suffix(".partial")
    figure.savefig(partial, format="png")
    partial.replace(path)


def _draw_panel(axes: Any, title: str, lines: dict[str, Points]) -> None:
    from matplotlib.ticker import LogFormatter

    for name, points in lines.items():
        steps, values = [step for step, _ in points], [value for _, value in points]
        axes.plot(steps, values, linewidth=1.2, marker="." if len(points) < 50 else "", label=name)
    if all(value > 0 for points in lines.values() for _, value in points):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(LogFormatter())  # 0.2, not 2 x 10^-1
        axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
    axes.set_ylabel(title)
    axes.grid(which="both", alpha=0.25)
    if len(lines) > 1:
        axes.legend(fontsize=8)
