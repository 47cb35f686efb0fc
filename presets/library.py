"""Presets on disk: TOML in, validated vocabulary out."""

from __future__ import annotations

import tomllib
from importlib.resources import as_file, files
from pathlib import Path

from pydantic import Field, ValidationError

from segue.presets.vocabulary import Code, Control, Outpaint, SegueError, Settings, Word

SHIPPED = files("segue.presets")


class Preset(Word):
    """A named way of asking: controls and settings under a title."""

    title: str
    description: str
    controls: tuple[Control, ...] = Field(default=(Outpaint(),), min_length=1, max_length=1)
    settings: Settings = Settings()


def preset_names() -> list[str]:
    """Names of the shipped presets, sorted."""
    return sorted(
        p.name.removesuffix(".toml") for p in SHIPPED.iterdir() if p.name.endswith(".toml")
    )


def load_preset(name: str) -> Preset:
    """Load a shipped preset by name, or any preset by a path that ends in `.toml`.

    Raises SegueError naming the file and the key when something does not fit.
    """
    if name.endswith(".toml"):
        return _read(Path(name))
    if name not in preset_names():
        known = ", ".join(preset_names())
        raise SegueError(Code.BAD_REQUEST, f"no preset {name!r}; there are: {known}")
    with as_file(SHIPPED / f"{name}.toml") as path:
        return _read(path)


def model_folder(name: str) -> Path:
    """The folder of a shipped model, or `name` itself when it is a path to a folder.

    Raises SegueError(NO_MODEL) naming the models there are.
    """
    shipped = Path(str(SHIPPED / "models"))
    for folder in (shipped / name, Path(name)):
        if (folder / "manifest.json").is_file():
            return folder
    known = ", ".join(sorted(p.parent.name for p in shipped.glob("*/manifest.json"))) or "none"
    raise SegueError(Code.NO_MODEL, f"no model {name!r}; shipped: {known}")


def _read(path: Path) -> Preset:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SegueError(Code.BAD_REQUEST, f"{path}: {error}") from error
    try:
        return Preset.model_validate(table)
    except ValidationError as error:
        raise SegueError(Code.BAD_REQUEST, f"{path}: {sentence(error)}") from error


def sentence(error: ValidationError) -> str:
    """One line for people: each offending key and what is wrong with it."""
    return "; ".join(
        f"{'.'.join(str(part) for part in e['loc']) or 'value'}: {e['msg']}" for e in error.errors()
    )
