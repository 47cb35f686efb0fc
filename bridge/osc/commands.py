"""What a DAW may ask for: one command a message, its arguments validated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import ValidationError

from segue.bridge.osc import addresses, codec
from segue.bridge.osc.grammar import Row, read
from segue.bridge.osc.row_controls import controls
from segue.bridge.osc.row_list import RowList
from segue.presets.controls import Inpaint, Text, Vary
from segue.presets.library import Preset, apply, sentence
from segue.presets.tempo import TempoMap
from segue.presets.vocabulary import Code, Region, Request, SegueError

MAX_PORT = 65_535

PLAIN = Preset(title="", description="")  # of an order that names none

_Values = dict[str, str | int | float]
_Fields = dict[str, Any]
_Lists = Mapping[str, _Fields]


class Sender(NamedTuple):
    """Where a message came from and its answers go: a UDP port, or a TCP connection's far end."""

    host: str
    port: int
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Hello:
    """Ask the server what it is; answered by its Health."""

    client: str
    sender: Sender

    @property
    def id(self) -> str:
        """The job it is about: none."""
        return ""


@dataclass(frozen=True, slots=True)
class Submit:
    """Give the server a job; answered by its Status."""

    request: Request
    sender: Sender

    @property
    def id(self) -> str:
        """The job it is about."""
        return self.request.id


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop a job; answered by its Status."""

    id: str
    sender: Sender


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Tell this port of every job."""

    at: Sender


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Tell it no more."""

    at: Sender


Command = Hello | Submit | Cancel


def understand(
    row: Row,
    args: tuple[codec.Value, ...],
    sender: Sender,
    presets: Mapping[str, Preset],
    lists: Mapping[str, RowList],
) -> Command | Subscribe | Unsubscribe:
    """An incoming row's command; an order takes `lists`, which came for its id.

    Raises SegueError(BAD_REQUEST, "<argument>: what to do").
    """
    values = read(row, args)
    try:
        match row.address:
            case addresses.HELLO.address:
                return Hello(str(values["client"]), sender)
            case addresses.CANCEL.address:
                return Cancel(str(values["id"]), sender)
            case addresses.SUBSCRIBE.address:
                return Subscribe(_at(values, sender))
            case addresses.UNSUBSCRIBE.address:
                return Unsubscribe(_at(values, sender))
            case addresses.OUTPAINT.address:
                fields = _outpaint(values, presets, controls(lists))
            case _:
                fields = _make(values, presets, controls(lists))
        return Submit(Request.model_validate(fields), sender)
    except ValidationError as error:
        raise SegueError(Code.BAD_REQUEST, sentence(error)) from error


def named_id(row: Row, args: tuple[codec.Value, ...]) -> str:
    """The id a message carries, usable or not, so that its sender knows what an error is about."""
    if row.arguments[:1] != addresses.CANCEL.arguments or not args or not isinstance(args[0], str):
        return ""
    return args[0]


def _at(values: _Values, sender: Sender) -> Sender:
    if "port" not in values:
        return sender
    port = int(values["port"])
    if not 1 <= port <= MAX_PORT:
        raise SegueError(Code.BAD_REQUEST, f"port: send 1 to {MAX_PORT}, or none for this socket")
    return Sender(sender.host, port)


def _outpaint(values: _Values, presets: Mapping[str, Preset], lists: _Lists) -> _Fields:
    preset = _preset(values, presets) if values.get("preset") else PLAIN
    if isinstance(preset.place, Inpaint | Vary) or "gaps" in lists:
        what = "gaps" if "gaps" in lists else "preset"
        text = f"{what}: it makes nothing longer, so new_seconds means nothing to it"
        raise SegueError(Code.BAD_REQUEST, f"{text}: send {addresses.MAKE.address}")
    fields = {"id": values["id"], "new_seconds": values["new_seconds"], **_run(values)}
    return _ordered(preset, fields | _region(values), lists)


def _make(values: _Values, presets: Mapping[str, Preset], lists: _Lists) -> _Fields:
    fields: _Fields = {"id": values["id"], **_run(values)}
    if values["path"]:
        fields |= _region(values)
    fields |= {key: values[key] for key in ("new_seconds", "new_bars") if _above_0(values, key)}
    if _above_0(values, "bpm"):
        fields["tempo"] = TempoMap.steady(float(values["bpm"])).model_dump(mode="json")
    if values.get("text"):
        fields["controls"] = [Text(text=str(values["text"])).model_dump(mode="json")]
    return _ordered(_preset(values, presets), fields, lists)


def _ordered(preset: Preset, fields: _Fields, lists: _Lists) -> _Fields:
    """An order's fields with its lists among them, laid over a preset."""
    features = [lists[what] for what in ("intensity", "melody") if what in lists]
    if "gaps" in lists:
        place = preset.place.model_dump() if isinstance(preset.place, Inpaint) else {}
        features.append(place | lists["gaps"])
    fields = fields | {"controls": [*fields.get("controls", ()), *features]}
    tempo = {"tempo": lists["tempo"]} if "tempo" in lists else {}
    return apply(preset, fields | tempo)


def _run(values: _Values) -> _Fields:
    """What the optional seed and previews ask for; a DAW's tracks always want an overlay."""
    drawn = values.get("seed", addresses.DRAW_SEED) == addresses.DRAW_SEED
    settings = {"overlay": True} | ({"previews": True} if values.get("previews") else {})
    return {"settings": settings} | ({} if drawn else {"seed": values["seed"]})


def _region(values: _Values) -> _Fields:
    region = {key: values[key] for key in ("path", "start_seconds", "length_seconds")}
    # Built on its own, so that an error names `path`, the argument, and not `region.path`.
    return {"region": Region.model_validate(region).model_dump(mode="json")}


def _preset(values: _Values, presets: Mapping[str, Preset]) -> Preset:
    preset = presets.get(str(values["preset"]))
    if preset is None:
        text = f"preset: no preset {values['preset']!r}; there are: {', '.join(presets)}"
        raise SegueError(Code.BAD_REQUEST, text)
    return preset


def _above_0(values: _Values, key: str) -> bool:
    value = values.get(key)
    return isinstance(value, int | float) and value > 0
