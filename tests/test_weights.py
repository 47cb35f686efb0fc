"""Weights on disk: what goes in comes out, and nothing broken is ever used."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.weights import (
    DECODER,
    GENERATOR,
    check_manifest,
    load_decoder,
    load_generator,
    read_notes,
    save_decoder,
    save_generator,
    sha256,
    write_manifest,
)
from tests.tiny import SCALE, random_decoder, random_network

Tensors = dict[str, Tensor]


@pytest.fixture
def generator(tmp_path: Path) -> Path:
    """A tiny generator's file."""
    path = tmp_path / "generator.safetensors"
    save_generator(path, random_network(), SCALE, {"train": "for a test"})
    return path


@pytest.fixture
def decoder(tmp_path: Path) -> Path:
    """A tiny decoder's file."""
    path = tmp_path / "decoder.safetensors"
    save_decoder(path, random_decoder(), {})
    return path


def refused(load: Callable[[Path], object], path: Path) -> str:
    """What `load` says when it refuses `path`."""
    with pytest.raises(SegueError) as caught:
        load(path)
    assert caught.value.code == Code.NO_MODEL
    assert "reinstall Segue, or train your own" in caught.value.text
    assert "\n" not in caught.value.text
    return caught.value.text


def rewrite(path: Path, change: Callable[[Tensors], None], **metadata: str) -> None:
    """The same file with its tensors changed, or with other metadata."""
    tensors = load_file(path)
    change(tensors)
    config = json.dumps({"width": 32, "depth": 1, "heads": 2, "conv_width": 16, "conv_blocks": 1})
    save_file(tensors, path, {"kind": GENERATOR, "config": config} | metadata)


def test_generator_comes_back_bit_for_bit(generator: Path) -> None:
    """Weights, statistics and sizes survive the disk; the network is frozen."""
    network = random_network()
    loaded, scale = load_generator(generator)
    assert loaded.config == network.config
    for name, weight in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight)
    assert torch.equal(scale.mean, SCALE.mean)
    assert torch.equal(scale.std, SCALE.std)
    assert not any(p.requires_grad for p in loaded.parameters())


def test_decoder_comes_back_bit_for_bit(decoder: Path) -> None:
    """The loaded decoder makes the same audio."""
    loaded = load_decoder(decoder)
    mel = torch.randn(1, 256, 8) - 5
    with torch.no_grad():
        assert torch.equal(loaded(mel), random_decoder()(mel))
    assert not any(p.requires_grad for p in loaded.parameters())


def test_half_precision_rounds_the_weights_only(generator: Path) -> None:
    """A float16 file is half as large, loads as float32, and keeps the statistics exact."""
    half = generator.with_name("half.safetensors")
    save_generator(half, random_network(), SCALE, {}, torch.float16)
    stored = load_file(half)
    assert {k for k, v in stored.items() if v.dtype == torch.float32} == {"scale.mean", "scale.std"}
    loaded, scale = load_generator(half)
    for name, weight in random_network().state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight.half().float())
    assert torch.equal(scale.std, SCALE.std)
    assert half.stat().st_size < 0.6 * generator.stat().st_size


def test_notes_travel_with_the_weights(generator: Path) -> None:
    """What the training says about itself can be read back."""
    assert read_notes(generator) == {"train": "for a test"}


def test_missing_file_is_refused(tmp_path: Path) -> None:
    """A path where nothing is."""
    assert "gone.safetensors" in refused(load_generator, tmp_path / "gone.safetensors")
    assert "gone.safetensors" in refused(load_decoder, tmp_path / "gone.safetensors")


@pytest.mark.parametrize("kept", [0, 7, 500, -1])
def test_truncated_file_is_refused(generator: Path, kept: int) -> None:
    """A download that stopped, wherever it stopped."""
    generator.write_bytes(generator.read_bytes()[:kept])
    refused(load_generator, generator)


def test_other_kind_is_refused(generator: Path, decoder: Path) -> None:
    """A decoder is no generator, nor the other way round."""
    assert f"{DECODER!r}, not {GENERATOR!r}" in refused(load_generator, decoder)
    assert f"{GENERATOR!r}, not {DECODER!r}" in refused(load_decoder, generator)


def test_pickle_is_refused(generator: Path) -> None:
    """A pickle under our name is never unpickled."""
    generator.write_bytes(pickle.dumps({"net.head.weight": [0.0]}))
    refused(load_generator, generator)
    torch.save(random_network().state_dict(), generator)
    refused(load_generator, generator)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("net.head.bias", torch.zeros(3), "net.head.bias has the wrong shape, (3,)"),
        ("net.head.bias", torch.full((256,), torch.nan), "net.head.bias holds NaN"),
        ("net.head.bias", torch.full((256,), torch.inf), "net.head.bias holds NaN or inf"),
        ("net.head.bias", None, "net.head.bias is missing"),
        ("scale.std", None, "scale.std is missing"),
        ("scale.mean", torch.zeros(80), "scale.mean has the wrong shape"),
        ("net.extra", torch.zeros(1), "net.extra is foreign"),
    ],
)
def test_wrong_weights_are_named(
    generator: Path, name: str, value: Tensor | None, sentence: str
) -> None:
    """The first tensor that does not fit is in the sentence."""

    def change(tensors: Tensors) -> None:
        tensors.pop(name, None)
        if value is not None:
            tensors[name] = value

    rewrite(generator, change)
    assert sentence in refused(load_generator, generator)


@pytest.mark.parametrize(
    "config", ["", "[1]", "{", '{"colour": 1}', '{"patch": 0}', '{"width": "wide"}', '{"depth": 2}']
)
def test_wrong_sizes_are_refused(generator: Path, config: str) -> None:
    """Sizes that make no network, or one that these weights do not fit."""
    rewrite(generator, lambda tensors: None, config=config)
    refused(load_generator, generator)


def test_decoder_with_nan_is_refused(decoder: Path) -> None:
    """The decoder's weights are checked as the generator's are."""
    model = random_decoder()
    torch.nn.init.constant_(model.leave.bias, torch.nan)
    save_decoder(decoder, model, {})
    assert "net.leave.bias holds NaN" in refused(load_decoder, decoder)


def test_manifest_knows_every_file(generator: Path, decoder: Path) -> None:
    """Hashes of all weights and the facts beside them."""
    write_manifest(generator.parent, hop=512)
    hashes = {path.name: sha256(path) for path in (decoder, generator)}
    assert check_manifest(generator.parent) == {"sha256": hashes, "hop": 512}


@pytest.mark.parametrize("place", [0, 1000, -1])
def test_one_flipped_bit_is_found(generator: Path, place: int) -> None:
    """A file that differs in any bit is named."""
    write_manifest(generator.parent)
    content = bytearray(generator.read_bytes())
    content[place] ^= 1
    generator.write_bytes(content)
    assert "generator.safetensors is not the file" in refused(check_manifest, generator.parent)


def test_a_file_that_went_or_came_is_found(generator: Path, decoder: Path) -> None:
    """A listed file must be there, and a file that is there must be listed."""
    write_manifest(generator.parent)
    content = decoder.read_bytes()
    decoder.unlink()
    assert "decoder.safetensors" in refused(check_manifest, generator.parent)
    decoder.write_bytes(content)
    (generator.parent / "extra.onnx").write_bytes(b"")
    assert "extra.onnx is not the file" in refused(check_manifest, generator.parent)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"sha256": 1}', '{"sha256": ["a"]}'])
def test_broken_manifest_is_refused(generator: Path, text: str) -> None:
    """A manifest that is no manifest, or has lost its hashes."""
    (generator.parent / "manifest.json").write_text(text)
    refused(check_manifest, generator.parent)


def test_missing_manifest_is_refused(generator: Path) -> None:
    """Weights nobody vouches for are not used."""
    assert "manifest.json" in refused(check_manifest, generator.parent)
