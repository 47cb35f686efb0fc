"""Repainting against answers known in closed form."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from segue.server.ditto.ctm import decode_multistep
from segue.server.ditto.repaint import repaint
from segue.server.ditto.schedule import RectifiedFlow, add_noise, grid

FLOW = RectifiedFlow()
KNOWN = torch.randn(1, 4, 32, generator=torch.Generator().manual_seed(1))
PINNED = torch.arange(32) < 10


def noise() -> Callable[[], Tensor]:
    """The same each time."""
    generator = torch.Generator().manual_seed(0)
    return lambda: torch.randn(KNOWN.shape, generator=generator)


def test_known_frames_are_noised_in_place_at_every_level() -> None:
    """What the network is shown there is the known mel with fresh noise of that level."""
    ts = grid(FLOW, 5)[2:]
    shown: list[Tensor] = []

    def denoiser(x_t: Tensor, t: Tensor) -> Tensor:
        shown.append(x_t)
        return torch.full_like(x_t, 0.5)

    x_t = torch.zeros_like(KNOWN)
    made = repaint(denoiser, FLOW, x_t, KNOWN, PINNED, ts, noise())
    draw = noise()
    for t, seen in zip(ts[:-1].tolist(), shown, strict=True):
        wanted = add_noise(FLOW, KNOWN, draw(), t)
        torch.testing.assert_close(seen[..., PINNED], wanted[..., PINNED])
    assert torch.equal(shown[0][..., ~PINNED], x_t[..., ~PINNED])
    torch.testing.assert_close(made, torch.full_like(KNOWN, 0.5))


def test_where_nothing_is_known_it_is_sampling() -> None:
    """The plain descent from the state it is given."""

    def denoiser(x_t: Tensor, t: Tensor) -> Tensor:
        return x_t * (0.9 - 0.5 * t[:, None, None])

    nothing, ts = torch.zeros(32, dtype=torch.bool), grid(FLOW, 8)[3:]
    made = repaint(denoiser, FLOW, KNOWN, 0 * KNOWN, nothing, ts, noise())
    torch.testing.assert_close(made, decode_multistep(denoiser, FLOW, KNOWN, ts))


def test_what_is_led_stays_so() -> None:
    """An estimate moved at one level is as far moved, for its share, at the next; the noise is not.

    For a denoiser that always says zero: x_s = alpha(s) moved + sigma(s) x_t / sigma(t).
    """
    ts = grid(FLOW, 20)[10:13]
    nothing = torch.zeros(32, dtype=torch.bool)
    x_t = noise()()
    seen: list[Tensor] = []

    def denoiser(x_t: Tensor, t: Tensor) -> Tensor:
        seen.append(x_t)
        return torch.zeros_like(x_t)

    repaint(denoiser, FLOW, x_t, KNOWN, nothing, ts, noise(), lambda D_x: D_x + KNOWN)
    t, s, _ = ts.tolist()
    torch.testing.assert_close(seen[1], (1 - s) * KNOWN + s / t * x_t)
