"""Discriminators that know a student's mels from music by what a frozen base model sees in them.

Adversarial distillation in the features of a diffusion model (LADD, arXiv 2403.12015). The mels
are noised before the base looks at them, so that the finest detail alone does not give them away.
With a batch of a few windows they never learn to tell; they do from what they have seen lately.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segue.export.discriminator import Jury
from segue.export.loop import Stateful, autocast
from segue.server.ditto.network import SegueSmall
from segue.server.ditto.schedule import RectifiedFlow, add_noise

WIDTH = 96
REACH = 5  # tokens, or frames of the stem, that are judged together
LEVELS = (0.1, 0.8)  # of the noise
DEPTHS = (1 / 3, 2 / 3, 1)  # of the transformer, where its tokens are looked at
RATE = 2e-3
BETAS = (0.5, 0.95)
UPDATES = 2  # that the discriminators make while the student makes one
MADE_KEPT, REAL_KEPT = 12, 60  # calls
DRAWN = 4  # calls an update learns from; of what is made, the latest is one

Features = list[Tensor]  # (rows, width, places) for each module that is tapped


class MelDiscriminators(nn.Module):
    """One on the base's stem, and one at each third of its transformer; the base learns nothing."""

    def __init__(self, base: SegueSmall) -> None:
        super().__init__()
        self.base = (base.requires_grad_(False),)  # in a tuple it is no part of what learns
        places = [math.ceil(len(base.blocks) * depth) - 1 for depth in DEPTHS]
        self.tapped = (base.stem_block, *(base.blocks[place] for place in places))
        widths = (base.config.conv_width, *[base.config.width] * len(places))
        self.heads = nn.ModuleList(_head(width) for width in widths)

    def features(self, x_0: Tensor, generator: torch.Generator) -> Features:
        """What each tapped module says of (rows, channels, frames) under noise, its RMS 1."""
        low, high = LEVELS
        t = (low + (high - low) * torch.rand(len(x_0), generator=generator)).to(x_0.device)
        eps = torch.randn(x_0.shape, generator=generator).to(x_0.device)
        seen = Features()
        hooks = [
            module.register_forward_hook(lambda _module, _inputs, said: seen.append(said))
            for module in self.tapped
        ]
        self.base[0](add_noise(RectifiedFlow(), x_0, eps, t), t)
        for hook in hooks:
            hook.remove()
        stem, *tokens = seen
        rows = (stem.transpose(1, 2), *tokens)  # (rows, places, width)
        return [F.rms_norm(row, row.shape[-1:]).transpose(1, 2) for row in rows]

    def forward(self, features: Features) -> list[Tensor]:
        """Each discriminator's scores, (rows, 1, places): above 0 is music."""
        return [head(each).float() for head, each in zip(self.heads, features, strict=True)]


def _head(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(width, WIDTH, 1),
        nn.SiLU(),
        nn.Conv1d(WIDTH, WIDTH, REACH, padding=REACH // 2),
        nn.SiLU(),
        nn.Conv1d(WIDTH, 1, 1),
    )


class Memory:
    """What the discriminators have looked at in the latest calls, in half precision."""

    def __init__(self) -> None:
        self.calls = 0
        self.made, self.real = deque[Features](maxlen=MADE_KEPT), deque[Features](maxlen=REAL_KEPT)

    def add(self, made: Features, real: Features) -> None:
        """Keep one more call of either; when full, forget the oldest for it."""
        self.calls += 1
        for kept, features in ((self.made, made), (self.real, real)):
            kept.append([each.detach().half() for each in features])

    def draw(self, generator: torch.Generator) -> tuple[Features, Features]:
        """Rows of DRAWN calls of what is made, the latest among them, and of what is real."""
        latest = self.made[-1]
        device = latest[0].device  # what a checkpoint brought back is on the CPU
        made = [*_picks(self.made, DRAWN - 1, generator), latest]
        return _joined(made, device), _joined(_picks(self.real, DRAWN, generator), device)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"calls": self.calls, "made": list(self.made), "real": list(self.real)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it back."""
        self.made.clear()
        self.real.clear()
        self.calls = state["calls"]
        self.made.extend(state["made"])
        self.real.extend(state["real"])


def _picks(kept: Sequence[Features], calls: int, generator: torch.Generator) -> list[Features]:
    return [kept[pick] for pick in torch.randint(len(kept), (calls,), generator=generator).tolist()]


def _joined(calls: list[Features], device: torch.device) -> Features:
    rows = zip(*calls, strict=True)
    return [torch.cat([seen.to(device) for seen in each]).float() for each in rows]


class MelJury(Jury):
    """A jury that looks through a base model and learns from its memory.

    Each call draws other noise; the number of the call is the seed, so that a run that goes on
    draws what it would have drawn.
    """

    def __init__(self, base: SegueSmall, device: torch.device) -> None:
        self.ears = MelDiscriminators(base)
        super().__init__(self.ears, RATE, device, BETAS)
        self.memory = Memory()

    @property
    def companions(self) -> dict[str, Stateful]:
        """What a checkpoint has to keep."""
        return {**super().companions, "memory": self.memory}

    def judge(self, made: Tensor, real: Tensor, factor: float) -> tuple[Tensor, Tensor]:
        """As a jury does it for normalised mels, (rows, channels, frames), with its updates."""
        generator = torch.Generator().manual_seed(self.memory.calls)
        heard = made.detach().requires_grad_()
        with autocast(made.device):
            features = self.ears.features(heard, generator)
            maker = -torch.stack([x.mean() for x in self.ears(features)]).mean()
            (pull,) = torch.autograd.grad(maker, heard)
            with torch.no_grad():
                of_real = self.ears.features(real, generator)
        self.memory.add(features, of_real)
        for _ in range(UPDATES):
            with autocast(made.device):
                own = self._own(*self.memory.draw(generator))
            self.update(own, factor)
        return pull, own.detach()

    def _own(self, made: Features, real: Features) -> Tensor:
        """The hinge loss, 2 where nothing has been told apart yet."""
        pairs = zip(self.ears(made), self.ears(real), strict=True)
        return torch.stack([F.relu(1 + m).mean() + F.relu(1 - r).mean() for m, r in pairs]).mean()
