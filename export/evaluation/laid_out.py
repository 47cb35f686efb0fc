"""A request laid out on the one window that a clip of the evaluation fills."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from segue.presets.vocabulary import Request
from segue.server.audio_file import Waveform, read_region
from segue.server.clip import Clip, Gap, lay_out
from segue.server.ditto.canvas import Canvas
from segue.server.ditto.mel import log_mel
from segue.server.engine import Engine
from segue.server.framing import Frames, canvas_of


@dataclass(frozen=True, kw_only=True)
class Laid:
    """A request laid out: its only gap, and the canvas that one window fills."""

    clip: Clip
    gap: Gap
    frames: Frames
    canvas: Canvas

    @classmethod
    def of(cls, request: Request, engine: Engine) -> Laid:
        """Raises ValueError when the music does not fit one window."""
        clip = lay_out(request, read_region(request.region) if request.region else None)
        (gap,) = clip.gaps
        overlap = getattr(request.place, "overlap_seconds", 1.0)
        window = engine.network.config.frames
        frames = Frames.of(gap, clip.wave.sample_rate, overlap, window, engine.mel)
        canvas = canvas_of(clip, gap, frames, engine.mel, engine.scale, 1)
        if canvas.frames > window:
            raise ValueError(f"{canvas.frames} frames do not fit a window of {window}")
        return cls(clip=clip, gap=gap, frames=frames, canvas=canvas)

    @property
    def lead(self) -> int:
        """Samples of what is made before the gap."""
        return round(self.frames.head * self.frames.samples)

    @property
    def seams(self) -> tuple[int, ...]:
        """See `Sheet`."""
        both = ((self.gap.left, self.gap.start), (self.gap.right, self.gap.stop))
        return tuple(place for known, place in both if known)

    def error(self, audio: np.ndarray, engine: Engine) -> float | None:
        """How far (samples, 2) of audio from the canvas's start on is from the known frames.

        None when nothing is known; frames that the audio does not reach are not compared.
        """
        target, pinned = self.canvas.cut(0, engine.network.config.frames)
        stereo = torch.from_numpy(np.ascontiguousarray(audio.T, dtype=np.float32))
        heard = engine.scale.normalise(log_mel(stereo, engine.mel).to(target.device))
        pinned = pinned[: heard.shape[-1]]
        if not pinned.any():
            return None
        squares = (heard[:, : len(pinned)] - target[0, :, : len(pinned)])[:, pinned] ** 2
        return float(squares.mean())

    def patched(self, patch: np.ndarray, fade: int) -> Waveform:
        """The clip with `patch` in it from `fade` samples before the gap on, round its end."""
        samples = self.clip.wave.samples.copy()
        start = self.gap.start - fade
        samples[np.arange(start, start + len(patch)) % len(samples)] = patch
        return replace(self.clip.wave, samples=samples)
