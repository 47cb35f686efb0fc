"""From filled canvases to the samples of a clip."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from segue.server import seam
from segue.server.audio_file import Waveform
from segue.server.clip import Clip, Gap
from segue.server.ditto.canvas import Canvas
from segue.server.ditto.mel import MelConfig, MelScale
from segue.server.framing import Frames, audio_of

EDGE_FRAMES = 16  # decoded and thrown away: at its ends a decoder knows only one side


@dataclass(frozen=True)
class Painted:
    """A gap made, or as far as it is: its canvas and the frames it was counted in."""

    gap: Gap
    frames: Frames
    canvas: Canvas


@dataclass(frozen=True, kw_only=True)
class Renderer:
    """Turns gaps into samples; `carry` as in `seam.fill`."""

    clip: Clip
    decode: Callable[[Tensor], np.ndarray]
    scale: MelScale
    mel: MelConfig
    carry: bool

    def wave(self, painted: Sequence[Painted], row: int) -> Waveform:
        """The clip with each gap patched by a row of its canvas."""
        clip, rate = self.clip, self.clip.wave.sample_rate
        samples = clip.wave.samples.copy()
        for each in painted:
            start, stop, unit = each.gap.start, each.gap.stop, each.frames.samples
            head, tail = self._needed(each)
            mel = self.scale.restore(each.canvas.mel[row])
            mel = mel[:, each.frames.head - head : each.frames.head + each.frames.new + tail]
            made = audio_of(mel, self.decode, self.mel, rate, clip.wave.channels)
            before = clip.samples(start - round(each.frames.left * unit), start)
            behind = clip.samples(stop, stop + round(each.frames.right * unit))
            lead, new = round(head * unit), stop - start
            patch, fade = seam.fill(before, made, behind, lead, new, rate, carry=self.carry)
            samples[np.arange(start - fade, start - fade + len(patch)) % len(samples)] = patch
        return replace(clip.wave, samples=samples)

    def _needed(self, painted: Painted) -> tuple[int, int]:
        """Frames beside a gap to decode: what is faded, or all, where loudness is compared."""
        frames, gap, rate = painted.frames, painted.gap, self.clip.wave.sample_rate
        if not seam.carries(self.carry, gap.stop - gap.start, rate):
            return frames.head, frames.tail
        faded = (seam.FADE_SECONDS + seam.MAX_SHIFT_SECONDS) * rate / frames.samples
        most = math.ceil(faded) + EDGE_FRAMES
        return min(frames.head, most), min(frames.tail, most)
