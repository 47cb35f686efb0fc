"""Tags and guidance: what they change, and when they change nothing."""

from __future__ import annotations

from dataclasses import replace

import torch

from segue.server.ditto.network import SegueSmall, conditioned, guided
from tests.tiny import NETWORK, TAGS, random_network


def inputs(rows: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """x_t and t."""
    generator = torch.Generator().manual_seed(1)
    x_t = torch.randn(rows, NETWORK.channels, NETWORK.frames, generator=generator)
    return x_t, torch.linspace(0.3, 0.9, rows)


def test_no_tags_are_the_unconditional_model() -> None:
    """All zero and None are the same, a tag is not."""
    net, (x_t, t) = random_network(), inputs()
    assert torch.equal(net(x_t, t, torch.zeros(2, 3)), net(x_t, t))
    assert not torch.equal(net(x_t, t, torch.eye(2, 3)), net(x_t, t))


def test_new_conditions_start_without_effect() -> None:
    """Weights trained without tags go on as they were when tags and guidance join."""
    fresh, (x_t, t) = SegueSmall(replace(NETWORK, tags=TAGS, guided=True)), inputs()
    torch.nn.init.normal_(fresh.head.weight)
    with torch.no_grad():
        changed = fresh(x_t, t, torch.ones(2, 3), torch.tensor([1.0, 4.0]))
        assert torch.equal(changed, fresh(x_t, t))


def test_guidance_goes_past_the_conditional_estimate() -> None:
    """w D(tags) + (1 - w) D(): none of it for w = 0, plainly conditional for w = 1."""
    net, (x_t, t), tags = random_network(), inputs(), torch.eye(2, 3)
    without, with_tags = net(x_t, t), net(x_t, t, tags)
    for w in (0.0, 1.0, 3.0):
        made = guided(net, tags, torch.full((2,), w))(x_t, t)
        torch.testing.assert_close(made, w * with_tags + (1 - w) * without)


def test_guidance_leaves_rows_without_tags_alone() -> None:
    """They cost one call and are the unconditional estimate whatever w is."""
    net, (x_t, t) = random_network(), inputs(3)
    tags = torch.tensor([[0.0, 0, 0], [0, 1, 0], [0, 0, 0]])
    made = guided(net, tags, torch.full((3,), 4.0))(x_t, t)
    plain = conditioned(net)(x_t, t)
    torch.testing.assert_close(made[[0, 2]], plain[[0, 2]])
    assert not torch.allclose(made[1], plain[1])


def test_a_student_hears_the_scale() -> None:
    """w is an input of its own: other scales, other estimates from one call."""
    net, (x_t, t), tags = random_network(), inputs(), torch.eye(2, 3)
    one, four = (conditioned(net, tags, torch.full((2,), w))(x_t, t) for w in (1.0, 4.0))
    assert not torch.allclose(one, four)
