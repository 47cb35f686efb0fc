"""Puts the Ardour scripts where Ardour looks, and registers them beside those that are.

Ardour keeps registered scripts in one file, `ui_scripts`: a Lua program that fills the action
slots, and one for each hook, both in base64. It reads the file when it starts and writes it when
a session closes, first with two scripts of its own.
"""

from __future__ import annotations

import base64
import os
import re
import sys
from importlib.resources import files
from pathlib import Path

from segue.bridge.daw.install import Fate, Placed, copy_scripts, write
from segue.presets.vocabulary import Code, SegueError

ACTIONS = ("continue", "inpaint", "vary", "cancel")
MOST_SLOTS = 9  # that every Ardour has
VERSIONS = ("9", "8", "7")
REGISTERED_VERSION = "7"  # whose signals are numbered as below
SIGNALS = 51
TIMER_SIGNAL = 49  # LuaTimerDS: ten times a second
HOOK_ID = 9137  # any number that no other hook of the file has

BEFORE = "ui_scripts.before-segue"
EMPTY = '<?xml version="1.0" encoding="UTF-8"?>\n<UIScripts>\n  <ActionScript lua="Lua 5.3">'
EMPTY += "</ActionScript>\n  <ActionHooks/>\n</UIScripts>\n"

NEXT_STEPS = (
    "If Ardour is running: close it, and install once more, for it writes its own list then.",
    "Start Ardour, look into Edit > Lua Scripts. If Segue's actions are not there, open its Script"
    " Manager: under Action Scripts, Add/Set each `Segue: ...` in a free slot; under Action Hooks,"
    " New Hook, choose `Segue: inbox`.",
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
        text = f"no Ardour at {looked}: start Ardour once, or name its folder with --to"
        raise SegueError(Code.MISSING_FILE, text)
    return found


def install_ardour(folder: Path, *, dry_run: bool = False) -> list[Placed]:
    """Put actions, inbox and what they share into Ardour's folder of settings.

    They are registered too where `folder` is Ardour 7's; what was registered before stays.
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
    if folder.name.endswith(REGISTERED_VERSION):
        placed.append(_register(folder / "ui_scripts", dry_run))
    return placed


def _register(registry: Path, dry_run: bool) -> Placed:
    """Add ours to Ardour's file; what it was before is kept beside it."""
    try:
        known = registry.read_text(encoding="utf-8") if registry.exists() else ""
        text = registered(known or EMPTY)
        if text is None:
            return Placed(registry, Fate.FULL)
        if text == known:
            return Placed(registry, Fate.SAME)
        if not dry_run:
            if known:
                registry.with_name(BEFORE).write_text(known, encoding="utf-8")
            write(text.encode(), registry)
    except (OSError, ValueError) as error:
        raise SegueError(Code.DISK, f"{registry}: {error}: see to it, then again") from error
    return Placed(registry, Fate.ADDED if known else Fate.WRITTEN)


def registered(registry: str) -> str | None:
    """Ardour 7's list of scripts with our actions and the inbox in it; what is there stays.

    The actions take free slots, the lowest first. None where the list is not as Ardour writes it,
    or has no room: ours are then registered by hand.
    """
    action = re.search(r"(<ActionScript [^>]*>)([^<]*)(</ActionScript>)", registry)
    if action is None:
        return None
    program = base64.b64decode(action[2]) or b"scripts = {}"
    missing = [name for name in ACTIONS if _name_of(_script(name)).encode() not in program]
    used = {int(number) for number in re.findall(rb"scripts\[(\d+)\] = \{\}", program)}
    free = [slot for slot in range(1, MOST_SLOTS + 1) if slot not in used]
    if len(free) < len(missing):
        return None
    for slot, name in zip(free, missing, strict=False):
        program += f" scripts[{slot}] = {{}} {_slot(slot, name)}".encode()
    added = action[1] + base64.b64encode(program).decode() + action[3]
    registry = registry[: action.start()] + added + registry[action.end() :]
    return registry if 'name="Segue: inbox"' in registry else _with_hook(registry)


def _with_hook(registry: str) -> str:
    hook = _script("inbox")
    state = f's = {{}} s["n"] = "Segue: inbox" s["a"] = {{}} s["s"] = {_quoted(hook)}'
    callback = _base64(f'{state} s["f"] = {_quoted(_factory(hook))} ')
    signals = "".join("01"[bit == TIMER_SIGNAL] for bit in reversed(range(SIGNALS)))
    ours = (
        f'    <LuaCallback lua="Lua 5.3" id="{HOOK_ID}" name="Segue: inbox" signals="{signals}">'
        f"{callback}</LuaCallback>\n  </ActionHooks>"
    )
    opened = registry.replace("<ActionHooks/>", "<ActionHooks>\n  </ActionHooks>")
    return opened.replace("</ActionHooks>", ours.lstrip(), 1)


def _slot(slot: int, name: str) -> str:
    source = _script(name)
    fields = {"n": _name_of(source), "s": source, "f": _factory(source)}
    texts = [f'scripts[{slot}]["{key}"] = {_quoted(text)}' for key, text in fields.items()]
    return " ".join([*texts, f'scripts[{slot}]["a"] = {{}} scripts[{slot}]["c"] = true'])


def _name_of(source: str) -> str:
    return source.split('name = "', 1)[1].split('"', 1)[0]


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
