"""The tables of a benchmark, from what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from segue.export.bench.floor import shares
from segue.export.bench.runs import Measured
from segue.export.bench.timing import PARTS, Cost
from segue.export.evaluation.tables import Cell, Table

LACKS = "-"
COST = ("s a clip", "least", "most", "first", "s / s of music", "iterations / s")
COLUMNS = ("task", "method", "K", "total is", "n", *COST, *PARTS, "transport", "peak MiB")
BRIEFLY = {
    "bench": (
        "task",
        "method",
        "total is",
        "s a clip",
        "first",
        "s / s of music",
        "iterations / s",
    ),
    "bench-length": ("method", "s of music", "iterations", "s a clip", "s / s of music"),
    "bench-seeds": ("seeds", "s a clip", "s a seed", "s / s of music", "iterations / s"),
}
EXPLAINED = (
    "Medians of n runs after a first one, which is apart; least and most are of the n. Parts in"
    " seconds: read = file, mel of the region, targets and noise; optimize = K iterations; decode"
    " network = T steps; ONNX decode = mel to audio; seam = resampling, loudness, lining up and"
    " fading; write = the WAV file. They add up in each run, their medians only nearly. transport"
    " = OSC request to OSC answer less the engine's own time, of a `segue serve` and a `segue"
    " bridge`, in one task. iterations / s: K over the seconds of optimize. peak: of the"
    " process's RAM, on CUDA of the card's tensors"
)


def brief(table: Table) -> Table:
    """The columns that fit on a terminal."""
    columns = BRIEFLY.get(table.name, table.columns)
    at = [table.columns.index(column) for column in columns]
    rows = tuple(tuple(row[i] for i in at) for row in table.rows)
    return replace(table, columns=columns, rows=rows)


def how(measured: Measured) -> str:
    """Whether the total was measured in full."""
    if not measured.job.extrapolated:
        return "measured"
    done = len(measured.raw[0].iterations)
    return f"extrapolated from {done} of {measured.job.iterations} iterations"


def task_table(
    measured: Iterable[Measured], transport: dict[tuple[str, str], float], note: str
) -> Table:
    """A row a task and method. transport: median seconds by task and method, where measured."""
    rows: list[tuple[Cell, ...]] = []
    for each in measured:
        job = each.job
        iterations = len(each.runs[0].iterations)
        start = (job.task, job.method, iterations, how(each), len(each.runs))
        sent = transport.get((job.task, job.method), LACKS)
        parts = [each.part(part) for part in PARTS]
        rows.append((*start, *_cost(each), *parts, sent, _peak(each)))
    extrapolated = (
        "A total that is extrapolated is the median of the iterations that were run, times K,"
        " and the measured rest"
    )
    return Table(
        name="bench",
        title="What a clip costs",
        note=f"{EXPLAINED}. {extrapolated}. {note}",
        columns=COLUMNS,
        rows=tuple(rows),
    )


def seed_table(measured: Iterable[Measured], note: str) -> Table:
    """A row a number of seeds tried side by side."""
    rows: list[tuple[Cell, ...]] = []
    for each in measured:
        seeds = each.job.request.settings.seeds
        cost = _cost(each)
        rows.append(
            (each.job.task, each.job.method, seeds, *cost, each.seconds[0] / seeds, _peak(each))
        )
    return Table(
        name="bench-seeds",
        title="What seeds side by side cost",
        note=f"The best of them is decoded to audio and written. {note}",
        columns=("task", "method", "seeds", *COST, "s a seed", "peak MiB"),
        rows=tuple(rows),
    )


def length_table(measured: Iterable[Measured], note: str) -> Table:
    """A row a length of new music."""
    rows: list[tuple[Cell, ...]] = []
    for each in measured:
        music, iterations = each.runs[0].music_seconds, len(each.runs[0].iterations)
        parts = [each.part(part) for part in PARTS]
        start = (each.job.method, music, iterations)
        rows.append((*start, *_cost(each), *parts, _peak(each)))
    return Table(
        name="bench-length",
        title="What longer clips cost",
        note=f"Iterations are those of all windows, K of each. {note}",
        columns=("method", "s of music", "iterations", *COST, *PARTS, "peak MiB"),
        rows=tuple(rows),
    )


def floor_table(
    measured: Iterable[tuple[Measured, Cost]], rate: float, size: int, half: float, note: str
) -> Table:
    """A row a task, method and kind of iteration, from seconds and FLOPs of each job.

    rate: FLOP a second of float32 products of that size; half: of bfloat16 ones.
    """
    rows: list[tuple[Cell, ...]] = []
    for each, flops in measured:
        for share in shares(flops, each.raw, rate):
            speed = share.flops / share.seconds / 1e9
            start = (each.job.task, each.job.method, share.which)
            rows.append(
                (*start, share.flops / 1e9, share.seconds * 1e3, speed, 100 * share.of_rate)
            )
    text = (
        f"The machine's rate, measured in the same run: {rate / 1e9:.4g} GFLOP / s, a float32"
        f" product of two {size} x {size} matrices, the fastest of the sizes tried. Counted are"
        " matrix products and convolutions, there and back, recomputation of checkpoints too;"
        " element-wise work, norms and FFTs count as nothing. Where bfloat16 products are clearly"
        f" faster (here {half / 1e9:.4g} GFLOP / s) the search of CTM and CM is made of"
        " them, and its share can be above 100. The first and the last third of the iterations"
        " are apart where the surrogate changes half way"
    )
    return Table(
        name="bench-floor",
        title="How far an iteration is from the floor",
        note=f"{text}. {note}",
        columns=(
            *("task", "method", "iterations", "GFLOP each", "ms each", "GFLOP / s"),
            "% of the machine's rate",
        ),
        rows=tuple(rows),
    )


def start_table(
    load_seconds: float, idle_mib: float | None, served: Mapping[str, float | None], note: str
) -> Table:
    """What is paid before the first clip, and with it. `served`: a server's figures by name."""
    figures: dict[str, float | None] = {
        "engine: model loaded, s": load_seconds,
        "engine: memory of the process then, MiB": idle_mib,
        **served,
    }
    text = (
        "The engine's without the imports, the server's with them. The first clip is the first"
        " a fresh server makes"
    )
    return Table(
        name="bench-start",
        title="From nothing to a clip",
        note=f"{text}. {note}",
        columns=("what", "value"),
        rows=tuple((name, LACKS if value is None else value) for name, value in figures.items()),
    )


def _cost(measured: Measured) -> tuple[Cell, ...]:
    return (*measured.seconds, measured.first.whole, measured.ratio, measured.per_second)


def _peak(measured: Measured) -> Cell:
    return LACKS if measured.peak_mib is None else measured.peak_mib
