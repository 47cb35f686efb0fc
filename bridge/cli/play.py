"""`segue play`: a loop that a player steers from a MIDI controller."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segue.presets.vocabulary import MAX_SEED, Request

if TYPE_CHECKING:
    from segue.bridge.midi.controller_map import Target
    from segue.bridge.midi.port import MidiPort
    from segue.bridge.midi.rounds import InSong

WHERE, CONTROLLER, SOUND = "What is made", "The controller", "Listening"
MAP = "mod-wheel"


def _option(panel: str, text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, **more)


Source = Annotated[Path, typer.Argument(metavar="IN.wav", help="Your loop.")]
Seconds = Annotated[
    float | None, _option(WHERE, "How much new music to make.", show_default="the preset's")
]
Bars = Annotated[float | None, _option(WHERE, "The same in bars.")]
Bpm = Annotated[
    float | None,
    _option(WHERE, "Beats a minute; where the tempo changes, give --tempo or neither."),
]
BeatsPerBar = Annotated[float | None, _option(WHERE, "Quarter notes a bar.", show_default="4")]
TempoFile = Annotated[
    Path | None,
    _option(
        WHERE,
        "Instead of --bpm, a MIDI file that your DAW has exported: its tempo and time signatures.",
        "--tempo",
        metavar="FILE.mid",
    ),
]
FromBar = Annotated[
    int, _option(WHERE, "The bar of the DAW's song in which your loop starts.", min=1)
]
At = Annotated[
    str | None,
    _option(WHERE, "right, left, both, gap, loop or vary.", show_default="the preset's"),
]
Words = Annotated[str | None, _option(WHERE, 'How it should sound: "warm slow strings".')]
PresetName = Annotated[str, _option(WHERE, "A preset's name, or a TOML file.")]
Iterations = Annotated[
    int | None, _option(WHERE, "How often the noise is improved.", show_default="the preset's")
]
Seed = Annotated[int | None, _option(WHERE, "Drawn if absent.", min=0, max=MAX_SEED)]
PortNames = Annotated[
    list[str] | None,
    _option(
        CONTROLLER,
        "A MIDI input, or a part of its name; again for another, such as the DAW's clock.",
        "--midi-port",
        show_default="one of our own to connect to",
    ),
]
MapName = Annotated[
    str, _option(CONTROLLER, "Which knob does what: a name, or a TOML file.", "--map")
]
Learn = Annotated[
    str | None,
    _option(
        CONTROLLER,
        "The first control you move is the intensity, record_melody, again or stop, whichever"
        " you name; kept in --map's file.",
        "--learn",
        metavar="NAME",
    ),
]
Listen = Annotated[bool, _option(SOUND, "Play the newest clip in a loop.", "--audition")]
Device = Annotated[str | None, _option(SOUND, "Where to: a sound card's name or number.")]
Server = Annotated[str, typer.Option(help="URL of the server.")]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """All that a live session needs besides its request."""

    ports: tuple[str, ...]
    map: str
    learn: Target | None
    begins: InSong
    audition: bool
    device: str | None
    server: str


def register(app: typer.Typer, default_server: str) -> None:
    """Add the command."""

    @app.command()
    def play(
        source: Source,
        seconds: Seconds = None,
        bars: Bars = None,
        bpm: Bpm = None,
        beats_per_bar: BeatsPerBar = None,
        tempo: TempoFile = None,
        from_bar: FromBar = 1,
        at: At = None,
        text: Words = None,
        preset: PresetName = "seamless-loop",
        iterations: Iterations = None,
        seed: Seed = None,
        midi_port: PortNames = None,
        controllers: MapName = MAP,
        learn: Learn = None,
        audition: Listen = False,
        device: Device = None,
        server: Server = default_server,
    ) -> None:
        """Steer new music from a MIDI controller while a loop of it plays.

        Play a melody for as long as the new music is, or turn a knob: it is made again, going on
        from what there is, and the newest clip wins. Needs `segue up` or `segue serve`.
        """
        from segue.bridge.cli.order import Order, request_of
        from segue.bridge.cli.shorthand import bad

        if from_bar != 1 and bpm is None and tempo is None:
            raise bad("--from-bar", "bars need a tempo: say it with --bpm, or give --tempo")
        order = Order(
            source=source, seconds=seconds, bars=bars, bpm=bpm, beats_per_bar=beats_per_bar,
            tempo=tempo, from_bar=from_bar if tempo else 1, at=at, text=text, preset=preset,
            iterations=iterations, seed=seed, played=("melody", "intensity"),
        )  # fmt: skip
        request = request_of(order)
        setup = Setup(
            ports=tuple(midi_port or ()), map=controllers, learn=_target(learn),
            begins=begins_at(request, tempo, from_bar), audition=audition, device=device,
            server=server,
        )  # fmt: skip
        run_play(request, setup)


def begins_at(request: Request, tempo: Path | None, bar: int) -> InSong:
    """Where a bar of the DAW's song begins, by a MIDI file's map or at the request's own tempo."""
    from segue.bridge.cli.tempo_file import SongMap
    from segue.bridge.midi.rounds import InSong

    if tempo is not None:
        begin = SongMap.read(tempo, bar).begin
        return InSong(beats=float(begin.beat), seconds=float(begin.second))
    if request.tempo is None:
        return InSong()
    (steady,) = request.tempo.changes
    beats = (bar - 1) * steady.beats_per_bar
    return InSong(beats=beats, seconds=beats * 60 / steady.bpm)


def run_play(request: Request, setup: Setup) -> None:
    """Play until Ctrl-C or SIGTERM. Raises SegueError if a part cannot be had."""
    name = f"play-{secrets.token_hex(4)}"  # jobs of another session stay another's
    with suppress(KeyboardInterrupt):  # where the loop cannot take signals (Windows)
        asyncio.run(_play(request.model_copy(update={"id": name}), setup))


async def _play(request: Request, setup: Setup) -> None:
    from segue.bridge.midi.live import LiveSession
    from segue.bridge.midi.playing import Playing, speaker_or_none

    stop = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError, RuntimeError, ValueError):
            asyncio.get_running_loop().add_signal_handler(each, stop.set)
    chosen, kept_in = _map(setup)
    playing: Playing | None = None
    session = LiveSession(
        request,
        chosen,
        lambda: secrets.randbelow(MAX_SEED + 1),
        setup.learn,
        setup.begins,
    )
    with (
        _opened(setup.ports, lambda: playing.wake() if playing else None) as ports,
        speaker_or_none(setup.audition, setup.device) as speaker,
    ):
        playing = Playing(session, setup.server, _tell, speaker=speaker, keep_map=kept_in)
        names = " and ".join(port.name for port in ports)
        _tell(f"MIDI from {names}, {chosen.title}. Ctrl-C stops.")
        if speaker is not None:
            _tell(f"listening through {speaker.describe()}")
        if setup.learn:
            _tell(f"move the control that is to be: {setup.learn}")
        await playing.run(ports, stop)


@contextmanager
def _opened(names: tuple[str, ...], wake: Callable[[], None]) -> Iterator[list[MidiPort]]:
    """These MIDI inputs; without names one of our own that others connect to."""
    from segue.bridge.cli.shorthand import bad
    from segue.bridge.midi.port import MidiInputs, MidiPort

    inputs, ports = MidiInputs(), list[MidiPort]()
    try:
        for wanted in names or (None,):
            ports.append(MidiPort(wanted, wake, inputs=inputs))
            if ports[-1].name in [port.name for port in ports[:-1]]:
                raise bad("--midi-port", f"{ports[-1].name} is given twice: name another one")
        yield ports
    finally:
        for port in ports:
            port.close()
        inputs.close()


def _target(name: str | None) -> Target | None:
    from segue.bridge.cli.shorthand import bad
    from segue.bridge.midi.controller_map import TARGETS

    if name is None:
        return None
    found = next((target for target in TARGETS if target == name), None)
    if found is None:
        raise bad("--learn", f"there is no {name!r}; choose one of {', '.join(TARGETS)}")
    return found


def _map(setup: Setup) -> tuple[Any, Path | None]:
    """The map, and where a learned one is kept: in its own file, which need not be there yet."""
    from segue.bridge.midi.controller_map import load_map

    own = Path(setup.map) if setup.map.endswith(".toml") else None
    if setup.learn and own is not None and not own.exists():
        return load_map(MAP).model_copy(update={"title": own.stem}), own
    return load_map(setup.map), own if setup.learn else None


def _tell(text: str) -> None:
    print(text, flush=True)
