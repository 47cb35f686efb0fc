"""`segue outpaint`: one job from file to file, without server or DAW."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console

from segue.bridge.terminal import JobBar, job_figures, print_figures
from segue.presets.library import load_preset, sentence
from segue.presets.vocabulary import (
    MAX_SEED,
    Code,
    Progress,
    Region,
    Request,
    Result,
    SegueError,
    Settings,
)

Run = Callable[[Request, Path, Callable[[Progress], None]], Result]


def ask(
    source: Path,
    *,
    start_seconds: float,
    length_seconds: float | None,
    new_seconds: float,
    seed: int | None,
    preset: str,
    tags: tuple[str, ...] = (),
    guidance: float | None = None,
) -> Request:
    """The request for a region of `source`, which goes to the file's end unless told otherwise.

    Without a seed one is drawn; tags and guidance replace the preset's. Raises SegueError
    naming whatever does not fit.
    """
    chosen = load_preset(preset)
    if length_seconds is None:
        length_seconds = file_seconds(source) - start_seconds
        if length_seconds <= 0:
            text = f"--start {start_seconds:g} is not before the end of {source}: choose less"
            raise SegueError(Code.BAD_REGION, text)
    style = {"tags": tags or None, "guidance": guidance}
    given = {name: value for name, value in style.items() if value is not None}
    try:
        return Request(
            id="outpaint",
            region=Region(
                path=str(source.absolute()),
                start_seconds=start_seconds,
                length_seconds=length_seconds,
            ),
            new_seconds=new_seconds,
            seed=secrets.randbelow(MAX_SEED + 1) if seed is None else seed,
            controls=chosen.controls,
            settings=Settings(**{**chosen.settings.model_dump(), **given}),
        )
    except ValidationError as error:
        raise SegueError(Code.BAD_REQUEST, sentence(error)) from error


def file_seconds(path: Path) -> float:
    """Length of an audio file. Raises SegueError if it is missing, no audio, or empty."""
    import soundfile

    if not path.is_file():
        raise SegueError(Code.MISSING_FILE, f"there is no file {path}")
    try:
        info = soundfile.info(str(path))
    except soundfile.SoundFileError as error:
        text = f"{path} cannot be read as audio: give a WAV, FLAC, AIFF or OGG file"
        raise SegueError(Code.NOT_AUDIO, text) from error
    if info.frames <= 0:
        raise SegueError(Code.BAD_REGION, f"{path} is empty: there is nothing to continue")
    return float(info.frames / info.samplerate)


def choose_out(source: Path, out: Path | None, force: bool) -> Path:
    """Where the clip goes: beside its source by default, over nothing that exists unless told."""
    chosen = out or source.with_name(f"{source.stem}-segue.wav")
    if not chosen.parent.is_dir():
        raise SegueError(Code.DISK, f"there is no folder {chosen.parent}: make it, or change --out")
    if chosen.exists() and (not force or not chosen.is_file() or chosen.samefile(source)):
        hint = "choose another --out" if force else "choose another --out, or say --force"
        raise SegueError(Code.DISK, f"{chosen} exists: {hint}")
    return chosen


def run_offline(
    request: Request,
    out: Path,
    load: Callable[[], Run],
    clock: Callable[[], float] = time.monotonic,
) -> Result:
    """Load the engine, run the job under a progress bar, print its figures."""
    console = Console()
    with console.status("loading the model"):
        run = load()
    begun = clock()
    with JobBar(console) as bar:
        result = run(request, out, lambda p: bar.show(p.stage, p.fraction, p.loss))
        bar.show("done", 1.0, result.loss_last)
    figures = {"clip": str(out)} | job_figures(result, clock() - begun)
    print_figures(console, figures)
    return result
