"""Muon in either precision: the same steps as PyTorch's own, orthogonal ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from segue.export import muon
from segue.export.muon import Muon, orthogonalised


def drawn(*shape: int) -> Tensor:
    """The same noise every time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def after(steps: int, optimizer: Callable[[nn.Parameter], torch.optim.Optimizer]) -> Tensor:
    """A matrix after steps down gradients that differ from one to the next."""
    matrix = nn.Parameter(drawn(24, 40))
    descent = optimizer(matrix)
    gradients = torch.randn(steps, 24, 40, generator=torch.Generator().manual_seed(1))
    for gradient in gradients:
        matrix.grad = gradient.clone()
        descent.step()
    return matrix.detach()


def torchs(matrix: nn.Parameter) -> torch.optim.Optimizer:
    """PyTorch's own, in bfloat16."""
    return torch.optim.Muon([matrix], lr=0.1, weight_decay=0.2, adjust_lr_fn="match_rms_adamw")


def ours(matrix: nn.Parameter) -> torch.optim.Optimizer:
    """The one that training takes."""
    return Muon([matrix], 0.1, weight_decay=0.2)


@pytest.mark.parametrize("half", [True, False])
def test_steps_are_those_of_pytorchs_own(monkeypatch: pytest.MonkeyPatch, half: bool) -> None:
    """Where bfloat16 pays to the bit, in float32 but for what bfloat16 rounds."""
    monkeypatch.setattr(muon, "half_pays", lambda device: half)
    expected, actual = after(5, torchs), after(5, ours)
    assert torch.equal(actual, expected) == half
    assert (actual - expected).norm() < 0.01 * (expected - drawn(24, 40)).norm()


def test_float32_goes_on_with_the_state_of_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run may be gone on with on another machine."""
    monkeypatch.setattr(muon, "half_pays", lambda device: False)
    first, second = nn.Parameter(drawn(8, 8)), nn.Parameter(drawn(8, 8))
    first.grad, second.grad = drawn(8, 8), torch.zeros(8, 8)
    before, later = torchs(first), ours(second)
    before.step()
    later.load_state_dict(before.state_dict())
    later.step()  # momentum alone
    assert (second - drawn(8, 8)).norm() > 0.1


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (4, 4)])
def test_singular_values_go_through_the_polynomial(shape: tuple[int, int]) -> None:
    """And singular vectors stay: both exact, since equal singular values stay equal."""
    u, _, v = torch.linalg.svd(drawn(*shape).double(), full_matrices=False)
    expected = 1 / 4**0.5  # four of them, of a matrix of norm 1
    a, b, c = quintic = (3.4445, -4.7750, 2.0315)
    for _ in range(5):
        expected = a * expected + b * expected**3 + c * expected**5
    assert torch.allclose(orthogonalised(3 * u @ v, quintic, 5), expected * u @ v)


def test_no_gradient_is_no_step() -> None:
    """Nor is a gradient of nought, but for the decay."""
    matrix = nn.Parameter(drawn(4, 4))
    optimizer = Muon([matrix], 0.5, weight_decay=0.5)
    optimizer.step()
    assert torch.equal(matrix, drawn(4, 4))
    matrix.grad = torch.zeros(4, 4)
    optimizer.step()
    assert torch.allclose(matrix, 0.75 * drawn(4, 4))
