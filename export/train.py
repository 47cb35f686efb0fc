"""`segue train`: the base model, a denoiser of mels at every noise level.

x_t = alpha x_0 + sigma eps, the network estimates x_0; squared error weighted by 1/t, which
lies between plain x_0 error and the velocity error of rectified flow (1/t^2). Tags are left
out of a share of the windows, so that one network is the unconditional model too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from segue.export import ranks
from segue.export.augment import Augment
from segue.export.dataset import Windows, summary
from segue.export.loop import Learner, Pace, autocast, device_of, in_the_loss, learn, snapshot
from segue.export.packed import check_mel
from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.ctm import Denoiser
from segue.server.ditto.mel import MelScale
from segue.server.ditto.network import NetworkConfig, conditioned
from segue.server.ditto.paper_unet import PaperUnetConfig
from segue.server.ditto.schedule import RectifiedFlow, Schedule, add_noise
from segue.server.ditto.weights import (
    Generator,
    build,
    load_generator,
    read_notes,
    save_generator,
    start_from,
)

LOWEST_T = 0.05
HELD_OUT_LEVELS = (0.2, 0.5, 0.8, 0.95, 0.99)
HELD_OUT_WINDOWS = 32


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Pace):
    """Length and pace of the base training, and the network's sizes; its tags are the data's."""

    steps: int = 6000
    batch: int = 16
    rate: float = 1.5e-3
    ema_rate: float = 0.998
    tag_dropout: float = 0.5
    augment: Augment = field(default_factory=Augment)
    network: NetworkConfig | PaperUnetConfig = field(default_factory=NetworkConfig)


def draw_levels(n: int, generator: torch.Generator, schedule: Schedule) -> Tensor:
    """(n,) noise levels, as dense as the schedule's grids are."""
    return schedule.level(torch.rand(n, generator=generator)).clamp(min=LOWEST_T)


def without_tags(tags: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """`tags` (batch, tags), all of them gone from about this share of the rows."""
    return tags * (torch.rand(len(tags), 1, generator=generator) >= share)


def base_loss(
    denoiser: Denoiser, schedule: Schedule, x_0: Tensor, eps: Tensor, t: Tensor
) -> Tensor:
    """Mean squared error of D_x, weighted by 1/t. x_0, eps: (batch, channels, frames)."""
    D_x = denoiser(add_noise(schedule, x_0, eps, t), t)
    return ((D_x - x_0) ** 2).mean(dim=(1, 2)).div(t).mean()


@torch.no_grad()
def held_out_error(
    denoiser: Denoiser, windows: Windows, schedule: Schedule, device: torch.device
) -> dict[float, float]:
    """Mean squared error of D_x on the same held-out windows at fixed noise levels, no tags.

    1 is the variance of the training set.
    """
    generator = torch.Generator().manual_seed(1234)
    x_0 = windows.draw(HELD_OUT_WINDOWS, generator).to(device)
    eps = torch.randn(x_0.shape, generator=generator.manual_seed(1235)).to(device)
    errors = {}
    for t in HELD_OUT_LEVELS:
        rows = torch.full((len(x_0),), t, device=device)
        D_x = denoiser(add_noise(schedule, x_0, eps, t), rows)
        errors[t] = float(((D_x - x_0) ** 2).mean())
    return errors


def held_out_measure(
    net: Generator, scale: MelScale, data: Path, device: torch.device
) -> Callable[[], dict[str, float]] | None:
    """What `learn` measures on the way; None, and said, when no held-out track is long enough.

    scale: the mel statistics of the weights, which need not be those of the data.
    """
    try:
        windows = Windows(data, "heldout", net.config.frames)
    except SegueError as error:
        if ranks.first():
            print(f"no held-out error: {error.text}")
        return None

    windows.scale = scale
    denoiser = conditioned(net, w=torch.ones(1, device=device))

    def measure() -> dict[str, float]:
        errors = held_out_error(denoiser, windows, RectifiedFlow(), device)
        return {f"x0 error at t = {t}": mse for t, mse in errors.items()}

    return measure


def beginning(
    start: Path | None, config: TrainConfig, windows: Windows
) -> tuple[Generator, dict[str, str]]:
    """A fresh network that knows the data's tags, or the one in `start` with those added.

    The windows are then normalised as the weights in `start` are used to. Raises SegueError
    when those can't be used, or when the network takes another mel than the data's.
    """
    if start is None:
        check_mel(windows.folder, config.network.channels)
        return build(replace(config.network, tags=windows.tags)), {}
    old, windows.scale = load_generator(start)
    check_mel(windows.folder, old.config.channels)
    tags = tuple(dict.fromkeys((*old.config.tags, *windows.tags)))
    model = start_from(start, replace(old.config, tags=tags))
    windows.tags = tags
    return model, {f"before.{key}": note for key, note in read_notes(start).items()}


def train(
    data: Path,
    folder: Path,
    config: TrainConfig,
    device_name: str | None = None,
    *,
    start: Path | None = None,
) -> Path:
    """Train (or go on training) the base model in `folder`; returns its weights file.

    `start`: weights to begin with instead of random ones. Their sizes and their mel statistics
    are kept, and tags they do not know are added. Of a run that goes on, statistics and tags are
    those it began with. Raises SegueError when the tags are others now.
    """
    device = device_of(device_name)
    windows = Windows(data, "train", config.network.frames)
    torch.manual_seed(config.seed)  # the initial weights; everything after has its generator
    model, notes = beginning(start, config, windows)
    model = model.to(device)
    schedule = RectifiedFlow()
    mels = nn.ParameterDict({"mean": windows.scale.mean, "std": windows.scale.std})
    origin = {"list of tags": ", ".join(model.config.tags)}
    learner = Learner(folder, model, model.blocks, config, {"mels": mels}, origin)
    windows.scale = MelScale(mels["mean"].detach(), mels["std"].detach())  # as the run began
    network = in_the_loss(model, config.compiled)

    def loss() -> Tensor:
        g = learner.generator
        x_0, tags = windows.draw_tagged(config.batch, g, config.augment)
        tags = without_tags(tags, config.tag_dropout, g).to(device)
        eps = torch.randn(x_0.shape, generator=g).to(device)
        t = draw_levels(config.batch, g, schedule).to(device)
        with autocast(device):
            return base_loss(conditioned(network, tags), schedule, x_0.to(device), eps, t)

    notes = {**notes, "train": str(config), "data": summary(data)}

    def write(path: Path) -> None:
        save_generator(path, learner.ema, windows.scale, notes)

    path = folder / "base.safetensors"
    measure = held_out_measure(learner.ema, windows.scale, data, device)
    if learn(learner, loss, on_snapshot=lambda n: write(snapshot(folder, n)), measure=measure):
        write(path)
    return path


def network_named(name: str) -> NetworkConfig | PaperUnetConfig:
    """One of `NETWORKS`. Raises SegueError listing them for any other name."""
    if name not in NETWORKS:
        raise SegueError(Code.BAD_REQUEST, f"no network {name!r}; there are: {', '.join(NETWORKS)}")
    return NETWORKS[name]


NETWORKS: dict[str, NetworkConfig | PaperUnetConfig] = {
    "segue-small": NetworkConfig(),
    "paper-unet": PaperUnetConfig(),
}
