"""What the command line asks for, and the request it means; errors name the option."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from segue.bridge.cli import shorthand
from segue.bridge.cli.melody_file import melody_of
from segue.bridge.cli.shorthand import bad
from segue.bridge.cli.tempo_file import SongMap
from segue.bridge.sound_file import file_seconds
from segue.presets.library import Preset, apply, complaints, load_preset
from segue.presets.tempo import TempoMap
from segue.presets.vocabulary import (
    MAX_NEW_BARS,
    MAX_NEW_SECONDS,
    MAX_SEED,
    Code,
    Request,
    SegueError,
)

CONTINUED = {"kind": "outpaint", "side": "right"}
PLACES: dict[str, dict[str, Any] | None] = {  # by the names of --at
    "right": CONTINUED,
    "left": {"kind": "outpaint", "side": "left"},
    "both": {"kind": "outpaint", "side": "both"},
    "gap": {"kind": "inpaint"},
    "loop": {"kind": "loop"},
    "vary": {"kind": "vary"},
    "nothing": None,
}
UNITS = ("seconds", "beats", "bars", "share")
OPTIONS = {  # by the keys of a request, the first that a complaint's key holds
    "inpaint": "--gap",
    "vary": "--amount",
    "intensity": "--intensity",
    "melody": "--melody",
    "structure": "--structure",
    "text": "--text",
    "start_seconds": "--start",
    "length_seconds": "--length",
    "new_seconds": "--seconds",
    "new_bars": "--bars",
    "bpm": "--bpm",
    "beats_per_bar": "--beats-per-bar",
    "seed": "--seed",
    "tags": "--tag",
    "guidance": "--guidance",
    "iterations": "--iterations",
    "seeds": "--seeds",
    "keep": "--keep",
    "within_seconds": "--within",
}
WHOLES = {"region": "IN.wav", "settings": "--keep"}  # of what is wrong with them as such


@dataclass(frozen=True, kw_only=True)
class Order:
    """The options of `segue make`; None and () are what was not said."""

    source: Path | None = None
    seconds: float | None = None
    bars: float | None = None
    bpm: float | None = None
    beats_per_bar: float | None = None
    tempo: Path | None = None
    from_bar: int = 1
    start: float | None = None
    length: float | None = None
    at: str | None = None
    gaps: tuple[str, ...] = ()
    overlap: float | None = None
    amount: float | None = None
    intensity: str | None = None
    structure: str | None = None
    unit: str = "seconds"
    melody: Path | None = None
    text: str | None = None
    preset: str = "continue"
    tags: tuple[str, ...] = ()
    guidance: float | None = None
    iterations: int | None = None
    seed: int | None = None
    seeds: int | None = None
    keep: int | None = None
    within: str | None = None
    played: tuple[str, ...] = ()  # kinds of features that a controller brings later


def request_of(order: Order) -> Request:
    """The request; without a seed one is drawn. Raises SegueError naming the option at fault."""
    preset = load_preset(order.preset)
    needs = tuple(kind for kind in preset.needs if kind not in order.played)
    preset = preset.model_copy(update={"needs": needs})
    place = _place(order, preset)
    _check_length(order, preset, place)
    _check_tempo(order)
    song = _song(order)
    fields: dict[str, Any] = {"id": "make", "region": _region(order), "tempo": _tempo(order, song)}
    fields["seed"] = secrets.randbelow(MAX_SEED + 1) if order.seed is None else order.seed
    fields |= _lengths(order, preset, place, song)
    fields["controls"] = [*([place] if place else []), *_features(order)]
    fields["settings"] = _settings(order)
    try:
        request = Request.model_validate(apply(preset, fields))
    except ValidationError as error:
        raise _refusal(error) from error
    if song is not None:
        song.check_before(request)
    return request


def _refusal(error: ValidationError) -> SegueError:
    said = (f"{_option(key)}: {text}" if key else text for key, text in complaints(error))
    return SegueError(Code.BAD_REQUEST, "; ".join(said))


def _option(key: str) -> str:
    """`controls.1.intensity.points.0.1` as `--intensity (points.0.1)`."""
    parts = key.split(".")
    if parts[-1] == "overlap_seconds":
        return "--overlap"
    for i, part in enumerate(parts):
        if part in OPTIONS:
            rest = ".".join(parts[i + 1 :])
            return f"{OPTIONS[part]} ({rest})" if rest else OPTIONS[part]
    return WHOLES.get(parts[0], key)


def _place(order: Order, preset: Preset) -> dict[str, Any] | None:
    """The place asked for; the preset's own, with what was said of it, where none was."""
    at = order.at or ("gap" if order.gaps else "vary" if order.amount is not None else None)
    if at is not None and at not in PLACES:
        raise bad("--at", f"there is no {at!r}; choose one of {', '.join(PLACES)}")
    if order.source is None:
        _check_nowhere(order, preset)
        return None
    own = preset.place.model_dump(mode="json") if preset.place else dict(CONTINUED)
    place = own if at is None else PLACES[at]
    if place is None:
        raise bad("--at", "music is made out of nothing without IN.wav: leave one of them out")
    if own["kind"] == place["kind"]:
        place = own | place
    return place | _of_place(order, place["kind"])


def _check_nowhere(order: Order, preset: Preset) -> None:
    """Refuse, without a region, whatever needs one."""
    at = None if order.at == "nothing" else order.at
    given = {"--at": at, "--gap": order.gaps, "--overlap": order.overlap, "--amount": order.amount}
    given |= {"--start": order.start, "--length": order.length}
    for option, value in given.items():
        if value not in (None, ()):
            raise bad(option, "there is no music to do that with: give IN.wav too")
    if preset.place is not None and preset.place.kind != "outpaint" and order.at is None:
        raise bad("--preset", f"{order.preset} is made of music that is there: give IN.wav too")


def _of_place(order: Order, kind: str) -> dict[str, Any]:
    """What was said about the place. Raises SegueError for what it does not have."""
    said: dict[str, Any] = {}
    if order.overlap is not None:
        if kind == "vary":
            raise bad("--overlap", "a variation has none; leave it out")
        said["overlap_seconds"] = order.overlap
    if order.amount is not None:
        if kind != "vary":
            raise bad("--amount", "it is for --at vary")
        said["amount"] = order.amount
    if order.gaps:
        if kind != "inpaint":
            raise bad("--gap", "it is for --at gap")
        said |= {"gaps": shorthand.gaps(order.gaps, "--gap"), "unit": order.unit}
    return said


def _check_length(order: Order, preset: Preset, place: dict[str, Any] | None) -> None:
    """Refuse two lengths, one too many or none, in the command line's own words."""
    lengths = {"--seconds": order.seconds, "--bars": order.bars}
    given = [name for name, value in lengths.items() if value is not None]
    if len(given) == 2:
        raise bad("--bars", "give --seconds or --bars, not both")
    if place is not None and place["kind"] in ("inpaint", "vary"):
        if given:
            text = "the region says how much is made; leave it out, or choose another --at"
            raise bad(given[0], text)
    elif not given and (place is None or (preset.new_seconds or preset.new_bars) is None):
        raise bad("--seconds", "say how much music to make, here or with --bars")


def _check_tempo(order: Order) -> None:
    if order.unit not in UNITS:
        raise bad("--unit", f"there is no {order.unit!r}; choose one of {', '.join(UNITS)}")
    if order.tempo is not None:
        if order.bpm is not None or order.beats_per_bar is not None:
            option = "--beats-per-bar" if order.bpm is None else "--bpm"
            raise bad(option, "the file of --tempo says it already: leave one of them out")
        return
    if order.from_bar != 1:
        raise bad("--from-bar", "it is a bar of a song: give its tempo map too, with --tempo")
    if order.bpm is None:
        if order.bars is not None or order.unit in ("beats", "bars"):
            text = "bars and beats need a tempo: say how many beats a minute, or give --tempo"
            raise bad("--bpm", text)
        if order.beats_per_bar is not None:
            raise bad("--beats-per-bar", "it means nothing without --bpm: give that too")


def _song(order: Order) -> SongMap | None:
    if order.tempo is None:
        return None
    start = order.start or 0.0
    if not math.isfinite(start):
        raise bad("--start", f"{start} is no time in IN.wav: say a second of it")
    return SongMap.read(order.tempo, order.from_bar, start)


def _lengths(
    order: Order, preset: Preset, place: dict[str, Any] | None, song: SongMap | None
) -> dict[str, Any]:
    """How much is made. A request's map begins with the region: bars before it are seconds."""
    bars = preset.new_bars if order.seconds is None and order.bars is None else order.bars
    before = place is not None and place.get("side") == "left"
    if song is None or not before or bars is None or not 0 < bars <= MAX_NEW_BARS:
        return {"new_seconds": order.seconds, "new_bars": order.bars}
    seconds = song.seconds_before(bars)
    if seconds > MAX_NEW_SECONDS:
        text = f"{bars:g} bars are {seconds:g} s, more than the {MAX_NEW_SECONDS:g} s at a time"
        raise bad("--bars", f"{text}: ask for fewer")
    return {"new_seconds": seconds}


def _region(order: Order) -> dict[str, Any] | None:
    if order.source is None:
        return None
    start, length = order.start or 0.0, order.length
    if length is None:
        length = file_seconds(order.source) - start
        if length <= 0:
            text = f"--start {start:g} is not before the end of {order.source}: choose less"
            raise SegueError(Code.BAD_REGION, text)
    path = str(order.source.absolute())
    return {"path": path, "start_seconds": start, "length_seconds": length}


def _tempo(order: Order, song: SongMap | None) -> dict[str, Any] | None:
    if song is not None:
        return song.tempo().model_dump(mode="json")
    if order.bpm is None:
        return None
    try:
        beats = 4.0 if order.beats_per_bar is None else order.beats_per_bar
        return TempoMap.steady(order.bpm, beats).model_dump(mode="json")
    except ValidationError as error:
        raise _refusal(error) from error


def _features(order: Order) -> Iterator[dict[str, Any]]:
    if order.intensity is not None:
        points = shorthand.curve(order.intensity, "--intensity")
        yield {"kind": "intensity", "unit": order.unit, "points": points}
    if order.melody is not None:
        yield melody_of(order.melody)
    if order.structure is not None:
        yield {
            "kind": "structure",
            "unit": order.unit,
            **shorthand.plan(order.structure, "--structure"),
        }
    if order.text is not None:
        yield {"kind": "text", "text": order.text}


def _settings(order: Order) -> dict[str, Any]:
    within = None
    if order.within is not None:
        within = shorthand.seconds(order.within, "--within")
    given = {
        "tags": list(order.tags) or None,
        "guidance": order.guidance,
        "iterations": order.iterations,
        "seeds": order.seeds,
        "keep": order.keep,
        "within_seconds": within,
    }
    return {name: value for name, value in given.items() if value is not None}
