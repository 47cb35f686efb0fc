"""What a DAW may ask for: one command a message, its arguments validated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from segue.bridge import addresses, osc
from segue.presets.controls import Inpaint, Text, Vary
from segue.presets.library import Preset, apply, sentence
from segue.presets.tempo import TempoMap
from segue.presets.vocabulary import Code, Id, Region, Request, SegueError

Sender = tuple[str, int]  # host and port a datagram came from

_ID: TypeAdapter[str] = TypeAdapter(Id)
_Values = dict[str, str | int | float]


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


Command = Hello | Submit | Cancel


def understand(
    row: addresses.Row,
    args: tuple[osc.Value, ...],
    sender: Sender,
    presets: Mapping[str, Preset],
) -> Command:
    """An incoming row's command. Raises SegueError(BAD_REQUEST, "<argument>: what to do")."""
    try:
        return _COMMANDS[row.address](addresses.read(row, args), sender, presets)
    except ValidationError as error:
        raise SegueError(Code.BAD_REQUEST, sentence(error)) from error


def named_id(row: addresses.Row, args: tuple[osc.Value, ...]) -> str:
    """The id an unusable message carries, so that its sender knows what the error is about."""
    if row is addresses.HELLO or not args or not isinstance(args[0], str):
        return ""
    return args[0]


def _hello(values: _Values, sender: Sender, presets: Mapping[str, Preset]) -> Command:
    return Hello(str(values["client"]), sender)


def _outpaint(values: _Values, sender: Sender, presets: Mapping[str, Preset]) -> Command:
    fields = {key: values[key] for key in ("id", "new_seconds")} | _run(values)
    if values.get("preset"):
        preset = _preset(values, presets)
        if isinstance(preset.place, Inpaint | Vary):
            text = "preset: it makes nothing longer, so new_seconds means nothing to it"
            raise SegueError(Code.BAD_REQUEST, f"{text}: send {addresses.MAKE.address}")
        return Submit(Request.model_validate(apply(preset, fields | _region(values))), sender)
    return Submit(Request.model_validate(fields | _region(values)), sender)


def _make(values: _Values, sender: Sender, presets: Mapping[str, Preset]) -> Command:
    fields: dict[str, object] = {"id": values["id"], **_run(values)}
    if values["path"]:
        fields |= _region(values)
    fields |= {key: values[key] for key in ("new_seconds", "new_bars") if _above_0(values, key)}
    if _above_0(values, "bpm"):
        fields["tempo"] = TempoMap.steady(float(values["bpm"])).model_dump(mode="json")
    if values.get("text"):
        fields["controls"] = [Text(text=str(values["text"])).model_dump(mode="json")]
    return Submit(Request.model_validate(apply(_preset(values, presets), fields)), sender)


def _run(values: _Values) -> dict[str, object]:
    """What the optional seed and previews ask for."""
    drawn = values.get("seed", addresses.DRAW_SEED) == addresses.DRAW_SEED
    found: dict[str, object] = {} if drawn else {"seed": values["seed"]}
    return found | ({"settings": {"previews": True}} if values.get("previews") else {})


def _region(values: _Values) -> dict[str, object]:
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


def _cancel(values: _Values, sender: Sender, presets: Mapping[str, Preset]) -> Command:
    # An id that no job can have must not become part of a URL either.
    try:
        return Cancel(_ID.validate_python(values["id"]), sender)
    except ValidationError as error:
        text = "id: use 1 to 64 letters, digits, '.', '_' or '-'"
        raise SegueError(Code.BAD_REQUEST, text) from error


_COMMANDS: dict[str, Callable[[_Values, Sender, Mapping[str, Preset]], Command]] = {
    addresses.HELLO.address: _hello,
    addresses.OUTPAINT.address: _outpaint,
    addresses.MAKE.address: _make,
    addresses.CANCEL.address: _cancel,
}
