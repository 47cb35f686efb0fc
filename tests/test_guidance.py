"""Leading estimates, where the way down is known in closed form."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from segue.server.ditto.guidance import FARTHEST, lowered

X = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))


def test_a_loss_that_falls_evenly_is_met_in_one_step() -> None:
    """Where the loss is a distance, the step ends on the spot, each row on its own."""
    aim = X + 0.01 * torch.tensor([1.0, -2.0])[:, None, None]

    def distance(x_0: Tensor) -> Tensor:
        return (x_0 - aim).square().sum(dim=(1, 2)).sqrt()

    torch.testing.assert_close(lowered(X, distance, steps=1), aim)


def test_a_square_is_halved_a_step() -> None:
    """A parabola is half as far down as its slope says, so half the way is left each time."""

    def square(x_0: Tensor) -> Tensor:
        return x_0.square().sum(dim=(1, 2))

    small = 0.05 * X
    torch.testing.assert_close(lowered(small, square, steps=3), small / 8)


@pytest.mark.parametrize("slope", [1e-9, 1.0])
def test_nothing_is_led_far(slope: float) -> None:
    """However high the loss is over its slope."""
    moved = lowered(X, lambda x_0: 1e3 + slope * x_0.sum(dim=(1, 2)), steps=2) - X
    torch.testing.assert_close(moved, torch.full_like(X, -FARTHEST))


def test_no_element_goes_far() -> None:
    """A slope that a single element has does not carry it away, in however many steps."""
    made = lowered(X, lambda x_0: 1e3 + x_0[:, 0, 0], steps=60)
    there = X.clone()
    there[:, 0, 0] -= FARTHEST
    torch.testing.assert_close(made, there)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 0.0])
def test_what_has_no_way_down_stays(value: float) -> None:
    """Met, or not finite: that row stays, the other moves."""

    def loss(x_0: Tensor) -> Tensor:
        return x_0.square().sum(dim=(1, 2)) * torch.tensor([value, 1.0])

    made = lowered(0.05 * X, loss, steps=1)
    assert torch.equal(made[0], 0.05 * X[0])
    torch.testing.assert_close(made[1], 0.05 * X[1] / 2)
