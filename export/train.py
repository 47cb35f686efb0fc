"""`segue train`: the base model, a denoiser of mels at every noise level.

x_t = alpha x_0 + sigma eps, the network estimates x_0; squared error weighted by 1/t, which
lies between plain x_0 error and the velocity error of rectified flow (1/t^2).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from segue.export.dataset import Windows
from segue.export.loop import Learner, Pace, device_of, learn
from segue.presets.vocabulary import SegueError
from segue.server.ditto.ctm import Denoiser
from segue.server.ditto.network import NetworkConfig, SegueSmall
from segue.server.ditto.schedule import RectifiedFlow, Schedule, add_noise
from segue.server.ditto.weights import save_generator

LOWEST_T = 0.05
HELD_OUT_LEVELS = (0.2, 0.5, 0.8, 0.95)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Pace):
    """Length and pace of the base training, and the network's sizes."""

    steps: int = 2600
    batch: int = 16
    rate: float = 2e-3
    ema_rate: float = 0.995
    gain_db: float = 6.0
    network: NetworkConfig = field(default_factory=NetworkConfig)


def draw_levels(n: int, generator: torch.Generator, t_max: float) -> Tensor:
    """(n,) noise levels, logit-normal (Esser et al. 2024) leaning to the noisy end."""
    normal = torch.randn(n, generator=generator)
    return (torch.sigmoid(1.2 * normal + 0.3) * t_max).clamp(min=LOWEST_T)


def base_loss(model: nn.Module, schedule: Schedule, x_0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    """Mean squared error of D_x, weighted by 1/t. x_0, eps: (batch, channels, frames)."""
    D_x = model(add_noise(schedule, x_0, eps, t), t)
    return ((D_x - x_0) ** 2).mean(dim=(1, 2)).div(t).mean()


@torch.no_grad()
def held_out_error(
    denoiser: Denoiser, windows: Windows, schedule: Schedule, device: torch.device, n: int = 32
) -> dict[float, float]:
    """Mean squared error of D_x on held-out windows at fixed noise levels (1 = the variance)."""
    generator = torch.Generator().manual_seed(1234)
    x_0 = windows.draw(n, generator).to(device)
    eps = torch.randn(x_0.shape, generator=generator).to(device)
    errors = {}
    for t in HELD_OUT_LEVELS:
        rows = torch.full((n,), t, device=device)
        D_x = denoiser(add_noise(schedule, x_0, eps, t), rows)
        errors[t] = float(((D_x - x_0) ** 2).mean())
    return errors


def report_held_out(denoiser: SegueSmall, data: Path, device: torch.device) -> None:
    """Print the held-out error a noise level, or why there is none."""
    try:
        windows = Windows(data, "heldout", denoiser.config.frames)
    except SegueError as error:
        print(f"no held-out error: {error.text}")
        return
    for t, mse in held_out_error(denoiser, windows, RectifiedFlow(), device).items():
        print(f"held-out x0 error at t = {t}: {mse:.4f}")


def train(data: Path, folder: Path, config: TrainConfig, device_name: str | None = None) -> Path:
    """Train (or go on training) the base model in `folder`; returns its weights file."""
    device = device_of(device_name)
    windows = Windows(data, "train", config.network.frames)
    torch.manual_seed(config.seed)  # the initial weights; everything after has its generator
    model = SegueSmall(config.network).to(device)
    schedule = RectifiedFlow()
    learner = Learner(folder, model, model.blocks, config)

    def loss() -> Tensor:
        g = learner.generator
        x_0 = windows.draw(config.batch, g, gain_db=config.gain_db).to(device)
        eps = torch.randn(x_0.shape, generator=g).to(device)
        t = draw_levels(config.batch, g, schedule.t_max).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            return base_loss(model, schedule, x_0, eps, t)

    learn(learner, loss)
    report_held_out(learner.ema, data, device)
    path = folder / "base.safetensors"
    save_generator(path, learner.ema, windows.scale, {"train": str(config)})
    return path
