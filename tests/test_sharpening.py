"""Autoguidance and its loss against answers known in advance."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from segue.export.sharpen import SharpenConfig, autoguided, no_larger, sharpening_loss
from segue.presets.vocabulary import SegueError
from segue.server.ditto.ctm import Denoiser
from segue.server.ditto.schedule import RectifiedFlow, levels

FLOW = RectifiedFlow()
T = torch.tensor([0.2, 0.5, 0.7, 0.999], dtype=torch.float64)


def random_x() -> Tensor:
    """A state for each of the levels `T`, of small binary fractions: sums of them are exact."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(-16, 17, (len(T), 3, 5), generator=generator).double() / 8


def scaled(factor: float | Tensor) -> Denoiser:
    """D = factor * x_t."""
    return lambda x_t, t: factor * x_t


def gaussian(mean: float) -> Denoiser:
    """What x_0 is on average, given x_t, where all data are normal around `mean`, deviation 2."""

    def denoiser(x_t: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = FLOW.alpha(levels(t, x_t)), FLOW.sigma(levels(t, x_t))
        return mean + 4 * alpha / (4 * alpha**2 + sigma**2) * (x_t - alpha * mean)

    return denoiser


def test_it_steps_away_from_the_weaker_one() -> None:
    """D_base + 2 (D_base - D_weaker) from the lowest level on, the level itself included."""
    x_t = random_x()
    made = autoguided(scaled(0.5), scaled(0.625), 2.0, 0.5)(x_t, T)
    factors = torch.tensor([0.5, 0.25, 0.25, 0.25], dtype=torch.float64)  # 0.5 - 2 * 0.125
    assert torch.equal(made, factors[:, None, None] * x_t)


def test_no_frame_gets_larger() -> None:
    """A step that only makes it larger is none; silence stays silence."""
    x_t = random_x()
    x_t[:, :, 2] = 0
    made = autoguided(scaled(0.5), scaled(0.125), 2.0, 0.5)(x_t, T)
    torch.testing.assert_close(made, 0.5 * x_t, rtol=0, atol=1e-15)


def test_each_frame_has_a_limit_of_its_own() -> None:
    """Of two channels: (3, 4) at most as large as (0, 2.5) is halved, (3, 4) within 5 stays."""
    D_x = torch.tensor([[[3.0, 3.0], [4.0, 4.0]]])
    limit = torch.tensor([[[0.0, 0.0], [2.5, 5.0]]])
    assert no_larger(D_x, limit).tolist() == [[[1.5, 3.0], [2.0, 4.0]]]


def test_with_0_as_the_lowest_level_it_steps_everywhere() -> None:
    """No level is left out."""
    x_t = random_x()
    assert torch.equal(autoguided(scaled(0.5), scaled(0.75), 1.0, 0.0)(x_t, T), 0.25 * x_t)


@pytest.mark.parametrize(("factor", "amount"), [(1.5, 2.0), (2.0, 1.0), (3.0, 0.5)])
def test_two_that_err_alike_tell_the_truth(factor: float, amount: float) -> None:
    """Where the weaker one errs `factor` times as far, 1 / (factor - 1) cancels the error.

    The data are normal around 1; the base takes the mean for 1.25, so that above 0 the truth is
    smaller.
    """
    x_t = random_x().abs()
    truth, base, weaker = (gaussian(1 + 0.25 * far) for far in (0.0, 1.0, factor))
    made = autoguided(base, weaker, amount, 0.0)(x_t, T)
    torch.testing.assert_close(made, truth(x_t, T), rtol=0, atol=1e-14)
    assert float((base(x_t, T) - truth(x_t, T)).abs().min()) > 1e-3


def test_a_student_that_says_it_has_no_loss() -> None:
    """And one that is off by c has c^2 / t, averaged over the levels."""
    teacher, x_t = autoguided(gaussian(1.25), gaussian(1.5), 2.0, 0.5), random_x()

    def off(x: Tensor, t: Tensor) -> Tensor:
        return teacher(x, t) + 0.5

    assert sharpening_loss(teacher, teacher, x_t, T).item() == 0
    torch.testing.assert_close(sharpening_loss(off, teacher, x_t, T), (0.25 / T).mean())


def test_gradients_reach_the_student_alone() -> None:
    """The two it learns from stay as they are."""
    student, base, weaker = (torch.tensor(each, requires_grad=True) for each in (0.5, 0.5, 0.25))
    teacher = autoguided(scaled(base), scaled(weaker), 2.0, 0.5)
    sharpening_loss(scaled(student), teacher, random_x(), T).backward()
    assert [each.grad is not None for each in (student, base, weaker)] == [True, False, False]


@pytest.mark.parametrize(
    "wrong",
    [{"amount": 0.0}, {"amount": 4.1}, {"amount": math.nan}, {"lowest_t": -0.1}, {"lowest_t": 1.0}],
)
def test_an_amount_that_cannot_work_is_refused(wrong: dict[str, float]) -> None:
    """Nothing to learn, or further than anyone wants."""
    with pytest.raises(SegueError, match="above 0 and at most 4, the lowest t from 0 to below 1"):
        SharpenConfig(**wrong)  # type: ignore[arg-type]


def test_the_limits_themselves_are_allowed() -> None:
    """The most, and a step at every level; by default it is what measured best here."""
    SharpenConfig(amount=4.0, lowest_t=0.0)
    assert SharpenConfig().amount == 2.0
