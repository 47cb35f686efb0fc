"""The simpler means beside which the controls stand: a crossfade, masked re-noising, the track."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from segue.export.evaluation.laid_out import Laid
from segue.export.evaluation.real_audio import Stretch
from segue.presets.vocabulary import Settings
from segue.server import seam
from segue.server.audio_file import Waveform
from segue.server.ditto.repaint import repaint
from segue.server.ditto.schedule import grid
from segue.server.engine import Engine
from segue.server.framing import audio_of

RENOISING_STEPS = 20


def crossfade(laid: Laid, sample: np.ndarray) -> Waveform:
    """`sample` (samples, channels) lies over the canvas from its start on."""
    gap, fade = laid.gap, round(seam.FADE_SECONDS * laid.clip.wave.sample_rate)
    before, behind = fade * bool(gap.left), fade * bool(gap.right)
    first, new = laid.lead - before, gap.stop - gap.start
    patch = sample[first : first + before + new + behind].copy()
    rising = np.sin((np.arange(fade) + 0.5) / fade * np.pi / 2)[:, None]
    if before:
        known = laid.clip.samples(gap.start - fade, gap.start)
        patch[:fade] = rising[::-1] * known + rising * patch[:fade]
    if behind:
        known = laid.clip.samples(gap.stop, gap.stop + fade)
        patch[-fade:] = rising[::-1] * patch[-fade:] + rising * known
    return laid.patched(patch, before)


def renoise(
    laid: Laid, engine: Engine, settings: Settings, generator: torch.Generator
) -> tuple[Waveform, np.ndarray]:
    """Masked re-noising with the product's own seam.

    The clip, and what was made from the canvas's start on: (samples, channels).
    """
    known, pinned = laid.canvas.cut(0, engine.network.config.frames)

    def draw() -> Tensor:
        return torch.randn(known.shape, generator=generator).to(known)

    ts = grid(engine.schedule, RENOISING_STEPS)
    denoiser = engine.denoiser(settings)
    made = repaint(denoiser, engine.schedule, draw(), known, pinned, ts, draw)
    laid.canvas.fill(torch.where(pinned, known, made), 0)
    mel, wave, gap = engine.scale.restore(laid.canvas.mel[0]), laid.clip.wave, laid.gap
    audio = audio_of(mel, engine.decode, engine.mel, wave.sample_rate, wave.channels)
    before = laid.clip.samples(gap.start - round(laid.frames.left * laid.frames.samples), gap.start)
    behind = laid.clip.samples(gap.stop, gap.stop + round(laid.frames.right * laid.frames.samples))
    new = gap.stop - gap.start
    patch, fade = seam.fill(before, audio, behind, laid.lead, new, wave.sample_rate, carry=True)
    return laid.patched(patch, fade), audio


def continued(laid: Laid, engine: Engine, stretch: Stretch) -> Waveform:
    """What the track itself goes on with."""
    audio = stretch.read(engine.mel).T.double().numpy()
    return laid.patched(audio[laid.gap.start : laid.gap.stop], 0)
