"""The network as the search calls it: in bfloat16 where that is faster, compiled if asked to.

What it says only has to point the right way, since the found noise is decoded in full precision.
"""

from __future__ import annotations

import copy
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segue.server.ditto.crew import Crew

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)
HALVED_FROM = 1 << 14  # weights of a layer; smaller ones cost more to convert for than they save
TRIED_SIZE, TRIED_ROWS, TRIES = 512, 128, 5
PAYS_FROM = 1.3  # times as fast; processors without bfloat16 emulate it several times slower

# As many threads as are set when it is called; narrower registers where wide ones say it wrong.
WIDE: dict[str, Any] = {"cpp.dynamic_threads": True}
WAYS: dict[str, dict[str, Any]] = {"wide": WIDE, "narrow": {**WIDE, "cpp.simdlen": 256}}
RECOMPILED = 64  # times at most, once for each count of threads; of 256 PyTorch's own 8 are few
OFF_AT_MOST = 0.05  # of the answer and of its gradient; rounding to bfloat16 moves them by 0.01

log = logging.getLogger(__name__)


class Halved(nn.Module):
    """A layer that computes in bfloat16, between inputs and outputs of any precision.

    Its bias is added in their precision, which takes no time of its own where it is compiled.
    """

    def __init__(self, layer: nn.Linear | nn.Conv1d | nn.Conv2d) -> None:
        super().__init__()
        self.bias: Tensor | None = copy.deepcopy(layer.bias)
        plain = copy.deepcopy(layer).bfloat16()
        plain.bias = None
        self.layer: nn.Module = OneRow(plain) if isinstance(plain, nn.Conv1d) else plain
        self._beyond = 0 if isinstance(layer, nn.Linear) else layer.weight.dim() - 2

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output in the precision of x."""
        y: Tensor = self.layer(x.bfloat16()).to(x.dtype)
        return y if self.bias is None else y + self.bias.view(-1, *(1,) * self._beyond)


class OneRow(nn.Module):
    """A convolution over (batch, channels, frames) as one over images of one row, channels last.

    That layout takes PyTorch on a CPU two thirds of the time, and Conv1d doesn't know it.
    """

    def __init__(self, layer: nn.Conv1d) -> None:
        super().__init__()
        weight = layer.weight.detach()[:, :, None].contiguous(memory_format=torch.channels_last)
        self.weight = nn.Parameter(weight, requires_grad=False)
        self._options: dict[str, Any] = {
            "stride": (1, *layer.stride),
            "padding": layer.padding if isinstance(layer.padding, str) else (0, *layer.padding),
            "dilation": (1, *layer.dilation),
            "groups": layer.groups,
        }

    def forward(self, x: Tensor) -> Tensor:
        """The convolution without its bias."""
        image = x[:, :, None].contiguous(memory_format=torch.channels_last)
        return F.conv2d(image, self.weight, **self._options)[:, :, 0]


def halved(network: nn.Module) -> nn.Module:
    """A frozen copy whose large linear layers and convolutions compute in bfloat16."""
    twin = copy.deepcopy(network).requires_grad_(False)
    for module in list(twin.modules()):
        for name, child in module.named_children():
            if isinstance(child, LAYERS) and child.weight.numel() >= HALVED_FROM:
                setattr(module, name, Halved(child))
    return twin


@lru_cache(maxsize=4)
def half_pays(device: torch.device) -> bool:
    """Whether matrices multiply faster in bfloat16 there; on a CPU that is tried, in 10 ms."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    a, b = torch.ones(TRIED_ROWS, TRIED_SIZE), torch.ones(TRIED_SIZE, TRIED_SIZE)
    return product_seconds(a, b) > PAYS_FROM * product_seconds(a.bfloat16(), b.bfloat16())


def product_seconds(a: Tensor, b: Tensor) -> float:
    """The quickest of a few products on a CPU."""
    taken = []
    for _ in range(TRIES):
        started = time.perf_counter()
        a @ b
        taken.append(time.perf_counter() - started)
    return min(taken)


class SearchNetwork:
    """A network to search with; see `segue.server.ditto.network.Network`."""

    def __init__(self, network: nn.Module) -> None:
        self.config: Any = network.config
        self._network: nn.Module = network
        self._device = next(network.parameters()).device
        if half_pays(self._device):
            self._network = halved(network)
        many = self._device.type == "cpu" and torch.get_num_threads() > 1
        self._crew = Crew() if many else None
        self._compiled: Callable[..., Tensor] | None = None
        self._tried = False

    def __call__(
        self, x_t: Tensor, t: Tensor, tags: Tensor | None = None, w: Tensor | None = None
    ) -> Tensor:
        """D_x, shaped and typed as x_t."""
        if self._crew is None or not torch.is_grad_enabled():
            return self._estimate(x_t, t, tags, w)
        work = (len(x_t), self._compiled is None)
        return self._crew.run(work, lambda: self._estimate(x_t, t, tags, w))

    def _estimate(self, x_t: Tensor, t: Tensor, tags: Tensor | None, w: Tensor | None) -> Tensor:
        if self._compiled is None:
            D_x: Tensor = self._network(x_t, t, tags, w)
            return D_x
        # Strides as it was compiled for, in place of a row expanded and of D_x's bands last.
        level = t.clone(memory_format=torch.contiguous_format)
        x_t = x_t.contiguous()
        with torch.compiler.set_stance("eager_on_recompile"):
            if torch.is_grad_enabled() and x_t.requires_grad:
                return self._compiled(x_t, level, tags, w)
            # Compiled for 512-bit registers and without gradients, PyTorch 2.13 has said NaN on
            # an Intel processor, so it is compiled with them alone.
            with torch.enable_grad():
                return self._compiled(x_t.detach().requires_grad_(), level, tags, w).detach()

    def compile(self) -> str | None:
        """Compile it for a batch of one, once and in up to minutes; others stay as they are.

        Returns which of `WAYS` was right and faster. Where none is, or there is no compiler,
        nothing changes, and the log says so.
        """
        if self._tried:
            return None
        self._tried = True
        for way in WAYS:
            try:
                deque(self.adopt(way), maxlen=0)
            except Exception as error:  # whatever a compiler finds wrong
                log.warning("the network stays as it is, it can't be compiled: %s", error)
                return None
            if self._compiled is not None:
                return way if self._pays(self._compiled) else None
        return None

    def adopt(self, way: str) -> Iterator[None]:
        """Compile it in a way that `compile` found, and use it where it says the same.

        In steps: what is in the compiler's cache by then takes a few seconds each. PyTorch
        compiles anew for each count of threads.
        """
        from torch._dynamo import config  # takes seconds

        yield
        compiled: Callable[..., Tensor]
        options = {**WAYS[way], "cpp_wrapper": self._device.type == "cpu"}
        compiled = torch.compile(self._network, dynamic=False, options=options)
        for count in self._crew.counts if self._crew else (torch.get_num_threads(),):
            with _threads(count), config.patch(recompile_limit=RECOMPILED):
                self._and_back(compiled)
            yield
        if self._says_the_same(compiled):
            self._compiled = compiled
        else:
            log.warning("compiled the network says something else: %s", WAYS[way])

    def _pays(self, compiled: Callable[..., Tensor]) -> bool:
        """Whether it is faster than the network is; where it is not, it is not used."""
        before, after = self._seconds(self._network), self._seconds(compiled)
        log.info("an iteration takes %.1f ms, compiled %.1f ms", 1e3 * before, 1e3 * after)
        if after >= before:
            self._compiled = None
        return after < before

    def _says_the_same(self, compiled: Callable[..., Tensor]) -> bool:
        """Of noise."""
        pairs = zip(self._answers(compiled), self._answers(self._network), strict=True)
        return all(float((a - b).norm()) <= OFF_AT_MOST * float(b.norm()) for a, b in pairs)

    def _answers(self, network: Callable[..., Tensor]) -> list[Tensor]:
        """D_x of some noise, and the gradient of its mean square."""
        x_t, *rest = self._inputs()
        x_t.copy_(torch.randn(x_t.shape, generator=torch.Generator().manual_seed(0)))
        D_x = network(x_t.requires_grad_(), *rest)
        (gradient,) = torch.autograd.grad(D_x.square().mean(), x_t)
        return [D_x.detach(), gradient]

    def _inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Silence as x_t, t, no tags, w: of a batch of one."""
        config = self.config
        x_t = torch.zeros(1, config.channels, config.frames, device=self._device)
        return x_t, x_t.new_full((1,), 0.5), x_t.new_zeros(1, len(config.tags)), x_t.new_ones(1)

    def _and_back(self, network: Callable[..., Tensor]) -> None:
        """An iteration; waits for the device."""
        x_t, *rest = self._inputs()
        (gradient,) = torch.autograd.grad(network(x_t.requires_grad_(), *rest).sum(), x_t)
        gradient[0, 0, 0].item()

    def _seconds(self, network: Callable[..., Tensor]) -> float:
        """Of an iteration, the quickest of a few; the first is not counted."""
        self._and_back(network)
        tries = list[float]()
        for _ in range(TRIES):
            started = time.perf_counter()
            self._and_back(network)
            tries.append(time.perf_counter() - started)
        return min(tries)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
