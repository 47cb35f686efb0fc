"""The consistency loss against answers known in advance, and where each method jumps to."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from segue.export.distill import DRAW_TARGET, TEACHER_STEPS, consistency_loss
from segue.server.ditto.ctm import Denoiser, jump
from segue.server.ditto.schedule import RectifiedFlow, add_noise, grid

FLOW = RectifiedFlow()


def levels_of(values: list[float]) -> Tensor:
    """Noise levels, a batch row each."""
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("t", "u", "s"), [(0.99, 0.9405, 0.0), (0.5, 0.4, 0.4), (0.5, 0.4, 0.1), (0.0495, 0.0, 0.0)]
)
def test_an_exact_flow_map_has_no_loss(t: float, u: float, s: float) -> None:
    """For data that is one point c, D = c is the flow map itself: every jump agrees."""
    c = torch.randn(1, 3, 4, dtype=torch.float64)
    eps = torch.randn(2, 3, 4, dtype=torch.float64)
    rows = [levels_of([level, level]) for level in (t, u, s)]

    def exact(x_t: Tensor, level: Tensor) -> Tensor:
        return c.expand_as(x_t)

    x_t = add_noise(FLOW, c.expand(2, -1, -1), eps, rows[0])
    loss = consistency_loss(exact, exact, exact, FLOW, x_t, *rows)
    torch.testing.assert_close(loss, torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-25)


def test_where_s_is_u_the_teacher_alone_is_the_goal() -> None:
    """The moving average has no say there, even when it answers NaN."""
    x_t = torch.randn(2, 3, 4, dtype=torch.float64)
    t, u = levels_of([0.9, 0.5]), levels_of([0.8, 0.3])

    def student(x: Tensor, level: Tensor) -> Tensor:
        return 0.5 * x

    def teacher(x: Tensor, level: Tensor) -> Tensor:
        return 0.25 * x

    def broken(x: Tensor, level: Tensor) -> Tensor:
        return x * torch.nan

    loss = consistency_loss(student, broken, teacher, FLOW, x_t, t, u, u)
    gap = jump(student, FLOW, x_t, t, u) - jump(teacher, FLOW, x_t, t, u)
    torch.testing.assert_close(loss, gap.square().mean((1, 2)))


def test_gradients_reach_the_student_alone() -> None:
    """Teacher and moving average are goals, not pupils."""
    factors = torch.full((3,), 0.5).requires_grad_().unbind()
    for factor in factors:
        factor.retain_grad()

    def scaled(factor: Tensor) -> Denoiser:
        return lambda x_t, level: factor * x_t

    student, average, teacher = (scaled(factor) for factor in factors)
    t, u, s = (levels_of([v, v]).float() for v in (0.9, 0.8, 0.2))
    x_t = torch.randn(2, 3, 4)
    consistency_loss(student, average, teacher, FLOW, x_t, t, u, s).sum().backward()
    assert [factor.grad is not None for factor in factors] == [True, False, False]


def test_targets_of_both_methods() -> None:
    """CM always jumps to 0; CTM anywhere from u down to 0, and everywhere in between."""
    i = torch.arange(TEACHER_STEPS).repeat(500)
    ts = grid(FLOW, TEACHER_STEPS)
    generator = torch.Generator().manual_seed(0)
    assert (ts[DRAW_TARGET["cm"](i, generator)] == 0).all()
    targets = DRAW_TARGET["ctm"](i, generator)
    assert (ts[targets] <= ts[i + 1]).all()
    for start in range(TEACHER_STEPS):
        reached = set(targets[i == start].tolist())
        assert reached == set(range(start + 1, TEACHER_STEPS + 1))
