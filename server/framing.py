"""From samples to frames and back: a gap of a clip becomes a canvas, a canvas becomes audio."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import soxr
import torch
from torch import Tensor

from segue.server.clip import Clip, Gap
from segue.server.ditto.canvas import CUT_FRAMES, SPARE_FRAMES, Canvas
from segue.server.ditto.mel import MelConfig, MelScale, log_mel
from segue.server.ditto.partials import BLOCK_FRAMES

EDGE_FRAMES = 8  # read beside what is matched, so that its own edges are analysed whole
MIN_OVERLAP_FRAMES = 22  # a quarter of a second
HEARD_FRAMES = 96  # beside what is kept of a piece; the shipped decoder hears no further than 80
PIECE_FRAMES = BLOCK_FRAMES + 2 * HEARD_FRAMES  # decoded at a time; each takes 0.8 MB of memory


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Frames of a gap (`new`) and of the known music on its left and right; a frame's samples."""

    left: int
    new: int
    right: int
    samples: float

    @classmethod
    def of(cls, gap: Gap, rate: int, overlap_seconds: float, window: int, mel: MelConfig) -> Frames:
        """Count them; a gap between two sides that just fits a window gets less overlap."""
        samples = mel.hop * rate / mel.sample_rate
        new = int(np.ceil((gap.stop - gap.start) / samples))
        slack = gap.start + new * samples - gap.stop
        overlap = mel.frames(overlap_seconds)
        if gap.left and gap.right and window - 2 * overlap < new:
            spare = (window - new) // 2
            overlap = spare if spare >= MIN_OVERLAP_FRAMES else overlap
        left = min(overlap, int(gap.left / samples))
        right = min(overlap, max(0, int((gap.right - slack) / samples)))
        return cls(left=left, new=new, right=right, samples=samples)

    @property
    def head(self) -> int:
        """Frames of the canvas before the gap."""
        return self.left or (SPARE_FRAMES if self.right else 0)

    @property
    def tail(self) -> int:
        """Frames of the canvas behind the gap."""
        return self.right or SPARE_FRAMES


def canvas_of(
    clip: Clip, gap: Gap, frames: Frames, mel: MelConfig, scale: MelScale, batch: int
) -> Canvas:
    """The gap's canvas, its known frames analysed and the rest silent until it is made."""
    log = _analysed(clip, gap, frames, mel)
    x_0 = scale.normalise(log.to(scale.mean.device))
    known = torch.zeros(x_0.shape[-1], dtype=torch.bool, device=x_0.device)
    known[: max(0, frames.left - CUT_FRAMES)] = True
    if frames.right:
        known[frames.head + frames.new + CUT_FRAMES :] = True
    if clip.reference:
        known[: frames.new] = True
    return Canvas(
        mel=x_0.repeat(batch, 1, 1),
        head=frames.head,
        new=frames.new,
        pinned=known,
        kept=known.clone() & (not clip.reference),
        backwards=bool(frames.right and not frames.left),
    )


def _analysed(clip: Clip, gap: Gap, frames: Frames, mel: MelConfig) -> Tensor:
    """Log-mel (channels, frames) of the canvas, from the clip's samples."""
    rate, unit = clip.wave.sample_rate, frames.samples
    total = frames.head + frames.new + frames.tail
    start = round((EDGE_FRAMES + frames.head) * unit)  # of the gap, in the stretch to analyse
    stretch = np.zeros((round((total + 2 * EDGE_FRAMES) * unit), clip.wave.channels))
    before = min(gap.left, round((frames.left + EDGE_FRAMES) * unit)) if frames.left else 0
    stop = start + gap.stop - gap.start
    behind = min(gap.right, len(stretch) - stop) if frames.right else 0
    stretch[start - before : start] = clip.samples(gap.start - before, gap.start)
    stretch[stop : stop + behind] = clip.samples(gap.stop, gap.stop + behind)
    if clip.reference:
        stretch[start:stop] = clip.samples(gap.start, gap.stop)
    wanted = (total + 2 * EDGE_FRAMES) * mel.hop
    audio = soxr.resample(stretch, rate, mel.sample_rate)
    audio = np.pad(audio, ((0, max(0, wanted - len(audio))), (0, 0)))[:wanted]
    stereo = np.broadcast_to(audio, (wanted, 2)) if audio.shape[1] == 1 else audio
    tensor = torch.from_numpy(np.ascontiguousarray(stereo.T, dtype=np.float32))
    return log_mel(tensor, mel)[:, EDGE_FRAMES:-EDGE_FRAMES]


def audio_of(
    mel: Tensor, decode: Callable[[Tensor], np.ndarray], config: MelConfig, rate: int, channels: int
) -> np.ndarray:
    """Decode a natural-log mel (channels, frames) to (samples, channels) float64 at `rate`."""
    stereo = _decoded(mel, decode, config.hop).astype(np.float64)
    if channels == 1:
        stereo = stereo.mean(axis=1, keepdims=True)
    audio: np.ndarray = soxr.resample(stereo, config.sample_rate, rate)
    return audio


def _decoded(mel: Tensor, decode: Callable[[Tensor], np.ndarray], hop: int) -> np.ndarray:
    """As in one go, (frames * hop, 2), but in pieces, each from a block's beginning: minutes would
    take gigabytes.
    """
    frames, pieces = mel.shape[-1], []
    for begun in range(0, max(1, frames - 2 * HEARD_FRAMES), BLOCK_FRAMES):
        end = begun + PIECE_FRAMES
        first = begun + HEARD_FRAMES if begun else 0
        last = frames if end >= frames else end - HEARD_FRAMES
        heard = decode(mel[:, begun:end])
        pieces.append(heard[(first - begun) * hop : (last - begun) * hop])
    return np.concatenate(pieces)
