"""A job as a table of TOML or JSON: the request's own words, over a preset, under a tempo."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json

from segue.presets.library import Preset, apply, load_preset, sentence
from segue.presets.tempo import TempoMap
from segue.presets.vocabulary import Code, Request, SegueError

MAX_SHEET_BYTES = 2**20  # as of a body over HTTP
MAX_TEXT = 2000  # characters of a sentence about what is wrong
LENGTHS = ("new_seconds", "new_bars")
TEMPO = ("tempo", "bpm", "beats_per_bar")
RECORDINGS = ("audio", "like")  # keys of controls that name a stretch of a file


def request_of_sheet(
    sheet: Mapping[str, Any], base: Path, load: Callable[[str], Preset] = load_preset
) -> Request:
    """The request that a table means: a Request's keys, `preset`, and `bpm` for a steady tempo.

    Relative paths count from `base`. Strict: no strings for numbers. Raises SegueError naming
    the keys that do not fit.
    """
    fields = _with_paths(dict(sheet), base)
    name = fields.pop("preset", None)
    try:
        fields |= _steady_tempo(fields)
        if name is not None:
            fields = apply(preset_of(name, base, load), fields)
        return Request.model_validate_json(to_json(fields), strict=True)
    except ValidationError as error:
        raise SegueError(Code.BAD_REQUEST, sentence(error)[:MAX_TEXT]) from error


def laid_over(options: Mapping[str, Any], sheet: Mapping[str, Any]) -> dict[str, Any]:
    """`sheet` over `options`: of lengths and of tempos, those of the one replace the other's."""
    kept = dict(options)
    for group in (LENGTHS, TEMPO):
        if any(key in sheet for key in group):
            kept = {key: value for key, value in kept.items() if key not in group}
    return kept | dict(sheet)


def _steady_tempo(fields: dict[str, Any]) -> dict[str, Any]:
    """Take `bpm` and `beats_per_bar` out of the fields; the tempo map that they say."""
    bpm, beats = fields.pop("bpm", None), fields.pop("beats_per_bar", None)
    if bpm is None and beats is None:
        return {}
    if bpm is None:
        raise _bad("beats_per_bar", "it means nothing without bpm: give that too")
    if "tempo" in fields:
        raise _bad("bpm", "there is a tempo already: leave one of them out")
    for key, value in (("bpm", bpm), ("beats_per_bar", 4.0 if beats is None else beats)):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _bad(key, "give a number")
    return {"tempo": TempoMap.steady(bpm, 4.0 if beats is None else beats).model_dump(mode="json")}


def preset_of(name: object, base: Path, load: Callable[[str], Preset] = load_preset) -> Preset:
    """The preset that a table names; a file's path counts from `base`. Raises SegueError."""
    if not isinstance(name, str):
        raise _bad("preset", "give the name of a preset")
    try:
        return load(str(base / name) if name.endswith(".toml") else name)
    except SegueError as error:
        raise _bad("preset", error.text[:MAX_TEXT]) from error


def _with_paths(fields: dict[str, Any], base: Path) -> dict[str, Any]:
    """Paths made absolute; what is no table is left for the validation to refuse."""
    if "region" in fields:
        fields["region"] = _placed(fields["region"], base)
    if isinstance(controls := fields.get("controls"), list):
        fields["controls"] = [_control(each, base) for each in controls]
    return fields


def _control(control: Any, base: Path) -> Any:
    if not isinstance(control, Mapping):
        return control
    placed = {key: _placed(control[key], base) for key in RECORDINGS if key in control}
    return {**control, **placed}


def _placed(region: Any, base: Path) -> Any:
    if isinstance(region, Mapping) and isinstance(path := region.get("path"), str):
        return {**region, "path": str(base / path)}
    return region


def _bad(key: str, text: str) -> SegueError:
    return SegueError(Code.BAD_REQUEST, f"{key}: {text}")
