"""A generator at its work for the evaluation: unconditional samples, and overlaps met."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from segue.export.evaluation.measure import Bench, Decode, Measured
from segue.presets.vocabulary import Settings
from segue.server.asked import ITERATIONS
from segue.server.ditto.controls import outpaint
from segue.server.ditto.ctm import Denoiser, decode_multistep, jump
from segue.server.ditto.mel import MelConfig, MelScale
from segue.server.ditto.network import conditioned
from segue.server.ditto.optimize import Waves, optimize
from segue.server.ditto.schedule import Schedule, even_grid, grid
from segue.server.ditto.weights import load_generator
from segue.server.painter import LEARNING_RATE

SAMPLE_BATCH = 8


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How a kind of generator is sampled: its stochasticity and numbers of steps."""

    gamma: float
    steps: tuple[int, ...]


KINDS = {
    "base": Kind(gamma=0.0, steps=(1, 2, 4, 8, 20)),  # DDIM
    "cm": Kind(gamma=1.0, steps=(1, 2, 4, 8)),  # ping-pong
    "ctm": Kind(gamma=0.2, steps=(1, 2, 4, 8)),
}


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """A generator at its work: one draw of starting noise for all of them."""

    path: Path
    kind: Kind
    denoiser: Denoiser
    scale: MelScale
    schedule: Schedule
    shape: tuple[int, int]
    device: torch.device
    seed: int

    @classmethod
    def load(
        cls, path: Path, kind: str, schedule: Schedule, device: torch.device, seed: int
    ) -> Sampler:
        """Read weights. Raises SegueError(NO_MODEL) when they can't be used."""
        net, scale = load_generator(path)
        return cls(
            path=path,
            kind=KINDS[kind],
            denoiser=conditioned(net.to(device), w=torch.ones(1, device=device)),
            scale=scale,
            schedule=schedule,
            shape=(net.config.channels, net.config.frames),
            device=device,
            seed=seed,
        )

    def key(self, steps: int, n: int) -> str:
        """All that its samples depend on."""
        weights = hashlib.sha256(self.path.read_bytes()).hexdigest()
        gamma = self.kind.gamma
        return f"{weights} {self.schedule} gamma={gamma} T={steps} n={n} seed={self.seed}"

    @torch.no_grad()
    def mels(self, steps: int, n: int) -> Iterator[Tensor]:
        """`n` unconditional natural-log mels, (channels, frames) each."""
        x_T = torch.randn((n, *self.shape), generator=torch.Generator().manual_seed(self.seed))
        fresh = torch.Generator().manual_seed(self.seed + 1)
        for batch in x_T.split(SAMPLE_BATCH):
            x_0 = decode_multistep(
                self.denoiser,
                self.schedule,
                batch.to(self.device),
                grid(self.schedule, steps),
                gamma=self.kind.gamma,
                generator=fresh,
            )
            yield from self.scale.restore(x_0.cpu())


def measure_samples(
    bench: Bench, sampler: Sampler, name: str, steps: int, n: int, decode: Decode, key: str = ""
) -> Measured:
    """Measure `n` samples in `steps` steps. `key` names the decoder."""
    return bench.made(
        f"{name} T={steps}",
        f"{sampler.key(steps, n)} {key}",
        lambda: sampler.mels(steps, n),
        decode,
        n,
    )


def overlap_errors(
    sampler: Sampler,
    targets: Tensor,
    settings: Settings,
    say: Callable[[str], None],
) -> tuple[float, float]:
    """Mean error in the overlap after optimizing x_T, at T = 1 and at `settings.decode_steps`.

    targets: (n, channels, overlap frames) normalised by the sampler's scale.
    """
    generator = torch.Generator().manual_seed(sampler.seed)
    x_T = torch.randn((len(targets), *sampler.shape), generator=generator)
    errors = []
    for start, goal in zip(x_T.split(SAMPLE_BATCH), targets.split(SAMPLE_BATCH), strict=True):
        errors += _overlap_errors(
            sampler, start.to(sampler.device), goal.to(sampler.device), settings
        )
        say(f"optimized {len(errors)} of {len(targets)} overlaps")
    one, several = np.mean(errors, axis=0)
    return float(one), float(several)


def _overlap_errors(
    sampler: Sampler, x_T: Tensor, target: Tensor, settings: Settings
) -> list[tuple[float, float]]:
    """(T = 1, T = decode_steps) for each row of a batch."""
    schedule, frames = sampler.schedule, x_T.shape[-1]
    pinned = torch.arange(frames, device=x_T.device) < target.shape[-1]
    target = F.pad(target, (0, frames - target.shape[-1]))

    def objective(x: Tensor) -> Tensor:
        x_0 = jump(sampler.denoiser, schedule, x, schedule.t_max, 0.0)
        return outpaint.loss(x_0, target, pinned)

    best = optimize(
        [objective] * (settings.iterations or ITERATIONS),
        x_T,
        learning_rate=settings.learning_rate or LEARNING_RATE["waves"],
        waves=Waves(MelConfig().bands, x_T.shape[-1], x_T.device),
    )
    with torch.no_grad():
        decoded = decode_multistep(
            sampler.denoiser,
            schedule,
            best.x_T,
            even_grid(schedule, settings.decode_steps),
            gamma=settings.gamma,
            generator=torch.Generator().manual_seed(sampler.seed + 2),
        )
        at_once = jump(sampler.denoiser, schedule, best.x_T, schedule.t_max, 0.0)
        both = (outpaint.overlap_error(x_0, target, pinned).tolist() for x_0 in (at_once, decoded))
        return list(zip(*both, strict=True))
