"""Intensity: the level read from the mel against that of real waveforms, and what may be asked."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.signal import savgol_filter

from segue.export.evaluation.heard_intensity import frame_levels, intensity_mse, level
from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.controls import intensity
from segue.server.ditto.mel import PAPER, MelConfig, filterbank, log_mel

MEL = MelConfig()
RATE = MEL.sample_rate
CPU = torch.device("cpu")
NAN = math.nan


def noise(seconds: float, rms: float, config: MelConfig = MEL, sides: int = 2) -> torch.Tensor:
    """(2, samples) of white noise, the same left and right with `sides` 1."""
    samples = round(seconds * config.sample_rate)
    drawn = torch.randn(sides, samples, generator=torch.Generator().manual_seed(7))
    return rms * drawn.expand(2, -1)


def feature(stereo: torch.Tensor, config: MelConfig = MEL) -> torch.Tensor:
    """The level curve of audio, through its mel: (frames,)."""
    return intensity.feature(log_mel(stereo, config)[None], config)[0]


def db(rms: float) -> float:
    """Decibels of an RMS."""
    return 20 * math.log10(rms)


@pytest.mark.parametrize(("config", "sides"), [(MEL, 1), (MEL, 2), (PAPER, 1)])
def test_noise_is_as_loud_as_its_rms(config: MelConfig, sides: int) -> None:
    """White noise reads its RMS within 1 dB, in stereo and with equal channels, at any level."""
    for rms in (0.3, 0.003):
        heard = feature(noise(3, rms, config, sides), config)[4:-4]
        assert float((heard - db(rms)).abs().max()) < 1.0


@pytest.mark.parametrize("hz", [110, 262, 440, 1000])
def test_a_sine_is_as_loud_as_its_rms(hz: float) -> None:
    """The mean level of a tone gliding by a semitone is its RMS within 1.5 dB, to 1 kHz."""
    t = torch.arange(3 * RATE, dtype=torch.float64) / RATE
    glide = torch.sin(2 * math.pi * hz * (t + t**2 * (2 ** (1 / 12) - 1) / 6)).float()
    heard = feature((0.1 * glide).expand(2, -1))
    assert abs(float(heard.mean()) - db(0.1 / math.sqrt(2))) < 1.5


def test_noise_weights_are_the_expected_squares_of_bands() -> None:
    """But for the correction for music, weight times mean square is a band's share of RMS^2."""
    squares = log_mel(noise(10, 0.1), MEL)[:128].double().mul(2).exp().mean(1)
    bank = filterbank(MEL, CPU).double()
    hz = bank @ torch.arange(MEL.bins).double() / bank.sum(1) * RATE / MEL.n_fft
    knots = np.log(np.asarray(intensity.CORRECTION_HZ))
    correction = np.interp(hz.log().numpy(), knots, intensity.CORRECTION_DB)
    power = intensity.power_weights(MEL, CPU) * squares / 10 ** (torch.from_numpy(correction) / 10)
    expected = 0.5 * 0.1**2 * bank.sum(1) / (MEL.bins - 1)  # half of the noise is in mid
    torch.testing.assert_close(power[80:], expected[80:], rtol=0.05, atol=0)


@pytest.mark.parametrize("frames", [2, 3, 10, 87, 88, 300])
def test_smoothing_is_scipys(frames: int) -> None:
    """Savitzky-Golay of 87 frames (a second) and order 2, or the longest odd window that fits."""
    drawn = 20 * torch.randn(2, frames, generator=torch.Generator().manual_seed(0)) - 30
    size = min(87, frames - (frames + 1) % 2)
    expected = savgol_filter(drawn.double().numpy(), size, min(2, size - 1), mode="interp")
    made = intensity.smooth(drawn, MEL)
    torch.testing.assert_close(made, torch.from_numpy(expected).float(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("frames", [2, 30, 86, 87, 1000])
def test_a_ramp_stays_a_ramp(frames: int) -> None:
    """Smoothing changes neither a straight line nor its ends."""
    ramp = torch.linspace(-60, 0, frames)[None]
    torch.testing.assert_close(intensity.smooth(ramp, MEL), ramp, atol=1e-4, rtol=0)


def test_a_factor_on_the_mel_is_that_factor_on_the_level() -> None:
    """Adding a constant to a log mel adds its decibels."""
    mel = log_mel(noise(2, 0.1), MEL)[None]
    louder = intensity.feature(mel + math.log(2), MEL) - intensity.feature(mel, MEL)
    torch.testing.assert_close(louder, torch.full_like(louder, db(2)), atol=1e-4, rtol=0)


def test_silence_is_finite_and_quiet() -> None:
    """A mel at its floor reads a finite level below -70 dB, with a finite gradient."""
    mel = torch.full((1, 256, 200), math.log(MEL.floor), requires_grad=True)
    heard = intensity.feature(mel, MEL)
    assert float(heard.detach().max()) < -70
    heard.sum().backward()
    assert mel.grad is not None
    assert torch.isfinite(heard).all()
    assert torch.isfinite(mel.grad).all()


def test_loss_is_the_mean_square_of_the_asked_frames() -> None:
    """4 dB off in the asked half and 40 in the other is 16 dB^2, for each row."""
    mel = log_mel(noise(2, 0.1), MEL).expand(3, -1, -1)
    wanted = intensity.feature(mel[:1], MEL)[0] - 4
    wanted[:80] = NAN
    made = intensity.loss(mel, wanted, MEL)
    torch.testing.assert_close(made, torch.full((3,), 16.0), atol=1e-3, rtol=0)


def test_the_gain_brings_the_level_that_is_asked() -> None:
    """Within a hundredth of a dB where it is asked, and nothing elsewhere; 12 dB are the most."""
    mel = log_mel(noise(3, 0.1), MEL)[None]
    level = intensity.feature(mel, MEL)[0]
    wanted = level + torch.linspace(-6, 6, len(level))
    made = mel + intensity.gain(mel, wanted, MEL)[:, None]
    torch.testing.assert_close(intensity.feature(made, MEL)[0], wanted, atol=0.01, rtol=0)

    wanted[:100] = NAN
    assert not intensity.gain(mel, wanted, MEL)[:, :100].any()
    most = intensity.gain(mel, level + 40, MEL) * 20 / math.log(10)
    torch.testing.assert_close(most, torch.full_like(most, 12.0))


def test_what_is_louder_than_the_limit_is_turned_down_to_it() -> None:
    """As a whole, and all frames alike: a swell stays one. What is quieter stays as it is."""
    swell = noise(3, 0.1) * torch.linspace(0.1, 2, int(3 * MEL.sample_rate))
    mel = log_mel(swell, MEL)[None]
    power = (10 ** (intensity.level(mel, MEL) / 10)).mean()
    most = float(10 * power.log10()) - 7
    gain = intensity.limiting_gain(torch.cat((mel, mel - 2)), most, MEL)
    torch.testing.assert_close(gain[0], torch.full_like(gain[0], -7 * math.log(10) / 20))
    assert not gain[1].any()


def test_descent_reaches_the_curve() -> None:
    """The gradient leads the mel to the curve; a flat offset is found by one number."""
    mel = log_mel(noise(2, 0.1), MEL)[None]
    wanted = intensity.feature(mel, MEL)[0] - 6
    gain = torch.zeros((), requires_grad=True)
    (grad,) = torch.autograd.grad(intensity.loss(mel + gain, wanted, MEL).sum(), gain)
    assert abs(float(grad) - 2 * 6 * 20 / math.log(10)) < 0.01


def test_a_slice_that_asks_nothing_costs_nothing() -> None:
    """All NaN: exactly 0, and a gradient of exactly 0."""
    mel = torch.randn(2, 256, 5, requires_grad=True)
    cost = intensity.loss(mel, torch.full((5,), NAN), MEL)
    cost.sum().backward()
    assert cost.tolist() == [0.0, 0.0]
    assert mel.grad is not None
    assert not mel.grad.any()


@pytest.mark.parametrize("frames", [2, 3, 15_000])
def test_any_number_of_frames(frames: int) -> None:
    """From 2 frames to three minutes."""
    mel = torch.zeros(1, 256, frames)
    assert intensity.loss(mel, torch.zeros(frames), MEL).isfinite().all()


def test_target_is_linear_between_points_and_held_outside() -> None:
    """Exact values at the frames' centres; NaN before the start and from the end on."""
    points = [(0.5, -30.0), (1.0, -20.0), (1.0, -10.0)]
    made = intensity.target(points, 200, MEL, start_seconds=0.25, length_seconds=1.0)
    at = (torch.arange(200) + 0.5) * MEL.hop / RATE
    asked = (at >= 0.25) & (at < 1.25)
    assert torch.equal(asked, ~made.isnan())
    ramp = (-30 + 20 * (at - 0.5)).clamp(min=-30)
    expected = torch.where(at < 1.0, ramp, torch.tensor(-10.0))
    torch.testing.assert_close(made[asked], expected[asked], atol=1e-4, rtol=0)


def test_a_target_is_asked_to_the_end_without_a_length() -> None:
    """One point is a constant."""
    assert torch.equal(intensity.target([(1.0, -12.0)], 9, MEL), torch.full((9,), -12.0))


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([], "no points"),
        ([(0.0, -20.0)] * 100_001, "at most 100000"),
        ([(1.0, -20.0), (0.5, -20.0)], "sort"),
        ([(0.0, NAN)], "not a number"),
        ([(math.inf, -20.0)], "not a number"),
        ([(0.0, -100.1)], "inside"),
        ([(0.0, 6.1)], "inside"),
    ],
)
def test_a_curve_that_makes_no_sense(points: list[tuple[float, float]], said: str) -> None:
    """Each is refused with what to do about it."""
    with pytest.raises(SegueError, match=said) as refused:
        intensity.target(points, 100, MEL)
    assert refused.value.code == Code.BAD_REQUEST


def test_a_curve_outside_the_clip() -> None:
    """A start after the end asks for nothing, and is refused."""
    with pytest.raises(SegueError, match="outside the clip"):
        intensity.target([(0.0, -20.0)], 86, MEL, start_seconds=1.1)


def test_heard_level_of_a_square_wave_is_zero() -> None:
    """0 dB is full scale; the left channel alone is 3 dB less; silence is -100 dB."""
    square = np.where(np.arange(2 * RATE) % 100 < 50, 1.0, -1.0)
    both, left = np.stack((square, square), 1), np.stack((square, 0 * square), 1)
    np.testing.assert_allclose(level(both, RATE)[1], 0, atol=1e-9)
    np.testing.assert_allclose(level(left, RATE)[1], -10 * math.log10(2), atol=1e-9)
    np.testing.assert_allclose(level(0 * both, RATE)[1], -100, atol=1e-9)


def test_heard_frames_lie_inside() -> None:
    """Of 48 kHz audio frames of 46 ms every 11.6 ms; too short is an error."""
    times, levels = frame_levels(np.ones((48000, 1)), 48000)
    assert len(times) == len(levels) == 83
    assert abs(times[0] - 0.0232) < 1e-4
    assert times[-1] < 1 - 0.0232 + 1e-4
    with pytest.raises(ValueError, match="less than a frame"):
        level(np.zeros((100, 2)), RATE)


def test_intensity_mse_of_a_known_difference() -> None:
    """A square wave at -20 dB is 25 dB^2 from a curve at -15; NaN and beyond are not asked."""
    square = 0.1 * np.where(np.arange(3 * RATE) % 100 < 50, 1.0, -1.0)[:, None]
    assert abs(intensity_mse(square, RATE, np.array([0, 3.0]), np.full(2, -15.0)) - 25) < 1e-6
    curve = np.array([-20.0, -20.0, NAN, 5.0])
    assert intensity_mse(square, RATE, np.array([0.5, 1.0, 1.01, 3.0]), curve) < 1e-6
    with pytest.raises(ValueError, match="no frame"):
        intensity_mse(square, RATE, np.array([4.0, 5.0]), np.zeros(2))


@pytest.mark.parametrize("config", [MEL, PAPER], ids=["segue", "paper"])
def test_mel_and_waveform_agree_on_a_swell(config: MelConfig) -> None:
    """The two independent ways hear the same 20 dB swell of noise, within 1 dB everywhere."""
    swell = 10 ** (torch.linspace(-40, -20, 4 * config.sample_rate) / 20)
    stereo = noise(4, 1.0, config, sides=1) * swell
    times, heard = level(stereo.T.numpy(), config.sample_rate)
    read = feature(stereo, config)
    at = (np.arange(len(read)) + 0.5) * config.hop / config.sample_rate
    assert np.abs(np.interp(times, at, read.numpy()) - heard).max() < 1.0
