"""`segue train-decoder`: the decoder learns magnitudes and phases from real audio and its mel."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from segue.export.dataset import Packed, read_index, read_scale, summary
from segue.export.discriminator import Discriminators, Jury
from segue.export.loop import Learner, Pace, autocast, device_of, learn, warmup_cosine
from segue.export.packed import check_mel
from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.decoder import Decoder, DecoderConfig
from segue.server.ditto.mel import MelConfig, filterbank, log_mel, magnitudes, mid_side
from segue.server.ditto.stft import lengths
from segue.server.ditto.weights import load_decoder, save_decoder

RESOLUTIONS = (512, 1024, 4096)
FLOOR = 1e-5
MEL_WEIGHT = 2.0
MAGNITUDE_WEIGHT = 0.5
JURY_PACE = 4.0  # the jury's rate over the decoder's: it starts from nothing


@dataclass(frozen=True, kw_only=True)
class DecoderTraining(Pace):
    """Length and pace of the decoder's training, on windows of `frames`; the network's sizes."""

    steps: int = 5000
    batch: int = 8
    frames: int = 64
    rate: float = 1e-3
    ema_rate: float = 0.998
    network: DecoderConfig = field(default_factory=DecoderConfig)
    adversarial_from: int | None = None
    limit: float = 0.7
    jury_width: int = 32


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
        """(n, 2, frames * hop) stereo at the mel's sample rate.

        Raises SegueError when a file can't be read any more.
        """
        tracks = torch.multinomial(self.chances, n, replacement=True, generator=generator)
        starts = torch.rand(n, generator=generator).tolist()
        samples = frames * self.mel.hop
        return torch.stack(
            [self._read(self.rows[i], s, samples) for i, s in zip(tracks, starts, strict=True)]
        )

    def _read(self, row: Packed, position: float, samples: int) -> Tensor:
        try:
            with soundfile.SoundFile(row.source) as file:
                ratio = file.samplerate / self.mel.sample_rate
                need = int(np.ceil(samples * ratio)) + 64
                file.seek(int(position * max(0, file.frames - need)))
                audio = file.read(need, dtype="float32", always_2d=True)
        except (OSError, RuntimeError) as error:  # LibsndfileError is a RuntimeError
            text = f"can't read {row.source}: {error}; run `segue data` again"
            raise SegueError(Code.NOT_AUDIO, text) from error
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


def spectral_loss(made: Tensor, real: Tensor) -> Tensor:
    """Distance of magnitudes at several resolutions. made, real: (rows, samples)."""
    losses = [_resolution_loss(made, real, n_fft) for n_fft in RESOLUTIONS]
    return torch.stack(losses).mean()


def mel_loss(made: Tensor, real: Tensor, config: MelConfig) -> Tensor:
    """Distance of natural-log mels. made, real: (rows, samples)."""
    bank = filterbank(config, made.device)
    return _mel_error(bank @ magnitudes(made, config), bank @ magnitudes(real, config), config)


def _mel_error(a: Tensor, b: Tensor, config: MelConfig) -> Tensor:
    return (a.clamp(min=config.floor).log() - b.clamp(min=config.floor).log()).abs().mean()


def magnitude_loss(model: Decoder, magnitude: Tensor, real: Tensor) -> Tensor:
    """Distance of the network's magnitudes (rows, frames, places) to those of (rows, samples)."""
    truth = model.stft.in_a_row(lengths(model.stft(real)))
    return _log_error(magnitude, truth) + (magnitude - truth).abs().sum() / truth.sum()


def decoder_loss(model: Decoder, stereo: Tensor) -> Tensor:
    """Log magnitudes against the real ones, and the audio of the network's own phases.

    stereo: (batch, 2, samples).
    """
    magnitude, spectrum = model.spectra(log_mel(stereo, model.mel))
    real = (mid_side(stereo) / 2).flatten(0, 1)
    made = model.stft.inverse(spectrum)
    return magnitude_loss(model, magnitude, real) + spectral_loss(made, real)


def adversarial_loss(
    model: Decoder, jury: Jury, stereo: Tensor, limit: float, factor: float
) -> Tensor:
    """The decoder's loss with the jury's pull in it; the jury learns from the same audio.

    The pull counts as it is, up to `limit` times that of the spectral losses: a jury that knows
    nothing yet hardly pulls, and one that knows all must not have it all its way. It changes the
    gradient alone; the value is that of the spectral losses and the jury's own.
    """
    mel = log_mel(stereo, model.mel)
    with autocast(stereo.device):
        estimate = model.estimate(mel)
    magnitude, spectrum = model.assemble(estimate.float(), mel)
    real = (mid_side(stereo) / 2).flatten(0, 1)
    made = model.stft.inverse(spectrum)
    heard = made.detach().requires_grad_()
    audio = spectral_loss(heard, real) + MEL_WEIGHT * mel_loss(heard, real, model.mel)
    (push,) = torch.autograd.grad(audio, heard)
    pull, own = jury.judge(made, real, factor)
    pull = pull * (limit * push.norm() / pull.norm().clamp(min=FLOOR)).clamp(max=1)
    slope = (made * (push + pull)).sum()
    magnitudes = MAGNITUDE_WEIGHT * magnitude_loss(model, magnitude, real)
    return magnitudes + audio.detach() + own + slope - slope.detach()


def train_decoder(
    data: Path,
    folder: Path,
    config: DecoderTraining,
    device_name: str | None = None,
    *,
    start: Path | None = None,
) -> Path:
    """Train (or go on training) the decoder in `folder`; returns its weights file.

    `start` holds the weights to begin with, sizes included; without it they are drawn.
    """
    device = device_of(device_name)
    mel = MelConfig()
    check_mel(data, mel.channels)
    audio = AudioWindows(data, "train", mel)
    torch.manual_seed(config.seed)  # the initial weights; everything after has its generator
    if start is None:
        model = Decoder(config.network, mel, read_scale(data))
    else:
        model = load_decoder(start).requires_grad_(True).train()
    jury = Jury(Discriminators(config.jury_width), JURY_PACE * config.rate, device)
    model = model.to(device)
    companions = {} if config.adversarial_from is None else jury.companions
    learner = Learner(folder, model, model.blocks, config, companions)

    def loss() -> Tensor:
        stereo = audio.draw(config.batch, config.frames, learner.generator).to(device)
        if config.adversarial_from is None or learner.step < config.adversarial_from:
            return decoder_loss(model, stereo)
        factor = warmup_cosine(learner.step, config.steps, config.warmup)
        return adversarial_loss(model, jury, stereo, config.limit, factor)

    path = folder / "decoder.safetensors"
    if learn(learner, loss):
        notes = {"train": str(config), "data": summary(data)}
        save_decoder(path, learner.ema, notes)
    return path
