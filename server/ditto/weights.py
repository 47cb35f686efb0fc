"""Weights on disk: safetensors that carry their own description, checked before use."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.decoder import Decoder
from segue.server.ditto.mel import MelScale
from segue.server.ditto.network import NetworkConfig, SegueSmall

KIND = "segue-small"
ADVICE = "reinstall Segue, or train your own with `segue train`"


def _write(path: Path, model: nn.Module, extra: dict[str, Tensor], notes: dict[str, str]) -> None:
    """Weights of `model` and `extra` tensors into `path`, whole or not at all."""
    tensors = {f"net.{k}": v.detach().cpu() for k, v in model.state_dict().items()} | extra
    partial = path.with_suffix(".partial")
    save_file({k: v.contiguous() for k, v in tensors.items()}, partial, notes)
    partial.replace(path)


def save_generator(path: Path, model: SegueSmall, scale: MelScale, notes: dict[str, str]) -> None:
    """Write the weights, the mel statistics and the network's sizes into one file."""
    extra = {"scale.mean": scale.mean.cpu(), "scale.std": scale.std.cpu()}
    config = json.dumps(asdict(model.config))
    _write(path, model, extra, {"kind": KIND, "config": config, **notes})


def save_decoder(path: Path, model: Decoder, notes: dict[str, str]) -> None:
    """Write the decoder's weights and sizes, for `segue export` and further training."""
    config = json.dumps(asdict(model.config))
    _write(path, model, {}, {"kind": "segue-decoder", "config": config, **notes})


def load_generator(path: Path) -> tuple[SegueSmall, MelScale]:
    """Read weights written by `save_generator`, as a frozen float32 network on the CPU.

    Raises SegueError(NO_MODEL) when the file is missing, not ours, or holds wrong numbers.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        if metadata.get("kind") != KIND:
            raise ValueError(f"it holds {metadata.get('kind')!r}, not {KIND!r}")
        model = SegueSmall(NetworkConfig(**json.loads(metadata["config"])))
        scale = MelScale(tensors.pop("scale.mean"), tensors.pop("scale.std"))
        model.load_state_dict({k.removeprefix("net."): v for k, v in tensors.items()})
        if not all(v.isfinite().all() for v in (*tensors.values(), scale.mean, scale.std)):
            raise ValueError("it holds NaN or infinite weights")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise SegueError(Code.NO_MODEL, f"can't use {path}: {error}; {ADVICE}") from error
    return model.requires_grad_(False).eval(), scale


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, **facts: object) -> None:
    """Record the hash of every weights file in `folder`, with `facts` about them."""
    suffixes = {".safetensors", ".onnx"}
    hashes = {p.name: sha256(p) for p in sorted(folder.iterdir()) if p.suffix in suffixes}
    text = json.dumps({"sha256": hashes, **facts}, indent=2)
    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")


def check_manifest(folder: Path) -> dict[str, object]:
    """Compare every listed file with its hash; returns the manifest.

    Raises SegueError(NO_MODEL) naming the file that is missing or differs.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        for name, expected in manifest["sha256"].items():
            if sha256(folder / name) != expected:
                raise ValueError(f"{name} is not the file that was shipped")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SegueError(Code.NO_MODEL, f"model {folder.name}: {error}; {ADVICE}") from error
    return manifest
