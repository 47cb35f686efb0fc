"""`segue make`: one job from file to file, without server or DAW."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from segue.bridge.terminal import JobBar, job_figures, print_figures
from segue.presets.vocabulary import Code, Progress, Request, Result, SegueError

Run = Callable[[Request, Path, Callable[[Progress], None]], Result]


def choose_out(source: Path | None, out: Path | None, force: bool, keep: int = 1) -> Path:
    """Where the clip goes: beside its source by default, over nothing that exists unless told.

    More clips than one, `keep` of them, lie beside it under numbers.
    """
    beside = Path("segue.wav") if source is None else source.with_name(f"{source.stem}-segue.wav")
    chosen = out or beside
    if chosen.suffix.lower() != ".wav":
        text = f"{chosen}: the clip is a WAV file, give --out a name that ends in .wav"
        raise SegueError(Code.BAD_REQUEST, text)
    if not chosen.parent.is_dir():
        raise SegueError(Code.DISK, f"there is no folder {chosen.parent}: make it, or change --out")
    for clip in (chosen, *(numbered(chosen, n) for n in range(2, keep + 1))):
        its_own = source is not None and clip.exists() and clip.samefile(source)
        if clip.exists() and (not force or not clip.is_file() or its_own):
            hint = "choose another --out" if force else "choose another --out, or say --force"
            raise SegueError(Code.DISK, f"{clip} exists: {hint}")
    return chosen


def numbered(clip: Path, number: int) -> Path:
    """Where the engine puts the second, third, ... best clip: `clip~2.wav` beside `clip.wav`."""
    return clip.with_name(f"{clip.stem}~{number}{clip.suffix}")


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
    figures = {"clip": "\n".join((str(out), *result.variations))}
    if result.notes:
        figures["note"] = "\n".join(result.notes)
    print_figures(console, figures | job_figures(result, clock() - begun))
    return result
