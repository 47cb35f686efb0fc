"""ONNX files: half the size at no loss, the same bytes every time, the generator for previews."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from segue.export import ship as shipping
from segue.export.ship import PREVIEW, generator_facts, generator_parity, parity, ship
from segue.export.to_onnx import GENERATOR_OUTPUTS, OPSET, export_decoder, export_generator
from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.decoder import Decoder
from segue.server.ditto.network import SegueSmall
from segue.server.ditto.weights import check_manifest, load_decoder, save_decoder, save_generator
from tests.tiny import NETWORK, SCALE, random_decoder

M = TypeVar("M", bound=torch.nn.Module)
ROUNDING = 1e-5  # of full scale or a deviation: float32 sums in another order


def rounded(model: M) -> M:
    """The network with weights that float16 holds exactly."""
    for p in model.parameters():
        p.data = p.data.half().float()
    return model


def half_decoder() -> Decoder:
    """A random decoder without Griffin-Lim."""
    model = rounded(random_decoder())
    model.config = replace(model.config, griffin_lim=0)
    return model


def conditioned_network() -> SegueSmall:
    """A network with three tags and a guidance scale, all of which it heeds."""
    torch.manual_seed(0)
    network = SegueSmall(replace(NETWORK, tags=("calm", "drums", "piano"), guided=True))
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return rounded(network.requires_grad_(False))


@pytest.fixture(scope="module")
def half_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`half_decoder` as ONNX."""
    path = tmp_path_factory.mktemp("half") / "decoder.onnx"
    export_decoder(half_decoder(), path)
    return path


@pytest.fixture(scope="module")
def preview_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`conditioned_network` as ONNX."""
    path = tmp_path_factory.mktemp("preview") / PREVIEW
    export_generator(conditioned_network(), SCALE, path)
    return path


def test_half_precision_on_disk_computes_in_float32(half_file: Path) -> None:
    """The large weights take two bytes each, and the audio is what torch makes in float32."""
    stored = {t.name: t.data_type for t in onnx.load(half_file).graph.initializer}
    halves = {name for name, kind in stored.items() if kind == onnx.TensorProto.FLOAT16}
    assert "enter.weight.half" in halves
    assert all(name.endswith(".half") for name in halves)
    assert stored["stft.window"] == onnx.TensorProto.FLOAT
    assert parity(half_decoder(), half_file) < ROUNDING


def test_weights_that_do_not_fit_are_kept_whole(half_file: Path, tiny_model: Path) -> None:
    """float32 weights lose nothing either: they stay as they are, at twice the bytes."""
    whole_file = tiny_model / "decoder.onnx"
    whole, half = (onnx.load(path).graph.initializer for path in (whole_file, half_file))
    assert onnx.TensorProto.FLOAT16 not in {t.data_type for t in whole}
    halves = sum(len(t.raw_data) for t in half if t.data_type == onnx.TensorProto.FLOAT16)
    saved = whole_file.stat().st_size - half_file.stat().st_size
    assert saved >= halves > 100_000


def test_the_same_weights_give_the_same_bytes(half_file: Path, tmp_path: Path) -> None:
    """So that a hash says whether two exports are of the same model."""
    export_decoder(half_decoder(), tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == half_file.read_bytes()


def test_nothing_of_the_machine_is_in_the_file(half_file: Path, preview_file: Path) -> None:
    """Neither paths nor lines of the source."""
    for path in (half_file, preview_file):
        assert b".py" not in path.read_bytes()
        onnx.checker.check_model(path)


def test_torch_and_onnx_take_the_same_step(preview_file: Path) -> None:
    """From noise, with tags and guidance scale, for another batch than it was exported with."""
    network = conditioned_network()
    assert generator_parity(network, SCALE, preview_file) < ROUNDING


def test_tags_and_guidance_are_inputs_that_matter(preview_file: Path) -> None:
    """Each changes what comes out; the second output is the mel that the decoder takes."""
    session = onnxruntime.InferenceSession(str(preview_file), providers=["CPUExecutionProvider"])
    feed = {
        "x_T": np.random.default_rng(0).standard_normal((1, 256, 512), dtype=np.float32),
        "t": np.array([0.999], np.float32),
        "tags": np.zeros((1, 3), np.float32),
        "w": np.array([1.0], np.float32),
    }
    plain, log_mel = session.run(list(GENERATOR_OUTPUTS), feed)
    scaled = plain * SCALE.std[:, None].numpy() + SCALE.mean[:, None].numpy()
    np.testing.assert_allclose(log_mel, scaled, rtol=0, atol=1e-5)
    for name, value in (("tags", np.array([[0, 1, 0]], np.float32)), ("w", feed["w"] * 3)):
        (changed, _) = session.run(list(GENERATOR_OUTPUTS), feed | {name: value})
        assert np.abs(changed - plain).max() > 1e-3


def test_manifest_tells_the_truth_about_the_preview(preview_file: Path) -> None:
    """Names, shapes and opset are those in the ONNX file."""
    told, model = generator_facts(conditioned_network()), onnx.load(preview_file)
    assert told["tags"] == ["calm", "drums", "piano"]
    assert told["t"] == 0.999
    assert [each.version for each in model.opset_import if each.domain == ""] == [OPSET]
    for key, values in (("inputs", model.graph.input), ("outputs", model.graph.output)):
        in_file = [
            {
                "name": value.name,
                "dtype": "float32",
                "shape": [d.dim_value or d.dim_param for d in value.type.tensor_type.shape.dim],
            }
            for value in values
        ]
        assert told[key] == in_file


@pytest.fixture
def quick_export(tiny_model: Path, preview_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ONNX exports, which take seconds, give what they gave before."""
    for name, made in (
        ("export_decoder", tiny_model / "decoder.onnx"),
        ("export_generator", preview_file),
    ):
        monkeypatch.setattr(shipping, name, lambda *given, made=made: shutil.copy(made, given[-1]))


def save_weights(folder: Path, network: SegueSmall) -> tuple[Path, Path]:
    """The generator's and the decoder's file for `ship`."""
    generator, decoder = folder / "generator.safetensors", folder / "decoder.safetensors"
    save_generator(generator, network, SCALE, {})
    save_decoder(decoder, random_decoder(), {})
    return generator, decoder


def test_preview_ships_when_asked(tmp_path: Path, quick_export: None) -> None:
    """Listed with its hash and checked; gone again when the model is shipped without it."""
    weights, out = save_weights(tmp_path, conditioned_network()), tmp_path / "out"
    differences = ship(*weights, out, preview=True)
    assert differences.keys() == {"decoder.onnx", PREVIEW}
    assert differences[PREVIEW] < ROUNDING
    manifest = check_manifest(out)
    assert PREVIEW in manifest["sha256"]  # type: ignore[operator]
    assert manifest["generator"] == generator_facts(conditioned_network())
    assert ship(*weights, out).keys() == {"decoder.onnx"}
    assert not (out / PREVIEW).exists()
    assert "generator" not in check_manifest(out)


def test_a_generator_that_differs_is_not_shipped(tmp_path: Path, quick_export: None) -> None:
    """The preview is compared like the decoder, and there is no manifest to load the model by."""
    other = conditioned_network()
    other.load_state_dict(
        {k: v + 0.1 if k == "head.bias" else v for k, v in other.state_dict().items()}
    )
    weights = save_weights(tmp_path, other)
    with pytest.raises(SegueError, match=r"the ONNX generator differs by 1\.0e-01") as caught:
        ship(*weights, tmp_path / "out", preview=True)
    assert caught.value.code == Code.NO_MODEL
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_another_models_teacher_is_not_shipped(tmp_path: Path, quick_export: None) -> None:
    """Nothing is written; the teacher that the generator comes from goes along."""
    student = conditioned_network()
    weights, out, teacher = save_weights(tmp_path, student), tmp_path / "out", tmp_path / "base"
    for other in (SegueSmall(NETWORK), student):
        save_generator(teacher, other, SCALE, {})
        with pytest.raises(SegueError, match=r"base is not what the generator was distilled from"):
            ship(*weights, out, teacher=teacher)
        assert not out.exists()
    save_generator(teacher, SegueSmall(replace(student.config, guided=False)), SCALE, {})
    ship(*weights, out, teacher=teacher)
    assert "base.safetensors" in check_manifest(out)["sha256"]  # type: ignore[operator]


def test_onnx_and_safetensors_hold_the_same_weights(tmp_path: Path, half_file: Path) -> None:
    """Saving as float16 and loading again changes nothing that goes to ONNX."""
    save_decoder(tmp_path / "decoder.safetensors", half_decoder(), {}, torch.float16)
    assert parity(load_decoder(tmp_path / "decoder.safetensors"), half_file) < ROUNDING
