"""Melody: pitch classes of known tones, from mel and from waveform, and what may be asked."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from segue.export.evaluation.heard_melody import (
    HOP_SECONDS,
    chroma,
    heard_classes,
    high_pass,
    melody_accuracy,
)
from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.controls import melody
from segue.server.ditto.mel import MELS, MelConfig, log_mel

MEL = MelConfig()
RATE = MEL.sample_rate
NAN = math.nan
SCALE = [60, 67, 64, 74, 71, 65, 81, 78, 85, 70, 68, 63]  # every class once, octaves 4 to 6
NOTE_SECONDS = 0.4


def tone(pitch: int, seconds: float, rate: int, partials: int = 6) -> np.ndarray:
    """(samples,): a harmonic tone of a MIDI pitch with soft ends; partials fall as 1 / h."""
    t = np.arange(round(seconds * rate)) / rate
    hz = 440 * 2 ** ((pitch - 69) / 12)
    waves = sum(np.sin(2 * np.pi * hz * h * t + h) / h for h in range(1, partials + 1))
    return 0.2 * waves * np.clip(np.minimum(t, t[-1] - t) / 0.01, 0, 1)


def line(pitches: list[int], rate: int = RATE) -> np.ndarray:
    """(samples, 2): the tones one after the other, the same left and right."""
    mono = np.concatenate([tone(pitch, NOTE_SECONDS, rate) for pitch in pitches])
    return np.stack((mono, mono), axis=1)


def notes(pitches: list[int]) -> list[tuple[float, float, int]]:
    """The notes of `line`."""
    return [(i * NOTE_SECONDS, NOTE_SECONDS, pitch) for i, pitch in enumerate(pitches)]


def mel_of(audio: np.ndarray, config: MelConfig = MEL) -> torch.Tensor:
    """(1, channels, frames)."""
    return log_mel(torch.from_numpy(audio.T.copy()).float(), config)[None]


@pytest.mark.parametrize("config", MELS.values(), ids=MELS)
def test_a_line_is_read_from_its_mel(config: MelConfig) -> None:
    """All twelve classes in octaves 4 to 6: at least 95 % of frames, transitions included."""
    mel = mel_of(line(SCALE, config.sample_rate), config)
    wanted = melody.target(notes(SCALE), mel.shape[-1], config)
    assert float(melody.accuracy(mel, wanted, config)) >= 95


@pytest.mark.parametrize("pitch", range(60, 97))
def test_each_semitone_is_told_from_its_neighbours(pitch: int) -> None:
    """From Middle C up three octaves, the middle of a steady tone is its class and no other."""
    mono = tone(pitch, 0.3, RATE)
    mel = mel_of(np.stack((mono, mono), axis=1))
    assert int(melody.feature(mel, MEL)[0, :, mel.shape[-1] // 2].argmax()) == pitch % 12


def test_features_are_log_probabilities() -> None:
    """Over the classes they sum to 1, at any level, for noise as for silence."""
    mel = torch.randn(2, 256, 7, generator=torch.Generator().manual_seed(0)) - 4
    mel[1] = math.log(MEL.floor)
    made = melody.feature(mel, MEL)
    assert made.shape == (2, 12, 7)
    torch.testing.assert_close(made.exp().sum(1), torch.ones(2, 7))
    louder = melody.feature(mel[:1] + 3, MEL)
    torch.testing.assert_close(louder, made[:1], atol=1e-3, rtol=0)


def test_silence_is_every_class_alike() -> None:
    """A mel at its floor gives about a twelfth to each class, and a finite gradient."""
    mel = torch.full((1, 256, 6), math.log(MEL.floor), requires_grad=True)
    made = melody.feature(mel, MEL)
    made[:, 3].sum().backward()
    torch.testing.assert_close(made.exp(), torch.full_like(made, 1 / 12), atol=0.02, rtol=0)
    assert mel.grad is not None
    assert mel.grad.isfinite().all()


def test_below_middle_c_counts_for_little() -> None:
    """A bass octaves below is passed over for a line 10 dB softer."""
    bass = tone(45, 1.0, RATE, partials=1) * 3
    mono = bass + tone(72, 1.0, RATE)
    mel = mel_of(np.stack((mono, mono), axis=1))
    assert int(melody.feature(mel, MEL)[0, :, 40].argmax()) == 0


def test_loss_is_the_mean_likelihood_of_the_asked_frames() -> None:
    """Against the log-probabilities picked by hand; a row each."""
    mel = torch.randn(2, 256, 4, generator=torch.Generator().manual_seed(0)) - 4
    made = melody.feature(mel, MEL)
    expected = -(made[:, 5, 1] + made[:, 11, 3]) / 2
    torch.testing.assert_close(melody.loss(mel, torch.tensor([-1, 5, -1, 11]), MEL), expected)


def test_what_is_clear_enough_costs_nothing() -> None:
    """A frame counts with what it has above the threshold, on its own."""
    mel = torch.randn(1, 256, 4, generator=torch.Generator().manual_seed(0)) - 4
    made = melody.feature(mel, MEL)
    first, second = sorted((-float(made[0, 5, 1]), -float(made[0, 11, 3])))
    between = (first + second) / 2
    cost = melody.loss(mel, torch.tensor([-1, 5, -1, 11]), MEL, between)
    assert float(cost) == pytest.approx((second - between) / 2, rel=1e-4)


def test_a_slice_that_asks_nothing_costs_nothing() -> None:
    """All -1: exactly 0, and a gradient of exactly 0."""
    mel = torch.randn(2, 256, 5, requires_grad=True)
    cost = melody.loss(mel, torch.full((5,), -1), MEL)
    cost.sum().backward()
    assert cost.tolist() == [0.0, 0.0]
    assert mel.grad is not None
    assert not mel.grad.any()


def test_the_gradient_moves_the_line() -> None:
    """Descent on the mel of two tones makes the softer one, which is asked for, the stronger."""
    mono = tone(72, 0.15, RATE) + 0.5 * tone(77, 0.15, RATE)
    mel = mel_of(np.stack((mono, mono), axis=1)).requires_grad_()
    wanted = torch.full((mel.shape[-1],), 5)
    optimizer = torch.optim.Adam([mel], lr=0.1)
    assert float(melody.accuracy(mel, wanted, MEL)) == 0
    for _ in range(15):
        optimizer.zero_grad()
        melody.loss(mel, wanted, MEL).sum().backward()
        optimizer.step()
    assert float(melody.accuracy(mel, wanted, MEL)) == 100


@pytest.mark.parametrize("frames", [2, 3, 2000])
def test_any_number_of_frames(frames: int) -> None:
    """From 2 frames up."""
    mel = torch.zeros(1, 256, frames)
    assert melody.loss(mel, torch.zeros(frames, dtype=torch.int64), MEL).isfinite().all()


def test_target_takes_the_highest_note_inside_the_asked_part() -> None:
    """Exact frames: C4 throughout, E5 over it for a while, nothing after the end."""
    second = RATE / MEL.hop
    made = melody.target([(0.5, 0.5, 76), (0.0, 2.0, 60)], 300, MEL, length_seconds=1.5)
    at = (torch.arange(300) + 0.5) / second
    expected = torch.where((at >= 0.5) & (at < 1.0), 4, 0)
    expected[at >= 1.5] = -1
    assert made.dtype == torch.int64
    assert torch.equal(made, expected)


def test_rests_ask_nothing() -> None:
    """Between two notes, and before the start, the class is -1."""
    made = melody.target([(0.0, 0.2, 61), (0.4, 0.2, 62)], 60, MEL, start_seconds=0.1)
    at = (torch.arange(60) + 0.5) * MEL.hop / RATE
    expected = torch.full((60,), -1)
    expected[(at >= 0.1) & (at < 0.2)] = 1
    expected[(at >= 0.4) & (at < 0.6)] = 2
    assert torch.equal(made, expected)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([], "no notes"),
        ([(0.0, 1.0, 60)] * 10_001, "at most 10000"),
        ([(NAN, 1.0, 60)], "not a number"),
        ([(0.0, math.inf, 60)], "not a number"),
        ([(0.0, -1.0, 60)], "negative"),
        ([(0.0, 1.0, 128)], "0 to 127"),
        ([(0.0, 1.0, -1)], "0 to 127"),
        ([(5.0, 1.0, 60)], "inside the clip"),
        ([(0.0, 0.0, 60)], "inside the clip"),
    ],
)
def test_a_melody_that_makes_no_sense(wrong: list[tuple[float, float, int]], said: str) -> None:
    """Each is refused with what to do about it."""
    with pytest.raises(SegueError, match=said) as refused:
        melody.target(wrong, 100, MEL)
    assert refused.value.code == Code.BAD_REQUEST


@pytest.mark.parametrize("rate", [44100, 48000, 16000])
def test_a_played_line_becomes_its_classes(rate: int) -> None:
    """Hummed low or whistled high, at any rate: 90 % of frames, and no frame where it is silent."""
    pitches = [45, 52, 57, 60, 66, 71, 76, 83]
    audio = np.concatenate((line(pitches, rate), np.zeros((rate, 2))))
    frames = round(len(audio) / rate * RATE / MEL.hop)
    made = melody.target_from_audio(audio, rate, frames, MEL)
    wanted = melody.target(notes(pitches), frames, MEL)
    sung = wanted >= 0
    assert float((made == wanted)[sung].float().mean()) > 0.9
    assert (made[wanted.nonzero().amax() :][10:] == -1).all()


@pytest.mark.parametrize("audio", [np.zeros((44100, 1)), np.zeros((10, 2)), np.zeros((0, 1))])
def test_nobody_sings(audio: np.ndarray) -> None:
    """Silence of any length is refused."""
    with pytest.raises(SegueError, match="no pitch is heard"):
        melody.target_from_audio(audio, 44100, 86, MEL)


def test_noise_is_no_melody_and_nan_is_no_audio() -> None:
    """White noise has no pitch; NaN is said to be NaN."""
    noise = 0.1 * np.random.default_rng(0).standard_normal((44100, 1))
    with pytest.raises(SegueError, match="no pitch is heard"):
        melody.target_from_audio(noise, 44100, 86, MEL)
    with pytest.raises(SegueError, match="not a number"):
        melody.target_from_audio(noise * NAN, 44100, 86, MEL)


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
def test_heard_classes_are_the_tones(rate: int) -> None:
    """Each tone's middle is its class, whatever the rate."""
    heard = heard_classes(line(SCALE, rate), rate)
    middles = [int((i + 0.5) * NOTE_SECONDS / HOP_SECONDS) for i in range(len(SCALE))]
    assert [pitch % 12 for pitch in SCALE] == heard[middles].tolist()


def test_high_pass_is_a_butterworth_at_middle_c() -> None:
    """Half the power at 261.2 Hz, all of it far above, 1/257 of it two octaves below."""
    t = np.arange(2 * RATE) / RATE
    for octave, power in ((0, 1 / 2), (5, 1.0), (-2, 1 / 257)):
        passed = high_pass(np.sin(2 * np.pi * 261.2 * 2.0**octave * t), RATE)[RATE:]
        assert abs(2 * np.mean(passed**2) / power - 1) < 0.02


def test_chroma_of_a_sine() -> None:
    """A4 lies in A: both neighbours far below, everything else nothing; time is on frames."""
    mono = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    made = chroma(mono[:, None], RATE)
    assert made.shape == (12, RATE // 512)
    assert int(made[:, 40].argmax()) == 9
    assert made[[8, 10], 40].max() < 0.3 * made[9, 40]
    assert made[:6, 40].max() < 1e-3 * made[9, 40]


def test_melody_accuracy_counts_the_asked_frames() -> None:
    """Right notes are near 100 %, a semitone off 0; silence and what is beyond the end is wrong."""
    audio = line([69, 69])
    hop = MEL.hop / RATE
    right = np.full(60, 9)
    assert melody_accuracy(audio, RATE, right, hop) > 95
    assert melody_accuracy(audio, RATE, right + 1, hop) == 0
    assert melody_accuracy(audio * 0, RATE, right * 0, hop) == 0
    assert melody_accuracy(audio, RATE, np.append(np.full(600, -1), right), hop) == 0
    with pytest.raises(ValueError, match="no frame"):
        melody_accuracy(audio, RATE, np.full(5, -1), hop)
