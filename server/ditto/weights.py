"""Weights on disk: safetensors that carry their own description, checked before use."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.decoder import Decoder, DecoderConfig
from segue.server.ditto.mel import MelConfig, MelScale
from segue.server.ditto.network import NetworkConfig, SegueSmall
from segue.server.ditto.paper_unet import PaperUnet, PaperUnetConfig
from segue.server.ditto.weights_file import (
    ADVICE,
    check_tensors,
    describe,
    read,
    refusing,
    write,
)

DECODER = "segue-decoder"
SUFFIXES = {".safetensors", ".onnx"}
M = TypeVar("M", bound=nn.Module)
Generator = SegueSmall | PaperUnet


def build(config: NetworkConfig | PaperUnetConfig) -> Generator:
    """A network of these sizes with fresh weights from torch's global generator."""
    return next(network for network, sizes in KINDS.values() if type(config) is sizes)(config)


def save_generator(
    path: Path,
    model: Generator,
    scale: MelScale,
    notes: Mapping[str, str],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write weights as `dtype`, the mel statistics as float32, and the network's sizes."""
    tensors = {name: tensor.to(dtype) for name, tensor in _named(model).items()}
    tensors |= {"scale.mean": scale.mean, "scale.std": scale.std}
    write(path, tensors, _kind(model), asdict(model.config), notes)


def save_decoder(
    path: Path, model: Decoder, notes: Mapping[str, str], dtype: torch.dtype = torch.float32
) -> None:
    """Write the decoder's weights as `dtype`, and its sizes: for `segue export` and training."""
    tensors = {name: tensor.to(dtype) for name, tensor in _named(model).items()}
    write(path, tensors, DECODER, asdict(model.config), notes)


def load_generator(path: Path) -> tuple[Generator, MelScale]:
    """Read what `save_generator` wrote, as a frozen float32 network on the CPU.

    Raises SegueError(NO_MODEL) when the file is missing, not ours, or holds wrong numbers.
    """
    with refusing(path):
        model, tensors = _generator(path)
        scale = MelScale(tensors.pop("scale.mean"), tensors.pop("scale.std"))
        return _filled(model, tensors).requires_grad_(False).eval(), scale


def start_from(path: Path, config: NetworkConfig | PaperUnetConfig) -> Generator:
    """A network of `config` with the weights of a file, ready to be trained further.

    Tags that both know keep their weights and new ones start without effect; a guidance scale
    that the file lacks starts so too. Raises SegueError(NO_MODEL) when the file can't be used,
    is of another kind or size, or has a guidance scale that `config` lacks.
    """
    with refusing(path):
        old, tensors = _generator(path)
        kind = _kind(old)
        network, sizes = KINDS[kind]
        if not isinstance(config, sizes):
            raise ValueError(f"it holds another kind of network, {kind!r}")
        _check_extends(old.config, config)
        model = network(config)
        weights = _named(model)
        for name, fresh in weights.items():
            if name.endswith(".tags.weight"):
                stored = tensors.get(name, fresh[:, :0])
                weights[name] = _chosen(stored, old.config.tags, config.tags)
            else:
                weights[name] = tensors.get(name, fresh)
        return _filled(model, weights)


def load_decoder(path: Path) -> Decoder:
    """Read what `save_decoder` wrote, as a frozen float32 network on the CPU.

    Raises SegueError(NO_MODEL) when the file is missing, not ours, or holds wrong numbers.
    """
    with refusing(path):
        _, config, tensors = read(path, {DECODER})
        mel = MelConfig()
        band = torch.ones(mel.channels)
        model = Decoder(DecoderConfig(**config), mel, MelScale(band, band))
        check_tensors(tensors, _named(model))
        return _filled(model, tensors).requires_grad_(False).eval()


def check_decodable(path: Path, model: Generator, mel: MelConfig) -> None:
    """Raises SegueError(NO_MODEL) when the decoder, which takes `mel`, can't take the model's."""
    made = model.config.channels
    if made != mel.channels:
        text = f"can't use {path}: it makes mels of {made} rows a frame, and Segue's decoder takes"
        advice = "train one with `segue train --network segue-small`"
        raise SegueError(Code.NO_MODEL, f"{text} {mel.channels} only; {advice}")


def check_teacher(
    path: Path, base: Generator, its_scale: MelScale, student: Generator, scale: MelScale
) -> None:
    """Raises SegueError(NO_MODEL) when the base model in `path` is not the student's teacher."""
    alike = torch.equal(its_scale.mean, scale.mean) and torch.equal(its_scale.std, scale.std)
    if not alike or base.config != replace(student.config, guided=False):
        text = f"{path} is not what the generator was distilled from"
        raise SegueError(Code.NO_MODEL, f"{text}: export with its --teacher, or without")


def read_notes(path: Path) -> dict[str, str]:
    """What the training left in a weights file about itself. Raises SegueError(NO_MODEL)."""
    with refusing(path):
        return {key: str(text) for key, text in describe(path)["notes"].items()}


def _named(model: nn.Module) -> dict[str, Tensor]:
    return {f"net.{name}": tensor.detach() for name, tensor in model.state_dict().items()}


def _generator(path: Path) -> tuple[Generator, dict[str, Tensor]]:
    """A network of the file's kind and sizes, still empty, and the checked tensors for it."""
    kind, config, tensors = read(path, KINDS)
    network, sizes = KINDS[kind]
    model = network(sizes(**config))
    band = torch.empty(model.config.channels)
    check_tensors(tensors, _named(model) | {"scale.mean": band, "scale.std": band})
    return model, tensors


def _kind(model: Generator) -> str:
    return next(kind for kind, (network, _) in KINDS.items() if isinstance(model, network))


def _check_extends(
    old: NetworkConfig | PaperUnetConfig, new: NetworkConfig | PaperUnetConfig
) -> None:
    """Raises ValueError naming the first size in which `new` differs."""
    if old.guided and not new.guided:
        raise ValueError("it is distilled, with a guidance scale; start from its base model")
    wanted = asdict(new)
    for name, size in asdict(replace(old, tags=new.tags, guided=new.guided)).items():
        if wanted[name] != size:
            raise ValueError(f"its {name} is {size}, and {wanted[name]} is asked for")


def _chosen(stored: Tensor, known: tuple[str, ...], wanted: tuple[str, ...]) -> Tensor:
    """The columns of `wanted` tags out of those of `known` ones, (width, tags); else zeros."""
    chosen = torch.zeros(len(stored), len(wanted))
    for i, tag in enumerate(wanted):
        if tag in known:
            chosen[:, i] = stored[:, known.index(tag)]
    return chosen


def _filled(model: M, tensors: Mapping[str, Tensor]) -> M:
    model.load_state_dict({k.removeprefix("net."): v for k, v in tensors.items()})
    return model


def digest(model: nn.Module) -> str:
    """Hex digest of a network's weights, whatever a file says of them."""
    tensors = model.state_dict().values()
    return hashlib.sha256(b"".join(x.cpu().numpy().tobytes() for x in tensors)).hexdigest()


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _weights_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)


def write_manifest(folder: Path, **facts: object) -> None:
    """Record the hash of every weights file in `folder`, with `facts` about them."""
    hashes = {path.name: sha256(path) for path in _weights_in(folder)}
    text = json.dumps({"sha256": hashes, **facts}, indent=2)
    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")


def check_manifest(folder: Path) -> dict[str, object]:
    """Compare every weights file, listed or there, with its hash; returns the manifest.

    Raises SegueError(NO_MODEL) naming the file that is missing, differs or is not listed.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        hashes = dict(manifest["sha256"])
        for name in sorted(hashes.keys() | {path.name for path in _weights_in(folder)}):
            if hashes.get(name) != sha256(folder / name):
                raise ValueError(f"{name} is not the file that was shipped")
    except KeyError as error:
        text = f"model {folder.name}: manifest.json has no {error}; {ADVICE}"
        raise SegueError(Code.NO_MODEL, text) from error
    except (OSError, ValueError, TypeError) as error:
        raise SegueError(Code.NO_MODEL, f"model {folder.name}: {error}; {ADVICE}") from error
    return manifest


# What a file's `kind` says it holds.
KINDS: dict[str, tuple[type[Any], type[Any]]] = {
    "segue-small": (SegueSmall, NetworkConfig),
    "paper-unet": (PaperUnet, PaperUnetConfig),
}
