"""Consistency trajectories: the jump G(x_t, t, s) and sampling with it.

DITTO-2 (arXiv 2405.20289) section 3.2: CTM in its 1-step Euler form, which needs no extra
input for s and equals one DDIM step with the network's own estimate of x_0. Nothing here
switches gradients off: whether they flow to x_T is the caller's choice.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from segue.server.ditto.schedule import Schedule, levels

Denoiser = Callable[[Tensor, Tensor], Tensor]  # (x_t, t of shape (batch,)) -> D_x


def _denoise(denoiser: Denoiser, x_t: Tensor, t: Tensor | float) -> Tensor:
    rows = levels(t, x_t).flatten()
    D_x = denoiser(x_t, rows)
    assert D_x.dtype == x_t.dtype, "the denoiser must return the latent's precision"
    return D_x


def jump(
    denoiser: Denoiser,
    schedule: Schedule,
    x_t: Tensor,
    t: Tensor | float,
    s: Tensor | float,
    *,
    gamma: float = 0.0,
    noise: Tensor | None = None,
) -> Tensor:
    """G(x_t, t, s): from level t to level s <= t along the trajectory.

    x_t: (batch, ...); t and s: numbers or (batch,). With `gamma` > 0 that share of the
    arriving noise is fresh (`noise`, unit normal): gamma = 1 is CM's ping-pong.
    """
    D_x = _denoise(denoiser, x_t, t)
    t_, s_ = levels(t, x_t), levels(s, x_t)
    eps = (x_t - schedule.alpha(t_) * D_x) / schedule.sigma(t_)
    if gamma and noise is not None:
        eps = (1 - gamma**2) ** 0.5 * eps + gamma * noise
    return schedule.alpha(s_) * D_x + schedule.sigma(s_) * eps


def decode_multistep(
    denoiser: Denoiser,
    schedule: Schedule,
    x_T: Tensor,
    ts: Tensor,
    *,
    gamma: float = 0.0,
    generator: torch.Generator | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Tensor:
    """gamma-sampling from x_T down the grid `ts` (Algorithm 1): (batch, ...) x_0.

    No noise is added on the last step. gamma = 0 is deterministic and needs no generator.
    """
    if gamma and generator is None:
        raise ValueError("gamma > 0 draws noise: give a generator")
    x_t = x_T
    for i, (t, s) in enumerate(pairwise(ts.tolist())):
        noise = None
        if gamma and s > 0:
            noise = torch.randn(x_T.shape, generator=generator, dtype=x_T.dtype).to(x_T.device)
        x_t = jump(denoiser, schedule, x_t, t, s, gamma=gamma, noise=noise)
        if on_step is not None:
            on_step(i)
    return x_t
