"""Train the tower of the small text score on tagged mels: `python -m segue.export.train_text`.

    python -m segue.export.train_text --data train/data8 --out presets/text/tower.safetensors

Each tag is a yes or no (binary cross-entropy). One track in five of the training split is set
aside by a hash of its name; average precision and area under the ROC curve are of those tracks
and of the held-out ones, a track being the mean of its windows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from segue.export.augment import Augment
from segue.export.dataset import Windows
from segue.export.loop import autocast, warmup_cosine
from segue.export.packed import Packed, load_mel, read_index, summary
from segue.server.ditto.mel import MelConfig
from segue.server.ditto.text_model import WINDOW_FRAMES, TextModel, TowerConfig, save

ASIDE_OF_256 = 51
SMOOTHING = 0.05  # the labels are automatic, and of a track, not of a window
SHRINK = 0.2  # of the covariance towards the identity: a few hundred tracks can't tell it all
SHORTEST = 96  # frames: clips are scored while they are still short
LICENCE = "CC-BY-SA-4.0"


@dataclass(frozen=True, kw_only=True)
class TextTraining:
    """Length and pace. noise: largest deviation of the noise on a mel, in nepers."""

    steps: int = 800
    batch: int = 24
    rate: float = 2e-3
    ema_rate: float = 0.995
    noise: float = 1.0
    seed: int = 0
    augment: Augment = field(
        default_factory=lambda: Augment(gain_db=12, side_db=6, eq_db=6, chance=0.3)
    )


def set_aside(name: str) -> bool:
    """Whether a track of the training split is measured instead of learned from."""
    return hashlib.sha256(name.encode()).digest()[0] < ASIDE_OF_256


def roughened(mel: Tensor, most: float, generator: torch.Generator) -> Tensor:
    """Normalised mels as an optimizer may make them: half with noise, a third blurred.

    mel: (batch, bands, frames).
    """
    n = len(mel)
    chances = torch.rand(3, n, 1, 1, generator=generator)
    blurred = F.avg_pool2d(mel[:, None], (3, 7), stride=1, padding=(1, 3))[:, 0]
    mel = torch.where(chances[0] < 1 / 3, blurred, mel)
    noise = torch.randn(mel.shape, generator=generator) * chances[1] * most
    return torch.where(chances[2] < 0.5, mel + noise, mel)


def evenly(rows: Sequence[Packed], tags: Sequence[str]) -> Tensor:
    """(rows,) chances of a track: its rarest tag decides, its length does not."""
    count = {tag: sum(tag in row.tags for row in rows) for tag in tags}
    rarest = [min((count[tag] for tag in row.tags), default=len(rows)) for row in rows]
    return torch.tensor([1 / math.sqrt(n) for n in rarest])


def train(
    config: TextTraining, data: Path, out: Path, command: str
) -> Iterator[tuple[int, float] | dict[str, object]]:
    """Learn, measure and write `out`; yields (step, loss) and at last what was measured."""
    torch.manual_seed(config.seed)  # dropout and first weights
    g = torch.Generator().manual_seed(config.seed)
    windows = Windows(data, "train", WINDOW_FRAMES)
    every = windows.rows
    windows.rows = [row for row in every if not set_aside(row.name)] or every
    windows.chances = evenly(windows.rows, windows.tags)
    model = TextModel(TowerConfig(tags=windows.tags, bands=windows.mel.bands), windows.mel)
    bands = windows.mel.bands
    model.mean.copy_(windows.scale.mean[:bands])
    model.std.copy_(windows.scale.std[:bands])
    started = time.monotonic()
    yield from _learn(model, windows, config, g)
    minutes = (time.monotonic() - started) / 60
    model.eval()
    fit_axes(model, data, every)
    told: dict[str, object] = {"steps": config.steps, "minutes": round(minutes, 1)}
    aside = [row for row in every if set_aside(row.name)]
    heldout = [row for row in read_index(data) if row.split == "heldout"]
    heldout = [row for row in heldout if row.frames >= WINDOW_FRAMES]
    for name, rows in (("set aside", aside), ("held out", heldout)):
        if rows:
            told[name] = ranking(model, data, rows)
    notes = {"licence": LICENCE, "data": summary(data), "command": command}
    save(out, model, {**notes, "measured": json.dumps(told)})
    yield told


def _learn(
    model: TextModel, windows: Windows, config: TextTraining, g: torch.Generator
) -> Iterator[tuple[int, float]]:
    tower, bands = model.tower, windows.mel.bands
    mean = deepcopy(tower)
    optimizer = torch.optim.AdamW(tower.parameters(), config.rate, weight_decay=0.05)
    for step in range(config.steps):
        pace = warmup_cosine(step, config.steps, 50)
        optimizer.param_groups[0]["lr"] = config.rate * pace
        x, hot = windows.draw_tagged(config.batch, g, config.augment)
        frames = int(torch.randint(SHORTEST, WINDOW_FRAMES + 1, (1,), generator=g))
        x = roughened(x[:, :bands, :frames], config.noise, g)
        with autocast(x.device):
            logits = tower(x).float()
        loss = F.binary_cross_entropy_with_logits(logits, hot * (1 - SMOOTHING) + SMOOTHING / 4)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimizer.step()
        rate = min(config.ema_rate, (step + 1) / (step + 10))
        for kept, new in zip(mean.parameters(), tower.parameters(), strict=True):
            kept.data.lerp_(new.data, 1 - rate)
        yield step + 1, float(loss.detach())
    tower.load_state_dict(mean.state_dict())


@torch.no_grad()
def _windows_of(data: Path, row: Packed, config: MelConfig, most: int) -> Tensor:
    """Up to `most` windows evenly spread over a track: (n, channels, WINDOW_FRAMES)."""
    n = min(most, row.frames // WINDOW_FRAMES)
    starts = np.linspace(0, row.frames - WINDOW_FRAMES, n).astype(int)
    return torch.stack([load_mel(data, row, config, int(i), WINDOW_FRAMES) for i in starts])


@torch.no_grad()
def fit_axes(model: TextModel, data: Path, rows: Sequence[Packed]) -> None:
    """Set centre, spread and covariance of the axes from five windows a track, all alike."""
    said = torch.cat([model.raw(_windows_of(data, row, model.mel, 5)) for row in rows])
    model.centre.copy_(said.mean(0))
    model.spread.copy_(said.std(0))
    together = torch.cov(((said - model.centre) / model.spread).T)
    model.set_covariance((1 - SHRINK) * together + SHRINK * torch.eye(len(together)))


@torch.no_grad()
def ranking(model: TextModel, data: Path, rows: Sequence[Packed]) -> dict[str, object]:
    """How well single tags find their tracks: means over tags, and each tag's own.

    Chance is 0.5 for the area under the ROC curve, and is measured for the precision, where few
    tracks flatter it. Tags that all tracks or none have are left out.
    """
    tags = model.tower.config.tags
    vectors = [model.embed_mel(_windows_of(data, row, model.mel, 12)).mean(0) for row in rows]
    embedded = torch.stack(vectors)
    rng, each = np.random.default_rng(0), {}
    for tag in tags:
        scores = (embedded @ model.embed_weights({tag: 1.0})).numpy()
        has = np.array([tag in row.tags for row in rows])
        if 0 < has.sum() < len(has):
            chance = np.mean([average_precision(rng.random(len(has)), has) for _ in range(200)])
            told = (average_precision(scores, has), area(scores, has), float(chance))
            each[tag] = tuple(round(value, 3) for value in told)
    names = ("mean average precision", "mean area under ROC", "precision by chance")
    means = np.mean(list(each.values()), axis=0).round(3).tolist() if each else []
    return {"tracks": len(rows), **dict(zip(names, means, strict=False)), "tags": each}


def average_precision(scores: np.ndarray, has: np.ndarray) -> float:
    """Mean, over the tracks that have a tag, of the precision at their place in the ranking."""
    hits = has[np.argsort(-scores, kind="stable")]
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


def area(scores: np.ndarray, has: np.ndarray) -> float:
    """The chance that a track with the tag stands above one without it; ties count half."""
    above = scores[has][:, None] - scores[~has][None]
    return float(((above > 0) + 0.5 * (above == 0)).mean())


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and say what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=TextTraining.steps)
    asked = parser.parse_args(arguments)
    given = sys.argv[1:] if arguments is None else arguments
    command = shlex.join(("python", "-m", "segue.export.train_text", *given))
    losses: list[float] = []
    for told in train(TextTraining(steps=asked.steps), asked.data, asked.out, command):
        if isinstance(told, dict):
            print(json.dumps(told, indent=1))
            continue
        losses.append(told[1])
        if told[0] % 50 == 0:
            print(f"step {told[0]}: {np.mean(losses[-50:]):.4f}", flush=True)


if __name__ == "__main__":
    main()
