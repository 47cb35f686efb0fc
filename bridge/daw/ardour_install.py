"""Puts the Ardour scripts where Ardour looks, and registers them where nobody registered any yet.

Ardour keeps registered scripts in one file, `ui_scripts`: a Lua program that fills the action
slots, and one for each hook, both in base64. It writes that file when a session closes.
"""

from __future__ import annotations

import base64
import os
import sys
from importlib.resources import files
from pathlib import Path

from segue.bridge.daw.install import MARKER, Fate, Placed, copy_scripts, place
from segue.presets.vocabulary import Code, SegueError

ACTIONS = ("continue", "inpaint", "vary", "cancel")  # in the slots 1 to 4
VERSIONS = ("9", "8", "7")
REGISTERED_VERSION = "7"  # whose signals are numbered as below
SIGNALS = 51
TIMER_SIGNAL = 49  # LuaTimerDS: ten times a second
HOOK_ID = 9137  # any number that no other hook of the file has

NEXT_STEPS = (
    "Restart Ardour.",
    "Look into Edit > Lua Scripts. If Segue's actions are not there, open its Script Manager:"
    " under Action Scripts, Add/Set each `Segue: ...` in a free slot; under Action Hooks, New Hook,"
    " choose `Segue: inbox`.",
    "Keep `segue up` running beside Ardour.",
)
_PARENTS = {
    "win32": ("{LOCALAPPDATA}/ardour",),
    "darwin": ("{HOME}/Library/Preferences/Ardour",),
    "linux": ("{XDG_CONFIG_HOME}/ardour", "{HOME}/.config/ardour"),
}


def default_ardour_folder() -> Path:
    """The folder of settings of the newest Ardour that has one.

    Raises SegueError(MISSING_FILE) naming the folders that were looked for.
    """
    places = {"HOME": str(Path.home())}
    places |= {
        key: os.environ[key] for key in ("LOCALAPPDATA", "XDG_CONFIG_HOME") if key in os.environ
    }
    starts = [
        start.format_map(places)
        for start in _PARENTS.get(sys.platform, _PARENTS["linux"])
        if start[1 : start.index("}")] in places
    ]
    folders = [Path(f"{start}{version}") for version in VERSIONS for start in starts]
    found = next((folder for folder in folders if folder.is_dir()), None)
    if found is None:
        looked = " or ".join(map(str, folders))
        raise SegueError(Code.MISSING_FILE, f"no Ardour at {looked}: start Ardour once")
    return found


def install_ardour(folder: Path, *, dry_run: bool = False) -> list[Placed]:
    """Put actions, inbox and what they share into Ardour's folder of settings.

    They are registered too where `folder` is Ardour 7's and nothing has been registered yet.
    """
    ours = files("segue.bridge.daw") / "ardour"
    placed = copy_scripts(ours / "scripts", folder / "scripts", dry_run=dry_run)
    settings = folder / "segue" / "settings.lua"
    for source in sorted((ours / "segue").iterdir(), key=lambda entry: entry.name):
        target = folder / "segue" / source.name
        if target == settings and target.exists():
            placed.append(Placed(target, Fate.SAME))
        else:
            placed += copy_scripts(source, target, dry_run=dry_run)
    registry = folder / "ui_scripts"
    if registry.exists():
        placed.append(Placed(registry, Fate.SAME))
    elif folder.name.endswith(REGISTERED_VERSION):
        placed.append(place(ui_scripts().encode(), registry, dry_run=dry_run))
    return placed


def ui_scripts() -> str:
    """The file with our four actions and the inbox, as Ardour 7 reads it."""
    slots = [f"scripts[{slot}] = {{}} {_slot(slot, name)}" for slot, name in enumerate(ACTIONS, 1)]
    hook = _script("inbox")
    state = f's = {{}} s["n"] = "Segue: inbox" s["a"] = {{}} s["s"] = {_quoted(hook)}'
    callback = f'{state} s["f"] = {_quoted(_factory(hook))} '
    signals = "".join("01"[bit == TIMER_SIGNAL] for bit in reversed(range(SIGNALS)))
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<!-- {MARKER} -->\n<UIScripts>\n"
        f'  <ActionScript lua="Lua 5.3">{_base64("scripts = {} " + " ".join(slots))}'
        "</ActionScript>\n  <ActionHooks>\n"
        f'    <LuaCallback lua="Lua 5.3" id="{HOOK_ID}" name="Segue: inbox" signals="{signals}">'
        f"{_base64(callback)}</LuaCallback>\n  </ActionHooks>\n</UIScripts>\n"
    )


def _slot(slot: int, name: str) -> str:
    source = _script(name)
    title = source.split('name = "', 1)[1].split('"', 1)[0]
    fields = {"n": title, "s": source, "f": _factory(source)}
    texts = [f'scripts[{slot}]["{key}"] = {_quoted(text)}' for key, text in fields.items()]
    return " ".join([*texts, f'scripts[{slot}]["a"] = {{}} scripts[{slot}]["c"] = true'])


def _script(name: str) -> str:
    script = files("segue.bridge.daw") / "ardour" / "scripts" / f"segue_{name}.lua"
    return script.read_text(encoding="utf-8")


def _factory(source: str) -> str:
    """Ardour stores bytecode here and takes source as well."""
    return f"local ardour, signals, factory = function () end\n{source}\nreturn factory (...)"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
