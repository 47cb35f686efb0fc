"""`segue export`: from trained weights to the folder an engine plays, checked on the way."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import torch

from segue.export.to_onnx import OPSET, export_decoder
from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.decoder import Decoder
from segue.server.ditto.mel import MelConfig
from segue.server.ditto.onnx_decoder import INPUT, OUTPUT, OnnxDecoder
from segue.server.ditto.weights import (
    load_decoder,
    load_generator,
    read_notes,
    save_decoder,
    save_generator,
    write_manifest,
)

PARITY_FRAMES = 96
TOLERANCE = 1e-3  # Griffin-Lim divides by magnitudes near zero, and rounding grows with each turn


def ship(
    generator: Path,
    decoder: Path,
    folder: Path,
    *,
    teacher: Path | None = None,
    griffin_lim: int | None = None,
) -> float:
    """Write generator, ONNX decoder and manifest into `folder`, and what training goes on from.

    The latter is the decoder's weights, and the base model's if `teacher` is given.
    `griffin_lim` iterations instead of the decoder's own number refine its phases; more sound
    better and take longer.

    Returns the largest difference between the decoder and its ONNX twin, 1 = full scale.
    Raises SegueError when weights can't be used or the two differ too much.
    """
    if find_spec("onnxscript") is None:
        text = "writing ONNX needs more packages: pip install 'segue[export]'"
        raise SegueError(Code.UNSUPPORTED, text)
    sources = {"generator.safetensors": generator}
    if teacher is not None:
        sources["base.safetensors"] = teacher
    loaded = {name: (*load_generator(path), read_notes(path)) for name, path in sources.items()}
    model = load_decoder(decoder)
    if griffin_lim is not None:
        model.config = replace(model.config, griffin_lim=griffin_lim)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").unlink(missing_ok=True)  # until all is well there is no model
    for name, (network, scale, notes) in loaded.items():
        save_generator(folder / name, network, scale, notes, torch.float16)
        load_generator(folder / name)  # a weight beyond float16's range would be infinite now
    save_decoder(folder / "decoder.safetensors", model, read_notes(decoder), torch.float16)
    export_decoder(model, folder / "decoder.onnx")
    difference = parity(model, folder / "decoder.onnx")
    if not difference <= TOLERANCE:
        text = f"the ONNX decoder differs by {difference:.1e} of full scale, over {TOLERANCE:g}"
        raise SegueError(Code.NO_MODEL, f"{text}; another PyTorch or ONNX Runtime may agree")
    write_manifest(folder, **facts(model.mel))
    return difference


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


def facts(mel: MelConfig) -> dict[str, object]:
    """What another program needs to know to run the decoder."""
    return {
        "sample_rate": mel.sample_rate,
        "hop": mel.hop,
        "bands": mel.bands,
        "opset": OPSET,
        "input": {"name": INPUT, "dtype": "float32", "shape": ["batch", mel.channels, "frames"]},
        "output": {
            "name": OUTPUT,
            "dtype": "float32",
            "shape": ["batch", 2, f"{mel.hop} * frames"],
        },
    }
