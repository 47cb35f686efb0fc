"""Figures against the length of distillation: what more iterations buy (DITTO-2, next check 1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from segue.export.evaluation.figures import Reference, distance
from segue.export.evaluation.measure import Bench, Decode
from segue.export.evaluation.sampling import Sampler, measure_samples, overlap_errors
from segue.export.evaluation.tables import Line, Table, draw_lines
from segue.presets.vocabulary import Settings
from segue.server.ditto.mel import MelConfig, log_mel

STEPS = (1, 2)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What a student scores after so many iterations. `fad` and `overlap` are by T."""

    iteration: int
    fad: dict[int, float]
    overlap: dict[int, float]


def iteration_of(path: Path) -> int:
    """The last number in a file's name; 0 when it has none."""
    numbers = re.findall(r"\d+", path.stem)
    return int(numbers[-1]) if numbers else 0


def targets(reference: Reference, sampler: Sampler, n: int, seconds: float) -> Tensor:
    """What `n` held-out clips start with, normalised: (n, channels, overlap frames)."""
    config = MelConfig()
    frames = config.frames(seconds)
    mels = [log_mel(stretch.read(config), config) for stretch in reference.stretches[:n]]
    return torch.stack([sampler.scale.normalise(mel)[:, :frames] for mel in mels])


def measure_snapshot(
    bench: Bench,
    sampler: Sampler,
    reference: Reference,
    n: int,
    decoder: tuple[Decode, str],
    overlap: Callable[[Sampler], Tensor],
    settings: Settings,
) -> Snapshot:
    """FAD to training music of `n` samples, and the overlap error, at T = 1 and 2."""
    iteration = iteration_of(sampler.path)
    decode, key = decoder
    distances = {}
    for steps in STEPS:
        made = measure_samples(bench, sampler, f"step {iteration}", steps, n, decode, key)
        distances[steps] = distance(made, reference.train)
    settings = settings.model_copy(update={"decode_steps": STEPS[-1]})
    errors = overlap_errors(sampler, overlap(sampler), settings, bench.say)
    return Snapshot(
        iteration=iteration, fad=distances, overlap=dict(zip(STEPS, errors, strict=True))
    )


def length_table(snapshots: Iterable[Snapshot], note: str) -> Table:
    """One row a snapshot."""
    rows = tuple((s.iteration, *s.fad.values(), *s.overlap.values()) for s in snapshots)
    columns = (
        "iterations",
        *(f"FAD to training, T = {steps}" for steps in STEPS),
        *(f"overlap error, T = {steps}" for steps in STEPS),
    )
    title = "Length of distillation"
    return Table(name="length", title=title, note=note, columns=columns, rows=rows)


def draw_length(snapshots: list[Snapshot], folder: Path) -> None:
    """length-fad.png and length-overlap.png."""
    x = tuple(float(s.iteration) for s in snapshots)
    for name, label, values in (
        ("fad", "FAD to training music", [s.fad for s in snapshots]),
        ("overlap", "squared error in the overlap", [s.overlap for s in snapshots]),
    ):
        lines = [Line(label=f"T = {t}", x=x, y=tuple(v[t] for v in values)) for t in STEPS]
        draw_lines(
            lines,
            folder / f"length-{name}.png",
            title="Length of distillation",
            x_label="iterations",
            y_label=label,
            log_x=False,
        )
