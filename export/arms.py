"""The networks of the bake-off: SegueSmall and the shapes it was measured against.

All take (batch, channels, frames) and (batch,) noise levels, and share SegueSmall's blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from segue.server.ditto.network import (
    ConvBlock,
    LevelEmbedding,
    NetworkConfig,
    Norm,
    SegueSmall,
    TransformerBlock,
    rotary,
)


class Trunk(nn.Module):
    """The transformer of SegueSmall, for other networks to be built around."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        w = config.width
        self.level = LevelEmbedding(w)
        self.modulation = nn.Linear(w, 6 * w)
        self.blocks = nn.ModuleList(TransformerBlock(w, config.heads) for _ in range(config.depth))
        self.norm = Norm()
        self.angles: Tensor
        table = rotary(config.frames // config.patch, w // config.heads)
        self.register_buffer("angles", table, persistent=False)

    def transform(self, x: Tensor, level: Tensor) -> Tensor:
        """x: (batch, tokens, width), level: (batch, width); normed at the end."""
        modulation = self.modulation(level).unflatten(-1, (6, -1))
        for block in self.blocks:
            x = block(x, modulation, self.angles)
        return self.norm(x)


class PlainPatches(Trunk):
    """Patches of the mel straight into the transformer and out again: no convolution."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.patch = nn.Linear(config.channels * config.patch, config.width)
        self.unpatch = zeroed(nn.Linear(config.width, config.channels * config.patch))

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """(batch, channels, frames), (batch,) to D_x of the same shape."""
        tokens = x_t.transpose(1, 2).unflatten(1, (-1, self.config.patch)).flatten(-2)
        x = self.transform(self.patch(tokens), F.silu(self.level(t)))
        frames = self.unpatch(x).unflatten(-1, (self.config.patch, -1)).flatten(1, 2)
        return frames.transpose(1, 2).to(x_t.dtype)


class UNet(Trunk):
    """Stride-2 levels, `conv_blocks` blocks each way, down to the transformer's tokens.

    `patch` must be a power of two; the levels widen evenly from `conv_width` to `width`.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        levels, c, w = config.patch.bit_length() - 1, config.conv_width, config.width
        sizes = [c + (w - c) * i // levels for i in range(levels + 1)]
        steps = list(pairwise(sizes))
        each = [size for size in sizes[:-1] for _ in range(config.conv_blocks)]
        self.stem = nn.Conv1d(config.channels, c, 3, padding=1)
        self.falling = nn.ModuleList(ConvBlock(size, w) for size in each)
        self.down = nn.ModuleList(nn.Conv1d(a, b, 4, stride=2, padding=1) for a, b in steps)
        self.up = nn.ModuleList(nn.ConvTranspose1d(b, a, 4, stride=2, padding=1) for a, b in steps)
        self.rising = nn.ModuleList(ConvBlock(size, w) for size in each)
        self.head = zeroed(nn.Conv1d(c, config.channels, 3, padding=1))

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """(batch, channels, frames), (batch,) to D_x of the same shape."""
        level, x, skips, n = F.silu(self.level(t)), self.stem(x_t), [], self.config.conv_blocks
        for i, down in enumerate(self.down):
            for block in self.falling[i * n : (i + 1) * n]:
                x = block(x, level)
            skips.append(x)
            x = down(x)
        x = self.transform(x.transpose(1, 2), level).transpose(1, 2)
        for i in reversed(range(len(self.up))):
            x = self.up[i](x) + skips[i]
            for block in self.rising[i * n : (i + 1) * n]:
                x = block(x, level)
        return self.head(x).to(x_t.dtype)


def zeroed(layer: nn.Module) -> nn.Module:
    """The layer with all its weights 0: an untrained network says 0, the mean."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


# One optimization iteration costs each of them the same, within a tenth, on one CPU core.
ARMS: dict[str, Callable[[], SegueSmall | Trunk]] = {
    "conv-stem": partial(SegueSmall, NetworkConfig(width=256, depth=8, conv_width=160)),
    "plain-patches-4": partial(PlainPatches, NetworkConfig(width=320, depth=8)),
    "conv-stem-patch-2": partial(
        SegueSmall, NetworkConfig(patch=2, width=192, depth=6, conv_width=160)
    ),
    "unet-1d": partial(UNet, NetworkConfig(width=256, depth=6, conv_width=128, conv_blocks=2)),
}
