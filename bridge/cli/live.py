"""`segue live`: commands to the script in Ableton Live, from whatever can run a program."""

from __future__ import annotations

import math
import socket
from typing import Annotated

import typer

from segue.presets.vocabulary import Code, SegueError

OWN_PORT = 9139  # as in daw/ableton/Segue/port.py; a test compares them
ANSWER_SECONDS = 3.0
MAX_DATAGRAM_BYTES = 65_535

Words = Annotated[
    list[str],
    typer.Argument(metavar="COMMAND [BARS] [WORDS]...", help="Such as: continue 4 warm strings."),
]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def live(words: Words) -> None:
        """Tell Ableton Live what to do with the selected clip and the loop brace.

        COMMAND is continue, before, inpaint, vary, melody, cancel, check, or a preset's name.
        Prints Live's first answer; what comes of it is in Live's status bar.
        """
        print(ask_live(words, live_port()))


def live_port() -> int:
    """Where the script in Live listens: as its file says, else its usual port."""
    from pydantic import TypeAdapter, ValidationError

    from segue.bridge.osc.port_file import default_path

    path = default_path().with_name("live.json")
    try:
        said = TypeAdapter(dict[str, int]).validate_json(path.read_bytes())
        return said["osc_port"]
    except (OSError, ValidationError, KeyError):
        return OWN_PORT


def ask_live(words: list[str], port: int) -> str:
    """Send a command; the script's first answer. Raises SegueError where nobody answers."""
    packet = command(words)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as live:
        live.settimeout(ANSWER_SECONDS)
        try:
            live.connect(("127.0.0.1", port))
            live.send(packet)
            return _said(live.recv(MAX_DATAGRAM_BYTES))
        except OSError as error:  # nobody in time, or nobody there
            text = f"no answer from Live on port {port}: choose Segue as a control surface there"
            raise SegueError(Code.SERVER_UNREACHABLE, text) from error


def command(words: list[str]) -> bytes:
    """The message of `continue 4 warm strings`. Raises SegueError(BAD_REQUEST)."""
    from segue.bridge.osc import codec

    verb, *rest = words
    bars = _number(rest[0]) if rest else None
    text = " ".join(rest if bars is None else rest[1:])
    # A number of 0 would mean that a button was let go.
    numbers: list[tuple[str, codec.Value]] = [] if not bars else [("d", bars)]
    try:
        packet = codec.encode(f"/segue/live/{verb}", *numbers, ("s", text))
        codec.decode(packet)  # a verb may hold what no address can
    except (ValueError, codec.OscError) as error:
        raise SegueError(Code.BAD_REQUEST, f"{verb!r} is no command: {error}") from error
    return packet


def _number(word: str) -> float | None:
    try:
        number = float(word)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _said(data: bytes) -> str:
    from segue.bridge.osc import codec

    return " ".join(str(arg) for message in codec.decode(data) for arg in message.args)
