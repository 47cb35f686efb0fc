"""`segue export`: from trained weights to the folder an engine plays, checked on the way."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import torch

from segue.export.to_onnx import (
    GENERATOR_OUTPUTS,
    OPSET,
    export_decoder,
    export_generator,
    generator_inputs,
)
from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.decoder import Decoder
from segue.server.ditto.mel import MelConfig, MelScale
from segue.server.ditto.network import Network
from segue.server.ditto.onnx_decoder import INPUT, OUTPUT, OnnxDecoder
from segue.server.ditto.schedule import RectifiedFlow
from segue.server.ditto.weights import (
    check_decodable,
    check_teacher,
    load_decoder,
    load_generator,
    read_notes,
    save_decoder,
    save_generator,
    write_manifest,
)

BASE = "base.safetensors"
PREVIEW = "generator.onnx"
NOUNS = {"decoder.onnx": "decoder", PREVIEW: "generator"}
PARITY_FRAMES = 96
PARITY_BATCH = 3  # not the exporter's own, so that a batch frozen into the file is found out
TOLERANCE = 1e-3  # Griffin-Lim divides by magnitudes near zero, and rounding grows with each turn


def ship(
    generator: Path,
    decoder: Path,
    folder: Path,
    *,
    teacher: Path | None = None,
    griffin_lim: int | None = None,
    preview: bool = False,
) -> dict[str, float]:
    """Write generator, ONNX decoder and manifest into `folder`, and what training goes on from.

    The latter is the decoder's weights, and the base model's if `teacher` is given, which also
    polishes clips.
    `griffin_lim` iterations instead of the decoder's own number refine its phases; more sound
    better and take longer. `preview` adds one step of the generator as ONNX, for other runtimes.

    Returns the largest difference between each ONNX file and its twin, by file name; 1 is full
    scale, or one deviation of a mel's band.
    Raises SegueError when weights can't be used, when twins differ too much, or when the folder
    has a base model that is not asked for: it would polish.
    """
    if find_spec("onnxscript") is None:
        text = "writing ONNX needs more packages: pip install 'segue[export]'"
        raise SegueError(Code.UNSUPPORTED, text)
    sources = {"generator.safetensors": generator}
    if teacher is not None:
        sources[BASE] = teacher
    loaded = {name: (*load_generator(path), read_notes(path)) for name, path in sources.items()}
    student, scale, _ = loaded["generator.safetensors"]
    if teacher is not None:
        base, its_scale, _ = loaded[BASE]
        check_teacher(teacher, base, its_scale, student, scale)
    model = load_decoder(decoder)
    for name, path in sources.items():
        check_decodable(path, loaded[name][0], model.mel)
    if griffin_lim is not None:
        model.config = replace(model.config, griffin_lim=griffin_lim)
    if teacher is None:
        _check_no_base(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").unlink(missing_ok=True)  # until all is well there is no model
    (folder / PREVIEW).unlink(missing_ok=True)  # it may be of other weights
    for name, (network, scale, notes) in loaded.items():
        save_generator(folder / name, network, scale, notes, torch.float16)
        load_generator(folder / name)  # a weight beyond float16's range would be infinite now
    save_decoder(folder / "decoder.safetensors", model, read_notes(decoder), torch.float16)
    model = load_decoder(folder / "decoder.safetensors")  # ONNX gets the very same weights
    export_decoder(model, folder / "decoder.onnx")
    differences = {"decoder.onnx": parity(model, folder / "decoder.onnx")}
    told = facts(model.mel)
    if preview:
        network, scale = load_generator(folder / "generator.safetensors")
        export_generator(network, scale, folder / PREVIEW)
        differences[PREVIEW] = generator_parity(network, scale, folder / PREVIEW)
        told["generator"] = generator_facts(network)
    _check_alike(differences)
    write_manifest(folder, **told)
    return differences


def _check_alike(differences: dict[str, float]) -> None:
    for name, difference in differences.items():
        if not difference <= TOLERANCE:
            text = f"the ONNX {NOUNS[name]} differs by {difference:.1e}, over {TOLERANCE:g}"
            raise SegueError(Code.NO_MODEL, f"{text}; another PyTorch or ONNX Runtime may agree")


def _check_no_base(folder: Path) -> None:
    if (folder / BASE).exists():
        text = f"{folder / BASE} is there already; give it as --teacher if the generator was "
        advice = "distilled from it, or give --out another folder"
        raise SegueError(Code.BAD_REQUEST, f"{text}{advice}")


def parity(model: Decoder, path: Path, frames: int = PARITY_FRAMES, seed: int = 0) -> float:
    """Largest |difference| between the decoder and its ONNX file on a random mel.

    1 is full scale, or the peak where that is more: independent bands add up to loud audio.
    """
    generator = torch.Generator().manual_seed(seed)
    mel = torch.randn(model.mel.channels, frames, generator=generator) * model.std + model.mean
    with torch.no_grad():
        expected = model(mel[None])[0].T
    made = torch.from_numpy(OnnxDecoder(path)(mel.numpy()))
    return float((made - expected).abs().max() / expected.abs().max().clamp(min=1))


def generator_parity(network: Network, scale: MelScale, path: Path, seed: int = 0) -> float:
    """Largest |difference| in D_x, in deviations of a band, between the network and its ONNX file.

    One step from pure noise for a batch of three, with random tags and guidance scales.
    """
    import onnxruntime

    generator, t_max = torch.Generator().manual_seed(seed), RectifiedFlow().t_max
    sizes = {
        name: [PARITY_BATCH if d == "batch" else int(d) for d in shape]
        for name, shape in generator_inputs(network).items()
    }
    given = {"x_T": torch.randn(sizes["x_T"], generator=generator)}
    given["t"] = torch.full(sizes["t"], t_max)
    if "tags" in sizes:
        given["tags"] = torch.rand(sizes["tags"], generator=generator).round()
    if "w" in sizes:
        given["w"] = 1 + torch.rand(sizes["w"], generator=generator)
    with torch.no_grad():
        expected = network(given["x_T"], given["t"], given.get("tags"), given.get("w"))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    made, log_mel = map(
        torch.from_numpy,
        session.run(list(GENERATOR_OUTPUTS), {k: x.numpy() for k, x in given.items()}),
    )
    wrong = torch.maximum((made - expected).abs(), (scale.normalise(log_mel) - expected).abs())
    return float(wrong.max())


def facts(mel: MelConfig) -> dict[str, object]:
    """What another program needs to know to run the decoder."""
    return {
        "sample_rate": mel.sample_rate,
        "hop": mel.hop,
        "bands": mel.bands,
        "opset": OPSET,
        "input": tensor(INPUT, ["batch", mel.channels, "frames"]),
        "output": tensor(OUTPUT, ["batch", 2, f"{mel.hop} * frames"]),
    }


def generator_facts(network: Network) -> dict[str, object]:
    """What another program needs to know to run one step of the generator."""
    config = network.config
    made: list[int | str] = ["batch", config.channels, config.frames]
    return {
        "opset": OPSET,
        "t": RectifiedFlow().t_max,
        "tags": list(config.tags),
        "inputs": [tensor(name, shape) for name, shape in generator_inputs(network).items()],
        "outputs": [tensor(name, made) for name in GENERATOR_OUTPUTS],
    }


def tensor(name: str, shape: list[int | str]) -> dict[str, object]:
    """How the manifest describes an input or output."""
    return {"name": name, "dtype": "float32", "shape": shape}
