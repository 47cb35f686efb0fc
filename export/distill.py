"""`segue distill`: a student that jumps along the teacher's trajectory in one call.

Local consistency on a grid of 20 teacher steps (DITTO-2 section 3.2, eq. 4): the student's jump
t -> s is compared, at s, with the jump u -> s of its moving average after one teacher step
t -> u. `ctm` draws s anywhere below, `cm` always takes s = 0. Where a window has tags the
teacher steps with classifier-free guidance, and the student learns its scale w as an input
(Luo et al. 2023): one call a step instead of two.

One estimate of x_0 has to serve every s (PCM, arXiv 2405.18407, section 3.2). With the error
taken at s, as in the paper, jumps that end near t weigh little and long ones decide; divided by
(1 - s/t)^2 all weighed the same, and a single step stayed as blurred as the teacher's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from segue.export.augment import Augment
from segue.export.dataset import Windows, summary
from segue.export.loop import Learner, Pace, autocast, device_of, in_the_loss, learn, snapshot
from segue.export.packed import check_mel
from segue.export.train import held_out_measure, without_tags
from segue.presets.vocabulary import MAX_GUIDANCE, Code, SegueError
from segue.server.ditto.ctm import Denoiser, jump
from segue.server.ditto.mel import MelScale
from segue.server.ditto.network import conditioned, guided
from segue.server.ditto.schedule import RectifiedFlow, Schedule, add_noise, grid
from segue.server.ditto.weights import (
    Generator,
    digest,
    load_generator,
    read_notes,
    save_generator,
    start_from,
)

TEACHER_STEPS = 20


@dataclass(frozen=True, kw_only=True)
class DistillConfig(Pace):
    """Length and pace of the distillation; the paper leaves rate, batch and EMA open.

    w is drawn evenly from 1 to `guidance`.
    """

    method: str = "ctm"
    steps: int = 1500
    batch: int = 16
    rate: float = 5e-4
    ema_rate: float = 0.95
    warmup: int = 20
    guidance: float = MAX_GUIDANCE
    tag_dropout: float = 0.5
    augment: Augment = field(default_factory=Augment)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method not in DRAW_TARGET:
            known = ", ".join(DRAW_TARGET)
            raise SegueError(Code.BAD_REQUEST, f"no method {self.method!r}; there are: {known}")


def _anywhere_below(i: Tensor, generator: torch.Generator) -> Tensor:
    share = torch.rand(i.shape, generator=generator)
    return i + 1 + (share * (TEACHER_STEPS - i)).long()


def _at_zero(i: Tensor, generator: torch.Generator) -> Tensor:
    return torch.full_like(i, TEACHER_STEPS)


DrawTarget = Callable[[Tensor, torch.Generator], Tensor]
DRAW_TARGET: dict[str, DrawTarget] = {"ctm": _anywhere_below, "cm": _at_zero}


def consistency_loss(
    student: Denoiser,
    average: Denoiser,
    teacher: Denoiser,
    schedule: Schedule,
    x_t: Tensor,
    t: Tensor,
    u: Tensor,
    s: Tensor,
) -> Tensor:
    """Equation 4, its distance the mean square over the elements: (batch,).

    x_t: (batch, channels, frames); levels (batch,) with s <= u < t.
    """
    with torch.no_grad():
        x_u = jump(teacher, schedule, x_t, t, u)
        arrived = (s == u)[:, None, None]
        goal = torch.where(arrived, x_u, jump(average, schedule, x_u, u.clamp(min=1e-6), s))
    made = jump(student, schedule, x_t, t, s)
    return ((made - goal) ** 2).mean(dim=(1, 2))


def _load_teacher(path: Path) -> tuple[Generator, MelScale]:
    teacher, scale = load_generator(path)
    if teacher.config.guided:
        text = f"{path} is distilled; give --teacher what `segue train` or `segue sharpen` wrote"
        raise SegueError(Code.BAD_REQUEST, text)
    return teacher, scale


def distill(
    data: Path,
    teacher_path: Path,
    folder: Path,
    config: DistillConfig,
    device_name: str | None = None,
    *,
    start: Path | None = None,
) -> Path:
    """Distil (or go on distilling) a teacher into `folder`; returns the student's weights file.

    `start`: weights to begin with instead of the teacher's, such as those of a CM for CTM. Raises
    SegueError when their mels are normalised in another way than the teacher's, when the
    teacher is a student itself, or when `folder` is of another teacher or method.
    """
    device = device_of(device_name)
    teacher, scale = _load_teacher(teacher_path)
    if start is not None and not torch.equal(load_generator(start)[1].mean, scale.mean):
        text = f"{start} was trained on other mels than {teacher_path}: use one of its students"
        raise SegueError(Code.BAD_REQUEST, text)
    torch.manual_seed(config.seed)  # the guidance scale's weights are new
    student = start_from(start or teacher_path, replace(teacher.config, guided=True)).to(device)
    teacher = teacher.to(device)
    windows = Windows(data, "train", teacher.config.frames)
    check_mel(data, teacher.config.channels)
    windows.scale, windows.tags = scale, teacher.config.tags
    schedule = RectifiedFlow()
    ts = grid(schedule, TEACHER_STEPS).float()
    origin = {"teacher": digest(teacher), "method": config.method}
    learner = Learner(folder, student, student.blocks, config, origin=origin)
    fast, average, guide = (
        in_the_loss(each, config.compiled) for each in (student, learner.ema, teacher)
    )

    def loss() -> Tensor:
        g = learner.generator
        x_0, tags = windows.draw_tagged(config.batch, g, config.augment)
        tags = without_tags(tags, config.tag_dropout, g).to(device)
        w = (1 + torch.rand(config.batch, generator=g) * (config.guidance - 1)).to(device)
        eps = torch.randn(x_0.shape, generator=g)
        i = torch.randint(TEACHER_STEPS, (config.batch,), generator=g)
        t, u, s = (ts[j].to(device) for j in (i, i + 1, DRAW_TARGET[config.method](i, g)))
        x_t = add_noise(schedule, x_0.to(device), eps.to(device), t)
        pair = conditioned(fast, tags, w), conditioned(average, tags, w)
        with autocast(device):
            return consistency_loss(*pair, guided(guide, tags, w), schedule, x_t, t, u, s).mean()

    notes = {**read_notes(teacher_path), "distill": str(config), "data": summary(data)}

    def write(path: Path) -> None:
        save_generator(path, learner.ema, scale, notes)

    path = folder / "generator.safetensors"
    measure = held_out_measure(learner.ema, scale, data, device)
    if learn(learner, loss, on_snapshot=lambda n: write(snapshot(folder, n)), measure=measure):
        write(path)
    return path
