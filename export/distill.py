"""`segue distill`: a student that jumps along the teacher's trajectory in one call.

Local consistency on a grid of 20 teacher steps (DITTO-2 section 3.2, eq. 4): the student's jump
t -> s is compared, at s, with the jump u -> s of its moving average after one teacher step
t -> u. `ctm` draws s anywhere below, `cm` always takes s = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from segue.export.dataset import Windows
from segue.export.loop import Learner, learn, optimizers
from segue.export.train import device_of, held_out_error
from segue.server.ditto.ctm import Denoiser, jump
from segue.server.ditto.schedule import RectifiedFlow, Schedule, add_noise, grid
from segue.server.ditto.weights import load_generator, save_generator

TEACHER_STEPS = 20


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """Length and pace of the distillation; the paper leaves rate, batch and EMA open."""

    method: str = "ctm"
    steps: int = 600
    batch: int = 16
    rate: float = 3e-4
    ema_rate: float = 0.95
    gain_db: float = 6.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in DRAW_TARGET:
            raise ValueError(f"no method {self.method!r}; there are: {', '.join(DRAW_TARGET)}")


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
    teacher, _ = load_generator(teacher_path)
    student, scale = load_generator(teacher_path)
    teacher, student = teacher.to(device), student.to(device).requires_grad_(True)
    schedule = RectifiedFlow()
    ts = grid(schedule, TEACHER_STEPS).float()
    windows = Windows(data, "train", student.config.frames)
    learner = Learner(
        folder=folder,
        model=student,
        optimizers=optimizers(student, student.blocks, config.rate),
        generator=torch.Generator().manual_seed(config.seed + 2),
        steps=config.steps,
        ema_rate=config.ema_rate,
        warmup=20,
    )

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

    learn(learner, loss, config.batch)
    held_out = Windows(data, "heldout", student.config.frames)
    for level, error in held_out_error(learner.ema, held_out, schedule, device).items():
        print(f"held-out x0 error at t = {level}: {error:.4f}")
    path = folder / "generator.safetensors"
    save_generator(path, learner.ema, scale, {"distill": str(config)})
    return path
