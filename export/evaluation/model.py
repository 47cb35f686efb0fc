"""`segue evaluate model`: every figure of the card, on held-out music, from one command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from segue.export.dataset import Windows
from segue.export.evaluation.decoder import decoder_table
from segue.export.evaluation.figures import (
    Made,
    Reference,
    coherence_table,
    draw_generators,
    error_table,
    floor_table,
    generator_table,
    library,
    neighbour_table,
)
from segue.export.evaluation.length import (
    Snapshot,
    draw_length,
    iteration_of,
    length_table,
    measure_snapshot,
    targets,
)
from segue.export.evaluation.measure import Bench, Decode
from segue.export.evaluation.real_audio import choose, halves, tracks
from segue.export.evaluation.requirements import requirement_table
from segue.export.evaluation.sampling import KINDS, Sampler, measure_samples
from segue.export.evaluation.tables import Table
from segue.presets.vocabulary import Code, SegueError, Settings
from segue.server.asked import ITERATIONS
from segue.server.ditto.network import NetworkConfig
from segue.server.ditto.schedule import RectifiedFlow, Schedule
from segue.server.ditto.weights import load_decoder, sha256

WINDOW_FRAMES = NetworkConfig().frames
SHOWN = (("base", 20), ("cm", 1), ("cm", 2), ("ctm", 1), ("ctm", 2))  # coherence, neighbours


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """How much is measured. `n` samples a row, `reference` clips of real music a set.

    Among `library` training windows the nearest neighbour is searched; a snapshot of a
    distillation gets `snapshot_n` samples and meets `overlaps` overlaps.
    """

    n: int = 128
    reference: int = 240
    library: int = 2048
    snapshot_n: int = 64
    overlaps: int = 16
    overlap_seconds: float = 1.0
    seed: int = 0
    settings: Settings = field(default_factory=lambda: Settings(iterations=ITERATIONS))
    schedule: Schedule = field(default_factory=RectifiedFlow)

    def __post_init__(self) -> None:
        if min(self.n, self.reference, self.snapshot_n, self.library, self.overlaps) < 2:
            raise SegueError(Code.BAD_REQUEST, "n must be at least 2: a distance needs a spread")

    @classmethod
    def sized(cls, n: int | None, seed: int, *, quick: bool = False) -> EvaluateConfig:
        """The card's sizes, or small ones; `n` samples instead of their number."""
        n = n or (16 if quick else cls.n)
        if not quick:
            return cls(n=n, seed=seed, snapshot_n=min(n, cls.snapshot_n))
        return cls(n=n, seed=seed, reference=32, library=256, snapshot_n=min(n, 16), overlaps=4)


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The files to measure; those that are not there are left out, and that is said.

    `generators` by kind: base, cm, ctm.
    """

    decoder_onnx: Path
    decoder: Path
    generators: Mapping[str, Path]
    snapshots: tuple[Path, ...] = ()


@dataclass
class Evaluation:
    """One run: every table is written to `out` as it is done."""

    weights: Weights
    data: Path
    out: Path
    config: EvaluateConfig
    decode: Decode
    bench: Bench
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def run(self) -> Iterator[Table]:
        """Yield each table; the last one holds the requirements."""
        done = []
        for table in self._tables():
            table.write(self.out)
            done.append(table)
            yield table
        last = requirement_table(done, self._note)
        last.write(self.out)
        yield last

    def _tables(self) -> Iterator[Table]:
        note, reference = self._note, self._reference
        yield floor_table(reference, note)
        yield self._decoder_table()
        samplers = self._samplers()
        made = self._samples(samplers)
        table = generator_table(made, reference, note)
        draw_generators(table, self.out)
        yield table
        shown = {row: made[row] for row in SHOWN if row in made}
        yield coherence_table(shown, reference, note)
        c = self.config
        known = Windows(self.data, "train", WINDOW_FRAMES)
        self.bench.say(f"looking for neighbours in {c.library} training windows")
        sketches = list(library(known, c.library, c.seed))
        yield neighbour_table(shown, reference, sketches, f"{note}; {c.library} training windows")
        held = Windows(self.data, "heldout", WINDOW_FRAMES)
        yield error_table(samplers, held, note)
        if snapshots := [self._snapshot(path) for path in self._snapshot_paths()]:
            draw_length(snapshots, self.out)
            yield length_table(snapshots, self._snapshot_note())

    @property
    def _note(self) -> str:
        c = self.config
        return (
            f"{self.bench.embedding}; n = {c.n} samples of {WINDOW_FRAMES} frames, real music: "
            f"up to {c.reference} clips a set, none overlapping; seed {c.seed}; {c.schedule}"
        )

    @cached_property
    def _reference(self) -> Reference:
        generator = torch.Generator().manual_seed(self.config.seed)
        held, train = (
            tracks(self.data, split, WINDOW_FRAMES, self.bench.mel)
            for split in ("heldout", "train")
        )
        sides = halves(held, generator)
        n = self.config.reference
        chosen = choose(held, n, generator), choose(train, n, generator)
        return Reference.of(self.bench, *chosen, sides)

    @cached_property
    def _decoder(self) -> tuple[Decode, str]:
        return self.decode, sha256(self.weights.decoder_onnx)

    def _decoder_table(self) -> Table:
        path = self.weights.decoder
        twin = load_decoder(path) if path.is_file() else None
        if twin is None:
            self.bench.say(f"left out: the parity of the decoder, there is no {path}")
        return decoder_table(
            self.bench, self._reference, self.config.n, self._decoder, twin, self._note
        )

    def _samplers(self) -> dict[str, Sampler]:
        found = {}
        for name in KINDS:
            path = self.weights.generators.get(name)
            if path is not None and path.is_file():
                found[name] = self._sampler(path, name)
            else:
                self.bench.say(f"left out: {name}, there is no {path or 'file of it'}")
        return found

    def _sampler(self, path: Path, kind: str) -> Sampler:
        return Sampler.load(path, kind, self.config.schedule, self.device, self.config.seed)

    def _samples(self, samplers: Mapping[str, Sampler]) -> Made:
        return {
            (name, steps): measure_samples(
                self.bench, sampler, name, steps, self.config.n, *self._decoder
            )
            for name, sampler in samplers.items()
            for steps in sampler.kind.steps
        }

    def _snapshot_paths(self) -> list[Path]:
        return sorted(self.weights.snapshots, key=iteration_of)

    def _snapshot(self, path: Path) -> Snapshot:
        c = self.config

        def overlaps(sampler: Sampler) -> Tensor:
            return targets(self._reference, sampler, c.overlaps, c.overlap_seconds)

        return measure_snapshot(
            self.bench,
            self._sampler(path, "ctm"),
            self._reference,
            c.snapshot_n,
            self._decoder,
            overlaps,
            c.settings,
        )

    def _snapshot_note(self) -> str:
        c, s = self.config, self.config.settings
        return (
            f"{self.bench.embedding}; n = {c.snapshot_n} samples; {c.overlaps} overlaps of "
            f"{c.overlap_seconds:g} s, K = {s.iterations}; seed {c.seed}"
        )
