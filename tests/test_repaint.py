"""Repainting against answers known in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from segue.server.ditto.ctm import decode_multistep
from segue.server.ditto.repaint import repaint
from segue.server.ditto.schedule import RectifiedFlow, add_noise, grid

FLOW = RectifiedFlow()
KNOWN = torch.randn(1, 4, 32, generator=torch.Generator().manual_seed(1))
PINNED = torch.arange(32) < 10


def generator() -> torch.Generator:
    """The same noise each time."""
    return torch.Generator().manual_seed(0)


def test_known_frames_are_noised_in_place_at_every_level() -> None:
    """What the network is shown there is the known mel with fresh noise of that level."""
    ts = grid(FLOW, 5)[2:]
    shown: list[Tensor] = []

    def denoiser(x_t: Tensor, t: Tensor) -> Tensor:
        shown.append(x_t)
        return torch.full_like(x_t, 0.5)

    x_t = torch.zeros_like(KNOWN)
    made = repaint(denoiser, FLOW, x_t, KNOWN, PINNED, ts, generator())
    drawn = generator()
    for t, seen in zip(ts[:-1].tolist(), shown, strict=True):
        wanted = add_noise(FLOW, KNOWN, torch.randn(KNOWN.shape, generator=drawn), t)
        torch.testing.assert_close(seen[..., PINNED], wanted[..., PINNED])
    assert torch.equal(shown[0][..., ~PINNED], x_t[..., ~PINNED])
    torch.testing.assert_close(made, torch.full_like(KNOWN, 0.5))


def test_where_nothing_is_known_it_is_sampling() -> None:
    """The plain descent from the state it is given."""

    def denoiser(x_t: Tensor, t: Tensor) -> Tensor:
        return x_t * (0.9 - 0.5 * t[:, None, None])

    nothing, ts = torch.zeros(32, dtype=torch.bool), grid(FLOW, 8)[3:]
    made = repaint(denoiser, FLOW, KNOWN, 0 * KNOWN, nothing, ts, generator())
    torch.testing.assert_close(made, decode_multistep(denoiser, FLOW, KNOWN, ts))
