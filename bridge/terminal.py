"""What people see in a terminal: a progress bar, a table of figures, one red sentence."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from segue.presets.vocabulary import Result


def complain(text: str) -> None:
    """Say what went wrong on stderr, in one red line however long it is."""
    line = f"segue: {text}"
    Console(stderr=True).print(line, style="red", markup=False, highlight=False, soft_wrap=True)


class JobBar(Progress):
    """A progress bar of one job: its stage, how far it is, and the newest loss if known."""

    def __init__(self, console: Console) -> None:
        super().__init__(
            TextColumn("{task.description:<18}"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[loss]}"),
            console=console,
        )
        self._task = self.add_task("waiting", total=1.0, loss="")

    def show(self, stage: str, fraction: float, loss: float | None = None) -> None:
        """Move the bar to `fraction` (0 to 1)."""
        text = "" if loss is None else f"loss {loss:.4f}"
        self.update(self._task, description=stage, completed=fraction, loss=text)


def job_figures(result: Result, taken_seconds: float) -> dict[str, str]:
    """The figures of a finished job; `taken_seconds` is what the asker waited."""
    made_seconds = result.new_samples / result.sample_rate
    ratio = f"{taken_seconds / made_seconds:.2f} × real time" if taken_seconds else "-"
    return {
        "made": f"{made_seconds:.3f} s ({result.new_samples} samples at {result.sample_rate} Hz)",
        "took": f"{taken_seconds:.2f} s, {ratio}",
        "loss": f"{result.loss_first:.4f} first, {result.loss_last:.4f} last",
        "device": result.device,
        "seed": str(result.seed),
    }


def print_figures(console: Console, figures: Mapping[str, str]) -> None:
    """Two columns: what, and how much."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, text in figures.items():
        table.add_row(name, text)
    console.print(table, markup=False, highlight=False)
