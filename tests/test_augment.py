"""Augmentation of log-mels: exact where it can be, within its limits where it is drawn."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from segue.export.augment import (
    NEPERS_A_DB,
    Augment,
    Change,
    augmented,
    centres_hz,
    curve,
    draw_change,
    pitched,
    stretched,
)
from segue.presets.vocabulary import SegueError
from segue.server.ditto.mel import MelConfig, filterbank, log_mel

MEL = MelConfig()
FLOOR = math.log(MEL.floor)
NOTHING = Augment(pitch_semitones=0, speed=0, gain_db=0, side_db=0, eq_db=0, swap=0)


def random_mel(frames: int = 40) -> Tensor:
    """A loud log-mel of noise, (256, frames)."""
    return torch.randn(256, frames, generator=torch.Generator().manual_seed(0)) - 4


def tone(hz: float) -> Tensor:
    """The log-mel of a sine in the middle, (256, 8)."""
    samples = torch.sin(2 * math.pi * hz * torch.arange(16 * 512) / 44100)
    return log_mel(samples.expand(2, -1), MEL)[:, 4:12]


def test_no_change_is_the_identity() -> None:
    """Pitch 0, speed 1 and no gain give the same window bit for bit."""
    mel = random_mel()
    change = draw_change(NOTHING, torch.Generator().manual_seed(0))
    assert change.frames_read(40) == 40
    assert torch.equal(augmented(mel, change, 40, MEL), mel)


def test_centres_are_where_the_filters_peak() -> None:
    """The frequencies used for pitch are those of the front end."""
    peaks = filterbank(MEL, torch.device("cpu")).argmax(1) * 44100 / 2048
    assert float((peaks - centres_hz(MEL)).abs().max()) < 44100 / 2048


@pytest.mark.parametrize("semitones", [-2.0, -1.0, -0.5, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("band", [8, 20, 40, 70, 100])
def test_a_shifted_tone_peaks_in_the_band_of_its_new_frequency(band: int, semitones: float) -> None:
    """A tone shifted onto a band's centre frequency is loudest there, in mid; side is silent."""
    hz = float(centres_hz(MEL)[band]) / 2 ** (semitones / 12)
    moved = pitched(tone(hz), semitones, MEL)
    assert moved[:128].argmax(0).tolist() == [band] * 8
    assert float((moved[128:] - FLOOR).abs().max()) < 1e-5


def test_pitch_there_and_back_gives_a_smooth_spectrum_back() -> None:
    """What is smooth over the bands survives, but for the outermost bands."""
    mel = torch.sin(torch.arange(128) / 12).repeat(2)[:, None].expand(256, 4)
    back = pitched(pitched(mel, 2, MEL), -2, MEL)
    assert float((back - mel).unflatten(0, (2, 128))[:, 4:-8].abs().max()) < 0.01


def test_speed_moves_moments() -> None:
    """A ramp stays a ramp, its ends where they were; faster means more frames are read."""
    ramp = torch.linspace(0, 9, 50).expand(256, 50)
    slower = stretched(ramp, 90)
    inner = slower[0, 2:-2] - torch.linspace(0, 9, 90)[2:-2]
    assert float(inner.abs().max()) < 1e-5
    assert torch.equal(slower[:, [0, -1]], ramp[:, [0, -1]])
    assert (Change(speed=1.1).frames_read(100), Change(speed=0.9).frames_read(100)) == (110, 90)


def test_speed_keeps_noise_alive() -> None:
    """Between frames noise loses less than a line between neighbours would take of it."""
    noise = torch.randn(256, 560, generator=torch.Generator().manual_seed(1))
    frames = stretched(noise, 512)
    assert float(frames.std()) > 0.85
    low = torch.linspace(0, 559, 512)
    weight = low - low.floor()
    line = (1 - weight) * noise[:, low.long()] + weight * noise[:, (low.long() + 1).clamp(max=559)]
    assert float(frames.std()) > float(line.std())


def test_gain_is_gain() -> None:
    """6 dB are 6 dB in every band; side_db adds to the side alone."""
    moved = augmented(random_mel(), Change(gain_db=6, side_db=-2), 40, MEL) - random_mel()
    torch.testing.assert_close(moved[:128], torch.full((128, 40), 6 * NEPERS_A_DB))
    torch.testing.assert_close(moved[128:], torch.full((128, 40), 4 * NEPERS_A_DB))
    assert pytest.approx(2, abs=0.01) == math.exp(6.02 * NEPERS_A_DB)


def test_swap_changes_places() -> None:
    """Mid becomes side and side mid; a mono window keeps its mid."""
    mel = random_mel()
    assert torch.equal(augmented(mel, Change(swap=True), 40, MEL), mel.roll(128, 0))
    mono = torch.cat((mel[:128], torch.full((128, 40), FLOOR)))
    assert float((augmented(mono, Change(swap=True), 40, MEL) - mono).abs().max()) < 1e-5


def test_silence_stays_silent_and_nothing_goes_below_it() -> None:
    """No gain wakes the floor; no cut gets under it."""
    silent = torch.full((256, 40), FLOOR)
    loud = Change(gain_db=24, eq_db=(3.0, 3.0), semitones=1.5, speed=1.1)
    assert float((augmented(silent, loud, 40, MEL) - FLOOR).abs().max()) < 1e-5
    assert float(augmented(random_mel(), Change(gain_db=-200), 40, MEL).min()) >= FLOOR - 1e-6


def test_the_curve_is_smooth_and_within_its_points() -> None:
    """It meets its points, never leaves their range, and has no step."""
    points = (3.0, -3.0, 0.0, 1.0, 2.0, -1.0)
    drawn = curve(points, 128)
    assert (float(drawn[0]), float(drawn[-1])) == pytest.approx((3.0, -1.0))
    assert float(drawn.max()) <= 3
    assert float(drawn.min()) >= -3
    assert float(drawn.diff().abs().max()) < 0.4


def test_changes_keep_their_limits_and_reach_them() -> None:
    """Over many draws: within ± the limit, nearly up to it, as often as the chances say."""
    generator = torch.Generator().manual_seed(0)
    drawn = [draw_change(Augment(), generator) for _ in range(4000)]
    for values, limit in (
        ([c.semitones for c in drawn], 2.0),
        ([c.speed - 1 for c in drawn], 0.1),
        ([c.gain_db for c in drawn], 6.0),
        ([c.side_db for c in drawn], 3.0),
        ([db for c in drawn for db in c.eq_db], 3.0),
    ):
        assert max(values) == pytest.approx(limit, rel=0.02)
        assert min(values) == pytest.approx(-limit, rel=0.02)
        assert abs(sum(values) / len(values)) < limit / 20
    assert sum(c.swap for c in drawn) / 4000 == pytest.approx(0.02, abs=0.01)
    assert sum(c.semitones != 0 for c in drawn) / 4000 == pytest.approx(0.5, abs=0.03)
    assert sum(c.speed != 1 for c in drawn) / 4000 == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    "wrong", [{"speed": 1.0}, {"gain_db": -1.0}, {"swap": 2.0}, {"eq_db": math.nan}]
)
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    """Negative, NaN, or so far that nothing would be left."""
    with pytest.raises(SegueError, match=next(iter(wrong))):
        Augment(**wrong)
