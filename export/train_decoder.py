"""`segue train-decoder`: the decoder learns magnitudes and phases from real audio and its mel."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from segue.export.dataset import Packed, read_index, read_scale
from segue.export.loop import Learner, Pace, device_of, learn
from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.decoder import Decoder, DecoderConfig
from segue.server.ditto.mel import MelConfig, log_mel, mid_side
from segue.server.ditto.weights import save_decoder

RESOLUTIONS = (512, 1024, 4096)
FLOOR = 1e-5


@dataclass(frozen=True, kw_only=True)
class DecoderTraining(Pace):
    """Length and pace of the decoder's training, on windows of `frames`; the network's sizes."""

    steps: int = 5000
    batch: int = 8
    frames: int = 64
    rate: float = 1e-3
    ema_rate: float = 0.998
    network: DecoderConfig = field(default_factory=DecoderConfig)


class AudioWindows:
    """Random stretches of one split's source files, read as they are drawn.

    Raises SegueError when the data was never packed or a source file is gone.
    """

    def __init__(self, data: Path, split: str, mel: MelConfig) -> None:
        self.rows = [r for r in read_index(data) if r.split == split]
        for row in self.rows:
            if not Path(row.source).is_file():
                text = f"{row.source} is gone; run `segue data` again"
                raise SegueError(Code.MISSING_FILE, text)
        self.chances = torch.tensor([float(r.frames) for r in self.rows])
        self.mel = mel

    def draw(self, n: int, frames: int, generator: torch.Generator) -> Tensor:
        """(n, 2, frames * hop) stereo at the mel's sample rate."""
        tracks = torch.multinomial(self.chances, n, replacement=True, generator=generator)
        starts = torch.rand(n, generator=generator).tolist()
        samples = frames * self.mel.hop
        return torch.stack(
            [self._read(self.rows[i], s, samples) for i, s in zip(tracks, starts, strict=True)]
        )

    def _read(self, row: Packed, position: float, samples: int) -> Tensor:
        with soundfile.SoundFile(row.source) as file:
            ratio = file.samplerate / self.mel.sample_rate
            need = int(np.ceil(samples * ratio)) + 64
            file.seek(int(position * max(0, file.frames - need)))
            audio = file.read(need, dtype="float32", always_2d=True)
        if ratio != 1:
            audio = soxr.resample(audio, ratio, 1)
        stereo = np.zeros((2, samples), np.float32)
        stereo[:, : len(audio)] = audio[:samples, :2].T  # a mono file fills both rows
        return torch.from_numpy(stereo)


def _log_error(a: Tensor, b: Tensor) -> Tensor:
    return (a.clamp(min=FLOOR).log() - b.clamp(min=FLOOR).log()).abs().mean()


def _resolution_loss(made: Tensor, real: Tensor, n_fft: int) -> Tensor:
    window = torch.hann_window(n_fft, device=made.device)
    window = window * 2 / window.sum()
    a, b = (
        torch.stft(x, n_fft, n_fft // 4, window=window, return_complex=True).abs()
        for x in (made, real)
    )
    return (a - b).abs().sum() / b.abs().sum().clamp(min=FLOOR) + 0.5 * _log_error(a, b)


def decoder_loss(model: Decoder, stereo: Tensor) -> Tensor:
    """Log magnitudes against the real ones, and the audio of the network's own phases.

    stereo: (batch, 2, samples).
    """
    magnitude, spectrum = model.spectra(log_mel(stereo, model.mel))
    real = (mid_side(stereo) / 2).flatten(0, 1)
    truth = model.stft(real).square().sum(-1).add(1e-12).sqrt()
    loss = _log_error(magnitude, truth) + (magnitude - truth).abs().sum() / truth.sum()
    made = model.stft.inverse(spectrum)
    for n_fft in RESOLUTIONS:
        loss = loss + _resolution_loss(made, real, n_fft) / len(RESOLUTIONS)
    return loss


def train_decoder(
    data: Path, folder: Path, config: DecoderTraining, device_name: str | None = None
) -> Path:
    """Train (or go on training) the decoder in `folder`; returns its weights file."""
    device = device_of(device_name)
    mel = MelConfig()
    audio = AudioWindows(data, "train", mel)
    torch.manual_seed(config.seed)  # the initial weights; everything after has its generator
    model = Decoder(config.network, mel, read_scale(data)).to(device)
    learner = Learner(folder, model, model.blocks, config)

    def loss() -> Tensor:
        stereo = audio.draw(config.batch, config.frames, learner.generator)
        return decoder_loss(model, stereo.to(device))

    learn(learner, loss)
    path = folder / "decoder.safetensors"
    save_decoder(path, learner.ema, {"train": str(config)})
    return path
