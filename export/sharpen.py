"""`segue sharpen`: a base model that says in one call what autoguidance says in two.

Autoguidance (arXiv 2406.02507) steps away from what a weaker version of the same model says: the
two err alike, and the weaker one further, so what lies on the other side is nearer to music. An
earlier state of the base model is such a version. What is made is a base model again, and is
distilled like one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from segue.export.augment import Augment
from segue.export.dataset import Windows, summary
from segue.export.loop import Learner, Pace, autocast, device_of, in_the_loss, learn
from segue.export.packed import check_mel
from segue.export.train import draw_levels, held_out_measure, without_tags
from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.ctm import Denoiser
from segue.server.ditto.mel import MelScale
from segue.server.ditto.network import conditioned
from segue.server.ditto.schedule import RectifiedFlow, add_noise
from segue.server.ditto.weights import (
    Generator,
    digest,
    load_generator,
    read_notes,
    save_generator,
    start_from,
)

MAX_AMOUNT = 4.0


@dataclass(frozen=True, kw_only=True)
class SharpenConfig(Pace):
    """Length and pace of the sharpening, and how far it goes.

    `amount` is the step away from the weaker model, as a multiple of the way from it to the base.
    No step is taken below level `lowest_t`: there it only moves what is known beside a gap.
    """

    steps: int = 2000
    batch: int = 8
    rate: float = 5e-4
    ema_rate: float = 0.99
    warmup: int = 20
    amount: float = 2.0
    lowest_t: float = 0.5
    tag_dropout: float = 0.5
    augment: Augment = field(default_factory=Augment)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.amount <= MAX_AMOUNT or not 0 <= self.lowest_t < 1:
            limits = f"amount must be above 0 and at most {MAX_AMOUNT:g}"
            raise SegueError(Code.BAD_REQUEST, f"{limits}, the lowest t from 0 to below 1")


def autoguided(base: Denoiser, weaker: Denoiser, amount: float, lowest_t: float) -> Denoiser:
    """D = D_base + a (D_base - D_weaker), a = `amount` from `lowest_t` on and 0 below.

    As in arXiv 2406.02507, whose w is 1 + a; but no frame gets larger than it is in D_base.
    """

    def denoiser(x_t: Tensor, t: Tensor) -> Tensor:
        D_x = base(x_t, t)
        a = (amount * (t >= lowest_t))[:, None, None]
        return no_larger(D_x + a * (D_x - weaker(x_t, t)), D_x)

    return denoiser


def no_larger(D_x: Tensor, limit: Tensor) -> Tensor:
    """D_x, each frame scaled down to the norm that it has in `limit`; (batch, channels, frames).

    The pair may also differ in how far a frame is from average, its level above all. Guided
    further at each step, a loud frame swells until it clips. Lin et al. (arXiv 2305.08891, section
    3.4) give a guided estimate its deviation back as a whole.
    """
    norm, most = (each.norm(dim=1, keepdim=True) for each in (D_x, limit))
    return D_x * (most / norm.clamp(min=1e-6)).clamp(max=1)


def sharpening_loss(student: Denoiser, teacher: Denoiser, x_t: Tensor, t: Tensor) -> Tensor:
    """Mean squared difference of their D_x, weighted by 1/t as in `base_loss`.

    x_t: (batch, channels, frames); t: (batch,).
    """
    with torch.no_grad():
        goal = teacher(x_t, t)
    return ((student(x_t, t) - goal) ** 2).mean(dim=(1, 2)).div(t).mean()


def load_pair(base_path: Path, weaker_path: Path) -> tuple[Generator, Generator, MelScale]:
    """The base model, the weaker one, and the mel statistics of both.

    Raises SegueError when one is distilled, or when sizes, tags or mels of the two differ.
    """
    base, scale = load_generator(base_path)
    weaker, its_scale = load_generator(weaker_path)
    for path, model in ((base_path, base), (weaker_path, weaker)):
        if model.config.guided:
            text = f"{path} is distilled; give the base model it comes from, of `segue train`"
            raise SegueError(Code.BAD_REQUEST, text)
    alike = torch.equal(scale.mean, its_scale.mean) and torch.equal(scale.std, its_scale.std)
    if not alike or weaker.config != base.config:
        text = f"{weaker_path} is not an earlier state of {base_path}: sizes, tags or mels differ"
        advice = "give --weaker what `segue train --snapshots` kept on the way to the base"
        raise SegueError(Code.BAD_REQUEST, f"{text}; {advice}")
    return base, weaker, scale


def sharpen(
    data: Path,
    base_path: Path,
    weaker_path: Path,
    folder: Path,
    config: SharpenConfig,
    device_name: str | None = None,
) -> Path:
    """Sharpen (or go on sharpening) a base model into `folder`; returns its weights file.

    `weaker_path`: an earlier state of the base. Raises SegueError when it is another model's, or
    when `folder` is that of one of the two, whose weights and checkpoint are not for this run, or
    of a run with other models or another amount.
    """
    device = device_of(device_name)
    if folder.resolve() in (base_path.parent.resolve(), weaker_path.parent.resolve()):
        text = f"{folder} holds the base model or the weaker one; give --out another folder"
        raise SegueError(Code.BAD_REQUEST, text)
    base, weaker, scale = load_pair(base_path, weaker_path)
    student = start_from(base_path, base.config).to(device)
    base, weaker = base.to(device), weaker.to(device)
    windows = Windows(data, "train", base.config.frames)
    check_mel(data, base.config.channels)
    windows.scale, windows.tags = scale, base.config.tags
    schedule = RectifiedFlow()
    origin = {
        "base model": digest(base),
        "weaker model": digest(weaker),
        "amount": f"{config.amount:g}",
    }
    learner = Learner(folder, student, student.blocks, config, origin=origin)
    network, *pair = (in_the_loss(each, config.compiled) for each in (student, base, weaker))

    def loss() -> Tensor:
        g = learner.generator
        x_0, tags = windows.draw_tagged(config.batch, g, config.augment)
        tags = without_tags(tags, config.tag_dropout, g).to(device)
        eps = torch.randn(x_0.shape, generator=g).to(device)
        t = draw_levels(config.batch, g, schedule).to(device)
        x_t = add_noise(schedule, x_0.to(device), eps, t)
        first, second = (conditioned(each, tags) for each in pair)
        teacher = autoguided(first, second, config.amount, config.lowest_t)
        with autocast(device):
            return sharpening_loss(conditioned(network, tags), teacher, x_t, t)

    path = folder / "base.safetensors"
    if learn(learner, loss, measure=held_out_measure(learner.ema, scale, data, device)):
        notes = {**read_notes(base_path), "sharpen": str(config), "data": summary(data)}
        save_generator(path, learner.ema, scale, notes)
    return path
