"""Structure: the self-similarity of a mel and of audio, against plans with known answers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy.fft import dct
from scipy.signal import savgol_filter
from torch import Tensor

from segue.export.evaluation.heard_structure import (
    block_matrix,
    section_cells,
    self_similarity,
    structure_mse,
)
from segue.presets.word import SegueError
from segue.server.ditto.controls.structure import (
    cells,
    cepstrum,
    feature,
    loss,
    matrix,
    part,
    smoother,
    stretched,
    target,
    transfer,
)
from segue.server.ditto.mel import PAPER, MelConfig, filterbank, log_mel

MEL = MelConfig()
CPU = torch.device("cpu")


def spectra(letters: Sequence[int], seed: int = 0, config: MelConfig = MEL) -> Tensor:
    """(1, channels, frames): every frame has its letter's own random spectrum around -6."""
    g = torch.Generator().manual_seed(seed)
    k = max(letters) + 1
    corners = torch.linalg.qr(torch.randn(config.channels, k, generator=g))[0]
    return (20 * corners - 6)[:, list(letters)][None]


def noise(frames: int, seed: int = 0, batch: int = 2) -> Tensor:
    """A mel in which nothing is like anything else."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(batch, MEL.channels, frames, generator=g) - 5


def drawn(sections: str, lengths: Sequence[float], rate: int = 44100) -> np.ndarray:
    """(samples, 2): a chord for every A, another and brighter one for every other letter."""
    made = []
    for letter, seconds in zip(sections, lengths, strict=True):
        t = np.arange(round(seconds * rate)) / rate
        tones = (220, 277, 330) if letter == "A" else (1500, 3100, 6300, 9000)
        made.append(sum(0.1 * np.sin(2 * np.pi * hz * t) for hz in tones))
    return np.stack([np.concatenate(made)] * 2, axis=1)


def test_cepstrum_is_scipys_dct() -> None:
    """Coefficients 1 to 19 of the orthonormal DCT-II, of the bands that end below 12 kHz."""
    x = torch.randn(128, 5, generator=torch.Generator().manual_seed(1))
    ends = [float(torch.nonzero(row)[-1]) * 44100 / 2048 for row in filterbank(MEL, CPU)]
    heard = sum(hz < 12_000 for hz in ends)
    assert 100 < heard < 128
    expected = dct(x[:heard].double().numpy(), axis=0, norm="ortho")[1:20]
    np.testing.assert_allclose(cepstrum(MEL, CPU) @ x, expected, atol=1e-5)


def test_what_nobody_hears_is_no_structure() -> None:
    """Bands above 12 kHz that come and go change nothing."""
    mel = torch.randn(1, 256, 512, generator=torch.Generator().manual_seed(1))
    airy = mel.clone()
    airy[:, 122:128, 170:340] -= 8
    torch.testing.assert_close(feature(airy, MEL), feature(mel, MEL))


@pytest.mark.parametrize("n", [5, 6, 32])
def test_smoother_is_scipys_filter(n: int) -> None:
    """Savitzky-Golay of five cells and second order, the ends fitted."""
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(1))
    expected = savgol_filter(x.double().numpy(), 5, 2, axis=0)
    np.testing.assert_allclose(smoother(n, CPU) @ x, expected, atol=1e-5)
    assert torch.equal(smoother(4, CPU), torch.eye(4))


def test_alternating_spectra_give_the_block_matrix() -> None:
    """Of two timbres the similarity is 1 and 0, cell by cell."""
    letters = torch.arange(320) // 16 % 2
    made = feature(spectra(letters.tolist()), MEL, smooth=False)
    expected = matrix(letters, MEL)
    assert made.shape == (1, 20, 20)
    assert sorted(expected.unique().tolist()) == [0, 1]
    torch.testing.assert_close(made[0], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("sections", ["ABA", "AABB", "ABBA", "ABAC"])
def test_a_clip_that_keeps_its_plan_has_no_loss(sections: str) -> None:
    """Two spectra score 0 wherever edges fall, three nearly; with another plan they do not."""
    wanted = target(sections, 515, MEL)
    mel = spectra(wanted.tolist())
    assert float(loss(mel, wanted, MEL)) < (1e-5 if len(set(sections)) == 2 else 0.02)
    assert float(loss(mel, target("ABCB", 515, MEL), MEL)) > 0.04


def test_three_letters_are_as_far_apart_as_three_can_be() -> None:
    """0.25, the corners of a triangle: (1 - 1/2) / 2."""
    assert float(matrix(target("ABC", 512, MEL), MEL)[0, -1]) == 0.25


def test_the_loss_is_the_mean_square_of_the_smoothed_difference() -> None:
    """What is summed without making the matrices is what the matrices say."""
    mel, wanted = noise(512), target("ABBA", 512, MEL)
    s = smoother(32, CPU)
    difference = feature(mel, MEL) - s @ matrix(wanted, MEL) @ s.T
    torch.testing.assert_close(loss(mel, wanted, MEL), (difference**2).mean(dim=(1, 2)))


def test_letters_become_frames() -> None:
    """Evenly, or by lengths; equal letters share a number; -1 outside."""
    even = target("aba", 300, MEL)
    assert even.dtype == torch.int64
    assert even.tolist() == [0] * 100 + [1] * 100 + [0] * 100
    rate = 44100 / 512
    given = target(
        "BA", 600, MEL, lengths_seconds=(2.0, 1.0), start_seconds=1.0, length_seconds=3.0
    )
    runs = torch.unique_consecutive(given, return_counts=True)
    assert runs[0].tolist() == [-1, 0, 1, -1]
    edges = [0, round(rate), round(3 * rate), round(4 * rate), 600]
    assert runs[1].tolist() == np.diff(edges).tolist()


@pytest.mark.parametrize(
    ("sections", "options", "sentence"),
    [
        ("", {}, "sections are empty"),
        ("A B", {}, "letters such as"),
        ("A1", {}, "letters such as"),
        ("ÄB", {}, "letters such as"),
        ("AAAA", {}, "nothing that differs"),
        ("ABA", {"lengths_seconds": (3, 3)}, "3 sections, and there are 2 lengths"),
        ("AB", {"lengths_seconds": (3, 8)}, "last 11.00 s together, and have 5.94 s"),
        ("AB", {"lengths_seconds": (1, 1)}, "last 2.00 s together"),
        ("AB", {"lengths_seconds": (math.nan, 1)}, "last nan s"),
        ("AB", {"lengths_seconds": (5.7, 0.25)}, "too short to be heard"),
        ("AB", {"lengths_seconds": (7, -1)}, "too short to be heard"),
        ("AB" * 10, {}, "a section of 0.30 s is too short"),
        ("AB", {"start_seconds": 6.0}, "do not lie in the clip's 5.94 s"),
        ("AB", {"start_seconds": 3.0, "length_seconds": 5.0}, "do not lie in the clip"),
        ("AB", {"start_seconds": math.nan}, "do not lie in the clip"),
        ("AB", {"length_seconds": 0.0}, "do not lie in the clip"),
    ],
)
def test_bad_plans_are_refused(
    sections: str, options: dict[str, float | tuple[float, ...]], sentence: str
) -> None:
    """With a sentence that says what is wrong."""
    with pytest.raises(SegueError, match=sentence):
        target(sections, 512, MEL, **options)  # type: ignore[arg-type]


def test_a_slice_has_the_matrix_of_its_part() -> None:
    """What is there so far is asked for what the whole plan says of it."""
    wanted = target("ABA", 1536, MEL)
    torch.testing.assert_close(
        matrix(wanted[:1024], MEL), matrix(wanted, MEL)[:64, :64], equal_nan=True
    )


def test_a_part_of_a_plan_asks_for_that_part() -> None:
    """Frames outside change nothing, and keeping the plan inside scores 0."""
    wanted = target("ABA", 1024, MEL, start_seconds=4.0, length_seconds=6.0)
    mel = spectra((wanted.clamp(min=0)).tolist())
    other = torch.where(wanted >= 0, mel, noise(1024, batch=1))
    assert float(loss(other, wanted, MEL)) < 1e-5
    plan = matrix(wanted, MEL)
    assert plan[0].isnan().all()
    assert plan[40, 40] == 1


@pytest.mark.parametrize("wanted", [[-1] * 300, [0] * 300, [-1] * 150 + [3] * 150])
def test_nothing_to_compare_is_no_loss(wanted: list[int]) -> None:
    """A slice that is not asked, or all of one section, scores exactly 0 without a gradient."""
    mel = noise(300).requires_grad_()
    made = loss(mel, torch.tensor(wanted), MEL)
    made.sum().backward()
    assert made.tolist() == [0, 0]
    assert mel.grad is not None
    assert torch.equal(mel.grad, torch.zeros_like(mel))


@pytest.mark.parametrize("frames", [2, 15, 24, 130, 512])
def test_any_number_of_frames(frames: int) -> None:
    """From two frames up, losses and gradients are finite, of letters and of a matrix."""
    half = torch.arange(frames) * 2 // frames
    n = cells(frames, MEL)
    for wanted in (half, torch.eye(n), torch.full((n, n), math.nan)):
        mel = noise(frames).requires_grad_()
        made = loss(mel, wanted, MEL)
        made.sum().backward()
        assert made.shape == (2,)
        assert made.isfinite().all()
        assert mel.grad is not None
        assert mel.grad.isfinite().all()


def test_silence_is_finite() -> None:
    """A clip that never changes is half like everything, and its gradient is finite."""
    mel = torch.full((1, MEL.channels, 512), math.log(MEL.floor)).requires_grad_()
    made = feature(mel, MEL)
    torch.testing.assert_close(made, torch.full_like(made, 0.5), atol=0.05, rtol=0)
    loss(mel, target("ABA", 512, MEL), MEL).sum().backward()
    assert mel.grad is not None
    assert mel.grad.isfinite().all()
    with pytest.raises(SegueError, match="silent or never changes"):
        transfer(mel[0].detach(), MEL)
    with pytest.raises(SegueError, match="at least a second"):
        transfer(mel[0, :, :60].detach(), MEL)


def test_rows_of_a_batch_do_not_mix() -> None:
    """Each clip scores as it would alone."""
    mel, wanted = noise(512, batch=3), target("ABA", 512, MEL)
    alone = torch.cat([loss(row[None], wanted, MEL) for row in mel])
    torch.testing.assert_close(loss(mel, wanted, MEL), alone)


def test_gradient_descent_draws_the_plan() -> None:
    """Following the gradient, noise takes on ABA."""
    mel, wanted = noise(512, batch=1).requires_grad_(), target("ABA", 512, MEL)
    first = float(loss(mel, wanted, MEL).detach())
    adam = torch.optim.Adam([mel], lr=0.1)
    for _ in range(30):
        adam.zero_grad()
        loss(mel, wanted, MEL).sum().backward()
        adam.step()
    assert float(loss(mel, wanted, MEL).detach()) < 0.05 * first


def test_a_region_has_its_own_plan() -> None:
    """Transferred to itself it scores 0, to anything else not; NaN cells do not count."""
    mel = noise(512)
    plan = transfer(mel[0], MEL)
    made = loss(mel, plan, MEL)
    assert float(made[0]) < 1e-9
    assert float(made[1]) > 0.01
    plan[5:] = math.nan
    plan[:, 5:] = math.nan
    torch.testing.assert_close(
        loss(noise(512), plan, MEL), loss(noise(512)[..., :80], plan[:5, :5], MEL)
    )


def test_stretching_keeps_blocks_and_size() -> None:
    """To its own size nothing changes; to twice it, blocks stay blocks and every 1 a 1."""
    plan = matrix(target("ABA", 768, MEL), MEL)
    torch.testing.assert_close(stretched(plan, 48), plan)
    longer = stretched(plan, 96)
    torch.testing.assert_close(longer.diagonal(), torch.ones(96))
    torch.testing.assert_close(longer[:30, 34:62], torch.zeros(30, 28))


def test_a_part_of_a_transferred_plan_is_measured_from_its_own_mean() -> None:
    """The part of ABA that holds AB asks for AB; one that holds only A asks for nothing."""
    plan = matrix(target("ABA", 768, MEL), MEL)
    assert torch.equal(part(plan, slice(0, 768), MEL), plan)
    torch.testing.assert_close(part(plan, slice(0, 512), MEL), matrix(target("AB", 512, MEL), MEL))
    torch.testing.assert_close(part(plan, slice(256, 512), MEL), torch.full((16, 16), 0.5))


def test_a_plan_asks_nothing_outside_itself() -> None:
    """Frames before and after it are NaN, and it stays whole between them."""
    plan = matrix(target("ABA", 768, MEL), MEL)
    made = part(plan, slice(-160, 800), MEL)
    assert made.shape == (60, 60)
    assert torch.equal(made[10:58, 10:58], plan)
    assert int(made.isnan().sum()) == 60**2 - 48**2
    assert part(plan, slice(800, 960), MEL).isnan().all()


def test_the_papers_mel_has_the_same_cells() -> None:
    """At 22.05 kHz and hop 256 as many frames a second make the same plan."""
    wanted = target("ABA", 512, PAPER)
    assert torch.equal(wanted, target("ABA", 512, MEL))
    assert float(loss(spectra(wanted.tolist(), config=PAPER), wanted, PAPER)) < 1e-5


@pytest.mark.parametrize("rate", [44100, 48000, 22050])
def test_heard_structure_of_two_chords(rate: int) -> None:
    """At any rate ABA is heard as ABA, and not as AAB or as ABB."""
    audio = drawn("ABA", (3.0, 3.0, 3.0), rate)
    assert structure_mse(audio, rate, "ABA") < 0.01
    assert structure_mse(audio, rate, "AAB") > 0.1
    assert structure_mse(audio, rate, "ABB") > 0.1


def test_heard_and_wanted_agree() -> None:
    """Audio that scores well with the loss is heard to, and its plan transfers to what is heard."""
    audio = drawn("ABAB", (1.5, 1.5, 1.5, 1.5))
    mel = log_mel(torch.from_numpy(audio.T).float(), MEL)
    wanted = target("ABAB", mel.shape[-1], MEL)
    assert float(loss(mel[None], wanted, MEL)) < 0.01
    plan = transfer(mel, MEL).numpy()
    assert plan.shape == self_similarity(audio, 44100).shape
    assert structure_mse(audio, 44100, plan) < 0.02


def test_heard_plans() -> None:
    """Cells of letters and their blocks, and what is not asked is left out."""
    assert section_cells("ABA", 8).tolist() == [0, 0, -1, 1, 1, -1, 0, 0]
    assert block_matrix([0, 1, 0]).tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    assert block_matrix([0, 1, 2])[0].tolist() == [1, 0.25, 0.25]
    audio = drawn("ABA", (3.0, 3.0, 3.0))
    plan = np.repeat([0, 1, -1], [16, 16, len(self_similarity(audio, 44100)) - 32])
    assert structure_mse(audio, 44100, plan) < 0.01
    assert math.isnan(structure_mse(audio, 44100, np.full_like(plan, -1)))
    with pytest.raises(ValueError, match="the plan is"):
        structure_mse(audio, 44100, [0, 1])


def test_heard_silence_is_finite() -> None:
    """Silence is half like itself, and no warning is raised."""
    audio = np.zeros((44100, 2))
    np.testing.assert_allclose(self_similarity(audio, 44100), 0.5)
    assert structure_mse(audio, 44100, "AB") == pytest.approx(0.25, abs=0.1)
