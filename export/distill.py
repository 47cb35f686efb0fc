"""`segue distill`: a student that jumps along the teacher's trajectory in one call.

Local consistency on a grid of 20 teacher steps (DITTO-2 section 3.2, eq. 4): the student's jump
t -> s is compared, at s, with the jump u -> s of its moving average after one teacher step
t -> u. `ctm` draws s anywhere below, `cm` always takes s = 0.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from segue.export.dataset import Windows
from segue.export.loop import Learner, Pace, device_of, learn
from segue.export.train import report_held_out
from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.ctm import Denoiser, jump
from segue.server.ditto.schedule import RectifiedFlow, Schedule, add_noise, grid
from segue.server.ditto.weights import load_generator, read_notes, save_generator

TEACHER_STEPS = 20


@dataclass(frozen=True, kw_only=True)
class DistillConfig(Pace):
    """Length and pace of the distillation; the paper leaves rate, batch and EMA open."""

    method: str = "ctm"
    steps: int = 600
    batch: int = 16
    rate: float = 3e-4
    ema_rate: float = 0.95
    warmup: int = 20
    gain_db: float = 6.0

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
    """Equation 4, divided by (1 - s/t)^2 so that short jumps do not vanish: (batch,).

    x_t: (batch, channels, frames); levels (batch,) with s <= u < t.
    """
    with torch.no_grad():
        x_u = jump(teacher, schedule, x_t, t, u)
        arrived = (s == u)[:, None, None]
        goal = torch.where(arrived, x_u, jump(average, schedule, x_u, u.clamp(min=1e-6), s))
    made = jump(student, schedule, x_t, t, s)
    return ((made - goal) ** 2).mean(dim=(1, 2)) / (1 - s / t) ** 2


def distill(
    data: Path,
    teacher_path: Path,
    folder: Path,
    config: DistillConfig,
    device_name: str | None = None,
) -> Path:
    """Distil (or go on distilling) a teacher into `folder`; returns the student's weights file."""
    device = device_of(device_name)
    teacher, scale = load_generator(teacher_path)
    teacher = teacher.to(device)
    windows = Windows(data, "train", teacher.config.frames)
    student = copy.deepcopy(teacher).requires_grad_(True)
    schedule = RectifiedFlow()
    ts = grid(schedule, TEACHER_STEPS).float()
    learner = Learner(folder, student, student.blocks, config)

    def loss() -> Tensor:
        g = learner.generator
        x_0 = windows.draw(config.batch, g, gain_db=config.gain_db)
        eps = torch.randn(x_0.shape, generator=g)
        i = torch.randint(TEACHER_STEPS, (config.batch,), generator=g)
        t, u, s = (ts[j].to(device) for j in (i, i + 1, DRAW_TARGET[config.method](i, g)))
        x_t = add_noise(schedule, x_0.to(device), eps.to(device), t)
        with torch.autocast(device.type, torch.bfloat16):
            rows = consistency_loss(student, learner.ema, teacher, schedule, x_t, t, u, s)
        return rows.mean()

    learn(learner, loss)
    report_held_out(learner.ema, data, device)
    path = folder / "generator.safetensors"
    save_generator(path, learner.ema, scale, {**read_notes(teacher_path), "distill": str(config)})
    return path
