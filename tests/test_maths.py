"""Schedule, jumps, sampling and optimization against answers known in closed form."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from segue.server.ditto.controls import outpaint
from segue.server.ditto.ctm import decode_multistep, jump
from segue.server.ditto.optimize import OptStep, Stop, Waves, optimize
from segue.server.ditto.schedule import RectifiedFlow, add_noise, grid

FLOW = RectifiedFlow()
DEVIATION = 0.7
MEAN = 0.3


def gaussian(x_t: Tensor, t: Tensor) -> Tensor:
    """The exact E[x_0 | x_t] when x_0 is normal with MEAN and DEVIATION in every element."""
    t = t.reshape(-1, *[1] * (x_t.ndim - 1))
    alpha, sigma = FLOW.alpha(t), FLOW.sigma(t)
    gain = alpha * DEVIATION**2 / (alpha**2 * DEVIATION**2 + sigma**2)
    return MEAN + gain * (x_t - alpha * MEAN)


def marginal_std(t: float) -> float:
    """Deviation of x_t for that Gaussian."""
    return float(((1 - t) ** 2 * DEVIATION**2 + t**2) ** 0.5)


def exact_flow(x_t: Tensor, t: float, s: float) -> Tensor:
    """Where the probability-flow ODE takes x_t: the same quantile of the marginal at s."""
    return (x_t - (1 - t) * MEAN) * (marginal_std(s) / marginal_std(t)) + (1 - s) * MEAN


def noise(seed: int = 0, *shape: int) -> Tensor:
    """Unit normal float64."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(shape or (3, 4, 5), generator=g, dtype=torch.float64)


@pytest.mark.parametrize("t", [0.01, 0.3, 0.99])
def test_jump_to_its_own_level_is_the_identity(t: float) -> None:
    """G(x, t, t) = x, whatever the network says."""
    x = noise()
    made = jump(lambda x, t: x.sin() * 9, FLOW, x, t, t)
    torch.testing.assert_close(made, x)


def test_jump_to_zero_is_the_denoised_estimate() -> None:
    """G(x, t, 0) = D_x."""
    x = noise()
    torch.testing.assert_close(
        jump(gaussian, FLOW, x, 0.6, 0.0), gaussian(x, torch.full((3,), 0.6).double())
    )


def test_jump_takes_a_level_a_row() -> None:
    """Rows with their own t and s land where each would alone."""
    x, t, s = (
        noise(),
        torch.tensor([0.2, 0.5, 0.9]).double(),
        torch.tensor([0.1, 0.5, 0.0]).double(),
    )
    rows = torch.cat([jump(gaussian, FLOW, x[i : i + 1], t[i], s[i]) for i in range(3)])
    torch.testing.assert_close(jump(gaussian, FLOW, x, t, s), rows)


def test_sampler_reaches_the_exact_gaussian_answer() -> None:
    """Many deterministic steps follow the probability-flow ODE, with first-order error."""
    x_T = noise()
    exact = exact_flow(x_T, FLOW.t_max, 0.0)
    errors = [
        float((decode_multistep(gaussian, FLOW, x_T, grid(FLOW, n)) - exact).abs().max())
        for n in (50, 100, 10000)
    ]
    assert errors[2] < 2e-3
    assert 1.7 < errors[0] / errors[1] < 2.3


def test_sampled_gaussian_has_its_mean_and_deviation() -> None:
    """gamma-sampling with fresh noise keeps the distribution of the data."""
    g = torch.Generator().manual_seed(1)
    x_T = noise(2, 20000, 1, 1) * marginal_std(FLOW.t_max) + (1 - FLOW.t_max) * MEAN
    x_0 = decode_multistep(gaussian, FLOW, x_T, grid(FLOW, 1000), gamma=0.1, generator=g)
    assert abs(float(x_0.mean()) - MEAN) < 0.02
    assert abs(float(x_0.std()) - DEVIATION) < 0.02


def test_gamma_zero_is_deterministic() -> None:
    """Without noise two runs agree bit for bit and no generator is asked for."""
    first, second = (decode_multistep(gaussian, FLOW, noise(), grid(FLOW, 4)) for _ in range(2))
    assert torch.equal(first, second)


def test_gamma_draws_from_its_generator_only() -> None:
    """Same seed same samples, another seed others; gamma without a generator is refused."""

    def sample(seed: int) -> Tensor:
        g = torch.Generator().manual_seed(seed)
        return decode_multistep(gaussian, FLOW, noise(), grid(FLOW, 4), gamma=0.5, generator=g)

    assert torch.equal(sample(1), sample(1))
    assert not torch.equal(sample(1), sample(2))
    with pytest.raises(ValueError, match="generator"):
        decode_multistep(gaussian, FLOW, noise(), grid(FLOW, 4), gamma=0.5)


def test_last_step_adds_no_noise() -> None:
    """gamma = 1 in one step is still the denoised estimate."""
    g = torch.Generator().manual_seed(1)
    x_T = noise()
    made = decode_multistep(gaussian, FLOW, x_T, grid(FLOW, 1), gamma=1.0, generator=g)
    torch.testing.assert_close(made, jump(gaussian, FLOW, x_T, FLOW.t_max, 0.0))


def test_grid_falls_from_t_max_to_zero() -> None:
    """The grid has its ends exactly; without a shift its steps are even."""
    even = torch.tensor([0.99, 0.66, 0.33, 0.0], dtype=torch.float64)
    torch.testing.assert_close(grid(RectifiedFlow(t_max=0.99, shift=1.0), 3), even)
    assert grid(FLOW, 3)[[0, -1]].tolist() == pytest.approx([0.999, 0.0])
    with pytest.raises(ValueError, match="at least one"):
        grid(FLOW, 0)


def test_shift_moves_levels_as_published() -> None:
    """Esser et al. 2024, equation 23: t' = shift t / (1 + (shift - 1) t), half way to 10 / 11."""
    flow = RectifiedFlow(t_max=1.0, shift=10.0)
    shares = torch.tensor([0.0, 0.1, 0.5, 1.0], dtype=torch.float64)
    expected = torch.tensor([0.0, 1 / 1.9, 10 / 11, 1.0], dtype=torch.float64)
    torch.testing.assert_close(flow.level(shares), expected)


def test_noise_at_its_ends() -> None:
    """Level 0 is the data, level 1 the noise."""
    x_0, eps = noise(1), noise(2)
    assert torch.equal(add_noise(FLOW, x_0, eps, 0.0), x_0)
    assert torch.equal(add_noise(FLOW, x_0, eps, 1.0), eps)


@pytest.mark.parametrize("steps", [1, 4])
def test_gradients_reach_the_starting_noise(steps: int) -> None:
    """The sampler is differentiable: for the Gaussian the slope is known."""
    x_T = noise().requires_grad_()
    decode_multistep(gaussian, FLOW, x_T, grid(FLOW, steps)).sum().backward()
    assert x_T.grad is not None
    slope = 1.0
    for t, s in zip(grid(FLOW, steps)[:-1].tolist(), grid(FLOW, steps)[1:].tolist(), strict=True):
        gain = (1 - t) * DEVIATION**2 / marginal_std(t) ** 2
        slope *= (1 - s) * gain + s * (1 - (1 - t) * gain) / t
    torch.testing.assert_close(x_T.grad, torch.full_like(x_T, slope))


def test_optimization_finds_the_noise_of_a_target() -> None:
    """On a linear toy the noise that yields the target is known, and found."""
    wanted = noise(5, 1, 4, 5)
    target = 2.0 * wanted + 1
    steps: list[OptStep] = []
    found = optimize(
        [lambda x: ((2.0 * x + 1 - target) ** 2).mean(dim=(1, 2))] * 400,
        noise(6, 1, 4, 5),
        learning_rate=0.05,
        on_step=steps.append,
    )
    torch.testing.assert_close(found.x_T, wanted, atol=1e-3, rtol=0)
    assert found.losses[-1] < 1e-3 * found.losses[0]
    assert [s.iteration for s in steps] == list(range(400))


def test_optimization_keeps_the_best_iterate_of_each_row() -> None:
    """A rate that overshoots still returns a row's best noise, never a worse one than its first."""
    start = torch.tensor([[0.0], [3.0]])
    found = optimize([lambda x: (x**2).sum(1)] * 5, start, learning_rate=10.0)
    assert torch.equal(found.x_T[0], start[0])
    assert float((found.x_T**2).sum(1)[1]) <= 9.0


def test_waves_are_orthonormal() -> None:
    """There and back is the same, lengths are kept, and the first wave is the mean."""
    waves, x = Waves(4, 6, torch.device("cpu")), noise(1, 2, 8, 6).float()
    z = waves.of(x)
    torch.testing.assert_close(waves.back(z), x)
    torch.testing.assert_close(z.norm(), x.norm())
    torch.testing.assert_close(z[:, :, 0, 0], x.unflatten(1, (2, 4)).mean((2, 3)) * 24**0.5)


def test_a_step_moves_a_clips_mean_by_one_wave_only() -> None:
    """All elements pulled the same way: their mean moves by the rate in its own deviation."""
    waves, x_T = Waves(128, 512, torch.device("cpu")), torch.zeros(1, 256, 512)
    found = optimize([lambda x: x.sum(dim=(1, 2))] * 3, x_T, learning_rate=0.1, waves=waves)
    deviation = (128 * 512) ** -0.5  # of the mean of white noise
    means = found.x_T.unflatten(1, (2, 128)).mean((2, 3))
    torch.testing.assert_close(means / deviation, torch.full((1, 2), -0.2), atol=1e-4, rtol=0)


def test_clips_in_a_batch_are_optimized_as_if_alone() -> None:
    """A row whose loss is a million times larger does not slow its neighbour."""
    start, sizes = torch.tensor([[1.0, 2.0], [2.0, 1.0]]), torch.tensor([1.0, 1e6])

    def run(rows: slice) -> Tensor:
        return optimize(
            [lambda x: (x**2).sum(1) * sizes[rows]] * 9, start[rows], learning_rate=0.1
        ).x_T

    torch.testing.assert_close(run(slice(0, 2)), torch.cat((run(slice(0, 1)), run(slice(1, 2)))))


def test_optimization_stops_at_numbers_that_are_not() -> None:
    """NaN on the way ends the loop with the best so far; NaN at once is an error."""

    def breaks(x: Tensor) -> Tensor:
        return torch.where(x < 0.5, torch.nan, x).sum(1)

    found = optimize([breaks] * 50, torch.ones(1, 1), learning_rate=0.2)
    assert 0.5 <= float(found.x_T) < 1
    later = optimize(
        [lambda x: (x**2).sum(1)] * 3 + [lambda x: x.sum(1) * torch.nan] * 3,
        torch.ones(1, 1),
        learning_rate=0.2,
    )
    assert float(later.best) == pytest.approx(float(later.x_T) ** 2)
    assert len(later.losses) == 3
    with pytest.raises(FloatingPointError):
        optimize([breaks] * 5, torch.zeros(1, 1), learning_rate=0.2)


def test_optimization_ends_when_the_callback_raises() -> None:
    """Cancelling is an exception of the callback's, passed on at once."""

    def stop(step: OptStep) -> None:
        if step.iteration == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        optimize([lambda x: (x**2).sum(1)] * 9, torch.ones(1, 1), learning_rate=0.1, on_step=stop)


@pytest.mark.parametrize(
    ("stop", "iterations"),
    [
        (Stop(), 40),
        (Stop(patience=5), 6),  # the rate is so large that nothing after the first is a gain
        (Stop(target=1.0), 1),
        (Stop(target=0.5), 40),
        (Stop(now_due=lambda: True), 1),
    ],
)
def test_optimization_ends_early_when_asked(stop: Stop, iterations: int) -> None:
    """For want of gain, when the target is met, when time is up; else it goes on."""
    start = torch.ones(1, 1)
    found = optimize([lambda x: (x**2).sum(1)] * 40, start, learning_rate=1e3, stop=stop)
    assert len(found.losses) == iterations
    assert torch.equal(found.best, torch.ones(1))


def test_a_new_objective_seeks_its_own_best() -> None:
    """The best of a later objective is returned, although an earlier one's loss was lower."""
    low, high = (lambda x: (x**2).sum(1)), (lambda x: 10 + ((x - 2) ** 2).sum(1))
    found = optimize([low] * 5 + [high] * 100, torch.zeros(1, 1), learning_rate=0.1)
    assert abs(float(found.x_T) - 2) < 0.05
    assert 10 <= float(found.best) < 10.01


def test_a_met_objective_gives_way_to_the_next() -> None:
    """The rest of its iterations is left out; the last one's end the search."""
    low, high = (lambda x: x.square().sum(1)), (lambda x: (x - 2).square().sum(1))
    told: list[OptStep] = []
    found = optimize(
        [low] * 50 + [high] * 150,
        torch.ones(1, 1),
        learning_rate=0.1,
        stop=Stop(target=0.01),
        on_step=told.append,
    )
    iterations = [step.iteration for step in told]
    assert iterations == [*range(iterations.index(50)), *range(50, iterations[-1] + 1)]
    assert iterations.index(50) < 50
    assert iterations[-1] < 199
    assert float(found.best) <= 0.01


def test_overlap_error_sees_the_pinned_frames_and_each_row() -> None:
    """The error counts the pinned frames, wherever they lie, a value a row."""
    x_0, target, pinned = torch.zeros(2, 3, 10), torch.zeros(3, 10), torch.zeros(10).bool()
    pinned[:2] = pinned[8:] = True
    x_0[1, :, pinned] = 2.0
    x_0[:, :, ~pinned] = 99.0
    error = outpaint.overlap_error(x_0, target, pinned)
    torch.testing.assert_close(error, torch.tensor([0.0, 4.0]))
    assert torch.equal(outpaint.overlap_error(x_0, target, ~pinned & pinned), torch.zeros(2))


def test_outpaint_loss_holds_the_colour() -> None:
    """Elsewhere only each band's mean counts: movement is free, straying is not."""
    target, x_0, pinned = torch.ones(3, 10), torch.ones(2, 3, 10), torch.arange(10) < 4
    x_0[0, :, 4:7], x_0[0, :, 7:] = -5.0, 7.0
    x_0[1, :, 4:] = 3.0
    expected = torch.tensor([0.0, 4 * outpaint.HOLD])
    torch.testing.assert_close(outpaint.loss(x_0, target, pinned), expected)
    everything = torch.ones(10).bool()
    assert float(outpaint.stray(x_0, target, everything).abs().max()) == 0
    assert float(outpaint.stray(x_0, target, ~everything).abs().max()) == 0
