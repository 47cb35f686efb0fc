"""The kernels of an iteration and of a clip, timed with `pytest --benchmark-enable`.

Without it each runs once, as a test of what it gives. No time is asserted.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from segue.server import seam
from segue.server.ditto.controls import intensity, melody, outpaint, structure, text
from segue.server.ditto.mel import MelConfig, log_mel
from segue.server.ditto.optimize import Waves, optimize
from segue.server.join import FADES_SECONDS
from tests.tiny import STUDENT, random_network

MEL = MelConfig()
FRAMES = STUDENT.frames
SECONDS = FRAMES * MEL.hop / MEL.sample_rate
RATE = 44100


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Unit normal float32."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def down(mel: Tensor) -> Tensor:
    """A log-mel of moderate level."""
    return mel * 1.5 - 5.0


def test_network_there_and_back(benchmark: BenchmarkFixture) -> None:
    """A pass of the tiny network and the way back to its input."""
    network, t = random_network(), torch.full((1,), 0.9)

    def both() -> Tensor:
        x = noise(1, MEL.channels, FRAMES).requires_grad_()
        (gradient,) = torch.autograd.grad(network(x, t).square().mean(), x)
        return gradient

    gradient = benchmark(both)
    assert gradient.shape == (1, MEL.channels, FRAMES)
    assert float(gradient.abs().sum()) > 0


def _overlap() -> Callable[[Tensor], Tensor]:
    pinned = torch.arange(FRAMES) < MEL.frames(1.0)
    target = noise(1, MEL.channels, FRAMES, seed=1)
    return lambda x: outpaint.loss(x, target, pinned)


def _curve() -> Callable[[Tensor], Tensor]:
    wanted = intensity.target([(0.0, -30.0), (SECONDS, -15.0)], FRAMES, MEL)
    return lambda x: intensity.loss(down(x), wanted, MEL)


def _line() -> Callable[[Tensor], Tensor]:
    wanted = melody.target([(0.0, 2.0, 72), (2.0, 3.0, 76)], FRAMES, MEL)
    return lambda x: melody.loss(down(x), wanted, MEL)


def _plan() -> Callable[[Tensor], Tensor]:
    wanted = structure.target("ABA", FRAMES, MEL)
    return lambda x: structure.loss(down(x), wanted, MEL)


def _words() -> Callable[[Tensor], Tensor]:
    wanted = text.target("warm slow strings")
    return lambda x: text.loss(down(x), wanted, MEL)


@pytest.mark.parametrize(
    "control", [_overlap, _curve, _line, _plan, _words], ids=lambda control: control.__name__[1:]
)
def test_a_loss_and_its_gradient(
    benchmark: BenchmarkFixture, control: Callable[[], Callable[[Tensor], Tensor]]
) -> None:
    """Of one window: one finite number a row, and a gradient that is not zero."""
    loss = control()

    def both() -> tuple[Tensor, Tensor]:
        x = noise(1, MEL.channels, FRAMES).requires_grad_()
        value = loss(x)
        (gradient,) = torch.autograd.grad(value.sum(), x)
        return value, gradient

    value, gradient = benchmark(both)
    assert value.shape == (1,)
    assert bool(torch.isfinite(value).all() and torch.isfinite(gradient).all())
    assert float(gradient.abs().sum()) > 0


def test_a_mel_of_a_window(benchmark: BenchmarkFixture) -> None:
    """STFT and filters of six seconds: a full-scale sine is loudest in one band throughout."""
    wave = torch.sin(2 * torch.pi * 1000.0 * torch.arange(FRAMES * MEL.hop) / MEL.sample_rate)
    mel = benchmark(log_mel, wave.expand(2, -1), MEL)
    assert mel.shape == (MEL.channels, FRAMES)
    assert len(set(mel[: MEL.bands, 4:-4].argmax(dim=0).tolist())) == 1


def test_a_seam_on_both_sides(benchmark: BenchmarkFixture) -> None:
    """Four seconds between two of one: the patch reaches into both by a fade of its own."""
    generator = np.random.default_rng(0)
    before, behind = (generator.standard_normal((RATE, 2)) * 0.1 for _ in range(2))
    made = generator.standard_normal((6 * RATE + 4 * MEL.hop, 2)) * 0.1
    patch, fade = benchmark(seam.fill, before, made, behind, RATE, 4 * RATE, RATE)
    assert {fade, len(patch) - 4 * RATE - fade} <= {round(f * RATE) for f in FADES_SECONDS}
    assert patch.shape[1] == 2
    assert np.isfinite(patch).all()


def test_steps_of_the_optimizer(benchmark: BenchmarkFixture) -> None:
    """Three of Adam's on a window's waves, without a network: the loss falls each time."""
    x_T, waves = noise(1, MEL.channels, FRAMES), Waves(MEL.bands, FRAMES, torch.device("cpu"))
    objectives = [lambda x: x.square().mean(dim=(1, 2))] * 3
    found = benchmark(optimize, objectives, x_T, learning_rate=0.03, waves=waves)
    assert list(found.losses) == sorted(found.losses, reverse=True)
    assert found.x_T.shape == x_T.shape
