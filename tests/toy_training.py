"""A training whose gradients are exact in float32, also to be started by torchrun.

`torchrun --nproc_per_node 2 tests/toy_training.py FOLDER` trains twice, once with a stop, and
leaves what each process ended with in FOLDER/rank-N.pt.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from segue.export import loop, ranks
from segue.export.loop import Learner, Pace, learn

PACE = Pace(steps=8, batch=4, rate=0.01, ema_rate=0.9, warmup=2, snapshots=(3, 8))


class Toy(nn.Module):
    """One matrix for Muon, one vector for AdamW, one that only rank 1 has a gradient for."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Linear(32, 32, bias=False)
        self.shift, self.odd = nn.Parameter(torch.zeros(32)), nn.Parameter(torch.zeros(2))
        nn.init.constant_(self.blocks.weight, (1 + ranks.rank()) / 8)  # the first one's counts


def toy_loss(model: Toy, generator: torch.Generator, rank: int) -> Tensor:
    """Linear in the weights, of small binary fractions: no order of adding rounds anything."""
    x = torch.randint(-4, 5, (PACE.batch, 32), generator=generator) / 8
    y = torch.randint(-4, 5, (PACE.batch, 32), generator=generator) / 8
    loss = ((model.blocks(x) + model.shift) * y).sum() / 4
    return loss + rank * model.odd.sum()


def toy_learner(folder: Path, pace: Pace = PACE, **more: loop.Stateful) -> Learner[Toy]:
    """A run in `folder`, new or to be gone on with; `more` are its companions."""
    model = Toy()
    return Learner(folder, model, model.blocks, pace, more)


def toy_run(learner: Learner[Toy], deadly_step: int | None = None) -> dict[int, Tensor]:
    """Train to the end, or to a step at which it is killed; returns the snapshots' averages."""
    snapshots: dict[int, Tensor] = {}

    def loss() -> Tensor:
        if learner.step == deadly_step:
            raise KeyboardInterrupt
        return toy_loss(learner.model, learner.generator, ranks.rank())

    def keep(step: int) -> None:
        snapshots[step] = learner.ema.blocks.weight.clone()

    def measure() -> dict[str, float]:
        return {"sum": float(learner.ema.shift.sum()), "size": float(learner.ema.shift.norm())}

    learn(learner, loss, on_snapshot=keep, measure=measure, every=3)
    return snapshots


def without_end(run: Callable[[], object]) -> None:
    """Do what is killed."""
    try:
        run()
    except KeyboardInterrupt:
        return
    raise AssertionError("it was not killed")


def main(folder: Path) -> None:
    """What torchrun starts in each process."""
    loop.LOG_STEPS = 2
    whole = toy_learner(folder / "whole")
    snapshots = toy_run(whole)
    loop.CHECKPOINT_SECONDS = 0.0
    without_end(lambda: toy_run(toy_learner(folder / "killed"), 5))
    again = toy_learner(folder / "killed")
    gone_on_from = again.step
    toy_run(again)
    state = {
        "whole": whole.model.state_dict(),
        "again": again.model.state_dict(),
        "gone_on_from": gone_on_from,
        "snapshots": list(snapshots),
        "generator": whole.generator.get_state(),
    }
    torch.save(state, folder / f"rank-{ranks.rank()}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
