"""A live session against a real server, and the whole command through a real JACK."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import soundfile

from segue.bridge.midi import events as midi
from segue.bridge.midi.codec import encode
from segue.bridge.midi.controller_map import Bound, ControllerMap, Target, load_map
from segue.bridge.midi.events import Event
from segue.bridge.midi.live import LiveSession
from segue.bridge.midi.playing import Playing
from segue.presets.controls import Intensity, Loop, Melody
from segue.presets.tempo import TempoMap
from segue.presets.vocabulary import Code, Region, Request, SegueError
from tests.jack import connect, jack_server, jackd, ports, until
from tests.recorder import Recorder, serving

WHEEL = ControllerMap(title="wheel", controls=(Bound(target="intensity", kind="cc", number=1),))
NOBODY = "http://127.0.0.1:9"


class Keys:
    """A port that gives what a test puts into it."""

    def __init__(self, name: str = "Keys") -> None:
        self.waiting: list[tuple[float, bytes]] = []
        self.name, self.change = name, ""
        self.connected, self.lost = True, 0

    def poll(self) -> list[tuple[float, bytes]]:
        """All of it, once."""
        taken, self.waiting = self.waiting, []
        return taken

    def look(self, now: float) -> str:
        """What is told, once."""
        told, self.change = self.change, ""
        return told


class Ears:
    """A speaker that remembers."""

    alive = True

    def __init__(self) -> None:
        self.heard: list[Path] = []
        self.songs: list[float | None] = []
        self.problem: SegueError | None = None

    def describe(self) -> str:
        """What it is."""
        return "ears"

    def follow(self, song: float | None, now: float) -> None:
        """Remember."""
        self.songs.append(song)

    def play(self, path: Path) -> None:
        """Remember, or complain."""
        if self.problem is not None:
            raise self.problem
        self.heard.append(path)


class Bench:
    """A session at work with doubles around it, on an offline clock."""

    def __init__(self, url: str, learn_to: Path | None = None) -> None:
        self.now, self.told = 0.0, list[str]()
        self.keys, self.desk, self.ears = Keys(), Keys("Desk"), Ears()
        region = Region(path="/m/loop.wav", start_seconds=0, length_seconds=8)
        tempo = TempoMap.steady(120)
        base = Request(
            id="play", region=region, new_seconds=4, tempo=tempo, seed=7, controls=(Loop(),)
        )
        target: Target | None = "intensity" if learn_to else None
        self.session = LiveSession(base, WHEEL, lambda: 1, target)
        self.playing = Playing(
            self.session,
            url,
            self.told.append,
            speaker=self.ears,
            keep_map=learn_to,
            clock=lambda: self.now,
        )

    def play(self, now: float, *events: Event) -> None:
        """Events come at a time."""
        self.now = now
        self.keys.waiting += [(now, encode(event)) for event in events]
        self.playing.wake()


def run(scenario: Callable[[Bench], Awaitable[None]], url: str, **more: Any) -> Bench:
    """Run a scenario while its session plays."""

    async def main() -> Bench:
        bench, stop = Bench(url, **more), asyncio.Event()
        task = asyncio.create_task(bench.playing.run([bench.keys, bench.desk], stop))
        await scenario(bench)
        stop.set()
        await task
        return bench

    return asyncio.run(main())


async def eventually(done: Callable[[], object]) -> None:
    """Wait for what other tasks and threads do."""
    async with asyncio.timeout(20):
        while not done():
            await asyncio.sleep(0.005)


def names(bench: Bench) -> list[str]:
    """The clips that were heard, by their files."""
    return [path.name for path in bench.ears.heard]


def test_a_melody_is_heard_in_the_newest_clip(tmp_path: Path) -> None:
    """First the phrase as it is, then as it was played."""
    engine = Recorder()

    async def scenario(bench: Bench) -> None:
        await eventually(lambda: len(bench.ears.heard) == 1)
        bench.play(10.0, midi.NoteOn(0, 60, 99))
        bench.play(11.0, midi.NoteOff(0, 60, 0))
        await eventually(lambda: bench.keys.waiting == [])
        bench.play(14.0)
        await eventually(lambda: len(bench.ears.heard) == 2)

    with serving(tmp_path, engine) as url:
        bench = run(scenario, url)
    assert names(bench) == ["play-1.wav", "play-2.wav"]
    assert [type(c) for c in engine.requests[1].controls] == [Loop, Melody]
    assert engine.requests[0].settings.slot == engine.requests[1].settings.slot


def test_a_running_job_is_stopped_for_a_newer_one(tmp_path: Path) -> None:
    """The clip of the first is never made; the second is what is heard."""
    gate = threading.Event()
    engine = Recorder(gate=gate)

    async def scenario(bench: Bench) -> None:
        await eventually(engine.started.is_set)
        bench.play(0.0, midi.ControlChange(0, 1, 9))
        await eventually(lambda: bench.keys.waiting == [])
        bench.play(4.0)
        await eventually(lambda: len(engine.requests) == 2)
        gate.set()
        await eventually(lambda: bench.ears.heard)

    with serving(tmp_path, engine) as url:
        bench = run(scenario, url)
    assert names(bench) == ["play-2.wav"]
    assert [type(c) for c in engine.requests[1].controls] == [Loop, Intensity]


def test_leaving_stops_what_is_being_made(tmp_path: Path) -> None:
    """Nobody would hear it."""
    engine = Recorder(gate=threading.Event())

    async def scenario(bench: Bench) -> None:
        await eventually(engine.started.is_set)

    with serving(tmp_path, engine) as url:
        run(scenario, url)
        clips = tmp_path / "clips"
        assert not list(clips.glob("*.wav"))


def test_a_server_that_is_down_is_said() -> None:
    """In the words that say what to run; the session goes on."""

    async def scenario(bench: Bench) -> None:
        await eventually(lambda: len(bench.told) > 1)

    bench = run(scenario, NOBODY)
    assert bench.told == [
        "play-1: asked for",
        f"play-1: no server at {NOBODY}: run `segue serve`, or `segue up` for both",
    ]


def test_a_learned_control_is_kept(tmp_path: Path) -> None:
    """In a file that can be given the next time."""
    path = tmp_path / "mine.toml"

    async def scenario(bench: Bench) -> None:
        bench.play(0.0, midi.ControlChange(0, 20, 0))
        bench.play(0.1, midi.ControlChange(0, 20, 90))
        await eventually(path.exists)
        await eventually(lambda: f"kept in {path}" in bench.told)

    run(scenario, NOBODY, learn_to=path)
    assert load_map(str(path)).controls[0].number == 20


def test_the_loop_follows_the_clock() -> None:
    """The speaker is told where the song is while it runs, and that it has stopped."""

    async def scenario(bench: Bench) -> None:
        await eventually(lambda: bench.ears.songs[-1:] == [None])
        bench.play(1.0, midi.Start(), *[midi.Clock()] * 49)
        await eventually(lambda: bench.ears.songs[-1] is not None)
        assert bench.ears.songs[-1] == pytest.approx(1.0, abs=0.03)  # 48 clocks at 120 bpm
        bench.play(2.0, midi.Stop())
        await eventually(lambda: bench.ears.songs[-1] is None)

    run(scenario, NOBODY)


def test_a_port_that_goes_takes_its_song_along() -> None:
    """The loop follows no clock any more, long before the clock itself would be missed."""

    async def scenario(bench: Bench) -> None:
        bench.play(1.0, midi.Start(), *[midi.Clock()] * 49)
        await eventually(lambda: bench.ears.songs[-1:] not in ([], [None]))
        bench.keys.change, bench.keys.connected = "Keys has gone", False
        await eventually(lambda: bench.ears.songs[-1] is None)

    run(scenario, NOBODY)


def test_a_port_that_goes_and_a_clip_that_cannot_be_heard(tmp_path: Path) -> None:
    """Both are said, and end nothing."""

    async def scenario(bench: Bench) -> None:
        bench.ears.problem = SegueError(Code.NOT_AUDIO, "cannot be listened to")
        bench.keys.change = "Keys has gone"
        await eventually(lambda: "Keys has gone" in bench.told)
        await eventually(lambda: "cannot be listened to" in bench.told)

    with serving(tmp_path) as url:
        run(scenario, url)


def test_messages_that_are_lost_are_said_at_once() -> None:
    """How many more, each time, and not again."""

    async def scenario(bench: Bench) -> None:
        for lost, said in ((3, "3 MIDI messages"), (5, "2 MIDI messages")):
            bench.keys.lost = lost
            await eventually(lambda said=said: any(said in line for line in bench.told))  # type: ignore[misc]

    bench = run(scenario, NOBODY)
    assert len([line for line in bench.told if "came too fast and were lost" in line]) == 2


def test_an_output_that_goes(tmp_path: Path) -> None:
    """It is said, once, and nothing more is played."""

    async def scenario(bench: Bench) -> None:
        await eventually(lambda: bench.ears.heard)
        bench.ears.alive = False
        await eventually(lambda: "the sound output has gone" in bench.told[-1])
        bench.play(0.0, midi.ControlChange(0, 1, 9))
        await eventually(lambda: bench.keys.waiting == [])
        bench.play(4.0)
        await eventually(lambda: any("play-2: made" in line for line in bench.told))

    with serving(tmp_path) as url:
        bench = run(scenario, url)
    assert names(bench) == ["play-1.wav"]
    assert len([line for line in bench.told if "has gone" in line]) == 1


PROGRAM = """
import typer
from segue.bridge.cli.main import PoliteGroup
from segue.bridge.cli.play import register
app = typer.Typer(cls=PoliteGroup)
app.callback()(lambda: None)
register(app, "http://127.0.0.1:9136")
app()
"""


class Command:
    """`segue play` as a process, as a context, and what it prints."""

    def __init__(self, *arguments: str) -> None:
        self._lines: queue.Queue[str] = queue.Queue()
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "play", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self._thread.join()
        self.process.communicate()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip())

    def says(self, part: str) -> str:
        """The next line that holds it."""
        line = ""
        while part not in line or not line:
            line = self._lines.get(timeout=60)
        return line

    def complains(self) -> str:
        """What it says when it ends by itself, with exit code 1."""
        assert self.process.stderr is not None
        text = self.process.stderr.read()
        assert self.process.wait(60) == 1
        return text

    def stop(self) -> int:
        """End it as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(20)


@pytest.fixture
def daw() -> Iterator[Any]:
    """A controller on a real JACK."""
    try:
        import rtmidi
        import sounddevice  # noqa: F401
    except (ImportError, OSError) as error:
        text = "pip install 'segue[midi,audio]'; apt-get install libportaudio2"
        pytest.skip(f"{error}: {text}")
    with jack_server():
        out = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name="daw")
        out.open_virtual_port("out")
        yield out
        out.close_port()
        out.delete()


@pytest.mark.slow
def test_the_whole_command(daw: Any, tmp_path: Path) -> None:
    """MIDI over JACK to a real server, and clips through a JACK output: each take is asked for."""
    loop, engine = tmp_path / "loop.wav", Recorder()
    soundfile.write(loop, [[0.1, 0.1]] * 8000, 8000)
    with serving(tmp_path / "data", engine) as url:
        options = ("--seconds", "0.5", "--server", url, "--audition", "--device", "system")
        with Command(str(loop), *options) as command:
            assert command.says("MIDI") == "MIDI from Segue:Segue, Any keyboard. Ctrl-C stops."
            assert command.says("listening").startswith("listening through system, 48000 Hz, ")
            command.says("-1: made in")
            connect("daw:out", "Segue:Segue")
            for message in (midi.ControlChange(0, 1, 0), midi.ControlChange(0, 1, 127)):
                daw.send_message(encode(message))
            command.says("-2: made in")
            assert command.stop() == 0
    (curve,) = [c for c in engine.requests[1].controls if isinstance(c, Intensity)]
    assert curve.scale == "share"
    assert [level for _, level in curve.points][-1] == 1.0


@pytest.mark.slow
def test_notes_from_one_port_and_the_clock_from_another(daw: Any, tmp_path: Path) -> None:
    """Over JACK: a keyboard's note, on the beat of a DAW's clock that slows down from 120 to 60."""
    loop, engine = tmp_path / "loop.wav", Recorder()
    soundfile.write(loop, [[0.1, 0.1]] * 16000, 8000)
    keys = type(daw)(daw.get_current_api(), name="keys")
    keys.open_virtual_port("out")
    options = ("--midi-port", "keys:out", "--midi-port", "daw:out", "--bars", "1", "--bpm", "120")
    beat, half = [midi.Clock()] * 24, [midi.Clock()] * 12
    song: list[Event] = [midi.Start(), *beat, *half, midi.NoteOn(0, 60, 99), *half, midi.Stop()]
    try:
        with (
            serving(tmp_path / "data", engine) as url,
            Command(str(loop), *options, "--server", url) as command,
        ):
            assert "MIDI from keys:out and daw:out, " in command.says("MIDI")
            command.says("-1: made in")
            for i, event in enumerate(song):
                port = keys if isinstance(event, midi.NoteOn) else daw
                port.send_message(encode(event))
                time.sleep(1 / 48 if i < 24 else 1 / 24)
            command.says("-2: made in")
            assert command.stop() == 0
        with Command(str(loop), "--seconds", "1", *options[2:4], *options[2:4]) as command:
            assert "--midi-port: daw:out is given twice" in command.complains()
    finally:
        keys.close_port()
        keys.delete()
    (melody,) = [c for c in engine.requests[1].controls if isinstance(c, Melody)]
    assert [note.start for note in melody.notes] == pytest.approx([0.75], abs=0.03)


@pytest.mark.slow
def test_a_jack_that_dies_while_it_plays(tmp_path: Path) -> None:
    """The player is told, and Ctrl-C still ends the command."""
    try:
        import rtmidi  # noqa: F401
        import sounddevice  # noqa: F401
    except (ImportError, OSError) as error:
        text = "pip install 'segue[midi,audio]'; apt-get install libportaudio2"
        pytest.skip(f"{error}: {text}")
    loop = tmp_path / "loop.wav"
    soundfile.write(loop, [[0.1, 0.1]] * 8000, 8000)
    with serving(tmp_path / "data") as url, jack_server() as jack:
        options = ("--seconds", "0.5", "--server", url, "--audition", "--device", "system")
        with Command(str(loop), *options) as command:
            command.says("-1: made in")
            jack.terminate()
            command.says("the sound output has gone")
            assert command.stop() == 0


WHEEL_ELSEWHERE = """
import rtmidi, time
out = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name="daw")
out.open_virtual_port("out")
more = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name="daw")
more.open_virtual_port("more")
while input():
    for again in range(10):  # what is sent in a cycle that one of both misses is lost
        out.send_message([0xB0, 1, 0])
        out.send_message([0xB0, 1, 127])
        time.sleep(1)
"""


class Elsewhere:
    """A controller in a process of its own: libjack frees a process's clients with their server."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", WHEEL_ELSEWHERE]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def __enter__(self) -> Elsewhere:
        until(lambda: "daw:out" in ports(), "the controller did not come")
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def turn(self) -> None:
        """Move the wheel from one end to the other, once a second."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"now\n")
        self._process.stdin.flush()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "name", "what_to_do"),
    [
        ((), "Segue:Segue", ": connect it again"),
        (("--midi-port", "daw:out"), "daw:out", ""),
        (("--midi-port", "daw:out", "--midi-port", "more"), "daw:out", ""),
    ],
)
def test_a_jack_that_ends_and_comes_back(
    tmp_path: Path, options: tuple[str, ...], name: str, what_to_do: str
) -> None:
    """The port is said to have gone, and plays again in the new one without a new start."""
    if importlib.util.find_spec("rtmidi") is None:
        pytest.skip("python-rtmidi is missing: pip install 'segue[midi]'")
    loop = tmp_path / "loop.wav"
    soundfile.write(loop, [[0.1, 0.1]] * 8000, 8000)
    with serving(tmp_path / "data") as url, jack_server() as jack, ExitStack() as stack:
        stack.enter_context(Elsewhere())
        options += ("--seconds", "0.5", "--server", url)
        command = stack.enter_context(Command(str(loop), *options))
        command.says("-1: made in")
        jack.terminate()
        assert command.says("gone") == f"{name} has gone"
        stack.enter_context(jackd())
        wheel = stack.enter_context(Elsewhere())
        assert command.says("back") == f"{name} is back{what_to_do}"
        if what_to_do:
            connect("daw:out", name)
        wheel.turn()
        command.says("-2: made in")
        assert command.stop() == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--map", "launchpad"), "there are: mod-wheel"),
        (("--midi-port", "Moon"), "no MIDI input 'Moon'; there are: daw:out"),
        (("--audition", "--device", "Moon"), "--device: no output 'Moon'"),
        (("--learn", "volume"), "--learn: there is no 'volume'; choose one of intensity, "),
        (("--from-bar", "3"), "--from-bar: bars need a tempo"),
        (("--tempo", "gone.mid"), "--tempo: there is no file gone.mid"),
        (("--tempo", "gone.mid", "--bpm", "90"), "--bpm: the file of --tempo says it already"),
    ],
)
def test_what_cannot_be_had(daw: Any, tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    """Each option's error is a sentence with what there is."""
    loop = tmp_path / "loop.wav"
    soundfile.write(loop, [[0.1, 0.1]] * 8000, 8000)
    with Command(str(loop), *options) as command:
        assert said in command.complains()
