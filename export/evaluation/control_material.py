"""What the targets of the controls are made of: held-out music, and the level of training music."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from segue.export.evaluation.control_targets import REGION_SECONDS, STRETCH_SECONDS, Material
from segue.export.evaluation.heard_intensity import frame_levels, level
from segue.export.evaluation.real_audio import Stretch, choose, tracks
from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.mel import MelConfig

SILENT_DB = -60.0  # held-out stretches that come down to it are passed over
LEVEL_STRETCHES = 256  # of training music, for its mean level


def gather(data: Path, n: int, seed: int, mel: MelConfig) -> Material:
    """Up to `n` held-out stretches of a `segue data` folder, drawn by the seed.

    Raises SegueError when all of them fall silent.
    """

    def generator() -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    frames = mel.frames(STRETCH_SECONDS) + 1  # not a sample less
    cut = tracks(data, "heldout", frames, mel)
    everything = choose(cut, sum(map(len, cut)), generator())
    chosen = sounding(everything, n, mel)
    short = tracks(data, "train", mel.frames(REGION_SECONDS), mel)
    known = choose(short, LEVEL_STRETCHES, generator())
    levels = [frame_levels(each.read(mel).T.numpy(), mel.sample_rate)[1] for each in known]
    return Material(
        seed=seed,
        level_db=float(np.concatenate(levels).mean()),
        stretches=tuple(stretch for stretch, _ in chosen),
        levels_db=tuple(mean for _, mean in chosen),
    )


def sounding(stretches: list[Stretch], n: int, mel: MelConfig) -> list[tuple[Stretch, float]]:
    """The first `n` that are nowhere silent, with the mean level of their regions in dB.

    Raises SegueError when there is none.
    """
    found: list[tuple[Stretch, float]] = []
    for stretch in stretches:
        audio = stretch.read(mel).T.numpy()
        if level(audio, mel.sample_rate)[1].min() > SILENT_DB:
            region = audio[: round(REGION_SECONDS * mel.sample_rate)]
            found.append((stretch, float(frame_levels(region, mel.sample_rate)[1].mean())))
        if len(found) == n:
            break
    if not found:
        text = f"all held-out music falls silent within {STRETCH_SECONDS:g} s"
        raise SegueError(Code.BAD_REQUEST, f"{text}; hold other tracks out with `segue data`")
    return found
