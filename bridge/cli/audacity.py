"""`segue audacity`: what is selected in a running Audacity becomes a track below it."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segue.bridge.cli.make import Bars, BeatsPerBar, Bpm, PresetName, Seconds, Seed
from segue.presets.vocabulary import MAX_SEED, Code, Result, SegueError

if TYPE_CHECKING:
    from segue.bridge.daw.audacity import Ask
    from segue.bridge.offline import Run


def register(app: typer.Typer, load: Callable[[str], Run], default_model: str) -> None:
    """Add the command; `load` gives the engine of a model's name."""

    @app.command()
    def audacity(
        seconds: Seconds = None,
        bars: Bars = None,
        bpm: Bpm = None,
        beats_per_bar: BeatsPerBar = None,
        preset: PresetName = "continue",
        seed: Seed = None,
        model: Annotated[str, typer.Option(help="Name of the model.")] = default_model,
    ) -> None:
        """Continue what is selected in Audacity (3, with mod-script-pipe enabled).

        The new music comes onto a track of its own, where it belongs; yours stays as it is.
        """
        from segue.bridge.daw.audacity_pipe import AudacityPipe

        options = {
            "preset": _absolute(preset), "new_seconds": seconds, "new_bars": bars, "bpm": bpm,
            "beats_per_bar": beats_per_bar, "seed": seed,
        }  # fmt: skip
        with AudacityPipe() as pipe:
            result = run_audacity(pipe.ask, options, load(model))
        made = result.new_samples / result.sample_rate
        typer.echo(
            f"{made:.1f} s new in {result.taken_seconds:.1f} s, on track Segue {result.seed}"
        )


def _absolute(preset: str) -> str:
    return str(Path(preset).absolute()) if preset.endswith(".toml") else preset


def run_audacity(ask: Ask, options: dict[str, Any], run: Run) -> Result:
    """Export the selection, have it made into clips, lay these on tracks; the best is heard.

    Raises SegueError; where Audacity is gone by then, it says where the clips are kept.
    """
    from segue.bridge.daw import audacity
    from segue.bridge.job_sheet import request_of_sheet
    from segue.bridge.sound_file import file_seconds

    chosen = audacity.selection(ask)
    with tempfile.TemporaryDirectory(prefix="segue-audacity-") as name:
        folder = Path(name)
        audacity.export(ask, chosen, folder / "selection.wav")
        fields = {key: value for key, value in options.items() if value is not None}
        fields.setdefault("seed", secrets.randbelow(MAX_SEED + 1))
        fields |= {"id": "audacity", "settings": {"overlay": True}}
        length = file_seconds(folder / "selection.wav")
        fields["region"] = {"path": "selection.wav", "start_seconds": 0, "length_seconds": length}
        request = request_of_sheet(fields, folder)
        result = run(request, folder / "clip.wav", lambda progress: None)
        try:
            for number, placing in enumerate(audacity.placings(result, chosen)):
                audacity.place(ask, placing, f"Segue {result.seed}", muted=number > 0)
        except (SegueError, OSError) as error:
            text = error.text if isinstance(error, SegueError) else f"Audacity is gone ({error})"
            raise SegueError(Code.UNSUPPORTED, f"{text}; kept: {_kept(result)}") from error
    return result


def _kept(result: Result) -> str:
    """The clips, out of the folder that goes, where nothing else is."""
    folder = Path(tempfile.mkdtemp(prefix="segue-clips-"))
    clips = [shutil.move(path, folder) for path in (result.path, *result.variations)]
    return ", ".join(map(str, clips))
