"""Weights on disk: safetensors that carry their own description, checked before use."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.decoder import Decoder, DecoderConfig
from segue.server.ditto.mel import MelConfig, MelScale
from segue.server.ditto.network import NetworkConfig, SegueSmall

GENERATOR, DECODER = "segue-small", "segue-decoder"
SUFFIXES = {".safetensors", ".onnx"}
ADVICE = "reinstall Segue, or train your own with `segue train`"
M = TypeVar("M", bound=nn.Module)


def save_generator(
    path: Path,
    model: SegueSmall,
    scale: MelScale,
    notes: Mapping[str, str],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write weights as `dtype`, the mel statistics as float32, and the network's sizes."""
    tensors = {name: tensor.to(dtype) for name, tensor in _named(model).items()}
    tensors |= {"scale.mean": scale.mean, "scale.std": scale.std}
    _write(path, tensors, GENERATOR, asdict(model.config), notes)


def save_decoder(
    path: Path, model: Decoder, notes: Mapping[str, str], dtype: torch.dtype = torch.float32
) -> None:
    """Write the decoder's weights as `dtype`, and its sizes: for `segue export` and training."""
    tensors = {name: tensor.to(dtype) for name, tensor in _named(model).items()}
    _write(path, tensors, DECODER, asdict(model.config), notes)


def load_generator(path: Path) -> tuple[SegueSmall, MelScale]:
    """Read what `save_generator` wrote, as a frozen float32 network on the CPU.

    Raises SegueError(NO_MODEL) when the file is missing, not ours, or holds wrong numbers.
    """
    with _refusing(path):
        config, tensors = _read(path, GENERATOR)
        model = SegueSmall(NetworkConfig(**config))
        band = torch.empty(model.config.channels)
        _check(tensors, _named(model) | {"scale.mean": band, "scale.std": band})
        scale = MelScale(tensors.pop("scale.mean"), tensors.pop("scale.std"))
        return _filled(model, tensors), scale


def load_decoder(path: Path) -> Decoder:
    """Read what `save_decoder` wrote, as a frozen float32 network on the CPU.

    Raises SegueError(NO_MODEL) when the file is missing, not ours, or holds wrong numbers.
    """
    with _refusing(path):
        config, tensors = _read(path, DECODER)
        mel = MelConfig()
        band = torch.ones(mel.channels)
        model = Decoder(DecoderConfig(**config), mel, MelScale(band, band))
        _check(tensors, _named(model))
        return _filled(model, tensors)


def read_notes(path: Path) -> dict[str, str]:
    """What the training left in a weights file about itself."""
    with _refusing(path), safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
    return {k: v for k, v in metadata.items() if k not in ("kind", "config")}


def _named(model: nn.Module) -> dict[str, Tensor]:
    return {f"net.{name}": tensor.detach() for name, tensor in model.state_dict().items()}


def _write(
    path: Path,
    tensors: Mapping[str, Tensor],
    kind: str,
    config: Mapping[str, object],
    notes: Mapping[str, str],
) -> None:
    """The file as a whole or not at all."""
    metadata = {**notes, "kind": kind, "config": json.dumps(config)}
    partial = path.with_suffix(".partial")
    save_file({k: v.cpu().contiguous() for k, v in tensors.items()}, partial, metadata)
    partial.replace(path)


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except (
        OSError,
        SafetensorError,
        ArithmeticError,
        TypeError,
        ValueError,
        RuntimeError,
    ) as error:
        raise SegueError(Code.NO_MODEL, f"can't use {path}: {error}; {ADVICE}") from error


def _read(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The network's sizes and all tensors as float32."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    if metadata.get("kind") != kind:
        raise ValueError(f"it holds {metadata.get('kind')!r}, not {kind!r}")
    return json.loads(metadata.get("config", "{}")), tensors


def _check(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raises ValueError naming the first tensor that is missing, foreign, misshapen or NaN."""
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in tensors or name not in expected:
            raise ValueError(f"{name} is {'foreign' if name in tensors else 'missing'}")
        if tensors[name].shape != expected[name].shape:
            raise ValueError(f"{name} has the wrong shape, {tuple(tensors[name].shape)}")
        if not tensors[name].isfinite().all():
            raise ValueError(f"{name} holds NaN or infinite weights")


def _filled(model: M, tensors: Mapping[str, Tensor]) -> M:
    model.load_state_dict({k.removeprefix("net."): v for k, v in tensors.items()})
    return model.requires_grad_(False).eval()


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
