"""Which knob of which controller steers what: TOML in, a validated map out, and back."""

from __future__ import annotations

import tomllib
from importlib.resources import as_file
from pathlib import Path
from typing import Literal, Self, get_args

from pydantic import Field, ValidationError, model_validator

from segue.bridge.midi.channels import Bits, Kind, Source
from segue.presets.library import SHIPPED, sentence
from segue.presets.vocabulary import Code, SegueError, Word

Target = Literal["intensity", "record_melody", "again", "stop"]
TARGETS: tuple[Target, ...] = get_args(Target)
CONTROLLERS = SHIPPED / "controllers"
MAX_CONTROLS = 64
WIDE_KINDS = ("bend", "nrpn")  # which have fourteen bits, and no others


class Bound(Word):
    """A control of the player's and what it steers.

    `intensity` follows where it stands; `record_melody`, `again` (another seed) and `stop`
    happen when it is pressed. Channels count from 1, as they do on the controller; without one,
    any will do; a `zone`'s is 1 (the lower one) or 16. `port` is a part of the port's name;
    without one, any will do.
    """

    target: Target
    kind: Kind
    port: str | None = Field(default=None, min_length=1, max_length=256)
    channel: int | None = Field(default=None, ge=1, le=16)
    number: int = Field(default=0, ge=0, le=16383)
    bits: Bits = 7

    @model_validator(mode="after")
    def _possible(self) -> Self:
        limit = {"cc": 31 if self.bits == 14 else 127, "poly": 127, "nrpn": 16383}
        if self.number > limit.get(self.kind, 0):
            text = f"number {self.number} is above {limit.get(self.kind, 0)}, the last one"
            raise ValueError(f"{text} of kind {self.kind!r} with {self.bits} bits")
        return self

    def fits(self, port: str, source: Source) -> bool:
        """Whether this is the source that moved."""
        bits = 14 if self.kind in WIDE_KINDS else self.bits
        wanted = (self.kind, self.number, bits)
        return (
            (source.kind, source.number, source.bits) == wanted
            and self.channel in (None, source.channel + 1)
            and (self.port is None or self.port.lower() in port.lower())
        )


class ControllerMap(Word):
    """A controller's file: `port` is for those controls that name none."""

    title: str = Field(min_length=1, max_length=100)
    description: str = ""
    port: str | None = Field(default=None, min_length=1, max_length=256)
    controls: tuple[Bound, ...] = Field(min_length=1, max_length=MAX_CONTROLS)

    def targets(self, port: str, source: Source) -> list[Target]:
        """What a source that moved steers."""
        if self.port is not None and self.port.lower() not in port.lower():
            return []
        return [each.target for each in self.controls if each.fits(port, source)]


def map_names() -> list[str]:
    """Names of the shipped maps, sorted."""
    names = (each.name for each in CONTROLLERS.iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def load_map(name: str) -> ControllerMap:
    """A shipped map by name, or any map by a path that ends in `.toml`.

    Raises SegueError naming the file and the key when something does not fit.
    """
    if name.endswith(".toml"):
        return _read(Path(name))
    if name not in map_names():
        known = ", ".join(map_names())
        raise SegueError(Code.BAD_REQUEST, f"--map: there is no {name!r}; there are: {known}")
    with as_file(CONTROLLERS / f"{name}.toml") as path:
        return _read(path)


def _read(path: Path) -> ControllerMap:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return ControllerMap.model_validate(table)
    except ValidationError as error:
        raise SegueError(Code.BAD_REQUEST, f"{path}: {sentence(error)}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SegueError(Code.BAD_REQUEST, f"{path}: {error}") from error


def save_map(chosen: ControllerMap, path: Path) -> None:
    """Write a map that `load_map` reads back as it was. Raises SegueError."""
    fields = chosen.model_dump(mode="json", exclude_none=True)
    controls = fields.pop("controls")
    blocks = [_lines(fields), *("[[controls]]\n" + _lines(control) for control in controls)]
    try:
        path.write_text("\n".join(blocks), encoding="utf-8")
    except OSError as error:
        raise SegueError(Code.DISK, f"{path}: {error}: choose another place") from error


def _lines(fields: dict[str, str | int]) -> str:
    return "".join(f"{key} = {_value(value)}\n" for key, value in fields.items())


def _value(value: str | int) -> str:
    """A TOML basic string: backslash, quote and control characters escaped (TOML 1.0)."""
    if isinstance(value, int):
        return str(value)
    plain = value.replace("\\", "\\\\").replace('"', '\\"')
    shown = (c if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}" for c in plain)
    return f'"{"".join(shown)}"'
