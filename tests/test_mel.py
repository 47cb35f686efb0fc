"""The mel front end and the STFT that decodes, against known spectra."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from segue.server.ditto import mel
from segue.server.ditto.mel import (
    MELS,
    MelConfig,
    MelScale,
    filterbank,
    log_mel,
    magnitudes,
    mid_side,
)
from segue.server.ditto.stft import Spectrum, Stft, fast_griffin_lim, lengths

MEL = MelConfig()
STFT = Stft(MEL)


def sine(hz: float, seconds: float = 1.0, level: float = 1.0) -> torch.Tensor:
    """(2, samples): the same sine left and right."""
    t = torch.arange(int(seconds * MEL.sample_rate)) / MEL.sample_rate
    return (level * torch.sin(2 * math.pi * hz * t)).expand(2, -1)


def test_mid_side_twice_doubles() -> None:
    """Sum and difference, applied twice, give twice the signal."""
    x = torch.randn(2, 100)
    torch.testing.assert_close(mid_side(mid_side(x)), 2 * x)


def test_full_scale_sine_has_magnitude_one() -> None:
    """The STFT is scaled to the amplitude of a sine on a bin."""
    hz = 100 * MEL.sample_rate / MEL.n_fft
    spectrum = magnitudes(sine(hz)[0], MEL)
    assert spectrum.shape == (1025, 44100 // 512)
    assert abs(float(spectrum[100, 40]) - 1) < 1e-4


def test_a_sine_lands_in_its_band_and_only_in_mid() -> None:
    """1 kHz at -20 dB peaks in the band around 1 kHz; equal channels leave side at the floor."""
    mel = log_mel(sine(1000.0, level=0.1), MEL)
    peak = int(mel[:128, 40].argmax())
    bank = filterbank(MEL, torch.device("cpu"))
    assert abs(int(bank[peak].argmax()) * MEL.sample_rate / MEL.n_fft - 1000) < 40
    assert abs(float(mel[peak, 40]) - math.log(0.1)) < 0.5
    assert torch.equal(mel[128:], torch.full_like(mel[128:], math.log(MEL.floor)))


@pytest.mark.parametrize("config", MELS.values(), ids=MELS)
def test_every_band_hears_something(config: MelConfig) -> None:
    """No filter is empty, and each peaks near 1."""
    bank = filterbank(config, torch.device("cpu"))
    assert bank.shape == (config.bands, 1025)
    assert float(bank.amax(1).min()) > 0.5


@pytest.mark.parametrize("config", MELS.values(), ids=MELS)
def test_no_band_is_always_at_the_floor(config: MelConfig) -> None:
    """Noise at -20 dB is heard in every row of either mel."""
    noise = 0.1 * torch.randn(2, 64 * config.hop, generator=torch.Generator().manual_seed(0))
    mel = log_mel(noise, config)
    assert mel.shape == (config.channels, 64)
    assert float(mel.amin()) > math.log(config.floor) + 1


def test_the_shipped_weights_mel_is_what_it_was() -> None:
    """Numbers from the front end that the shipped weights were trained with."""
    t = torch.arange(512 * 8) / 44100
    left, right = (
        level * torch.sin(2 * math.pi * hz * t) for level, hz in ((0.5, 440), (0.25, 3000))
    )
    made = log_mel(torch.stack((left, right)), MEL)[[10, 12, 13, 67, 138, 140, 141, 195], 4]
    known = (-5.89048, -1.72460, -1.29536, -1.65775, -5.89047, -1.72460, -1.29536, -1.65775)
    torch.testing.assert_close(made, torch.tensor(known), atol=1e-4, rtol=0)


def test_mid_alone_is_the_mid_of_two() -> None:
    """With one side the rows of the other are left out, and nothing else changes."""
    noise = torch.randn(2, 4096, generator=torch.Generator().manual_seed(0))
    mid = log_mel(noise, replace(MEL, sides=1))
    torch.testing.assert_close(mid, log_mel(noise, MEL)[:128])
    with pytest.raises(ValueError, match="sides must be 1"):
        replace(MEL, sides=3)


@pytest.mark.parametrize("frames", [1, 7, 64])
def test_frames_and_samples_cover_the_same_time(frames: int) -> None:
    """n hops of audio are n frames, and what is past the last whole hop is dropped."""
    assert log_mel(torch.randn(2, frames * 512 + 511), MEL).shape == (256, frames)


def test_pieces_of_a_long_mel_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole ones and the rest; products of another width round otherwise, by 4e-7 on AVX2."""
    stereo = torch.randn(2, 2, 100 * MelConfig().hop, generator=torch.Generator().manual_seed(2))
    whole = log_mel(stereo, MelConfig())
    monkeypatch.setattr(mel, "PIECE_FRAMES", 32)
    torch.testing.assert_close(log_mel(stereo, MelConfig()), whole, atol=1e-6, rtol=0)


def test_scale_restores_what_it_normalised() -> None:
    """`restore` is the inverse of `normalise`."""
    scale = MelScale(torch.linspace(-6, -2, 256), torch.linspace(0.5, 2, 256))
    mel = torch.randn(3, 256, 9)
    torch.testing.assert_close(scale.restore(scale.normalise(mel)), mel)


def whole(spectrum: Spectrum) -> torch.Tensor:
    """(2, rows, frames, places) real and imaginary parts of the bins that stand at the places."""
    real, imag = (STFT.in_a_row(part) for part in spectrum)
    return torch.stack((real, imag * STFT.signs))


def test_rfft_is_the_fourier_transform() -> None:
    """The matrix form agrees with torch.fft at all its places, and its inverse too."""
    x = torch.randn(2, 3, 2048)
    bins = torch.fft.rfft(x)
    expected = STFT.arranged(torch.stack((bins.real, bins.imag)))
    torch.testing.assert_close(whole(STFT.rfft(x)), expected, atol=2e-4, rtol=0)
    torch.testing.assert_close(STFT.irfft(STFT.rfft(x)), x, atol=1e-5, rtol=0)


def test_every_bin_has_its_place() -> None:
    """Each of the 1025 once or twice; the shares of its places make one."""
    assert torch.equal(STFT.bins.unique(), torch.arange(MEL.bins))
    counts = torch.bincount(STFT.bins, weights=STFT.shares)
    torch.testing.assert_close(counts, torch.ones(MEL.bins))
    values = torch.randn(2, 3, len(STFT.bins))
    assert torch.equal(STFT.in_a_row(STFT.blocks(values)), values)


def test_irfft_of_an_impure_spectrum_agrees_with_torch() -> None:
    """The imaginary parts of DC and Nyquist, which no real signal has, are ignored alike."""
    bins = torch.randn(1, 2, 1025, dtype=torch.complex64)
    start = STFT.polar(STFT.arranged(bins.abs()), STFT.arranged(bins.angle()))
    expected = torch.fft.irfft(bins, n=2048)
    torch.testing.assert_close(STFT.irfft(start), expected, atol=1e-6, rtol=0)


def test_stft_is_the_front_end_and_its_inverse_exact() -> None:
    """The decoder's STFT has the front end's magnitudes; there and back is the signal."""
    x = torch.randn(2, 512 * 20)
    spectrum = STFT(x)
    expected = magnitudes(x, MEL).transpose(1, 2)
    made = STFT.in_a_row(lengths(spectrum))
    torch.testing.assert_close(made, STFT.arranged(expected), atol=1e-5, rtol=0)
    torch.testing.assert_close(STFT.inverse(spectrum), x, atol=1e-4, rtol=0)


def test_griffin_lim_makes_phases_consistent() -> None:
    """From random phases, more iterations bring the audio's magnitudes nearer the given ones."""
    t = torch.arange(512 * 40) / MEL.sample_rate
    partials = torch.tensor([[220.0], [331.0], [1234.0]])
    x = torch.sin(2 * math.pi * partials * t).sum(0, keepdim=True)
    magnitude = STFT.in_a_row(lengths(STFT(x)))
    shape = (*magnitude.shape[:2], MEL.bins)
    phase = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 * math.pi
    start = STFT.polar(magnitude, STFT.arranged(phase))

    def error(iterations: int) -> float:
        made = STFT(fast_griffin_lim(STFT, start, iterations, lambda _: magnitude))
        return float((STFT.in_a_row(lengths(made)) - magnitude).norm() / magnitude.norm())

    assert error(30) < 0.5 * error(0)
    assert error(30) < error(8) < error(0)
