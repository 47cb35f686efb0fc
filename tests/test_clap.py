"""A CLAP on disk: the front end against transformers' own, the seam, and what it refuses."""

from __future__ import annotations

import math
import shutil
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from segue.presets.vocabulary import Request, SegueError
from segue.server.ditto.clap import ClapBackend, resample
from segue.server.ditto.controls import text
from segue.server.ditto.mel import MelConfig
from segue.server.ditto.weights import save_decoder, write_manifest
from segue.server.engine import Engine
from tests.tiny import random_decoder

MEL = MelConfig()


def noise(frames: int = 300, batch: int = 2, seed: int = 0) -> Tensor:
    """A mel of about the level of music."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, MEL.channels, frames, generator=generator) - 5


@pytest.mark.parametrize("hz", [220.0, 5000.0, 18000.0])
def test_resampling_keeps_a_sine(hz: float) -> None:
    """44.1 to 48 kHz: the same sine at the new rate, away from the ends."""
    t_in = torch.arange(44100, dtype=torch.float64) / 44100
    t_out = torch.arange(48000, dtype=torch.float64) / 48000
    made = resample(torch.sin(2 * math.pi * hz * t_in).float()[None], 44100, 48000)[0]
    wanted = torch.sin(2 * math.pi * hz * t_out).float()
    assert made.shape == wanted.shape
    assert float((made - wanted)[200:-200].abs().max()) < 2e-3


@pytest.fixture(scope="module")
def clap_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLAP with random weights, as `save_pretrained` writes it."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        ClapConfig,
        ClapFeatureExtractor,
        ClapModel,
        ClapProcessor,
        PreTrainedTokenizerFast,
    )

    names = ("<s>", "<pad>", "</s>", "<unk>", "warm", "slow", "strings", "techno")
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(names)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", unk_token="<unk>", model_max_length=16
    )
    small = {"hidden_size": 16, "projection_dim": 8}
    heard = {"window_size": 4, "num_mel_bins": 16, "spec_size": 64, "depths": [1, 1]}
    heard |= {"patch_embeds_hidden_size": 8, "num_attention_heads": [1, 2]}
    said = {"vocab_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    said |= {"intermediate_size": 16, "max_position_embeddings": 32}
    config = ClapConfig(text_config=said | small, audio_config=heard | small, projection_dim=8)
    extractor = ClapFeatureExtractor(
        feature_size=16, max_length_s=1, truncation="rand_trunc", frequency_min=50
    )
    folder = tmp_path_factory.mktemp("clap")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ClapModel(config).save_pretrained(folder)
    ClapProcessor(extractor, tokenizer).save_pretrained(folder)
    return folder


def test_clap_is_behind_the_same_seam(clap_folder: Path) -> None:
    """Through a decoder its gradient reaches the mel; texts differ and are unit vectors."""

    def decode(mel: Tensor) -> Tensor:
        wave = torch.sin(torch.arange(mel.shape[-1] * MEL.hop) * 0.1)
        return mel.exp().mean(1).repeat_interleave(MEL.hop, dim=-1)[:, None] * wave.repeat(2, 1)

    clap = ClapBackend.load(clap_folder, decode)
    asked = text.target("warm slow strings", clap)
    assert float(asked.norm()) == pytest.approx(1, abs=1e-5)
    assert not torch.allclose(asked, text.target("techno", clap))
    mel = noise(40).requires_grad_()
    made = text.loss(mel, asked, MEL, clap)
    assert made.shape == (2,)
    (gradient,) = torch.autograd.grad(made.sum(), mel)
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("samples", [20000, 48000])
def test_clap_hears_what_transformers_computes(clap_folder: Path, samples: int) -> None:
    """The differentiable front end gives the features of transformers' own, short clips too."""
    clap = ClapBackend.load(clap_folder)
    mono = torch.randn(samples, generator=torch.Generator().manual_seed(0)) * 0.1
    theirs = clap.processor.feature_extractor(
        mono.numpy(), sampling_rate=48000, return_tensors="pt"
    )
    assert torch.allclose(clap.log_mel(mono[None]), theirs["input_features"], atol=1e-4)
    heard = clap.model.get_audio_features(**theirs).pooler_output
    assert torch.allclose(clap.embed_audio(mono[None, :, None], 48000), heard, atol=1e-4)


def test_clap_says_what_it_needs(clap_folder: Path, tmp_path: Path) -> None:
    """A decoder for mels, and a folder that holds a CLAP."""
    with pytest.raises(SegueError, match="give it the decoder"):
        ClapBackend.load(clap_folder).embed_mel(noise(), MEL)
    with pytest.raises(SegueError, match="holds no CLAP"):
        ClapBackend.load(tmp_path)


def test_clap_without_transformers_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the package is missing, the error says what to install."""
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(SegueError, match=r"pip install 'segue\[clap\]'"):
        ClapBackend.load(tmp_path)


def test_a_clap_of_the_users_judges_the_text(
    clap_folder: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """The engine asks it instead of the model that ships: unknown words are no matter to it."""
    model = shutil.copytree(tiny_model, tmp_path / "model")
    with pytest.raises(SegueError, match="export the model with its decoder"):
        Engine.load(str(model), clap_folder)
    save_decoder(model / "decoder.safetensors", random_decoder(), {})
    write_manifest(model)
    engine = Engine.load(str(model), clap_folder)
    control = {"kind": "text", "text": "xyzzy strings"}
    asked = {"id": "a", "new_seconds": 1.0, "seed": 1, "controls": [control]}
    request = Request.model_validate(asked | {"settings": {"iterations": 6, "surrogate": "one"}})
    result = engine.run(request, tmp_path / "out.wav", lambda progress: None)
    assert not any("words" in note for note in result.notes)  # it knows all of them
    assert result.loss_last < result.loss_first
