"""The figures of the card: each a function from what was measured to a table.

FAD of samples is given against held-out music and against music of the training split: few
held-out tracks make a narrow reference that everything is far from, the training split a wide
one that tells models apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from segue.export.dataset import Windows
from segue.export.evaluation.fad import fad
from segue.export.evaluation.measure import Bench, Measured, flat, nearest, part, sketch
from segue.export.evaluation.real_audio import Stretch
from segue.export.evaluation.sampling import Sampler
from segue.export.evaluation.tables import Cell, Line, Table, draw_lines
from segue.export.train import HELD_OUT_LEVELS, HELD_OUT_WINDOWS, held_out_error

LIBRARY_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Real music: `held` and `train` measured.

    `stretches` are those of `held`, `side` (clips,) tells which half of the tracks each is of.
    """

    held: Measured
    train: Measured
    side: np.ndarray
    stretches: list[Stretch]

    @classmethod
    def of(
        cls,
        bench: Bench,
        held: list[Stretch],
        train: list[Stretch],
        sides: tuple[list[list[Stretch]], list[list[Stretch]]],
    ) -> Reference:
        """Measure both. `sides` are the two halves of the held-out tracks."""
        first = {stretch for track in sides[0] for stretch in track}
        return cls(
            held=bench.real("held-out music", held),
            train=bench.real("training music", train),
            side=np.array([stretch not in first for stretch in held]),
            stretches=held,
        )

    def by_track(self) -> tuple[Measured, Measured]:
        """Held-out music in two halves that share no track."""
        return tuple(part(self.held, np.flatnonzero(self.side == s).tolist()) for s in (0, 1))  # type: ignore[return-value]

    def by_window(self) -> tuple[Measured, Measured]:
        """Held-out music in two halves that share tracks."""
        return part(self.held, slice(0, None, 2)), part(self.held, slice(1, None, 2))


def clips(measured: Measured) -> int:
    """How many clips a set has."""
    return len(measured["mean"])


def distance(a: Measured, b: Measured) -> float:
    """FAD between two sets."""
    return fad(flat(a), flat(b))


def floor_table(reference: Reference, note: str) -> Table:
    """FAD between sets of real music: what a perfect model would score."""
    pairs = {
        "held-out, halves by track": reference.by_track(),
        "held-out, halves by window": reference.by_window(),
        "held-out against training": (reference.held, reference.train),
    }
    rows = tuple((name, clips(a), clips(b), distance(a, b)) for name, (a, b) in pairs.items())
    columns = ("sets", "n", "m", "FAD")
    return Table(name="floor", title="FAD of real music", note=note, columns=columns, rows=rows)


Made = Mapping[tuple[str, int], Measured]  # (generator, T) to its samples


def generator_table(made: Made, reference: Reference, note: str) -> Table:
    """FAD of every generator and number of steps, deviation and mean of x_0."""

    def row(name: str, steps: Cell, samples: Measured) -> tuple[Cell, ...]:
        against = (distance(samples, each) for each in (reference.held, reference.train))
        return (name, steps, *against, samples["deviation"].mean(), samples["mean"].mean())

    rows = [row(name, steps, samples) for (name, steps), samples in made.items()]
    rows.append(row("held-out music", "-", reference.held))
    rows.append(row("training music", "-", reference.train))
    columns = ("generator", "T", "FAD to held-out", "FAD to training", "deviation", "mean")
    title = "Unconditional samples"
    return Table(name="generators", title=title, note=note, columns=columns, rows=tuple(rows))


def coherence_table(made: Made, reference: Reference, note: str) -> Table:
    """Means of the coherence figures, and flicker as a ratio to held-out music's."""
    fields = [f for f in reference.held if f == "pulse" or f.startswith("r(")]
    real = reference.held["flicker"].mean()

    def row(name: str, measured: Measured) -> tuple[Cell, ...]:
        values = (float(measured[field].mean()) for field in fields)
        flicker = float(measured["flicker"].mean())
        return (name, *values, flicker, flicker / real)

    rows = [row(f"{name} T={steps}", samples) for (name, steps), samples in made.items()]
    rows.append(row("held-out music", reference.held))
    columns = ("clips", *fields, "flicker", "flicker / real")
    title = "Coherence in time"
    return Table(name="coherence", title=title, note=note, columns=columns, rows=tuple(rows))


def library(windows: Windows, n: int, seed: int) -> Iterator[Tensor]:
    """Sketches of `n` random training windows, in batches."""
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, n, LIBRARY_BATCH):
        yield sketch(windows.draw(min(LIBRARY_BATCH, n - start), generator))


def embedding_distance(queries: Measured, known: Measured) -> np.ndarray:
    """Euclidean distance of each clip's mean embedding to the nearest of `known`: (clips,)."""
    a, b = (each["embeddings"].mean(1) for each in (queries, known))
    between: np.ndarray = np.linalg.norm(a[:, None] - b[None], axis=-1)
    return between.min(1)


def neighbour_table(made: Made, reference: Reference, sketches: list[Tensor], note: str) -> Table:
    """How near the nearest training music is to samples, and to held-out music."""

    def row(name: str, measured: Measured) -> tuple[Cell, ...]:
        mel = nearest(torch.from_numpy(measured["sketch"]), sketches).median()
        near = np.median(embedding_distance(measured, reference.train))
        return (name, clips(measured), float(mel), float(near))

    rows = [row(f"{name} T={steps}", samples) for (name, steps), samples in made.items()]
    rows.append(row("held-out music", reference.held))
    columns = ("clips", "n", "mel, 1 - cosine", "musicnn, Euclidean")
    title = "Median distance to the nearest training music"
    return Table(name="neighbours", title=title, note=note, columns=columns, rows=tuple(rows))


def error_table(samplers: Mapping[str, Sampler], windows: Windows, note: str) -> Table:
    """Held-out error of D_x a noise level, 1 = the variance of the training set."""
    rows: list[tuple[Cell, ...]] = []
    for name, sampler in samplers.items():
        windows.scale = sampler.scale
        errors = held_out_error(sampler.denoiser, windows, sampler.schedule, sampler.device)
        rows.append((name, *errors.values()))
    columns = ("network", *(f"t = {t}" for t in HELD_OUT_LEVELS))
    title = f"Held-out error of the estimate of x_0, {HELD_OUT_WINDOWS} windows"
    return Table(name="errors", title=title, note=note, columns=columns, rows=tuple(rows))


def draw_generators(table: Table, folder: Path) -> None:
    """generators.png: FAD against the number of steps, one curve a generator (the paper's Fig. 5).

    A table without generators draws nothing.
    """
    names = dict.fromkeys(str(row[0]) for row in table.rows if isinstance(row[1], int))
    column = table.columns.index("FAD to training")
    rows = {n: [(r[1], r[column]) for r in table.rows if r[0] == n] for n in names}
    lines = [
        Line(label=name, x=tuple(float(t) for t, _ in of), y=tuple(float(y) for _, y in of))
        for name, of in rows.items()
    ]
    levels = {str(r[0]): float(r[column]) for r in table.rows if r[0] == "held-out music"}
    if lines:
        draw_lines(
            lines,
            folder / "generators.png",
            title="Unconditional samples",
            x_label="T, network calls a sample",
            y_label="FAD to training music",
            levels=levels,
        )
