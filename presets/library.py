"""Presets on disk: TOML in, validated vocabulary out, and requests laid over them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from segue.presets.controls import PLACES, Place
from segue.presets.vocabulary import (
    MAX_CONTROLS,
    MAX_NEW_BARS,
    MAX_NEW_SECONDS,
    Code,
    Control,
    Outpaint,
    SegueError,
    Settings,
    Word,
)

SHIPPED = files("segue.presets")
MAX_COMPLAINTS = 8  # of one message; more would not help anybody
PLACE_KINDS = tuple(place.model_fields["kind"].default for place in PLACES)
BROUGHT_BY = {
    "intensity": '--intensity "0:-12,4:0"',
    "melody": "--melody FILE",
    "structure": "--structure ABA",
    "text": '--text "warm slow strings"',
}


class Preset(Word):
    """A named way of asking: controls and settings under a title.

    The length is a suggestion, for requests that say none: `new_bars` where there is a tempo,
    else `new_seconds`. `needs` are kinds of features that the request must bring.
    """

    title: str
    description: str
    controls: tuple[Control, ...] = Field(default=(Outpaint(),), max_length=MAX_CONTROLS)
    settings: Settings = Settings()
    new_seconds: float | None = Field(default=None, gt=0, le=MAX_NEW_SECONDS)
    new_bars: float | None = Field(default=None, gt=0, le=MAX_NEW_BARS)
    needs: tuple[Literal["intensity", "melody", "structure", "text"], ...] = ()

    @property
    def place(self) -> Place | None:
        """The control that says where."""
        return next((c for c in self.controls if isinstance(c, PLACES)), None)


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
    return shipped_preset(name)


def shipped_preset(name: str) -> Preset:
    """Load a shipped preset by name; never any other file. Raises SegueError with the names."""
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


def apply(preset: Preset, fields: Mapping[str, Any]) -> dict[str, Any]:
    """A request's fields, as JSON has them, laid over a preset; still to be validated.

    The request's place replaces the preset's, its features those of the same kind, its settings
    one by one. What is no list or table is left for the validation to refuse. Raises
    SegueError(BAD_REQUEST) when the request lacks what the preset needs.
    """
    merged = dict(fields)
    given, settings = fields.get("controls", ()), fields.get("settings", {})
    if not (_are_tables(given) and isinstance(settings, Mapping)):
        return merged
    merged["controls"] = _controls(preset, given, fields.get("region") is not None)
    merged["settings"] = {**preset.settings.model_dump(mode="json"), **settings}
    if fields.get("new_seconds") is None and fields.get("new_bars") is None:
        merged |= _length(preset, merged)
    return merged


def _are_tables(controls: object) -> bool:
    return isinstance(controls, list | tuple) and all(isinstance(c, Mapping) for c in controls)


def _controls(
    preset: Preset, given: list[dict[str, Any]], has_region: bool
) -> list[dict[str, Any]]:
    kinds = [control.get("kind") for control in given]
    for kind in preset.needs:
        if kind not in kinds:
            text = f"the preset {preset.title!r} needs your {kind}: give {BROUGHT_BY[kind]}"
            raise SegueError(Code.BAD_REQUEST, f"{text}, or a control of kind {kind!r}")
    own = [control.model_dump(mode="json") for control in preset.controls]
    if any(kind in PLACE_KINDS for kind in kinds):
        own = [control for control in own if control["kind"] not in PLACE_KINDS]
    elif has_region and preset.place is None:
        own = [Outpaint().model_dump(mode="json"), *own]
    elif not has_region:  # what would go on from nothing is made out of nothing
        own = [control for control in own if control["kind"] != "outpaint"]
    return [*(control for control in own if control["kind"] not in kinds), *given]


def _length(preset: Preset, request: Mapping[str, Any]) -> dict[str, float]:
    """The preset's own length, unless the request's place has one already."""
    kinds = [control.get("kind") for control in request["controls"]]
    if "inpaint" in kinds or "vary" in kinds:
        return {}
    if preset.new_bars is not None and request.get("tempo") is not None:
        return {"new_bars": preset.new_bars}
    if preset.new_seconds is not None:
        return {"new_seconds": preset.new_seconds}
    if preset.new_bars is not None:
        text = f"the preset {preset.title!r} makes {preset.new_bars:g} bars: say how fast they are"
        raise SegueError(Code.BAD_REQUEST, f"{text} (--bpm, bpm or tempo), or give a length")
    return {}


def _read(path: Path) -> Preset:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SegueError(Code.MISSING_FILE, f"there is no preset file {path}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SegueError(Code.BAD_REQUEST, f"{path}: {error}") from error
    try:
        return Preset.model_validate(table)
    except ValidationError as error:
        raise SegueError(Code.BAD_REQUEST, f"{path}: {sentence(error)}") from error


def sentence(error: ValidationError) -> str:
    """One line for people: each offending key and what is wrong with it."""
    return "; ".join(f"{key}: {text}" if key else text for key, text in complaints(error))


def complaints(error: ValidationError) -> list[tuple[str, str]]:
    """Keys, joined by dots, and what is wrong with each; empty where it is the whole."""
    listed = error.errors(include_url=False, include_context=False, include_input=False)
    found = [_complaint(each) for each in listed[:MAX_COMPLAINTS]]
    more = len(listed) - MAX_COMPLAINTS
    return [*found, ("", f"and {more} more")] if more > 0 else found


def _complaint(detail: Mapping[str, Any]) -> tuple[str, str]:
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "value_error":  # our own sentence
        return key, detail["msg"].removeprefix("Value error, ")
    return key or "value", detail["msg"]
