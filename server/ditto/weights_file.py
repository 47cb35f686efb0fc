"""One weights file: safetensors with a description of its own, and what it is refused for."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from segue.presets.vocabulary import Code, SegueError

DESCRIPTION = "segue"  # one entry, because safetensors writes several in an order of chance
PICKLES = {".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle"}
PICKLE_MAGIC = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
ADVICE = "reinstall Segue, or train your own with `segue train`"


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong while `path` is used into SegueError(NO_MODEL) naming it."""
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
        text = getattr(error, "strerror", None) or error  # without the path a second time
        raise SegueError(Code.NO_MODEL, f"can't use {path}: {text}; {ADVICE}") from error


def write(
    path: Path,
    tensors: Mapping[str, Tensor],
    kind: str,
    config: Mapping[str, object],
    notes: Mapping[str, str],
) -> None:
    """The file as a whole or not at all."""
    description = json.dumps({"kind": kind, "config": config, "notes": dict(notes)})
    partial = path.with_suffix(".partial")
    contiguous = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, partial, {DESCRIPTION: description})
    partial.replace(path)


def describe(path: Path) -> dict[str, Any]:
    """What a file says of itself: `kind`, `config` and `notes`.

    Raises ValueError or SafetensorError when it says nothing we understand, or is a pickle.
    """
    _refuse_pickle(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
    if DESCRIPTION in metadata:
        description = json.loads(metadata[DESCRIPTION])
    else:  # the first files had several entries
        config = json.loads(metadata.pop("config", "{}"))
        description = {"kind": metadata.pop("kind", None), "config": config, "notes": metadata}
    match description:
        case {"config": dict(), "notes": dict()}:
            return description
    raise ValueError("its description is not one that Segue writes")


def read(path: Path, kinds: Collection[str]) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """Which of `kinds` it holds, the network's sizes, and all tensors as float32.

    Raises ValueError or SafetensorError when it is no such file.
    """
    description = describe(path)
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    kind, config = description.get("kind"), description["config"]
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"it holds {kind!r}, not {' or '.join(map(repr, kinds))}")
    lists_as_tuples = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
    return kind, lists_as_tuples, tensors


def check_tensors(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raises ValueError naming the first tensor that is missing, foreign, misshapen or NaN."""
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in tensors or name not in expected:
            raise ValueError(f"{name} is {'foreign' if name in tensors else 'missing'}")
        if tensors[name].shape != expected[name].shape:
            raise ValueError(f"{name} has the wrong shape, {tuple(tensors[name].shape)}")
        if not tensors[name].isfinite().all():
            raise ValueError(f"{name} holds NaN or infinite weights")


def _refuse_pickle(path: Path) -> None:
    """Raises ValueError for what is a pickle by its name or by its first bytes."""
    with path.open("rb") as file:
        head = file.read(9)
    # A safetensors file may start with the same bytes, but has the brace of its header at 8.
    if path.suffix.lower() in PICKLES or (head.startswith(PICKLE_MAGIC) and head[8:] != b"{"):
        text = "it is a pickle, which can run code when it is opened, so Segue never does"
        raise ValueError(
            f"{text}; give the .safetensors file that training wrote, or convert this one where "
            f"you trust it (safetensors.torch.save_file)"
        )
