"""What gathered rows mean to an order: features, gaps and a tempo map, as a request has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from segue.bridge.osc import addresses
from segue.bridge.osc.row_list import Heading, RowList
from segue.presets.controls import Inpaint, Intensity, Melody
from segue.presets.library import sentence
from segue.presets.tempo import TempoMap
from segue.presets.vocabulary import Code, SegueError

Fields = dict[str, Any]
_Row = tuple[float, ...]


def control(what: str, found: RowList) -> Fields:
    """A whole list as the control it is, or as a tempo map.

    Raises SegueError(BAD_REQUEST) naming the list when rows are missing or do not fit.
    """
    if not found.whole or found.heading is None:
        raise SegueError(Code.BAD_REQUEST, f"{what}: {_lack(found)}")
    try:
        return _MEANINGS[what](found.heading, found.rows())
    except ValidationError as error:
        raise SegueError(Code.BAD_REQUEST, f"{what}: {sentence(error)}") from error


def controls(lists: Mapping[str, RowList]) -> dict[str, Fields]:
    """Every list of a job by its kind. Raises SegueError as `control` does."""
    return {what: control(what, found) for what, found in lists.items()}


def _lack(found: RowList) -> str:
    if found.heading is None:
        return f"{addresses.BEGIN.address} is missing; send it, and the order again"
    lacking = found.heading.total - found.here
    text = f"{lacking} of {found.heading.total} rows are missing"
    return f"{text}; {addresses.END.address} says which: send them, and the order again"


def _unit(heading: Heading) -> Fields:
    return {"unit": heading.unit} if heading.unit else {}


def _intensity(heading: Heading, rows: list[_Row]) -> Fields:
    scale = {"scale": heading.scale} if heading.scale else {}
    return Intensity.model_validate({"points": rows, **_unit(heading), **scale}).model_dump()


def _melody(heading: Heading, rows: list[_Row]) -> Fields:
    notes = [{"start": start, "length": length, "pitch": pitch} for start, length, pitch in rows]
    return Melody.model_validate({"notes": notes, **_unit(heading)}).model_dump()


def _gaps(heading: Heading, rows: list[_Row]) -> Fields:
    gaps = [{"start": start, "length": length} for start, length in rows]
    said = {"kind": "inpaint", "gaps": gaps, "unit": heading.unit or "seconds"}
    return Inpaint.model_validate(said).model_dump(exclude_unset=True)


def _tempo(heading: Heading, rows: list[_Row]) -> Fields:
    changes = [{"at_seconds": at, "bpm": bpm, "beats_per_bar": beats} for at, bpm, beats in rows]
    said = {"changes": changes, "first_beat": heading.first_beat}
    return TempoMap.model_validate(said).model_dump()


_MEANINGS: dict[str, Callable[[Heading, list[_Row]], Fields]] = {
    "intensity": _intensity,
    "melody": _melody,
    "gaps": _gaps,
    "tempo": _tempo,
}
