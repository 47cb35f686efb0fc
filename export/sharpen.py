"""`segue sharpen`: a base model that says in one call what autoguidance says in two.

Autoguidance (arXiv 2406.02507) steps away from what a worse version of the same model says: the
two err alike, and the worse one further, so what lies on the other side is nearer to music. A
base model of the same sizes that has learned for less time is such a version.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from segue.export.augment import Augment
from segue.export.dataset import Windows, summary
from segue.export.loop import Learner, Pace, autocast, device_of, learn
from segue.export.packed import check_mel
from segue.export.train import draw_levels, held_out_measure, without_tags
from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.ctm import Denoiser
from segue.server.ditto.network import conditioned
from segue.server.ditto.schedule import RectifiedFlow, add_noise
from segue.server.ditto.weights import load_generator, read_notes, save_generator, start_from

MOST = 4.0  # of the way; twice is too much already


@dataclass(frozen=True, kw_only=True)
class SharpenConfig(Pace):
    """Length and pace. `amount` is how far to step, as a share of the way between the two models;
    none below level `lowest_t`, where detail is made that seams would betray.
    """

    steps: int = 600
    batch: int = 8
    rate: float = 5e-4
    ema_rate: float = 0.99
    warmup: int = 20
    amount: float = 1.5
    lowest_t: float = 0.5
    tag_dropout: float = 0.5
    augment: Augment = field(default_factory=Augment)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.amount <= MOST or not 0 <= self.lowest_t < 1:
            text = f"amount must be above 0 and at most {MOST:g}, the lowest t from 0 to below 1"
            raise SegueError(Code.BAD_REQUEST, text)


def autoguided(base: Denoiser, weaker: Denoiser, amount: float, lowest_t: float) -> Denoiser:
    """D = D_base + a (D_base - D_weaker), a = `amount` from `lowest_t` on and 0 below.

    Equation 3 of arXiv 2406.02507 with w = 1 + a.
    """

    def denoiser(x_t: Tensor, t: Tensor) -> Tensor:
        D_x = base(x_t, t)
        away = (amount * (t >= lowest_t))[:, None, None]
        return D_x + away * (D_x - weaker(x_t, t))

    return denoiser


def sharpening_loss(student: Denoiser, goal: Denoiser, x_t: Tensor, t: Tensor) -> Tensor:
    """Mean squared error to what the goal says, weighted by 1/t as in training.

    x_t: (batch, channels, frames); t: (batch,).
    """
    with torch.no_grad():
        wanted = goal(x_t, t)
    return ((student(x_t, t) - wanted) ** 2).mean(dim=(1, 2)).div(t).mean()


def sharpen(
    data: Path,
    base_path: Path,
    weaker_path: Path,
    folder: Path,
    config: SharpenConfig,
    device_name: str | None = None,
) -> Path:
    """Sharpen (or go on sharpening) a base model into `folder`; returns its weights file.

    Raises SegueError when the weaker model was trained on other mels, tags or sizes.
    """
    device = device_of(device_name)
    base, scale = load_generator(base_path)
    weaker, its_scale = load_generator(weaker_path)
    alike = torch.equal(scale.mean, its_scale.mean) and torch.equal(scale.std, its_scale.std)
    if not alike or base.config.guided or weaker.config.tags != base.config.tags:
        text = f"{weaker_path} is no earlier state of {base_path}: both must be base models"
        raise SegueError(Code.BAD_REQUEST, f"{text} of the same data, see `segue train`")
    student = start_from(base_path, base.config).to(device)
    base, weaker = base.to(device), weaker.to(device)
    windows = Windows(data, "train", base.config.frames)
    check_mel(data, base.config.channels)
    windows.scale, windows.tags = scale, base.config.tags
    schedule = RectifiedFlow()
    learner = Learner(folder, student, student.blocks, config)

    def loss() -> Tensor:
        g = learner.generator
        x_0, tags = windows.draw_tagged(config.batch, g, config.augment)
        tags = without_tags(tags, config.tag_dropout, g).to(device)
        eps = torch.randn(x_0.shape, generator=g).to(device)
        t = draw_levels(config.batch, g, schedule).to(device)
        x_t = add_noise(schedule, x_0.to(device), eps, t)
        both = (conditioned(base, tags), conditioned(weaker, tags))
        goal = autoguided(*both, config.amount, config.lowest_t)
        with autocast(device):
            return sharpening_loss(conditioned(student, tags), goal, x_t, t)

    path = folder / "base.safetensors"
    if learn(learner, loss, measure=held_out_measure(learner.ema, scale, data, device)):
        notes = {**read_notes(base_path), "sharpen": str(config), "data": summary(data)}
        save_generator(path, learner.ema, scale, notes)
    return path
