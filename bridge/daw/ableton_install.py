"""Putting Segue into Ableton Live: its folder of remote scripts, and what to do in Live then."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

from segue.bridge.daw.install import Placed, copy_scripts
from segue.presets.vocabulary import Code, SegueError

NEXT_STEPS = (
    "Start Live anew. In its Settings (Preferences in Live 11), under Link, Tempo & MIDI, choose"
    " Segue in a free row of Control Surface; Input and Output stay at None.",
    "While `segue up` is running, end the name of a clip with `>segue check`: the status bar says"
    " what this Live can do, and whether Segue answers.",
    "Click an audio clip, set the loop brace over the part that counts, and end the clip's name"
    " with `>segue continue 4` for four more bars.",
)


def default_ableton_folder() -> Path:
    """The User Library, where Live has it unless its settings (Library) say otherwise.

    Raises SegueError(UNSUPPORTED) where there is no Live.
    """
    if sys.platform == "darwin":
        return Path.home() / "Music" / "Ableton" / "User Library"
    if sys.platform == "win32":
        import platformdirs

        return platformdirs.user_documents_path() / "Ableton" / "User Library"  # or OneDrive's
    text = "Live runs on macOS and Windows: for another machine, name its User Library with --to"
    raise SegueError(Code.UNSUPPORTED, text)


def install_ableton(folder: Path, *, dry_run: bool = False) -> list[Placed]:
    """Put the script into `Remote Scripts/Segue` of Live's User Library."""
    script = files("segue.bridge.daw") / "ableton" / "Segue"
    return copy_scripts(script, folder / "Remote Scripts" / "Segue", dry_run=dry_run)
