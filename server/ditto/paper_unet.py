"""The network behind `paper-unet`: the 2-D U-Net on a mel that DITTO-2 starts from.

Stated (DITTO-2 4.2, DITTO appendix K, Music ControlNet IV-C): pixels of 512 frames x 160 bands,
five ResNet blocks of 64, 64, 128, 128, 256 channels with stride 2 between them, 41 M parameters,
sinusoidal noise level and a learned linear added to the features of each block, learned tag
embeddings of 256 with cross-attention in the two innermost blocks, and the guidance scale as an
input with an embedding of its own, as in LCM (arXiv 2310.04378).

Ours, where they are silent: two layers a block on the way down and again on the way up, thirteen
at the bottom, each 512 wide inside, which is where the 41 M come from at little cost (the bottom
has 320 pixels, the top 81,920); no self-attention; pre-activation layers with group norm and
SiLU; nearest-neighbour upsampling; an estimate of x_0, not of eps, so that it trains on
rectified flow like `segue-small`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segue.server.ditto.network import Condition, LevelEmbedding

ATTENDING = 2  # blocks with cross-attention, counted from the innermost


@dataclass(frozen=True, kw_only=True)
class PaperUnetConfig:
    """Sizes of the network; `widths` and `layers` run from the outermost block to the innermost.

    `channels` and `frames` are halved between blocks and must allow it. `inner` is the width
    inside the innermost layers, `embedding` that of tags and noise level. `tags` are the names
    it can be asked for; `guided` gives it the guidance scale as an input.
    """

    channels: int = 160
    frames: int = 512
    widths: tuple[int, ...] = (64, 64, 128, 128, 256)
    layers: tuple[int, ...] = (2, 2, 2, 2, 13)
    inner: int = 512
    embedding: int = 256
    groups: int = 32
    heads: int = 4
    tags: tuple[str, ...] = ()
    guided: bool = False

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.layers) or len(self.widths) < ATTENDING:
            raise ValueError(f"widths {self.widths} and layers {self.layers} must be as many")
        if min(*self.layers, *self.widths, self.inner, self.groups, self.heads) < 1:
            raise ValueError("every width and every number of layers, groups, heads is at least 1")
        shrink = 2 ** (len(self.widths) - 1)
        if self.channels % shrink or self.frames % shrink:
            text = f"channels {self.channels} and frames {self.frames}"
            raise ValueError(f"{text} must be multiples of {shrink}")
        if any(width % self.groups for width in (*self.widths, self.inner)):
            raise ValueError(f"widths and inner must be multiples of groups {self.groups}")
        if any(width % self.heads for width in self.widths[-ATTENDING:]):
            raise ValueError(f"the innermost widths must be multiples of heads {self.heads}")


def _zeroed(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class TagContext(nn.Module):
    """What cross-attention looks at: a token for "no tag", always there, and one a tag that holds.

    A tag is stored as its difference from "no tag": a row of zeros is a tag without effect.
    """

    def __init__(self, tags: int, width: int) -> None:
        super().__init__()
        self.none = nn.Parameter(torch.randn(width))
        self.tags = nn.Linear(tags, width, bias=False) if tags else None
        if self.tags is not None:
            nn.init.normal_(self.tags.weight)

    def forward(self, batch: int, tags: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Tokens (batch, 1 + tags, width); bias (batch, 1, 1, 1 + tags), -inf where none holds."""
        tokens = self.none[None]
        if self.tags is None or tags is None:
            return tokens.expand(batch, -1, -1), None
        tokens = torch.cat((tokens, tokens + self.tags.weight.T))
        held = F.pad(tags, (1, 0), value=1.0).log()
        return tokens.expand(batch, -1, -1), held[:, None, None]


class CrossAttention(nn.Module):
    """Every pixel looks at the tags; a residual that starts as nothing."""

    def __init__(self, width: int, context: int, groups: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(groups, width)
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(context, 2 * width, bias=False)
        self.out = _zeroed(nn.Linear(width, width))

    def forward(self, x: Tensor, tokens: Tensor, bias: Tensor | None) -> Tensor:
        """x: (batch, width, bands, frames); tokens and bias as `TagContext` gives them."""
        pixels = self.norm(x).flatten(2).transpose(1, 2)  # (B, pixels, width)
        q = self._split(self.query(pixels))
        k, v = (self._split(each) for each in self.key_value(tokens).chunk(2, dim=-1))
        mixed = F.scaled_dot_product_attention(q, k, v, None if bias is None else bias.to(q.dtype))
        return x + self.out(mixed.transpose(1, 2).flatten(-2)).transpose(1, 2).view_as(x)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, positions, size)


class ResnetLayer(nn.Module):
    """Two 3x3 convolutions with a residual; the noise level is added between them."""

    def __init__(self, arriving: int, width: int, inner: int, config: PaperUnetConfig) -> None:
        super().__init__()
        self.norm_in = nn.GroupNorm(config.groups, arriving)
        self.first = nn.Conv2d(arriving, inner, 3, padding=1)
        self.level = nn.Linear(config.embedding, inner)
        self.norm_out = nn.GroupNorm(config.groups, inner)
        self.second = _zeroed(nn.Conv2d(inner, width, 3, padding=1))
        self.past = nn.Identity() if arriving == width else nn.Conv2d(arriving, width, 1)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """x: (batch, arriving, bands, frames); level: (batch, embedding). Gives `width`."""
        hidden = self.first(F.silu(self.norm_in(x))) + self.level(level)[..., None, None]
        return self.past(x) + self.second(F.silu(self.norm_out(hidden)))


class ResnetBlock(nn.Module):
    """The layers of one resolution, each followed by cross-attention in the innermost blocks."""

    def __init__(self, config: PaperUnetConfig, place: int, arriving: int) -> None:
        super().__init__()
        width, layers, blocks = config.widths[place], config.layers[place], len(config.widths)
        inner = config.inner if place == blocks - 1 else width
        self.layers = nn.ModuleList(
            ResnetLayer(width if i else arriving, width, inner, config) for i in range(layers)
        )
        self.attention = nn.ModuleList(
            CrossAttention(width, config.embedding, config.groups, config.heads)
            for _ in range(layers if place >= blocks - ATTENDING else 0)
        )

    def forward(self, x: Tensor, level: Tensor, tokens: Tensor, bias: Tensor | None) -> Tensor:
        """x: (batch, arriving, bands, frames) to (batch, width, bands, frames)."""
        for i, layer in enumerate(self.layers):
            x = layer(x, level)
            if self.attention:
                x = self.attention[i](x, tokens, bias)
        return x


class PaperUnet(nn.Module):
    """The paper's network behind the protocol `Network`: (batch, channels, frames) to D_x."""

    def __init__(self, config: PaperUnetConfig) -> None:
        super().__init__()
        self.config = config
        widths, bottom = config.widths, len(config.widths) - 1
        self.level = LevelEmbedding(config.embedding)
        self.condition = Condition(0, config.guided, config.embedding)
        self.context = TagContext(len(config.tags), config.embedding)
        self.stem = nn.Conv2d(1, widths[0], 3, padding=1)
        self.down = nn.ModuleList(ResnetBlock(config, i, widths[i]) for i in range(bottom))
        self.shrink = nn.ModuleList(
            nn.Conv2d(widths[i], widths[i + 1], 3, stride=2, padding=1) for i in range(bottom)
        )
        self.bottom = ResnetBlock(config, bottom, widths[bottom])
        self.grow = nn.ModuleList(
            nn.Conv2d(widths[i + 1], widths[i], 3, padding=1) for i in range(bottom)
        )
        self.up = nn.ModuleList(ResnetBlock(config, i, 2 * widths[i]) for i in range(bottom))
        self.norm = nn.GroupNorm(config.groups, widths[0])
        self.head = _zeroed(nn.Conv2d(widths[0], 1, 3, padding=1))

    @property
    def blocks(self) -> nn.ModuleList:
        """The part whose matrices Muon takes: none, the paper trains it all with Adam."""
        return nn.ModuleList()

    def forward(
        self, x_t: Tensor, t: Tensor, tags: Tensor | None = None, w: Tensor | None = None
    ) -> Tensor:
        """D_x in the precision of x_t, whatever the network computes in (see `Network`)."""
        level = F.silu(self.level(t) + self.condition(t, None, w))
        given = (level, *self.context(x_t.shape[0], tags))
        x = self.stem(x_t[:, None])  # (B, width, bands, frames)
        skips = []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            skips.append(block(x, *given))
            x = shrink(skips[-1])
        x = self.bottom(x, *given)
        for i in reversed(range(len(skips))):
            x = self.grow[i](F.interpolate(x, scale_factor=2.0, mode="nearest"))
            x = self.up[i](torch.cat((x, skips[i]), dim=1), *given)
        return self.head(F.silu(self.norm(x)))[:, 0].to(x_t.dtype)
