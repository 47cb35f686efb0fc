"""A REAPER for its scripts, which run in real Lua 5.4; its functions are in the files beside it.

What REAPER refuses (an object that is gone, a number that is not whole) is refused here too.
`turn` is one of REAPER's own: it runs what scripts have deferred, and counts their work.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lupa.lua54 as lupa

from tests.reaper_project import Accessor, Envelope, Item, Project, Source, Track

API: dict[str, Callable[..., Any]] = {}


def documented(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Makes a function of a Reaper and more the one of that name."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        API[name] = function
        return function

    return register


class Reaper:
    """REAPER with its project tabs, the first one in front."""

    def __init__(self, *projects: Project) -> None:
        self.projects = list(projects)
        self.front = 0
        self.console = ""
        self.states: dict[tuple[str, str], str] = {}
        self.lasting: set[tuple[str, str]] = set()  # of them, what outlives REAPER
        self.clock = 0.0
        self.away = 0  # seconds that it was not there; by its wall clock they have passed
        self.listed: dict[str, list[str]] = {}  # what it remembers of folders
        self.device_rate = ""
        self.resources = self.projects[0].folder.parent / "REAPER"
        self.libraries = ""  # where its Lua looks for them
        self.reading_costs = 0.0  # seconds, for each reading of an accessor
        self.frames_a_turn = [0]
        self.calls_a_turn = [0]
        self.accessors: list[Accessor] = []
        self.registered: list[str] = []
        self.dialog: list[str | None] = []  # what will be typed
        self.render: Callable[[Project], None] | None = None
        self.scripts: list[Script] = []
        self.refresh_prevented = 0
        self.starts_programs = False
        self.starting = 0.0  # seconds of this thread's work that their start has taken
        self.starting_costs = 0.0  # seconds by REAPER's clock, for each
        self.programs: list[subprocess.Popen[bytes]] = []

    def run(self, path: Path) -> Script:
        """Start a script, as an action does."""
        script = Script(self, path)
        self.scripts.append(script)
        script.begin()
        return script

    def crash(self) -> None:
        """REAPER is gone without a word, and started again."""
        self.scripts.clear()
        self.away += 60
        self.states = {key: text for key, text in self.states.items() if key in self.lasting}

    def open_in_tab(self, project: Project, other: Project) -> None:
        """Open another file in a project's tab: the pointers, also of tracks, are used again."""
        for place, (old, new) in enumerate(zip(project.tracks, other.tracks, strict=False)):
            vars(old).update(vars(new))
            other.tracks[place] = old
        for track in other.tracks:
            track.project = project
            for item in track.items:
                item.track = track
        vars(project).update(vars(other))

    def turn(self) -> bool:
        """Run what has been deferred; whether there is more to come."""
        self.frames_a_turn.append(0)
        self.calls_a_turn.append(0)
        self.clock += 0.033
        for script in self.scripts:
            script.turn()
        return any(script.deferred for script in self.scripts)

    def counting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """One of its functions, the calls of which are counted."""

        def call(*given: Any) -> Any:
            self.calls_a_turn[-1] += 1
            return function(self, *given)

        return call

    def changed(self, project: Project, what: str) -> None:
        """A change belongs into an undo block."""
        project.state_changes += 1
        if not project.open_blocks:
            project.changes_outside.append(what)

    def all_of(self, kind: type) -> list[Any]:
        """Every object of a kind that still is in an open project."""
        if kind is Project:
            return self.projects
        tracks = [track for project in self.projects for track in project.tracks]
        if kind is Track:
            return tracks
        if kind is Envelope:
            selected = [project.selected_envelope for project in self.projects]
            return [*selected, *(each for track in tracks for each in track.envelopes)]
        items = [item for track in tracks for item in track.items]
        return items if kind is Item else [take for item in items for take in item.takes]

    def valid(self, thing: Any, kind: type) -> Any:
        """The object; an error as REAPER's where it is another kind of thing or gone."""
        if not isinstance(thing, kind) or (
            kind is not Source and not any(each is thing for each in self.all_of(kind))
        ):
            raise TypeError(f"{kind.__name__} expected")
        return thing


class Script:
    """A script that runs: its own Lua, what it has deferred, and its window."""

    def __init__(self, reaper: Reaper, path: Path) -> None:
        self.path = path
        self.deferred: list[Any] = []
        self.at_exit: list[Any] = []
        self.keys: list[int] = []
        self.drawn: list[str] = []
        self.lua = lupa.LuaRuntime(unpack_returned_tuples=True)
        self.lua.globals().package.cpath = reaper.libraries
        self.lua.globals().os.time = lambda: int(time.time()) + reaper.away
        functions = {name: reaper.counting(each) for name, each in API.items()}
        functions |= {"defer": self.deferred.append, "atexit": self.at_exit.append}
        functions["new_array"] = self._array
        self.lua.globals().reaper = self.lua.table_from(functions)
        self.gfx = self.lua.table_from({"w": 460, "h": 300, "mouse_cap": 0, "mouse_x": 0})
        self.gfx.mouse_y, self.gfx.open = 0, False
        self.gfx.init, self.gfx.quit = self._open, self._quit
        self.gfx.getchar = lambda: self.keys.pop(0) if self.keys else 0
        self.gfx.set = lambda red, green, blue, alpha: None
        self.gfx.rect = lambda x, y, width, height, filled: None
        self.gfx.drawstr, self.gfx.update = self.drawn.append, lambda: None
        self.gfx.setfont = lambda number, face, size: 1
        self.gfx.measurestr = lambda text: (7 * len(text), 12)
        self.lua.globals().gfx = self.gfx

    def begin(self) -> None:
        """Load and run the file."""
        main = self.lua.globals().loadfile(str(self.path))
        assert not isinstance(main, tuple), main
        main()

    def turn(self) -> None:
        """Run what was deferred, once."""
        due, self.deferred[:] = list(self.deferred), []
        self.drawn.clear()
        for each in due:
            each()

    def end(self) -> None:
        """REAPER ends the script."""
        self.deferred.clear()
        for each in self.at_exit:
            each()

    def _open(self, title: str, width: int, height: int) -> None:
        self.gfx.open = True

    def _quit(self) -> None:
        self.gfx.open = False

    def _array(self, size: int) -> Any:
        return self.lua.eval(
            "function(size)"
            " local array = {}"
            " function array.clear() for i = 1, size do array[i] = 0.0 end end"
            " function array.table(offset, count)"
            "   return table.move(array, offset, offset + count - 1, 1, {}) end"
            " return array end"
        )(whole(size))


def whole(number: float) -> int:
    """What Lua gives where an integer is meant; an error as Lua's if it is none."""
    if number != int(number):
        raise TypeError("number has no integer representation")
    return int(number)


def at(things: list[Any], index: int) -> Any:
    """One of a list, nil outside it."""
    place = whole(index)
    return things[place] if 0 <= place < len(things) else None
