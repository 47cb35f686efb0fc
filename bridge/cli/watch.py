"""`segue watch`: clips for every DAW that can export a file into a folder."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segue.bridge.cli.make import Bars, BeatsPerBar, Bpm, PresetName, Seconds, Seed

if TYPE_CHECKING:
    from segue.bridge.offline import Run

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Where your DAW exports to.")]


def register(app: typer.Typer, load: Callable[[str], Run], default_model: str) -> None:
    """Add the command; `load` gives the engine of a model's name."""

    @app.command()
    def watch(
        folder: Folder,
        seconds: Seconds = None,
        bars: Bars = None,
        bpm: Bpm = None,
        beats_per_bar: BeatsPerBar = None,
        preset: PresetName = "continue",
        seed: Seed = None,
        model: Annotated[str, typer.Option(help="Name of the model.")] = default_model,
    ) -> None:
        """Make a clip of every audio file that appears in a folder.

        loop.wav becomes FOLDER/segue/loop.wav; what goes wrong with it is said in
        FOLDER/segue/loop.wav.error.txt. A file is made once, also after a restart.

        A sheet beside it, loop.toml or loop.json, says what to make of it, in the
        words of a preset: preset, new_seconds, new_bars, bpm, beats_per_bar, seed,
        region, controls, settings. Save it before the audio.
        """
        from segue.bridge.watch.folder import WatchedFolder, printable, run_watch
        from segue.presets.library import load_preset

        load_preset(preset)
        preset = str(Path(preset).absolute()) if preset.endswith(".toml") else preset
        options = {
            "preset": preset, "new_seconds": seconds, "new_bars": bars, "bpm": bpm,
            "beats_per_bar": beats_per_bar, "seed": seed,
        }  # fmt: skip
        given = {key: value for key, value in options.items() if value is not None}
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="replace", line_buffering=True)
        watched = WatchedFolder(folder, given, load(model))
        print(f"watching {printable(str(folder))}; Ctrl-C stops")
        run_watch(watched)
