"""How far an iteration is from the floor: its FLOPs against the machine's own matrix products."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from segue.export.bench.tasks import iterating
from segue.export.bench.timing import Cost, measure
from segue.presets.vocabulary import Request
from segue.server.engine import Engine

ONE_OF_EACH = 8  # iterations, so that a surrogate that changes on the way shows all it does


class Flops(TorchDispatchMode):
    """Counts the FLOPs of matrix products and convolutions, forwards and backwards, as a context.

    With the formulas of torch's FlopCounterMode, which hooks into modules; torch.autograd.grad
    does not bear that. Element-wise work, FFTs and norms count as nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation and add what it cost."""
        given = kwargs or {}
        out = func(*args, **given)
        formula: Callable[..., int] | None = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **given, out_val=out)
        return out


def count(engine: Engine, request: Request, path: Path) -> Cost:
    """FLOPs of a short run by part and iteration; attention as the products it consists of.

    The network is the plain one, whose products are those of a halved or compiled one too. The
    decoder's are missing where it runs outside torch.
    """
    few = 1 if request.settings.surrogate == "full" else ONE_OF_EACH
    plain = replace(engine, search=None)
    with sdpa_kernel(SDPBackend.MATH), Flops() as flops:
        return measure(plain, iterating(request, few), path, lambda: float(flops.total))


@dataclass(frozen=True, kw_only=True)
class Share:
    """FLOPs of an iteration, its median seconds, and what part of the machine's rate that is."""

    which: str
    flops: float
    seconds: float
    of_rate: float


def shares(flops: Cost, runs: Iterable[Cost], rate: float) -> list[Share]:
    """Of the first third of the iterations and of the last, where these cost other FLOPs.

    A surrogate may begin with one step and change half way; both thirds lie inside one of its
    stretches. rate: the machine's FLOP a second.
    """
    times = [run.iterations for run in runs]
    first = [each for run in times for each in run[: max(1, len(run) // 3)]]
    last = [each for run in times for each in run[-max(1, len(run) // 3) :]]
    early = flops.iterations[:2][-1]  # the very first begins behind the step before it
    if early == flops.iterations[-1]:
        return [_share("all", early, [each for run in times for each in run], rate)]
    return [
        _share("first third", early, first, rate),
        _share("last third", flops.iterations[-1], last, rate),
    ]


def _share(which: str, flops: float, times: list[float], rate: float) -> Share:
    seconds = statistics.median(times)
    return Share(which=which, flops=flops, seconds=seconds, of_rate=flops / seconds / rate)
