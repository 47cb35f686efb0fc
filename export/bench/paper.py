"""Beside the paper: its seconds a clip, ours, and what its network at full size costs here.

No weights of that network exist. With random ones it costs as much as with trained ones, so a
forward pass and one with the way back to its input are timed, and a clip is extrapolated.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from segue.export.bench.floor import Flops
from segue.export.bench.runs import Measured
from segue.export.bench.tables import how
from segue.export.bench.tasks import CM, DITTO, OURS, K
from segue.export.evaluation.control_clips import DITTO_STEPS
from segue.export.evaluation.tables import Cell, Table
from segue.server.ditto.paper_unet import PaperUnet, PaperUnetConfig

LEVEL, GUIDANCE = 0.9, 2.0
# DITTO-2, table 1. Its card is not named; the DITTO row is DITTO's own, of one A100 40 GB.
PAPER_SECONDS = {
    "intensity": {DITTO: 82.192, CM: 5.206, OURS: 5.467},
    "melody": {DITTO: 230.780, CM: 21.867, OURS: 22.501},
    "structure": {DITTO: 245.295, CM: 11.381, OURS: 11.749},
    "outpaint": {DITTO: 144.437, CM: 6.658, OURS: 7.098},
    "inpaint": {DITTO: 145.486, CM: 6.744, OURS: 6.814},
}
STEPS = {CM: (1, 1), OURS: (1, 2), DITTO: (DITTO_STEPS, DITTO_STEPS)}  # M and T


@dataclass(frozen=True, kw_only=True)
class NetworkCost:
    """Median seconds of a pass forwards, and of one there and back to the input, with its FLOPs.

    `weights`: how many the network has.
    """

    weights: int
    forward: float
    both: float
    both_flops: float

    def clip(self, K: int, M: int, T: int, *, checkpointed: bool) -> float:
        """Seconds of the network's passes for a clip: K iterations through M steps, T to decode.

        Checkpointing runs each step forwards once more.
        """
        again = self.forward if checkpointed else 0.0
        return K * M * (self.both + again) + T * self.forward


def network_cost(
    config: PaperUnetConfig, device: torch.device, repeat: int, now: Callable[[], float]
) -> NetworkCost:
    """Time the network with random weights on one clip, after one pass to warm up."""
    torch.manual_seed(0)  # of the weights alone
    network = PaperUnet(config).to(device).requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    x_t = torch.randn(1, config.channels, config.frames, generator=generator).to(device)
    t, w = (torch.full((1,), value, device=device) for value in (LEVEL, GUIDANCE))

    def forward() -> None:
        with torch.no_grad():
            network(x_t, t, None, w)

    def both() -> None:
        x = x_t.clone().requires_grad_()
        torch.autograd.grad(network(x, t, None, w).sum(), x)

    with Flops() as flops:
        both()
    return NetworkCost(
        weights=sum(p.numel() for p in network.parameters()),
        forward=_median(forward, repeat, now),
        both=_median(both, repeat, now),
        both_flops=flops.total,
    )


def _median(run: Callable[[], None], repeat: int, now: Callable[[], float]) -> float:
    times = []
    for _ in range(repeat):
        started = now()
        run()
        times.append(now() - started)
    return statistics.median(times)


def paper_table(measured: Iterable[Measured], unet: NetworkCost, rate: float, note: str) -> Table:
    """The paper's seconds a clip, ours on this machine, and its network's on this machine."""
    ours = {(each.job.task, each.job.method): each for each in measured}
    rows: list[tuple[Cell, ...]] = []
    for task, seconds in PAPER_SECONDS.items():
        for method, paper in seconds.items():
            M, T = STEPS[method]
            there = unet.clip(K, M, T, checkpointed=method == DITTO)
            each = ours.get((task, method))
            mine: tuple[Cell, ...] = ("-", "-", "-")
            if each is not None:
                mine = each.seconds[0], len(each.runs[0].iterations), how(each)
            rows.append((task, method, paper, *mine, there, M, T, "extrapolated"))
    text = (
        f"paper-unet: {unet.weights / 1e6:.3g} million random weights (the paper's has 41),"
        f" {unet.forward:.4g} s forwards, {unet.both:.4g} s there and"
        f" back ({unet.both_flops / 1e9:.4g} GFLOP, {unet.both_flops / unet.both / rate:.1%} of"
        f" this machine's float32 products); K = {K} and the network's passes alone, without"
        " losses and vocoder. The paper prints neither K nor its card for these; its DITTO row"
        " is of one A100 40 GB. Ours: this model, by its own settings, one window of it each"
    )
    return Table(
        name="bench-paper",
        title="Seconds a clip of six seconds beside DITTO-2, table 1",
        note=f"{text}. {note}",
        columns=(
            *("task", "method", "the paper's", "ours here", "our K", "ours is"),
            *("paper-unet here", "M", "T", "paper-unet is"),
        ),
        rows=tuple(rows),
    )
