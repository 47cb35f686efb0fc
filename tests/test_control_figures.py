"""Exact targets, figures and baselines of the evaluation of the controls."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from segue.export.evaluation import control_figures
from segue.export.evaluation import control_targets as targets
from segue.export.evaluation.baselines import crossfade
from segue.export.evaluation.control_figures import Clip
from segue.export.evaluation.control_music import classes
from segue.export.evaluation.control_sheet import Sheet
from segue.export.evaluation.control_targets import Material, Target
from segue.export.evaluation.laid_out import Laid
from segue.presets.controls import Intensity, Melody, Note
from segue.server.audio_file import Waveform
from segue.server.clip import Clip as Known
from segue.server.clip import Gap
from segue.server.ditto.canvas import Canvas
from segue.server.framing import Frames

RATE = 44100
RNG = np.random.default_rng(0)
MATERIAL = Material(seed=0, level_db=-20.0, stretches=(), levels_db=())


def points(number: int) -> tuple[tuple[float, float], ...]:
    """The curve of a target."""
    (wanted,) = targets.intensity(MATERIAL, number).controls
    assert isinstance(wanted, Intensity)
    return wanted.points


def test_twenty_four_curves() -> None:
    """Each of three shapes, up and down, by 6, 9, 12 and 15 dB around the level; then again."""
    ends = [(round(p[0][1], 9), round(p[-1][1], 9)) for p in map(points, range(24))]
    expected = [(-20 - d, -20 + d) for d in (6, 9, 12, 15)]
    assert sorted(ends) == sorted(3 * [*expected, *((b, a) for a, b in expected)])
    assert len({points(i) for i in range(24)}) == 24
    assert points(24) == points(0)
    for p in map(points, range(24)):
        assert np.mean([db for _, db in p]) == pytest.approx(-20)
        assert p[-1][0] == pytest.approx(targets.NEW_SECONDS)


@pytest.mark.parametrize("number", range(8))
def test_melodies_fill_the_clip(number: int) -> None:
    """Without a rest, in two octaves, and the same again for the same seed."""
    (wanted,) = targets.melody(MATERIAL, number).controls
    assert isinstance(wanted, Melody)
    notes = wanted.notes
    assert notes[0].start == 0
    for note, following in pairwise(notes):
        assert note.start + note.length == pytest.approx(following.start)
    assert notes[-1].start + notes[-1].length == pytest.approx(targets.NEW_SECONDS)
    assert all(60 <= note.pitch <= 83 for note in notes)
    assert targets.melody(MATERIAL, number).controls == (wanted,)


def test_classes_of_notes() -> None:
    """C, a rest, then A under a higher B: of two at a time the highest."""
    notes = (
        Note(start=0, length=2, pitch=60),
        Note(start=3, length=2, pitch=71),
        Note(start=3, length=3, pitch=69),
    )
    assert classes(notes, 7, 1.0).tolist() == [0, 0, -1, 11, 11, 9, -1]


def test_intervals() -> None:
    """Student's t of 1, 2, 3: 4.3027 / sqrt(3) on either side of 2; one value has no spread."""
    assert control_figures.interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 4.30265 / 3**0.5))
    mean, half = control_figures.interval([5.0])
    assert mean == 5
    assert np.isnan(half)
    with pytest.raises(ValueError, match="nothing to take the mean of"):
        control_figures.interval([])


def laid(gap: Gap, samples: np.ndarray, head: int) -> Laid:
    """A clip at 44.1 kHz whose frames are of 512 samples."""
    nothing = torch.zeros(0)
    return Laid(
        clip=Known(wave=Waveform(samples, RATE, "FLOAT"), gaps=(gap,)),
        gap=gap,
        frames=Frames(left=head, new=0, right=0, samples=512.0),
        canvas=Canvas(mel=nothing, head=head, new=0, pinned=nothing, kept=nothing),
    )


def test_the_crossfade_has_equal_power() -> None:
    """Known music is untouched before the fade; there the squares of both factors sum to 1."""
    ones, fade = np.ones((4 * RATE, 1)), round(0.2 * RATE)
    ones[2 * RATE :] = 0
    gap = Gap(start=2 * RATE, stop=4 * RATE, left=2 * RATE)
    out, into = (
        crossfade(laid(gap, ones * known, 86), np.full((5 * RATE, 1), sample))
        for known, sample in ((1, 0.0), (0, 1.0))
    )
    zone = slice(2 * RATE - fade, 2 * RATE)
    assert (out.samples[: zone.start] == 1).all()
    assert np.allclose(out.samples[zone] ** 2 + into.samples[zone] ** 2, 1)
    assert (into.samples[zone.stop :] == 1).all()


def test_a_crossfaded_loop_ends_in_its_start() -> None:
    """The fade at a loop's end lies on the first samples of the clip."""
    known, fade = np.ones((3 * RATE, 1)), round(0.2 * RATE)
    known[2 * RATE :] = 0
    gap = Gap(start=2 * RATE, stop=3 * RATE, left=2 * RATE, right=2 * RATE)
    made = crossfade(laid(gap, known, 86), np.zeros((5 * RATE, 1))).samples
    assert (made[2 * RATE :] == 0).all()
    assert made[0] == pytest.approx(0, abs=1e-3)
    assert (np.diff(made[:fade, 0]) > 0).all()
    assert (made[fade : 2 * RATE - fade] == 1).all()


def clip(audio: np.ndarray, seams: tuple[int, ...], first: int, last: int) -> Clip:
    """A finished clip of which nothing was asked."""
    sheet = Sheet(key="", first=first, last=last, seams=seams, seconds=0, machine="")
    return Clip(target=Target(number=0, controls=()), sheet=sheet, audio=audio, rate=RATE)


def test_a_click_is_heard_at_the_seam() -> None:
    """Noise that goes on passes on both sides of a gap; an impulse at one of them does not."""
    noise = RNG.standard_normal((8 * RATE, 2)) * 0.05
    seams = (3 * RATE, 5 * RATE)
    quiet = control_figures.flux_at_seams(clip(noise, seams, *seams))
    assert max(quiet) < 1.1
    noise[5 * RATE + 100] = 1
    first, second = control_figures.flux_at_seams(clip(noise, seams, *seams))
    assert first == pytest.approx(quiet[0])
    assert second > 1.2


def test_level_steps_in_loudness_units() -> None:
    """New music at half the amplitude is a step of 6.02 LU; out of nothing there is no seam."""
    audio = np.sin(np.arange(6 * RATE) / 20)[:, None]
    audio[3 * RATE :] /= 2
    steps = control_figures.level_steps(clip(audio, (3 * RATE,), 3 * RATE, 6 * RATE))
    assert steps == pytest.approx([6.02], abs=0.05)
    looped = clip(audio, (3 * RATE, 6 * RATE), 3 * RATE, 6 * RATE)
    assert control_figures.level_steps(looped) == pytest.approx([6.02, 6.02], abs=0.05)
    assert control_figures.level_steps(clip(audio, (), 0, 6 * RATE)) == []
