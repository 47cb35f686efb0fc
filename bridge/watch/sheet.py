"""What is to be made of a file of a watched folder: the sheet beside it, or else the options."""

from __future__ import annotations

import hashlib
import secrets
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from segue.bridge.job_sheet import (
    LENGTHS,
    MAX_SHEET_BYTES,
    laid_over,
    preset_of,
    request_of_sheet,
)
from segue.bridge.sound_file import file_seconds
from segue.bridge.watch.ready import Job
from segue.presets.library import PLACE_KINDS
from segue.presets.vocabulary import MAX_SEED, Code, Request, SegueError

JOB_ID = "watch"


def request_of(folder: Path, job: Job, options: Mapping[str, Any]) -> Request:
    """What a file's sheet asks for, or else `options`. Raises SegueError naming what is wrong."""
    audio = folder / job.audio
    _check_name(audio)
    sheet = _read_sheet(folder / job.sheet) if job.sheet else {}
    if _is_as_long_as_its_region(sheet, folder):
        options = {key: value for key, value in options.items() if key not in LENGTHS}
    fields = laid_over(options, sheet)
    fields["region"] = _region(audio, fields.get("region", {}))
    if fields.get("seed") is None:
        fields["seed"] = secrets.randbelow(MAX_SEED + 1)
    fields["id"] = JOB_ID
    try:
        return request_of_sheet(fields, folder)
    except SegueError as error:
        where = job.sheet or "the options of segue watch"
        raise SegueError(error.code, f"{where}: {error.text}") from error


def digest_of(folder: Path, job: Job) -> str:
    """A hash of the audio and, if there is one, of the sheet."""
    digests = []
    for name in (job.audio, job.sheet):
        if name is not None:
            try:
                with (folder / name).open("rb") as file:
                    digests.append(hashlib.file_digest(file, "sha256").hexdigest())
            except OSError as error:
                text = f"it cannot be read ({error.strerror}): see to it, then save it again"
                raise SegueError(Code.DISK, text) from error
    return "+".join(digests)


def _check_name(audio: Path) -> None:
    try:
        str(audio).encode()
    except UnicodeEncodeError as error:
        text = "its name is not in UTF-8: give it another one"
        raise SegueError(Code.UNSUPPORTED, text) from error


def _read_sheet(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
        if len(data) > MAX_SHEET_BYTES:
            text = f"{path.name} has more than {MAX_SHEET_BYTES} bytes: make it smaller"
            raise SegueError(Code.BAD_REQUEST, text)
        text = data.decode("utf-8-sig")
        sheet = tomllib.loads(text) if path.suffix == ".toml" else from_json(text)
    except (OSError, ValueError) as error:
        raise SegueError(Code.BAD_REQUEST, f"{path.name}: {error}") from error
    if not isinstance(sheet, dict):
        raise SegueError(Code.BAD_REQUEST, f"{path.name}: give a table, such as {{}}")
    return sheet


def _is_as_long_as_its_region(sheet: Mapping[str, Any], folder: Path) -> bool:
    """Whether the sheet asks for music in place of some that is there, which has its length."""
    said = controls if isinstance(controls := sheet.get("controls"), list) else []
    kinds = [each.get("kind") for each in said if isinstance(each, Mapping)]
    places = [kind for kind in kinds if kind in PLACE_KINDS]
    if not places and "preset" in sheet:
        with suppress(SegueError):  # to be told of where the request is made
            place = preset_of(sheet["preset"], folder).place
            places = [place.kind] if place else []
    return "inpaint" in places or "vary" in places


def _region(audio: Path, said: Any) -> Any:
    """The whole file, or the part of it that its sheet names."""
    if not isinstance(said, Mapping):
        return said
    if "path" in said:
        text = f"region.path: {audio.name} is meant, leave it out"
        raise SegueError(Code.BAD_REQUEST, text)
    region = {"path": str(audio), "start_seconds": 0.0, **said}
    start = region["start_seconds"]
    if "length_seconds" not in region and isinstance(start, int | float):
        region["length_seconds"] = file_seconds(audio) - start
    return region
