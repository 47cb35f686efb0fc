"""The paper's U-Net: its size, its shape, and what its inputs do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from segue.server.ditto.paper_unet import PaperUnet, PaperUnetConfig
from segue.server.ditto.schedule import RectifiedFlow, add_noise

TINY = PaperUnetConfig(
    channels=16,
    frames=32,
    widths=(8, 8, 16, 16, 16),
    layers=(1, 1, 1, 1, 2),
    inner=24,
    embedding=16,
    groups=4,
    tags=("ambient", "techno"),
    guided=True,
)
HALF = torch.full((2,), 0.5)


def drawn(config: PaperUnetConfig = TINY) -> PaperUnet:
    """A network whose weights are all drawn, so that every input matters."""
    network = PaperUnet(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(torch.randn(p.shape, generator=generator) * 0.2)
    return network


def noise(config: PaperUnetConfig = TINY, seed: int = 2) -> Tensor:
    """Two latents of unit noise."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, config.channels, config.frames, generator=generator)


def test_it_has_41_million_weights() -> None:
    """The paper's number, to a million, with and without tags and guidance."""
    with torch.device("meta"):
        plain = PaperUnet(PaperUnetConfig())
        full = PaperUnet(PaperUnetConfig(tags=tuple("abcdefgh"), guided=True))
    for network in (plain, full):
        assert abs(sum(p.numel() for p in network.parameters()) - 41e6) < 1e6


def test_it_takes_the_papers_mel() -> None:
    """512 frames of 160 bands in, the same out, without computing any of it."""
    network = PaperUnet(PaperUnetConfig()).to("meta")
    with torch.device("meta"):
        assert network(torch.zeros(1, 160, 512), torch.zeros(1)).shape == (1, 160, 512)


def test_gradient_reaches_every_pixel_of_x_t() -> None:
    """What DITTO optimizes."""
    x_t = noise().requires_grad_()
    made = drawn()(x_t, HALF)
    assert made.shape == x_t.shape
    (gradient,) = torch.autograd.grad(made.square().sum(), x_t)
    assert bool((gradient != 0).all())


def test_rows_of_a_batch_do_not_mix() -> None:
    """Each has its own latent, level, tags and guidance scale."""
    network, x_t = drawn(), noise()
    t, tags, w = torch.tensor([0.2, 0.9]), torch.eye(2), torch.tensor([1.0, 4.0])
    together = network(x_t, t, tags, w)
    for i in (slice(0, 1), slice(1, 2)):
        assert torch.allclose(network(x_t[i], t[i], tags[i], w[i]), together[i], atol=1e-4)


def test_no_tags_are_the_unconditional_model() -> None:
    """All zero and None are the same; a tag is not."""
    network, x_t = drawn(), noise()
    unconditional = network(x_t, HALF)
    assert torch.allclose(network(x_t, HALF, torch.zeros(2, 2)), unconditional, atol=1e-4)
    first, second = network(x_t, HALF, torch.eye(2)[[0, 0]]), network(x_t, HALF, torch.eye(2))
    assert not torch.allclose(first, unconditional, atol=1e-3)
    assert torch.allclose(first[0], second[0], atol=1e-4)
    assert not torch.allclose(first[1], second[1], atol=1e-3)


def test_a_tag_of_zeros_has_no_effect() -> None:
    """A tag that training has not met yet is as good as none."""
    network, x_t = drawn(), noise()
    assert network.context.tags is not None
    torch.nn.init.zeros_(network.context.tags.weight)
    made = network(x_t, HALF, torch.ones(2, 2))
    assert torch.allclose(made, network(x_t, HALF), atol=1e-4)


def test_guidance_starts_without_effect() -> None:
    """The scale's embedding ends in zeros, and matters once it does not."""
    network, x_t = PaperUnet(TINY), noise()
    torch.nn.init.normal_(network.head.weight, generator=torch.Generator().manual_seed(3))
    w = torch.full((2,), 7.0)
    assert torch.equal(network(x_t, HALF, None, w), network(x_t, HALF))
    network = drawn()
    assert not torch.allclose(network(x_t, HALF, None, w), network(x_t, HALF), atol=1e-3)


def test_output_has_the_precision_of_the_latent() -> None:
    """The network may compute in bfloat16, the sampler does not."""
    with torch.autocast("cpu", torch.bfloat16):
        made = drawn()(noise(), HALF, torch.eye(2), HALF)
    assert made.dtype == torch.float32


def test_it_learns() -> None:
    """A few steps on one batch explain most of it, tags and guidance scale given."""
    torch.manual_seed(0)
    network = PaperUnet(TINY)
    bands = torch.linspace(-1.5, 1.5, TINY.channels)[:, None]
    x_0 = torch.stack((bands, -bands)).expand(2, TINY.channels, TINY.frames)
    x_t = add_noise(RectifiedFlow(), x_0, noise(), HALF)
    adam = torch.optim.Adam(network.parameters(), lr=3e-3)
    errors = []
    for _ in range(40):
        error = ((network(x_t, HALF, torch.eye(2), HALF) - x_0) ** 2).mean()
        adam.zero_grad()
        error.backward()
        adam.step()
        errors.append(error.item())
    assert errors[-1] < 0.2 * errors[0]
    assert network.context.tags is not None
    assert bool((network.context.tags.weight.grad != 0).any())  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"channels": 24}, "channels 24 and frames 32 must be multiples of 16"),
        ({"frames": 24}, "channels 16 and frames 24 must be multiples of 16"),
        ({"layers": (1, 1)}, "must be as many"),
        ({"widths": (8,), "layers": (1,)}, "must be as many"),
        ({"layers": (1, 1, 1, 1, 0)}, "at least 1"),
        ({"inner": 25}, "multiples of groups 4"),
        ({"heads": 3}, "multiples of heads 3"),
    ],
)
def test_sizes_that_make_no_network_are_refused(change: dict[str, int], sentence: str) -> None:
    """The sentence says which sizes do not fit."""
    with pytest.raises(ValueError, match=sentence):
        replace(TINY, **change)  # type: ignore[arg-type]
