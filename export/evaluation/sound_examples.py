"""Sound examples nobody picked: the held-out regions a model continues best and worst."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import soundfile
import torch

from segue.export.evaluation.real_audio import Stretch, choose, tracks
from segue.export.evaluation.tables import Table
from segue.presets.vocabulary import Outpaint, Region, Request, Result
from segue.server.ditto.mel import MelConfig

CONTEXT_SECONDS = 3.0
NEW_SECONDS = 4.8  # what one window gives beyond an overlap of one second
MIB = 2**20
Continue = Callable[[Request, Path], Result]  # what the product does, as a WAV file


@dataclass(frozen=True, kw_only=True)
class Example:
    """A region and its continuation. `error` is the mean squared error in the overlap."""

    name: str
    stretch: Stretch
    path: Path
    result: Result

    @property
    def error(self) -> float:
        """Of the last iteration, as the product reports it."""
        return self.result.loss_last


def regions(data: Path, n: int, seed: int, mel: MelConfig) -> list[Stretch]:
    """`n` held-out stretches of three seconds, drawn from all held-out tracks."""
    frames = mel.frames(CONTEXT_SECONDS)
    generator = torch.Generator().manual_seed(seed)
    return choose(tracks(data, "heldout", frames, mel), n, generator)


def continue_all(
    stretches: Iterable[Stretch], run: Continue, folder: Path, seed: int, mel: MelConfig
) -> list[Example]:
    """Continue each region once, in 16-bit WAV files at the front end's rate."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_continued(i, each, run, folder, seed, mel) for i, each in enumerate(stretches)]


def _continued(
    i: int, stretch: Stretch, run: Continue, folder: Path, seed: int, mel: MelConfig
) -> Example:
    name = f"region-{i:02d}"
    source, made = folder / f"{name}-region.wav", folder / f"{name}.wav"
    audio = stretch.read(mel)
    soundfile.write(source, audio.T.clamp(-1, 1).numpy(), mel.sample_rate, subtype="PCM_16")
    request = Request(
        id=name,
        region=Region(
            path=str(source),
            start_seconds=0.0,
            length_seconds=audio.shape[1] / mel.sample_rate,
        ),
        new_seconds=NEW_SECONDS,
        seed=seed + i,
        controls=(Outpaint(),),
    )
    try:
        result = run(request, made)
    finally:
        source.unlink()
    return Example(name=name, stretch=stretch, path=made, result=result)


def keep_extremes(examples: list[Example], n: int) -> list[Example]:
    """The n // 2 of lowest and the rest of `n` of highest error; other files are deleted."""
    ranked = sorted(examples, key=lambda example: example.error)
    low = n // 2
    kept = ranked if n >= len(ranked) else ranked[:low] + ranked[len(ranked) - (n - low) :]
    for example in ranked:
        if example not in kept:
            example.path.unlink()
    return kept


def example_table(kept: list[Example], of: int, seed: int) -> Table:
    """The kept examples by error, and how large they are in all."""
    rows = tuple(
        (
            example.path.name,
            example.error,
            example.stretch.path.name,
            round(example.stretch.start_seconds, 2),
            str(example.result.seed),
        )
        for example in kept
    )
    size = sum(file.stat().st_size for e in kept for file in e.path.parent.glob(f"{e.name}.*"))
    note = (
        f"The lowest and the highest overlap errors of {of} held-out regions of "
        f"{CONTEXT_SECONDS:g} s; seed {seed}; {size / MIB:.1f} MiB in all"
    )
    columns = ("file", "overlap error", "from", "at, s", "seed")
    title = "Sound examples"
    return Table(name="examples", title=title, note=note, columns=columns, rows=rows)
