"""`segue distill`: a student that jumps along the teacher's trajectory in one call.

Local consistency on a grid of 20 teacher steps (DITTO-2 section 3.2, eq. 4): the student's jump
t -> s is compared, at s, with the jump u -> s of its moving average after one teacher step
t -> u. `ctm` draws s anywhere below, `cm` always takes s = 0. Where a window has tags the
teacher steps with classifier-free guidance, and the student learns its scale w as an input
(Luo et al. 2023): one call a step instead of two.

One estimate of x_0 has to serve every s (PCM, arXiv 2405.18407, section 3.2). With the error
taken at s, as in the paper, jumps that end near t weigh little and long ones decide; divided by
(1 - s/t)^2 all weighed the same, and a single step stayed as blurred as the teacher's.

What is still blurred then is what a network of this size can't tell apart. `adversarial_from`
lets discriminators in, as CTM has them (arXiv 2310.02279) and the paper does without.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from segue.export.augment import Augment
from segue.export.dataset import Windows, summary
from segue.export.discriminator import Jury
from segue.export.loop import Learner, Pace, autocast, device_of, in_the_loss, learn, snapshot
from segue.export.mel_discriminator import MelJury
from segue.export.packed import check_mel
from segue.export.train import held_out_measure, without_tags
from segue.presets.vocabulary import MAX_GUIDANCE, Code, SegueError
from segue.server.ditto.ctm import Denoiser, jump
from segue.server.ditto.mel import MelScale
from segue.server.ditto.network import SegueSmall, conditioned, guided
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
GAMMA = 0.2  # CTM's share of fresh noise where it is sampled in two steps
SECOND_STEPS = (0.5, 0.95)  # levels from which a second step may start
RAMP_STEPS = 40  # in which the pull of the discriminators grows to what it is
LEAST = 1e-20


@dataclass(frozen=True, kw_only=True)
class DistillConfig(Pace):
    """Length and pace of the distillation; the paper leaves rate, batch and EMA open.

    w is drawn evenly from 1 to `guidance`. With `adversarial_from` half of the windows start at
    t_max, and discriminators judge one and two steps from pure noise; from that step on they are
    heeded, in the end as much as the consistency error of the same windows.
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
    adversarial_from: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method not in DRAW_TARGET:
            known = ", ".join(DRAW_TARGET)
            raise SegueError(Code.BAD_REQUEST, f"no method {self.method!r}; there are: {known}")
        if self.adversarial_from is not None and self.batch < 2:
            raise SegueError(Code.BAD_REQUEST, "discriminators need a --batch of 2 at least")

    def heed(self, step: int) -> float:
        """How much of the discriminators' pull the student feels at `step`, from 0 to 1."""
        since = step - (self.adversarial_from or 0)
        return min(1.0, max(0.0, since / RAMP_STEPS))


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


def one_and_two_steps(
    student: Denoiser, schedule: Schedule, x_T: Tensor, generator: torch.Generator
) -> Tensor:
    """What one step makes of pure noise, and a second one of what the first has led to.

    x_T: (n, channels, frames); returns (2 * n, ...). Gradients reach each step by itself.
    """
    t_max = schedule.t_max
    one = student(x_T, x_T.new_full((len(x_T),), t_max))
    low, high = SECOND_STEPS
    t = (low + (high - low) * torch.rand(len(x_T), generator=generator)).to(x_T)
    fresh = torch.randn(x_T.shape, generator=generator).to(x_T)
    x_t = jump(lambda *_: one.detach(), schedule, x_T, t_max, t, gamma=GAMMA, noise=fresh)
    return torch.cat((one, student(x_t, t)))


def adversarial_loss(jury: Jury, made: Tensor, real: Tensor, pull: Tensor) -> Tensor:
    """The jury's loss in value, its pull on `made` in slope; the jury learns on the way.

    The slope in an element is, root mean square, that of a squared error of `pull` there.
    """
    towards, own = jury.judge(made, real, 1.0)
    towards = towards / towards.square().mean().sqrt().clamp(min=LEAST)
    slope = 2 * pull * (made * towards).mean()
    return own + slope - slope.detach()


def _jury(teacher: Generator, device: torch.device) -> Jury:
    if not isinstance(teacher, SegueSmall):
        text = "discriminators look into a network such as segue-small's, not into paper-unet"
        raise SegueError(Code.BAD_REQUEST, f"{text}; leave out --adversarial-from")
    return MelJury(copy.deepcopy(teacher), device)


def _load_teacher(path: Path) -> tuple[Generator, MelScale]:
    teacher, scale = load_generator(path)
    if teacher.config.guided:
        text = f"{path} is distilled; give --teacher what `segue train` or `segue sharpen` wrote"
        raise SegueError(Code.BAD_REQUEST, text)
    return teacher, scale


def _load_student(
    start: Path | None, teacher_path: Path, teacher: Generator, scale: MelScale
) -> Generator:
    if start is not None and not torch.equal(load_generator(start)[1].mean, scale.mean):
        text = f"{start} was trained on other mels than {teacher_path}: use one of its students"
        raise SegueError(Code.BAD_REQUEST, text)
    return start_from(start or teacher_path, replace(teacher.config, guided=True))


def _windows(data: Path, teacher: Generator, scale: MelScale) -> Windows:
    windows = Windows(data, "train", teacher.config.frames)
    check_mel(data, teacher.config.channels)
    windows.scale, windows.tags = scale, teacher.config.tags
    return windows


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
    SegueError when their mels are normalised in another way, when the teacher is a student
    itself, or when `folder` is of another teacher or method.
    """
    device = device_of(device_name)
    teacher, scale = _load_teacher(teacher_path)
    torch.manual_seed(config.seed)  # the guidance scale's weights are new
    student = _load_student(start, teacher_path, teacher, scale).to(device)
    teacher = teacher.to(device)
    windows = _windows(data, teacher, scale)
    schedule = RectifiedFlow()
    ts = grid(schedule, TEACHER_STEPS).float()
    jury = None if config.adversarial_from is None else _jury(teacher, device)
    companions, judged = (jury.companions, config.batch // 2) if jury else ({}, 0)
    origin = {"teacher": digest(teacher), "method": config.method}
    learner = Learner(folder, student, student.blocks, config, companions, origin)
    networks = (student, learner.ema, teacher)
    fast, average, guide = (in_the_loss(each, config.compiled) for each in networks)

    def loss() -> Tensor:
        g, batch = learner.generator, config.batch
        x_0, tags = windows.draw_tagged(batch, g, config.augment)
        x_0, tags = x_0.to(device), without_tags(tags, config.tag_dropout, g).to(device)
        w = (1 + torch.rand(batch, generator=g) * (config.guidance - 1)).to(device)
        eps = torch.randn(x_0.shape, generator=g).to(device)
        i = torch.randint(TEACHER_STEPS, (batch,), generator=g)
        i[:judged] = 0
        t, u, s = (ts[j].to(device) for j in (i, i + 1, DRAW_TARGET[config.method](i, g)))
        x_t = add_noise(schedule, x_0, eps, t)
        pair = conditioned(fast, tags, w), conditioned(average, tags, w)
        with autocast(device):
            errors = consistency_loss(*pair, guided(guide, tags, w), schedule, x_t, t, u, s)
            if jury is None:
                return errors.mean()
            maker = conditioned(fast, tags[:judged], w[:judged])
            made = one_and_two_steps(maker, schedule, eps[:judged], g)
        pull = config.heed(learner.step) * errors[:judged].detach().mean().sqrt()
        return errors.mean() + adversarial_loss(jury, made, x_0[: len(made)], pull)

    notes = {**read_notes(teacher_path), "distill": str(config), "data": summary(data)}

    def write(path: Path) -> None:
        save_generator(path, learner.ema, scale, notes)

    path = folder / "generator.safetensors"
    measure = held_out_measure(learner.ema, scale, data, device)
    if learn(learner, loss, on_snapshot=lambda n: write(snapshot(folder, n)), measure=measure):
        write(path)
    return path
