"""Windows over a gap: how they are spread, what they match, and what is drawn where."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segue.server.audio_file import Waveform
from segue.server.clip import Clip, Gap
from segue.server.ditto.canvas import Canvas
from segue.server.ditto.mel import MelConfig, MelScale, log_mel
from segue.server.framing import Frames, canvas_of

MEL = MelConfig()
PLAIN = MelScale(torch.zeros(256), torch.ones(256))


def canvas(left: int, new: int, right: int, *, backwards: bool = False) -> Canvas:
    """Known frames are 1, what is to be made 0."""
    known = torch.ones(left + new + right).bool()
    known[left : left + new] = False
    mel = known.float().expand(1, 3, -1).clone()
    return Canvas(
        mel=mel, head=left, new=new, pinned=known, kept=known.clone(), backwards=backwards
    )


@pytest.mark.parametrize(
    ("frames", "backwards", "starts"),
    [
        (60, False, [0]),
        (100, False, [0]),
        (101, False, [0, 1]),
        (180, False, [0, 80]),
        (181, False, [0, 40, 81]),
        (60, True, [-40]),
        (180, True, [80, 0]),
    ],
)
def test_windows_are_evenly_spread(frames: int, backwards: bool, starts: list[int]) -> None:
    """As few as share 20 frames each; from the known side on."""
    assert canvas(20, frames - 20, 0, backwards=backwards).starts(100, 20) == starts


def test_a_window_is_drawn_into_what_is_known() -> None:
    """Fading in over the known frames on either side, whole in between, the rest untouched."""
    c = canvas(4, 5, 3)
    c.fill(torch.full((1, 3, 12), 5.0), 0)
    weights = torch.tensor([0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25])
    torch.testing.assert_close(c.mel[0, 0], 1 + 4 * weights)
    assert c.pinned.all()


def test_a_second_window_matches_the_first() -> None:
    """What was made is what the next window has to match, and fades into."""
    c = canvas(2, 10, 0)
    c.fill(torch.full((1, 3, 8), 5.0), 0)
    target, pinned = c.cut(4, 8)
    assert pinned.tolist() == [True] * 4 + [False] * 4
    torch.testing.assert_close(target[0, 0, :4], torch.full((4,), 5.0))
    c.fill(torch.full((1, 3, 8), 10.0), 4)
    torch.testing.assert_close(c.mel[0, 0, 4:], torch.tensor([6.0, 7, 8, 9, 10, 10, 10, 10]))
    assert (c.made(0, 8), c.made(4, 8)) == (slice(0, 6), slice(0, 10))


def test_a_window_may_reach_over_the_edge() -> None:
    """Backwards, a short gap: the window begins before the canvas and ends with it."""
    c = canvas(0, 4, 3, backwards=True)
    (start,) = c.starts(10, 2)
    assert start == -3
    target, pinned = c.cut(start, 10)
    assert pinned.tolist() == [False] * 7 + [True] * 3
    assert target[0, 0].tolist() == [0.0] * 7 + [1.0] * 3
    c.fill(torch.arange(10.0).expand(1, 3, 10), start)
    assert c.mel[0, 0, :4].tolist() == [3, 4, 5, 6]
    assert c.made(start, 10) == slice(0, 4)


def test_gradients_reach_what_was_drawn() -> None:
    """With the weight each frame has in the picture."""
    x_0 = torch.zeros(1, 3, 9, requires_grad=True)
    canvas(4, 5, 0).drawn(x_0, 0).sum().backward()
    assert x_0.grad is not None
    torch.testing.assert_close(x_0.grad[0, 0, :5], torch.tensor([0.2, 0.4, 0.6, 0.8, 1.0]))


@pytest.mark.parametrize("rate", [44100, 48000, 96000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_canvas_hears_what_is_beside_the_gap(rate: int, channels: int) -> None:
    """A tone on the left and another on the right, each where it belongs, at any rate."""
    t = np.arange(4 * rate) / rate
    tone = np.sin(2 * np.pi * np.where(t < 2, 300.0, 3000.0) * t) / 4
    tone[int(1.5 * rate) : int(2.5 * rate)] = 0
    samples = np.repeat(tone[:, None], channels, axis=1)
    gap = Gap(start=int(1.5 * rate), stop=int(2.5 * rate), left=rate, right=rate)
    clip = Clip(wave=Waveform(samples, rate, "FLOAT"), gaps=(gap,))
    frames = Frames.of(gap, rate, 0.5, 512, MEL)
    made = canvas_of(clip, gap, frames, MEL, PLAIN, batch=2)
    assert (frames.left, frames.right) == (43, 43)
    assert frames.new == 87
    assert made.mel.shape == (2, 256, 43 + 87 + 43)
    loudest = made.mel[0, :128].argmax(0)
    assert set(loudest[: 43 - 2].tolist()) <= {8, 9}
    assert set(loudest[43 + 87 + 2 :].tolist()) == {67}
    assert not made.pinned[41 : 43 + 87 + 2].any()


def test_a_canvas_is_the_regions_own_mel() -> None:
    """At the model's rate the known frames are those of the whole music, bit for bit."""
    music = np.random.default_rng(0).standard_normal((400 * 512, 2)) / 10
    gap = Gap(start=200 * 512, stop=400 * 512, left=200 * 512)
    clip = Clip(
        wave=Waveform(music * (np.arange(len(music)) < gap.start)[:, None], 44100, "FLOAT"),
        gaps=(gap,),
    )
    frames = Frames.of(gap, 44100, 1.0, 512, MEL)
    made = canvas_of(clip, gap, frames, MEL, PLAIN, batch=1)
    whole = log_mel(torch.from_numpy(music.T).float(), MEL)
    torch.testing.assert_close(made.mel[0, :, :84], whole[:, 200 - 86 : 200 - 2], atol=1e-5, rtol=0)


def test_a_gap_that_just_fits_gets_less_overlap() -> None:
    """Four seconds between two: one window holds it when each side gives a little."""
    gap = Gap(start=88200, stop=88200 + 4 * 44100, left=88200, right=88200)
    frames = Frames.of(gap, 44100, 1.0, 512, MEL)
    assert (frames.left, frames.new, frames.right) == (83, 345, 83)
    longer = Gap(start=88200, stop=88200 + 6 * 44100, left=88200, right=88200)
    assert Frames.of(longer, 44100, 1.0, 512, MEL).left == 86
