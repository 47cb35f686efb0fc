"""`segue live` to a real script in a fake Live."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from segue.bridge.cli import live
from segue.bridge.cli.live import ask_live, command, live_port
from segue.bridge.daw.ableton.Segue import port as script_port
from segue.bridge.daw.ableton.Segue.desk import Desk
from segue.bridge.daw.ableton.Segue.port import Port, PortFile
from segue.bridge.osc import port_file
from segue.bridge.osc.codec import Message, Value, decode
from segue.presets.vocabulary import Code, SegueError
from tests.fake_live import Song


@pytest.fixture
def desk() -> Iterator[int]:
    """The port of a script that is ticked by a thread."""
    port, song, over = Port(0), Song(), threading.Event()
    desk = Desk(lambda: song, lambda text: None, lambda text: None, port, lambda: [9])  # type: ignore[arg-type,return-value]

    def ticks() -> None:
        while not over.wait(0.005):
            desk.tick()
        desk.close()

    thread = threading.Thread(target=ticks)
    thread.start()
    yield port.number
    over.set()
    thread.join()


def test_a_command_and_its_answer(desk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the script says is printed."""
    app = typer.Typer()
    live.register(app)
    monkeypatch.setattr(live, "live_port", lambda: desk)
    done = CliRunner().invoke(app, ["continue", "4", "warm", "strings"])
    said = "select an audio clip, or a track with audio under the loop brace\n"
    assert (done.output, done.exit_code) == (said, 0)
    assert ask_live(["check"], desk).startswith("Live places audio: yes")


@pytest.mark.parametrize(
    ("words", "args"),
    [
        (["rise", "8", "warm", "strings"], (8.0, "warm strings")),
        (["vary", "warm"], ("warm",)),
        (["vary", "0"], ("",)),
        (["vary", "nan"], ("nan",)),
    ],
)
def test_words_as_a_message(words: list[str], args: tuple[Value, ...]) -> None:
    """A number first is bars; bars of 0 are the preset's own."""
    assert decode(command(words)) == (Message(f"/segue/live/{words[0]}", args),)


@pytest.mark.parametrize("words", [["a b"], ["é"], ["continue", "x\0"]])
def test_words_that_cannot_be_sent(words: list[str]) -> None:
    """An address is plain ASCII, and no string holds a NUL."""
    with pytest.raises(SegueError, match="is no command") as caught:
        command(words)
    assert caught.value.code is Code.BAD_REQUEST


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to do is said."""
    monkeypatch.setattr(live, "ANSWER_SECONDS", 0.05)
    free = Port(0)
    number = free.number
    free.close()
    with pytest.raises(SegueError, match="choose Segue as a control surface") as caught:
        ask_live(["check"], number)
    assert caught.value.code is Code.SERVER_UNREACHABLE


def test_where_live_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script's file is read; without it, or with another in its place, the usual port."""
    monkeypatch.setattr(port_file, "default_path", lambda: tmp_path / "bridge.json")
    assert live_port() == script_port.OWN_PORT == live.OWN_PORT
    PortFile(str(tmp_path), 5000)
    assert live_port() == 5000
    for text in ("{}", '{"osc_port": "x"}', "[1]"):
        (tmp_path / "live.json").write_text(json.dumps(json.loads(text)))
        assert live_port() == live.OWN_PORT
