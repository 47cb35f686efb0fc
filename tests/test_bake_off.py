"""The bake-off: its arms are comparable, its figures are what they say, its table is whole."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from segue.export.arms import ARMS, PlainPatches, Trunk, UNet
from segue.export.bake_off import (
    BakeOff,
    bake_off,
    enter,
    flicker,
    iteration_ms,
    token_seams,
)
from segue.server.ditto.network import NetworkConfig, SegueSmall
from tests.music import write_data

TINY = NetworkConfig(frames=16, width=32, depth=1, heads=2, conv_width=16, conv_blocks=1)


@pytest.mark.parametrize("shape", [SegueSmall, PlainPatches, UNet])
@pytest.mark.parametrize("patch", [2, 4, 8])
def test_an_arm_maps_a_mel_to_a_mel(shape: type[SegueSmall | Trunk], patch: int) -> None:
    """Any patch, any batch: the shape that went in comes out, and untrained it is the mean, 0."""
    net = shape(NetworkConfig(**{**vars(TINY), "patch": patch}))
    x_t = torch.randn((3, 256, 16), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(net(x_t, torch.rand(3)), torch.zeros_like(x_t), rtol=0, atol=0)


@pytest.mark.parametrize("shape", [PlainPatches, UNet])
def test_every_weight_learns(shape: type[Trunk]) -> None:
    """No layer is left out of the forward pass, and the gradient reaches the input."""
    net, g = shape(TINY), torch.Generator().manual_seed(0)
    for parameter in net.parameters():  # those that begin at 0 would hide others
        parameter.data = torch.randn(parameter.shape, generator=g) * 0.1
    x_t = torch.randn((2, 256, 16), generator=g).requires_grad_()
    net(x_t, torch.tensor([0.3, 0.9])).square().sum().backward()
    still = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert still == []
    assert x_t.grad is not None
    assert x_t.grad.abs().sum(dim=(1, 2)).min() > 0


def test_plain_patches_do_not_see_across_a_border_without_attention() -> None:
    """No convolution is hidden in them: with no blocks a frame moves its own patch only."""
    net, g = PlainPatches(NetworkConfig(**{**vars(TINY), "depth": 0})), torch.Generator()
    nn.init.normal_(net.unpatch.weight, generator=g.manual_seed(0))  # type: ignore[arg-type]
    x_t, t = torch.randn((1, 256, 16), generator=g), torch.full((1,), 0.5)
    moved = x_t.clone()
    moved[..., 5] += 1
    change = (net(moved, t) - net(x_t, t)).abs().sum(dim=(0, 1))
    assert (change > 0).tolist() == [False] * 4 + [True] * 4 + [False] * 8


def test_the_arms_are_ready_to_bake() -> None:
    """All take the windows of segue-small, and none is larger than may be shipped."""
    for factory in ARMS.values():
        net = factory()
        assert (net.config.channels, net.config.frames) == (256, 512)
        assert sum(p.numel() for p in net.parameters()) < 30e6


def test_flicker_and_seams_of_known_mels() -> None:
    """A ramp of slope 2 flickers by 2 and shows no seam; steps at token borders are all seam."""
    ramp = 2 * torch.arange(16.0).expand(1, 3, 16)
    assert flicker(ramp) == 2.0
    assert token_seams(ramp) == 1.0
    assert token_seams(ramp + 4 * (torch.arange(16) // 4)) == 3.0


def test_cost_is_measured_for_each() -> None:
    """Every network gets a time above 0, and a bigger one a longer one."""
    sizes = {"small": TINY, "large": NetworkConfig(**{**vars(TINY), "width": 256, "depth": 4})}
    models = {name: PlainPatches(config) for name, config in sizes.items()}
    costs = iteration_ms(models, torch.zeros(1, 256, 16), rounds=5)
    assert 0 < costs["small"] < costs["large"]


def test_arms_begin_alike() -> None:
    """Two arms of one shape have the same weights and will see the same music."""
    a, b = enter({n: partial(UNet, TINY) for n in "ab"}, BakeOff(cpu_seconds=1))
    torch.testing.assert_close(a.model.state_dict(), b.model.state_dict(), rtol=0, atol=0)
    assert torch.equal(a.generator.get_state(), b.generator.get_state())


def test_a_whole_bake_off(tmp_path: Path) -> None:
    """Each arm uses its CPU time and hardly more, and has a line in the table."""
    recipe = BakeOff(cpu_seconds=0.3, turn_seconds=0.2, batch=2)
    arms = enter({s.__name__: partial(s, TINY) for s in (SegueSmall, PlainPatches, UNet)}, recipe)
    rows = list(bake_off(arms, write_data(tmp_path / "data"), tmp_path / "out"))
    for arm, row in zip(arms, rows, strict=True):
        assert 0.3 <= arm.spent < 1
        assert arm.name == row["arm"]
        assert row["steps"] == arm.steps > 1
        assert all(math.isfinite(v) for v in row.values() if isinstance(v, float))
    lines = (tmp_path / "out" / "bake-off.tsv").read_text().splitlines()
    assert "\t".join(rows[0]) == lines[0]
    assert [arm.name for arm in arms] == [each.split("\t")[0] for each in lines[1:]]
    assert (tmp_path / "out" / "bake-off.png").read_bytes().startswith(b"\x89PNG")
