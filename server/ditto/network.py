"""The network behind `segue-small`: D_x = net(x_t, t) over a mel of mid and side.

Convolutions at frame rate keep detail, a transformer over patches of frames carries the
structure; the estimate is of x_0 itself (JiT, arXiv 2511.13720, for large patches).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segue.server.ditto.ctm import Denoiser

GUIDANCE_RANGE = 10.0  # w is embedded as a share of it


class Network(Protocol):
    """What training, distillation and sampling need of a network, whichever it is.

    `config` has channels, frames, tags (names, in the order of the columns) and guided.
    """

    config: Any

    def __call__(
        self, x_t: Tensor, t: Tensor, tags: Tensor | None = None, w: Tensor | None = None
    ) -> Tensor:
        """D_x, shaped and typed as x_t: (batch, channels, frames). t: (batch,), 0 to 1.

        tags: (batch, len(config.tags)), 1 where a tag holds; all zero (or None) is the
        unconditional model. w: (batch,) or (1,), guidance scale a distilled student has learned.
        """


def conditioned(net: Network, tags: Tensor | None = None, w: Tensor | None = None) -> Denoiser:
    """The network under one condition, as the sampler wants it: (x_t, t) to D_x."""
    return lambda x_t, t: net(x_t, t, tags, w)


def guided(net: Network, tags: Tensor, w: Tensor) -> Denoiser:
    """Classifier-free guidance, w D(tags) + (1 - w) D(no tags), two calls where there are tags.

    w = 1 is plainly conditional, as DITTO (arXiv 2401.12179) writes it. w: (batch,).
    """
    rows = tags.any(dim=1).nonzero()[:, 0]

    def denoiser(x_t: Tensor, t: Tensor) -> Tensor:
        D_x = net(x_t, t, tags)
        if len(rows) == 0:
            return D_x
        without = net(x_t[rows], t[rows])
        mixed = torch.lerp(without, D_x[rows], w[rows, None, None].to(x_t.dtype))
        return D_x.index_copy(0, rows, mixed)

    return denoiser


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Sizes of the network. `frames` must be a multiple of `patch`, `width` of `heads`.

    `tags` are the names it can be asked for; `guided` gives it the guidance scale as an input.
    """

    channels: int = 256
    frames: int = 512
    patch: int = 4
    width: int = 256
    depth: int = 8
    heads: int = 4
    conv_width: int = 160
    conv_blocks: int = 3
    tags: tuple[str, ...] = ()
    guided: bool = False

    def __post_init__(self) -> None:
        if self.frames % self.patch:
            raise ValueError(f"frames {self.frames} is not a multiple of patch {self.patch}")
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} is not a multiple of 2 x heads {self.heads}")


class Norm(nn.Module):
    """RMS norm over the last axis, without parameters: what follows scales."""

    def forward(self, x: Tensor) -> Tensor:
        """x / rms(x), any shape."""
        return F.rms_norm(x, x.shape[-1:])


class LevelEmbedding(nn.Module):
    """Sinusoids of the noise level, then a small MLP: (batch,) to (batch, width)."""

    def __init__(self, width: int, sinusoids: int = 128) -> None:
        super().__init__()
        self.frequencies: Tensor
        octaves = torch.linspace(0, math.log(1000.0), sinusoids // 2)
        self.register_buffer("frequencies", octaves.exp(), persistent=False)
        self.mlp = nn.Sequential(nn.Linear(sinusoids, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        """t: (batch,) in [0, 1]."""
        angles = t[:, None] * self.frequencies
        embedded: Tensor = self.mlp(torch.cat((angles.sin(), angles.cos()), dim=-1))
        return embedded


class Condition(nn.Module):
    """Tags and guidance scale, added to the level's embedding; without effect until trained."""

    def __init__(self, tags: int, guided: bool, width: int) -> None:
        super().__init__()
        self.tags = nn.Linear(tags, width, bias=False) if tags else None
        self.guidance = LevelEmbedding(width) if guided else None
        if self.tags is not None:
            nn.init.zeros_(self.tags.weight)
        if self.guidance is not None:
            for parameter in self.guidance.mlp[-1].parameters():
                nn.init.zeros_(parameter)

    def forward(self, t: Tensor, tags: Tensor | None, w: Tensor | None) -> Tensor:
        """(batch, width). tags: (batch, tags); w: (batch,), both as in `Network`."""
        total = torch.zeros((t.shape[0], 1), device=t.device)  # len() would freeze an export
        if self.tags is not None and tags is not None:
            total = total + self.tags(tags)
        if self.guidance is not None and w is not None:
            total = total + self.guidance(w / GUIDANCE_RANGE)
        return total


def rotary(positions: int, size: int) -> Tensor:
    """Rotary angles (positions, size / 2) as (2, positions, size / 2): cosines, sines."""
    speeds = 1000.0 ** (-torch.arange(0, size, 2) / size)
    angles = torch.arange(positions)[:, None] * speeds
    return torch.stack((angles.cos(), angles.sin()))


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Turn pairs of features of (batch, heads, positions, size) by the table's angles."""
    cos, sin = table[:, : x.shape[-2]].to(x.dtype)
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


class TransformerBlock(nn.Module):
    """Attention and MLP, each modulated by the noise level (AdaLN)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = Norm()
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.table = nn.Parameter(torch.zeros(6, width))

    def forward(self, x: Tensor, modulation: Tensor, angles: Tensor) -> Tensor:
        """x: (batch, tokens, width); modulation: (batch, 6, width), shared by all blocks."""
        shift1, scale1, gate1, shift2, scale2, gate2 = (modulation + self.table)[:, :, None].unbind(
            1
        )  # each (batch, 1, width)
        x = x + gate1 * self._attend(self.norm(x) * (1 + scale1) + shift1, angles)
        hidden = self.norm(x) * (1 + scale2) + shift2
        return x + gate2 * self.down(F.gelu(self.up(hidden), approximate="tanh"))

    def _attend(self, x: Tensor, angles: Tensor) -> Tensor:
        heads = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = heads.unbind(0)  # (batch, heads, tokens, size)
        q, k = rotate(self.norm(q), angles), rotate(self.norm(k), angles)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.out(mixed.transpose(1, 2).flatten(-2))


class ConvBlock(nn.Module):
    """Two convolutions over frames with a residual, shifted and scaled by the noise level."""

    def __init__(self, width: int, level_width: int) -> None:
        super().__init__()
        self.norm = Norm()
        self.first = nn.Conv1d(width, width, 3, padding=1)
        self.second = nn.Conv1d(width, width, 3, padding=1)
        self.modulate = nn.Linear(level_width, 2 * width)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """x: (batch, width, frames); level: (batch, level_width)."""
        shift, scale = self.modulate(level)[..., None].chunk(2, dim=1)
        hidden = self.norm(x.transpose(1, 2)).transpose(1, 2) * (1 + scale) + shift
        return x + self.second(F.silu(self.first(hidden)))


class SegueSmall(nn.Module):
    """The shipped network: (batch, channels, frames), (batch,) to D_x of the same shape."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        c, w = config.conv_width, config.width
        self.level = LevelEmbedding(w)
        self.condition = Condition(len(config.tags), config.guided, w)
        self.modulation = nn.Linear(w, 6 * w)
        self.stem = nn.Conv1d(config.channels, c, 3, padding=1)
        self.stem_block = ConvBlock(c, w)
        self.patch = nn.Linear(c * config.patch, w)
        self.blocks = nn.ModuleList(TransformerBlock(w, config.heads) for _ in range(config.depth))
        self.norm = Norm()
        self.unpatch = nn.Linear(w, c * config.patch)
        self.head_blocks = nn.ModuleList(ConvBlock(c, w) for _ in range(config.conv_blocks))
        self.head = nn.Conv1d(c, config.channels, 3, padding=1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)
        self.angles: Tensor
        table = rotary(config.frames // config.patch, w // config.heads)
        self.register_buffer("angles", table, persistent=False)

    def forward(
        self, x_t: Tensor, t: Tensor, tags: Tensor | None = None, w: Tensor | None = None
    ) -> Tensor:
        """D_x in the precision of x_t, whatever the network computes in (see `Network`)."""
        level = F.silu(self.level(t) + self.condition(t, tags, w))
        stem = self.stem_block(self.stem(x_t), level)  # (B, C, T)
        tokens = stem.transpose(1, 2).unflatten(1, (-1, self.config.patch)).flatten(-2)
        x = self.patch(tokens)  # (B, T / patch, width)
        modulation = self.modulation(level).unflatten(-1, (6, -1))
        for block in self.blocks:
            x = block(x, modulation, self.angles)
        frames = self.unpatch(self.norm(x)).unflatten(-1, (self.config.patch, -1))
        y = stem + frames.flatten(1, 2).transpose(1, 2)
        for block in self.head_blocks:
            y = block(y, level)
        return self.head(y).to(x_t.dtype)
