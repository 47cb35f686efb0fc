"""Where REAPER keeps its scripts, and putting ours there."""

from __future__ import annotations

import os
import sys
from importlib.resources import files
from pathlib import Path

from segue.bridge.daw.install import Placed, copy_scripts
from segue.presets.vocabulary import Code, SegueError

NEXT_STEPS = (
    "In REAPER, open Actions > Show action list, choose New action > Load ReaScript, and take"
    " Scripts/Segue/segue_add_actions.lua.",
    "Run it once: then all of Segue's actions are in the list.",
    "Run `Script: segue_self_test.lua` while `segue up` is running.",
)

_FOLDERS = {
    "win32": ("{APPDATA}/REAPER",),
    "darwin": ("{HOME}/Library/Application Support/REAPER",),
    "linux": ("{XDG_CONFIG_HOME}/REAPER", "{HOME}/.config/REAPER"),
}


def default_reaper_folder() -> Path:
    """REAPER's resource folder: Options > Show REAPER resource path.

    Raises SegueError(MISSING_FILE) naming the folders that were looked for.
    """
    names = _FOLDERS.get(sys.platform, _FOLDERS["linux"])
    places = {"HOME": str(Path.home())}
    places |= {key: os.environ[key] for key in ("APPDATA", "XDG_CONFIG_HOME") if key in os.environ}
    folders = [
        Path(name.format_map(places)) for name in names if name[1 : name.index("}")] in places
    ]
    found = next((folder for folder in folders if folder.is_dir()), None)
    if found is None:
        looked = " or ".join(map(str, folders))
        text = f"no REAPER at {looked}: give --to the folder that REAPER shows as its resource path"
        raise SegueError(Code.MISSING_FILE, text)
    return found


def install_reaper(folder: Path, *, dry_run: bool = False) -> list[Placed]:
    """Put the scripts into `Scripts/Segue` of REAPER's resource folder."""
    scripts = files("segue.bridge.daw") / "reaper"
    return copy_scripts(scripts, folder / "Scripts" / "Segue", dry_run=dry_run)
