"""The picture of a benchmark: seconds a clip by task and method, and by part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from segue.export.bench.runs import Measured
from segue.export.bench.tasks import OURS
from segue.export.bench.timing import PARTS
from segue.presets.vocabulary import Code, SegueError


def draw(measured: Sequence[Measured], path: Path, title: str) -> Path:
    """Bars a task and method (hatched: extrapolated), and our parts a task, as PNG.

    Raises SegueError naming the extra if matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        text = 'pictures need matplotlib: pip install "segue[export]"'
        raise SegueError(Code.UNSUPPORTED, text) from error
    ours = [each for each in measured if each.job.method == OURS]
    height = max(3.0, 0.24 * len(measured) + 1.4)
    figure = Figure(figsize=(13, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    whole, parts = figure.subplots(1, 2)
    for at, each in enumerate(measured):
        median, least, most = each.seconds
        hatch = "//" if each.job.extrapolated else None
        colour = "tab:blue" if each.job.method == OURS else "silver"
        spread = [[median - least], [most - median]]
        whole.barh(at, median, xerr=spread, color=colour, hatch=hatch, edgecolor="white", capsize=2)
        whole.annotate(f" {median:.3g}", (most, at), va="center", fontsize=7)
    labels = [f"{each.job.task}, {each.job.method}" for each in measured]
    whole.set_yticks(range(len(labels)), labels, fontsize=7)
    medians = [each.seconds[0] for each in measured]
    limits = min(medians) / 2, max(medians) * 2
    whole.set(xscale="log", xlim=limits, xlabel="s a clip; hatched: extrapolated")
    whole.xaxis.set_major_formatter("{x:g}")
    whole.xaxis.set_minor_formatter("")
    left = [0.0] * len(ours)
    for part in PARTS:
        widths = [each.part(part) for each in ours]
        parts.barh([each.job.task for each in ours], widths, left=left, label=part)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    parts.set_xlabel(f"s a clip by part, {OURS}")
    parts.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=len(PARTS))
    for axes in (whole, parts):
        axes.invert_yaxis()
        axes.tick_params(labelsize=7)
    figure.suptitle(title, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path
