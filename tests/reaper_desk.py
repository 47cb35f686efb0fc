"""What tests of REAPER's scripts share: a project with an item, and a hand that answers orders."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from segue.bridge.cli.spool import serve
from segue.bridge.osc.codec import Message, Value
from segue.bridge.osc.lines import decode_line, encode_line
from tests.reaper_double import Item, Project, Reaper, Script, Source, Track
from tests.recorder import DEADLINE_SECONDS

SCRIPTS = Path(__file__).parent.parent / "bridge" / "daw" / "reaper"
ITEM_START, ITEM_OFFSET, ITEM_SECONDS = 2.0, 1.0, 12.0
REGION = (4.0, 8.0)
START = 3.0  # of the region inside its file
ODD_NAME = "Gitärre 'l\"ive' %d"
UP, DOWN, LEFT, RIGHT, RETURN, ESCAPE = (
    30064,
    1685026670,
    1818584692,
    1919379572,
    13,
    27,
)  # as gfx has them


def write_wav(path: Path, seconds: float, rate: int) -> Path:
    """A silent float WAV; what is in it never matters."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros((round(seconds * rate), 2), np.float32), rate, subtype="FLOAT")
    return path


class Desk:
    """A REAPER with one track and one untouched item on it, of which a part is selected."""

    def __init__(self, folder: Path, rate: int = 48000, name: str = "Guitar") -> None:
        self.folder, self.spool = folder, folder / "spool"
        self.spool.mkdir(parents=True)
        self.project = Project(folder / "project", rate, selection=REGION)
        self.project.folder.mkdir()
        self.track: Track = self.project.track(name)
        self.track.info["I_SELECTED"] = 1.0
        self.file = write_wav(folder / "takes" / "riff.wav", 20.0, rate)
        self.item: Item = self.track.add(self.file, ITEM_START, ITEM_SECONDS)
        self.item.takes[0].info["D_STARTOFFS"] = ITEM_OFFSET
        self.reaper = Reaper(self.project)
        self.breath = 0.002  # seconds from one turn to the next, which is told that they were more

    def act(self, action: str, **wish: object) -> None:
        """Run an action, after asking for these settings."""
        for name, value in wish.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            self.reaper.states["Segue", name] = text
        self.reaper.run(SCRIPTS / f"segue_{action}.lua")

    def until(self, rule: Callable[[], Any]) -> Any:
        """Let REAPER take turns until a rule holds; what it gave."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not (value := rule()):
            assert time.monotonic() < deadline, f"it never came to hold; {self.reaper.console}"
            self.reaper.turn()
            time.sleep(self.breath)
        return value

    def finish(self) -> None:
        """Let REAPER take turns until no script runs."""
        self.until(lambda: not any(script.deferred for script in self.reaper.scripts))

    def order(self) -> tuple[str, list[tuple[str, list[Value]]]]:
        """The order that a script leaves: its id and messages."""
        path: Path = self.until(lambda: next(iter(self.spool.glob("*.order")), None))
        lines = path.read_text(encoding="utf-8").splitlines()
        read = [decode_line(line) for line in lines]
        return path.stem, [(address, [value for _, value in args]) for address, args in read]

    def make(self) -> list[Value]:
        """The arguments of the order itself."""
        address, values = self.order()[1][-1]
        assert address == "/segue/make"
        return values

    def rows(self, what: str) -> list[float] | None:
        """The numbers of a list that came with the order; None where there was none."""
        found = [m for m in self.order()[1] if m[1][1] == what]
        if not found:
            return None
        numbers = [v for address, values in found if address.endswith("add") for v in values[3:]]
        return [float(number) for number in numbers if isinstance(number, int | float)]

    def heading(self, what: str) -> list[Value]:
        """Total, unit, scale and first beat of a list."""
        messages = self.order()[1]
        return next(v[2:] for a, v in messages if a.endswith("begin") and v[1] == what)

    def answer(self, address: str, *values: Value) -> None:
        """Tell the script something about its order."""
        job_id = self.order()[0]
        with (self.spool / f"{job_id}.answers").open("a", encoding="utf-8", newline="\n") as file:
            file.write(encode_line(Message(address, (job_id, *values))) + "\n")

    def clip(self, name: str, seconds: float = 3.0) -> str:
        """A file as the server leaves one."""
        return str(write_wav(self.folder / "server" / name, seconds, self.project.rate))

    def done(self, start: float, overlay: str = "", overlay_start: float = 0.0) -> None:
        """Tell the script that its clip is there."""
        place = (start, 144000, self.project.rate, 7)
        self.answer("/segue/job/done", self.clip("clip.wav"), *place, overlay, overlay_start)


@contextmanager
def carrying(folder: Path, osc_port: int) -> Iterator[None]:
    """A spool at work in a thread of its own."""
    stop = threading.Event()
    arguments = ([folder], osc_port, lambda: not stop.is_set())
    thread = threading.Thread(target=serve, args=arguments)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def laid(desk: Desk, track: int = 1) -> Item:
    """The only item of what is now the second track."""
    (item,) = desk.project.tracks[track].items
    return item


def sources(item: Item) -> list[Source]:
    """Those of its takes, which all have one."""
    return [take.source for take in item.takes if take.source]


def window(desk: Desk) -> Script:
    """The window, open."""
    script = desk.reaper.run(SCRIPTS / "segue.lua")
    desk.reaper.turn()
    return script


def press(desk: Desk, script: Script, *keys: int) -> None:
    """Keys, one a turn."""
    script.keys += keys
    desk.until(lambda: not script.keys)
    desk.reaper.turn()
