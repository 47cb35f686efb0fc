"""A real CLAP (arXiv 2211.06687) that the user has on disk, differentiable down to the audio.

CLAP hears audio, not our mel, so its gradient goes through the decoder, which takes longer than
the text score that ships. transformers' own feature extractor is NumPy; here is the same in torch
(resampling, log-mel in dB with Slaney's filters, short clips repeated), for models without feature
fusion such as laion/larger_clap_music.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.mel import MelConfig

INSTALL = "pip install 'segue[clap]'"
ZEROS_A_SIDE = 32  # of the sinc that resamples
ROLLOFF = 0.95
FLOOR = 1e-10  # of a power before it becomes dB, as in transformers


@lru_cache(maxsize=8)
def _sinc(source: int, wanted: int, device: torch.device) -> tuple[Tensor, int]:
    """(wanted, 1, taps) filters, one an output phase, and how far they reach to the left."""
    cutoff = min(source, wanted) * ROLLOFF
    reach = math.ceil(ZEROS_A_SIDE * source / cutoff)
    taps = torch.arange(-reach, reach + source, dtype=torch.float64) / source
    t = (taps[None] - torch.arange(wanted, dtype=torch.float64)[:, None] / wanted) * cutoff
    window = torch.cos(t.clamp(-ZEROS_A_SIDE, ZEROS_A_SIDE) * math.pi / ZEROS_A_SIDE / 2).square()
    return (torch.sinc(t) * window * (cutoff / source))[:, None].float().to(device), reach


def resample(signal: Tensor, rate: int, wanted: int) -> Tensor:
    """(batch, samples) from `rate` to `wanted` Hz by a windowed sinc, differentiable."""
    if rate == wanted:
        return signal
    common = math.gcd(rate, wanted)
    source, new = rate // common, wanted // common
    kernel, reach = _sinc(source, new, signal.device)
    padded = F.pad(signal, (reach, reach + source))
    phases = F.conv1d(padded[:, None], kernel, stride=source)  # (B, new, steps)
    length = math.ceil(signal.shape[-1] * new / source)
    return phases.transpose(1, 2).flatten(1)[:, :length]


@dataclass(frozen=True, kw_only=True)
class ClapBackend:
    """Text and audio to unit vectors of one space.

    decode: (batch, channels, frames) natural-log mel to (batch, 2, samples) at the mel's rate,
    such as `Decoder`; without it only audio can be embedded.
    """

    model: Any  # transformers.ClapModel
    processor: Any  # transformers.ClapProcessor
    decode: Callable[[Tensor], Tensor] | None = None

    @classmethod
    def load(cls, folder: Path, decode: Callable[[Tensor], Tensor] | None = None) -> ClapBackend:
        """The model in a folder as `save_pretrained` writes it; nothing is downloaded.

        Raises SegueError naming the extra when transformers is missing, and NO_MODEL when the
        folder holds no CLAP in safetensors that this can run.
        """
        try:
            from transformers import ClapModel, ClapProcessor
        except ImportError as error:
            text = f"a CLAP needs transformers: {INSTALL}"
            raise SegueError(Code.UNSUPPORTED, text) from error
        try:
            model: Any = ClapModel.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
            )
            processor = ClapProcessor.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
            text = (
                f"{folder} holds no CLAP that can be loaded: {error}; give the folder of a "
                "Hugging Face CLAP with its safetensors, feature extractor and tokenizer"
            )
            raise SegueError(Code.NO_MODEL, text) from error
        if model.config.audio_config.enable_fusion:
            text = (
                f"the CLAP in {folder} fuses features; use one without fusion (larger_clap_music)"
            )
            raise SegueError(Code.UNSUPPORTED, text)
        return cls(model=model.requires_grad_(False).eval(), processor=processor, decode=decode)

    def to(self, device: torch.device) -> ClapBackend:
        """The same on another device."""
        return ClapBackend(
            model=self.model.to(device), processor=self.processor, decode=self.decode
        )

    @torch.no_grad()
    def embed_text(self, text: str) -> Tensor:
        """Natural language to (d,). Raises SegueError for a text that is empty."""
        if not text.strip():
            raise SegueError(Code.BAD_REQUEST, "the text is empty; say what the music should be")
        tokenizer = self.processor.tokenizer
        tokens = tokenizer([text], truncation=True, return_tensors="pt").to(self.model.device)
        return _pooled(self.model.get_text_features(**tokens))[0]

    def embed_mel(self, mel: Tensor, config: MelConfig) -> Tensor:
        """(batch, channels, frames) natural-log mel to (batch, d), through the decoder."""
        if self.decode is None:
            text = "a CLAP hears audio: give it the decoder, or use the text score that ships"
            raise SegueError(Code.UNSUPPORTED, text)
        return self.embed_audio(self.decode(mel).transpose(1, 2), config.sample_rate)

    def embed_audio(self, audio: Tensor, rate: int) -> Tensor:
        """(batch, samples, channels) at `rate` Hz to (batch, d).

        Audio longer than CLAP's ten seconds is heard in pieces of that length, evenly spread.
        """
        mono = resample(audio.mean(-1), rate, self.processor.feature_extractor.sampling_rate)
        most = self.processor.feature_extractor.nb_max_samples
        n = -(-mono.shape[1] // most)
        starts = [round(i * (mono.shape[1] - most) / (n - 1)) for i in range(n)] if n > 1 else [0]
        pieces = torch.cat([mono[:, i : i + most] for i in starts])
        heard = _pooled(self.model.get_audio_features(input_features=self.log_mel(pieces)))
        return F.normalize(heard.unflatten(0, (n, -1)).mean(0), dim=-1)

    def log_mel(self, mono: Tensor) -> Tensor:
        """(batch, samples) of ten seconds at most to the model's (batch, 1, frames, bands) dB."""
        extractor = self.processor.feature_extractor
        most, size = extractor.nb_max_samples, extractor.fft_window_size
        mono = mono.repeat(1, max(1, most // mono.shape[1]))
        mono = F.pad(mono, (0, most - mono.shape[1]))
        window = torch.hann_window(size, device=mono.device)
        spectrum = torch.stft(mono, size, extractor.hop_length, window=window, return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        filters = torch.as_tensor(extractor.mel_filters_slaney, dtype=power.dtype).to(mono.device)
        db = 10 * (filters.T @ power).clamp(min=FLOOR).log10()
        return db.transpose(1, 2)[:, None]


def _pooled(output: Any) -> Tensor:
    """The unit vectors; transformers before 5 gave them bare."""
    return F.normalize(getattr(output, "pooler_output", output), dim=-1)
