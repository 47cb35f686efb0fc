"""Whether music sounds like a text, by a network that nothing was optimized against.

The judge is the VGG-like network of the PyPI package `musicnn` (Pons & Serra 2019, ISC licence),
trained on MagnaTagATune, whose tags people gave. Our own labels are partly automatic: musicnn's two
other networks (MTT_musicnn and MSD_musicnn, the latter also behind our FAD) and YAMNet gave them.
So the judge shares with our labels the tagged recordings of MTT_musicnn, but neither its weights
nor its shape. It hears final audio, and knows only the 50 tags below.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import soxr
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segue.export.evaluation.musicnn import (
    HOP,
    INSTALL,
    N_FFT,
    PATCH_FRAMES,
    PATCH_HOP,
    SAMPLE_RATE,
    Dense,
    Norm,
    find_weights,
    slaney_filters,
)
from segue.export.evaluation.tf_checkpoint import read_checkpoint
from segue.presets.vocabulary import Code, SegueError

JUDGE = "musicnn's MTT_vgg"
# configuration.MTT_LABELS of the package
TAGS = (
    *("guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast"),
    *("piano", "ambient", "beat", "violin", "vocal", "synth", "female", "indian", "opera", "male"),
    *("singing", "vocals", "no vocals", "harpsichord", "loud", "quiet", "flute", "woman"),
    *("male vocal", "no vocal", "pop", "soft", "sitar", "solo", "man", "classic", "choir", "voice"),
    *("new age", "dance", "male voice", "female vocal", "beats", "harp", "cello", "no voice"),
    *("weird", "country", "metal", "female voice", "choral"),
)
# What of a text is a tag by another name. A word that is a tag stands for itself.
MEANS = {
    "strings": ("strings", "violin", "cello"),
    "orchestra": ("classical", "strings"),
    "orchestral": ("classical", "strings"),
    "drums": ("drums", "beat", "beats"),
    "percussion": ("drums", "beat", "beats"),
    "electronica": ("electronic",),
    "edm": ("electronic", "dance"),
    "trance": ("techno",),
    "house": ("techno", "dance"),
    "rave": ("techno", "dance"),
    "violins": ("violin",),
    "calm": ("soft", "quiet", "slow"),
    "peaceful": ("soft", "quiet", "slow"),
    "gentle": ("soft", "quiet"),
    "mellow": ("soft",),
    "atmospheric": ("ambient",),
    "dreamy": ("ambient", "new age"),
    "meditative": ("ambient", "new age"),
    "woodwind": ("flute",),
    "celtic": ("flute", "harp"),
    "baroque": ("classical", "harpsichord"),
    "guitars": ("guitar",),
    "distorted": ("rock", "metal"),
    "aggressive": ("metal", "loud"),
    "heavy": ("metal", "loud"),
    "energetic": ("fast", "loud"),
    "experimental": ("weird",),
}
NEGATIONS = {"no", "not", "without"}
POOLS = (((4, 1), (2, 2)), *[((2, 2), (2, 2))] * 3, ((4, 4), (4, 4)))  # size and stride a layer


class Judge(nn.Module):
    """The network from 16 kHz audio on, frozen. Raises SegueError when it can't be read."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.filters: Tensor
        self.window: Tensor
        self.register_buffer("filters", torch.from_numpy(slaney_filters()).float())
        self.register_buffer("window", torch.hann_window(N_FFT))
        try:
            weights = read_checkpoint(folder / "MTT_vgg")
            self.enter = Norm(weights, "batch_normalization")
            names = [f"batch_normalization_{i + 1}" for i in range(len(POOLS))]
            self.norms = nn.ModuleList(Norm(weights, name) for name in names)
            self.layers = nn.ModuleList(_layer(weights, f"{i + 1}CNN") for i in range(len(POOLS)))
            self.tagger = Dense(weights, 0)
        except (OSError, ValueError, KeyError) as error:
            text = f"can't read {JUDGE} in {folder}: {error}; {INSTALL}"
            raise SegueError(Code.UNSUPPORTED, text) from error
        self.requires_grad_(False).eval()

    def forward(self, log_mel: Tensor) -> Tensor:
        """(batch, PATCH_FRAMES, bands) to the logits of `TAGS`."""
        x = self.enter(log_mel[:, None])
        for layer, norm, (size, stride) in zip(self.layers, self.norms, POOLS, strict=True):
            x = F.max_pool2d(norm(F.relu(layer(x))), size, stride)
        logits: Tensor = self.tagger(x.permute(0, 2, 3, 1).flatten(1))
        return logits

    def patches(self, audio: np.ndarray, rate: int) -> Tensor:
        """(samples, channels) to (patches, PATCH_FRAMES, bands) of what musicnn hears.

        Raises ValueError for audio shorter than one patch of 3 s.
        """
        mono = soxr.resample(audio.mean(axis=1, dtype=np.float64), rate, SAMPLE_RATE)
        spectrum = torch.stft(
            torch.from_numpy(mono.astype(np.float32)),
            N_FFT,
            HOP,
            window=self.window,
            pad_mode="constant",
            return_complex=True,
        )
        log_mel = torch.log10(1e4 * (self.filters @ spectrum.abs().square()) + 1).T
        if len(log_mel) < PATCH_FRAMES:
            raise ValueError(f"{len(mono) / SAMPLE_RATE:.2f} s of audio are too short to judge")
        return log_mel.unfold(0, PATCH_FRAMES, PATCH_HOP).transpose(1, 2)


def _layer(weights: dict[str, np.ndarray], name: str) -> nn.Conv2d:
    kernel = weights[f"{name}/kernel"].transpose(3, 2, 0, 1)
    layer = nn.Conv2d(kernel.shape[1], kernel.shape[0], kernel.shape[2:], padding="same")
    state = {"weight": kernel.copy(), "bias": weights[f"{name}/bias"].copy()}
    layer.load_state_dict({key: torch.from_numpy(each) for key, each in state.items()})
    return layer


def load_judge(folder: Path | None = None) -> Judge:
    """The judge, from the installed package or from its `folder`.

    Raises SegueError with the command that installs it.
    """
    return Judge(find_weights(folder))


@torch.no_grad()
def tag_scores(audio: np.ndarray, rate: int, judge: Judge) -> dict[str, float]:
    """Log-odds of each of `TAGS`, the mean over patches of 3 s.

    audio: (samples, channels) float. Raises ValueError for less than one patch.
    """
    logits = judge(judge.patches(audio, rate)).mean(0)
    return dict(zip(TAGS, logits.tolist(), strict=True))


def asked_tags(text: str) -> dict[str, float]:
    """The tags that a text names, each with a weight; the weights of a word's tags sum to 1.

    "no", "not" and "without" make those of the next word negative. Empty for a text without one.
    """
    asked: dict[str, float] = {}
    words, sign, at = re.findall(r"[a-z]+", text.lower()), 1.0, 0
    while at < len(words):
        pair = " ".join(words[at : at + 2])
        name = pair if pair in TAGS else words[at]
        meant = MEANS.get(name, (name,) if name in TAGS else ())
        for tag in meant:
            asked[tag] = asked.get(tag, 0.0) + sign / len(meant)
        sign = -1.0 if words[at] in NEGATIONS and not meant else 1.0
        at += 2 if name == pair and len(words) > at + 1 else 1
    return asked


def adherence(text: str, audio: np.ndarray, rate: int, judge: Judge) -> float | None:
    """How much more the judge hears what a text names than not, as mean log-odds.

    A single figure means little, as some tags are rare: compare clips under one text. None when
    the text names no tag of the judge.
    """
    asked = asked_tags(text)
    if not asked:
        return None
    heard = tag_scores(audio, rate, judge)
    total = sum(abs(weight) for weight in asked.values())
    return sum(weight * heard[tag] for tag, weight in asked.items()) / max(total, 1e-9)
