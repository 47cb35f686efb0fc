"""Weights on disk: what goes in comes out, and nothing broken is ever used."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.mel import MelScale
from segue.server.ditto.network import NetworkConfig, SegueSmall
from segue.server.ditto.paper_unet import PaperUnet, PaperUnetConfig
from segue.server.ditto.weights import (
    check_manifest,
    load_decoder,
    load_generator,
    read_notes,
    save_decoder,
    save_generator,
    sha256,
    start_from,
    write_manifest,
)
from tests.tiny import NETWORK, SCALE, random_decoder, random_network

Tensors = dict[str, Tensor]
TAGGED = replace(NETWORK, tags=("ambient", "techno"), guided=True)


@pytest.fixture
def generator(tmp_path: Path) -> Path:
    """A tiny generator's file."""
    path = tmp_path / "generator.safetensors"
    save_generator(path, random_network(config=NETWORK), SCALE, {"train": "for a test"})
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
    """The file as Segue first wrote it, several entries of metadata and no tags, but changed."""
    tensors = load_file(path)
    change(tensors)
    config = json.dumps({"width": 32, "depth": 1, "heads": 2, "conv_width": 16, "conv_blocks": 1})
    save_file(tensors, path, {"kind": "segue-small", "config": config} | metadata)


def test_generator_comes_back_bit_for_bit(generator: Path) -> None:
    """Weights, statistics and sizes survive the disk; the network is frozen."""
    network = random_network(config=NETWORK)
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
    save_generator(half, random_network(config=NETWORK), SCALE, {}, torch.float16)
    stored = load_file(half)
    assert {k for k, v in stored.items() if v.dtype == torch.float32} == {"scale.mean", "scale.std"}
    loaded, scale = load_generator(half)
    for name, weight in random_network(config=NETWORK).state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight.half().float())
    assert torch.equal(scale.std, SCALE.std)
    assert half.stat().st_size < 0.6 * generator.stat().st_size


def test_notes_travel_with_the_weights(generator: Path) -> None:
    """What the training says about itself can be read back."""
    assert read_notes(generator) == {"train": "for a test"}


def test_same_weights_make_the_same_file(generator: Path) -> None:
    """Not a byte depends on when or where it was written."""
    again = generator.with_name("again.safetensors")
    notes = dict.fromkeys("abcdefgh", "a note")
    for _ in range(8):
        for path in (generator, again):
            save_generator(path, random_network(config=NETWORK), SCALE, notes)
        assert generator.read_bytes() == again.read_bytes()


def test_first_files_still_load(generator: Path) -> None:
    """Several entries of metadata, and sizes that know nothing of tags and guidance."""
    rewrite(generator, lambda tensors: None, train="long ago")
    loaded, _ = load_generator(generator)
    assert loaded.config == NETWORK
    assert read_notes(generator) == {"train": "long ago"}


def test_paper_unet_comes_back_bit_for_bit(tmp_path: Path) -> None:
    """The file says which network it holds; lists in its sizes come back as tuples."""
    path = tmp_path / "paper.safetensors"
    sizes = PaperUnetConfig(
        channels=16, widths=(8, 8), layers=(1, 1), inner=8, groups=4, tags=("a", "b"), guided=True
    )
    network = PaperUnet(sizes)
    band = torch.arange(16.0)
    save_generator(path, network, MelScale(band, band + 1), {})
    loaded, scale = load_generator(path)
    assert isinstance(loaded, PaperUnet)
    assert loaded.config == sizes
    for name, weight in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight)
    assert torch.equal(scale.std, band + 1)


def drawn(config: NetworkConfig) -> SegueSmall:
    """A network whose weights are all drawn."""
    network = SegueSmall(config)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.1)
    return network


def test_training_starts_from_weights_without_tags(generator: Path) -> None:
    """New tags and a new guidance scale change nothing at first, and all of it can learn."""
    network = start_from(generator, TAGGED)
    x_t = torch.randn(1, 256, 512, generator=torch.Generator().manual_seed(0))
    t, w = torch.full((1,), 0.5), torch.full((1,), 3.0)
    made = network(x_t, t, torch.ones(1, 2), w)
    assert torch.allclose(made, random_network(config=NETWORK)(x_t, t), atol=1e-6)
    assert all(p.requires_grad for p in network.parameters())


def test_training_keeps_the_tags_it_knows(tmp_path: Path) -> None:
    """Tags may come, go and change places; what was learned of one stays with its name."""
    path = tmp_path / "tagged.safetensors"
    old = drawn(TAGGED)
    save_generator(path, old, SCALE, {})
    new = start_from(path, replace(TAGGED, tags=("jazz", "techno")))
    (name,) = (each for each in old.state_dict() if each.endswith("tags.weight"))
    columns = new.state_dict()[name]
    assert torch.equal(columns[:, 0], torch.zeros(32))
    assert torch.equal(columns[:, 1], old.state_dict()[name][:, 1])
    for other, weight in old.state_dict().items():
        assert other == name or torch.equal(new.state_dict()[other], weight)
    tagless = start_from(path, replace(TAGGED, tags=()))
    assert set(old.state_dict()) - set(tagless.state_dict()) == {name}


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (replace(TAGGED, width=64), "its width is 32, and 64 is asked for"),
        (replace(TAGGED, frames=256), "its frames is 512, and 256 is asked for"),
        (replace(TAGGED, guided=False), "start from its base model"),
        (PaperUnetConfig(), "another kind of network, 'segue-small'"),
    ],
)
def test_training_starts_from_nothing_else(
    tmp_path: Path, config: NetworkConfig | PaperUnetConfig, sentence: str
) -> None:
    """Another size or kind is refused before anything is trained."""
    path = tmp_path / "tagged.safetensors"
    save_generator(path, drawn(TAGGED), SCALE, {})
    assert sentence in refused(lambda path: start_from(path, config), path)


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
    no_generator = "'segue-decoder', not 'segue-small' or 'paper-unet'"
    assert no_generator in refused(load_generator, decoder)
    assert "'segue-small', not 'segue-decoder'" in refused(load_decoder, generator)


@pytest.mark.parametrize("load", [load_generator, load_decoder, read_notes])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".bin", ".pkl", ".PT"])
def test_pickle_is_refused_by_name(
    generator: Path, load: Callable[[Path], object], suffix: str
) -> None:
    """A name that pickles have is enough, and the sentence says what to do."""
    path = generator.rename(generator.with_suffix(suffix))
    sentence = refused(load, path)
    assert "it is a pickle" in sentence
    assert "safetensors.torch.save_file" in sentence


class Trap:
    """What unpickles into a file called `sprung`."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.sprung,)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_renamed_pickle_is_never_unpickled(generator: Path, protocol: int) -> None:
    """What is inside a pickle under our name does not run, and from protocol 2 on is named."""
    sprung = generator.with_name("sprung")
    generator.write_bytes(pickle.dumps(Trap(sprung), protocol))
    assert ("it is a pickle" in refused(load_generator, generator)) == (protocol >= 2)
    assert not sprung.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_renamed_checkpoint_is_refused_by_its_first_bytes(generator: Path, zipped: bool) -> None:
    """PyTorch's own files, the zip of today and the stream of old."""
    weights = random_network(config=NETWORK).state_dict()
    torch.save(weights, generator, _use_new_zipfile_serialization=zipped)
    assert "it is a pickle" in refused(load_generator, generator)


def test_header_that_starts_like_a_pickle_is_none(tmp_path: Path) -> None:
    """A header of 640 bytes has the length 80 02, the first bytes of a pickle."""
    path = tmp_path / "chance.safetensors"
    save_file({"a": torch.zeros(1)}, path, {"kind": "segue-small", "padding": ""})
    missing = 640 - int.from_bytes(path.read_bytes()[:8], "little")
    save_file({"a": torch.zeros(1)}, path, {"kind": "segue-small", "padding": "." * missing})
    assert path.read_bytes().startswith(b"\x80\x02")
    assert read_notes(path)["padding"] == "." * missing


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


@pytest.mark.parametrize("description", ["", "{", "[]", "{}", '{"config": {}}'])
def test_wrong_description_is_refused(generator: Path, description: str) -> None:
    """A description that is none."""
    save_file(load_file(generator), generator, {"segue": description})
    refused(load_generator, generator)
    refused(read_notes, generator)


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
