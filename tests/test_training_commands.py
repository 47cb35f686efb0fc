"""The workshop from the command line: a folder of audio in, a model the engine plays out."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from segue.bridge.cli import training
from segue.bridge.cli.training import weights_at
from segue.export import ship as shipping
from segue.presets.library import model_folder
from segue.presets.vocabulary import SegueError
from segue.server.ditto.decoder import Decoder
from segue.server.ditto.onnx_decoder import INPUT, OUTPUT
from segue.server.ditto.weights import (
    check_manifest,
    load_generator,
    read_notes,
    save_decoder,
    save_generator,
)
from segue.server.engine import Engine
from tests.music import write_data, write_track
from tests.test_cli import invoke
from tests.tiny import SCALE, STUDENT, random_decoder, random_network


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder with what `segue distill` and `segue train-decoder` write, tiny."""
    save_generator(tmp_path / "generator.safetensors", random_network(), SCALE, {"train": "x"})
    save_decoder(tmp_path / "decoder.safetensors", random_decoder(), {})
    return tmp_path


@pytest.fixture
def quick_export(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ONNX export, which takes seconds, gives what it gave for `tiny_model`."""

    def copy(decoder: Decoder, path: Path) -> None:
        shutil.copy(tiny_model / "decoder.onnx", path)

    monkeypatch.setattr(shipping, "export_decoder", copy)


def export(weights: Path, out: Path, *more: str) -> tuple[int, str, str]:
    """`segue export` of the weights in a folder."""
    generator, decoder = weights / "generator.safetensors", weights / "decoder.safetensors"
    files = ("--generator", str(generator), "--decoder", str(decoder), "--out", str(out))
    return invoke("export", *files, *more)


def test_help_lists_the_workshop() -> None:
    """The commands have a panel of their own."""
    shown = invoke("--help")[1].split("Train your own model")[1]
    for command in ("data", "train", "sharpen", "distill", "train-decoder", "export"):
        assert f" {command} " in shown


def test_data_train_distill_and_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way on the defaults' own folders, one step each; then everything can go on."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loops").mkdir()
    write_track(tmp_path / "loops" / "one.wav", 6.5)
    (tmp_path / "loops" / "bad.wav").write_bytes(b"RIFF")
    code, shown, _ = invoke("data", "loops")
    assert code == 0
    assert shown.splitlines()[0].startswith(f"skipped {tmp_path / 'loops' / 'bad.wav'}: ")
    assert shown.splitlines()[1] == f"packed {tmp_path / 'loops' / 'one.wav'}: 6 s for train"
    assert "0.00 hours to train on, 0.00 held out, 1 files skipped" in shown
    once = ("--steps", "1", "--batch", "1", "--device", "cpu")
    early = Path("train/base/step-00001.safetensors")
    for command, wrote in (
        (("train", "--snapshots", "1"), Path("train/base/base.safetensors")),
        (("sharpen", "--weaker", str(early)), Path("train/sharp/base.safetensors")),
        (("distill",), Path("train/ctm/generator.safetensors")),
        (("train-decoder",), Path("train/decoder/decoder.safetensors")),
    ):
        code, shown, said = invoke(*command, *once)
        assert (code, said) == (0, "")
        assert shown.endswith(f"wrote {wrote}\n")
        assert wrote.is_file()
        assert (wrote.parent / "curve.tsv").read_text().startswith("1\t")
        assert (wrote.parent / "curve.png").is_file()
    assert early.is_file()
    assert "amount=2.0" in read_notes(Path("train/sharp/base.safetensors"))["sharpen"]


def test_start_weights_are_found(tmp_path: Path) -> None:
    """A file is itself, a folder gives the file asked for, a name is a shipped model's."""
    path = tmp_path / "base.safetensors"
    path.touch()
    assert weights_at(path, "decoder.safetensors") == path
    assert weights_at(tmp_path, "base.safetensors") == path
    shipped = weights_at(Path("segue-small"), "base.safetensors")
    assert shipped == model_folder("segue-small") / "base.safetensors"
    with pytest.raises(SegueError, match=r"holds no decoder\.safetensors; give a weights file"):
        weights_at(tmp_path, "decoder.safetensors")
    with pytest.raises(SegueError, match=r"there is no .*other\.safetensors; train it"):
        weights_at(tmp_path / "other.safetensors", "base.safetensors")


def test_other_processes_say_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of several processes that train one model, the first one tells what was written."""
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        training._wrote(Path("base.safetensors"))
    assert capsys.readouterr().out == "wrote base.safetensors\n"


def test_export_makes_a_model_the_engine_loads(weights: Path, quick_export: None) -> None:
    """float16 weights, a decoder equal to torch's, and a manifest with all one needs to know."""
    out = weights / "models" / "mine"
    code, shown, _ = export(weights, out)
    assert code == 0
    assert "torch and ONNX differ by" in shown
    stored = load_file(out / "generator.safetensors")
    assert stored["net.head.weight"].dtype == torch.float16
    assert stored["scale.std"].dtype == torch.float32
    manifest = check_manifest(out)
    names = {"generator.safetensors", "decoder.onnx", "decoder.safetensors"}
    assert manifest.pop("sha256").keys() == names  # type: ignore[attr-defined]
    assert manifest == {
        "sample_rate": 44100,
        "hop": 512,
        "bands": 128,
        "opset": 20,
        "input": {"name": INPUT, "dtype": "float32", "shape": ["batch", 256, "frames"]},
        "output": {"name": OUTPUT, "dtype": "float32", "shape": ["batch", 2, "512 * frames"]},
    }
    assert Engine.load(str(out)).network.config.frames == 512


def test_a_sharpened_model_ships_with_the_student(weights: Path, quick_export: None) -> None:
    """Named files, by a named amount; `--teacher` of `segue export` takes what comes of it."""
    data, sharp = write_data(weights / "data", 6.5), weights / "sharp" / "base.safetensors"
    for seed, name in enumerate(("base", "weaker")):
        network = random_network(seed, replace(STUDENT, guided=False))
        save_generator(weights / f"{name}.safetensors", network, SCALE, {"train": "x"})
    code, shown, said = invoke(
        *("sharpen", "--data", str(data), "--base", str(weights / "base.safetensors")),
        *("--weaker", str(weights / "weaker.safetensors"), "--out", str(sharp.parent)),
        *("--amount", "0.5", "--steps", "2", "--batch", "1", "--rate", "1e-3", "--seed", "3"),
        *("--device", "cpu"),
    )
    assert (code, said) == (0, "")
    assert shown.endswith(f"wrote {sharp}\n")
    for told in ("steps=2, batch=1, rate=0.001", "seed=3", "amount=0.5"):
        assert told in read_notes(sharp)["sharpen"]
    code, _, said = export(weights, weights / "mine", "--teacher", str(sharp))
    assert (code, said) == (0, "")
    shipped, _ = load_generator(weights / "mine" / "base.safetensors")
    assert shipped.config.tags == STUDENT.tags
    assert read_notes(weights / "mine" / "base.safetensors") == read_notes(sharp)


def test_a_former_exports_base_is_not_shipped_unasked(weights: Path, quick_export: None) -> None:
    """It would polish what another student makes; given as --teacher it is checked, and stays."""
    out, base = weights / "mine", weights / "base.safetensors"
    save_generator(base, random_network(1, replace(STUDENT, guided=False)), SCALE, {})
    assert export(weights, out, "--teacher", str(base))[0] == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    save_generator(weights / "generator.safetensors", random_network(2), SCALE, {})
    code, _, said = export(weights, out)
    assert (code, said.count("\n")) == (1, 1)
    assert f"{out / 'base.safetensors'} is there already; give it as --teacher" in said
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert export(weights, out, "--teacher", str(out / "base.safetensors"))[0] == 0
    assert check_manifest(out)


def test_manifest_tells_the_truth_about_the_decoder(tiny_model: Path) -> None:
    """Names, types, shapes and opset are those in the ONNX file."""
    import onnx

    model = onnx.load(tiny_model / "decoder.onnx")
    told = json.loads(json.dumps(shipping.facts(random_decoder().mel)))
    assert [each.version for each in model.opset_import if each.domain == ""] == [told["opset"]]
    for key, (value,) in (("input", model.graph.input), ("output", model.graph.output)):
        dims = [d.dim_value or d.dim_param for d in value.type.tensor_type.shape.dim]
        assert (value.name, dims[:2]) == (told[key]["name"], told[key]["shape"][:2])
        assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_decoders_that_differ_are_not_shipped(weights: Path, quick_export: None) -> None:
    """An ONNX file of other weights is found out, and there is no manifest to load it by."""
    decoder = random_decoder()
    torch.nn.init.normal_(decoder.leave.weight)
    save_decoder(weights / "decoder.safetensors", decoder, {})
    code, _, said = export(weights, weights / "mine")
    assert code == 1
    assert "the ONNX decoder differs by" in said
    assert not (weights / "mine" / "manifest.json").exists()


def test_weights_beyond_half_precision_are_not_shipped(weights: Path) -> None:
    """70000 is infinite in float16; the export says so instead of shipping it."""
    network = random_network()
    torch.nn.init.constant_(network.head.weight, 70000.0)
    save_generator(weights / "generator.safetensors", network, SCALE, {})
    with pytest.raises(SegueError, match=r"head\.weight holds NaN or infinite"):
        shipping.ship(
            weights / "generator.safetensors", weights / "decoder.safetensors", weights / "mine"
        )
    assert not (weights / "mine" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("data",), "give either a folder of audio or --free"),
        (("data", "gone"), "there is no folder gone"),
        (("data", "notes.txt"), "there is no folder notes.txt"),
        (("data", "loops"), "no audio in loops"),
        (("data", "--free"), "apt-get is not here"),
        (("train",), "make it with `segue data MUSIC --out train/data`"),
        (("train", "--data", "gone"), "gone holds no training data"),
        (("train", "--steps", "0"), "steps and batch must be at least 1"),
        (("train", "--rate", "nan"), "the rate above 0"),
        (("train", "--device", "tpu"), "no device 'tpu'; there are: cpu, cuda"),
        (("train-decoder",), "make it with `segue data MUSIC --out train/data`"),
        (("distill",), "there is no train/base/base.safetensors"),
        (("distill", "--snapshots", "100,often"), "steps like 100,200,400, not '100,often'"),
        (("distill", "--steps", "5", "--snapshots", "6"), "snapshots must be at steps from 1 to 5"),
        (("train", "--from", "gone"), "no model 'gone'; shipped: segue-small"),
        (("train-decoder", "--from", "loops"), "loops holds no decoder.safetensors"),
        (("train", "--snapshots", "often"), "steps like 100,200,400, not 'often'"),
        (("sharpen", "--weaker", "loops"), "there is no train/base/base.safetensors"),
        (("sharpen", "--weaker", "x", "--amount", "4.1"), "amount must be above 0 and at most 4"),
        (("distill", "--method", "lcm"), "no method 'lcm'; there are: ctm, cm"),
        (("export", "--out", "model"), "there is no train/ctm/generator.safetensors"),
    ],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], sentence: str
) -> None:
    """What the user can act on: one line on stderr, exit code 1, no traceback, nothing written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "loops").mkdir()
    (tmp_path / "notes.txt").write_text("no audio")
    code, _, said = invoke(*arguments)
    assert code == 1
    assert said.startswith("segue: ")
    assert said.count("\n") == 1
    assert sentence in said
    assert not (tmp_path / "model").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for CUDA without one is said at once."""
    monkeypatch.chdir(tmp_path)
    code, _, said = invoke("train", "--device", "cuda")
    assert code == 1
    assert "no CUDA device here; use --device cpu" in said


def test_a_file_in_the_way_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says what to do."""
    monkeypatch.chdir(tmp_path)
    write_track(tmp_path / "a.wav", 3.5)
    (tmp_path / "out").write_text("in the way")
    code, _, said = invoke("data", ".", "--out", "out")
    assert (code, said.count("\n")) == (1, 1)
    assert "a file lies where a folder has to be, so name another" in said


def test_measuring_without_held_out_music(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packing a few loops again would hold out no more of them: it takes more."""
    monkeypatch.chdir(tmp_path)
    write_track(tmp_path / "loop.wav", 6.5)
    assert invoke("data", ".")[0] == 0
    code, _, said = invoke("evaluate", "model", "--only-examples", "--examples", "2")
    assert (code, said.count("\n")) == (1, 1)
    assert "add more: about one in twenty is held out; then run `segue data` again" in said
