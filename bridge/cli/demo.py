"""`segue demo`: a real recording through the whole path, by OSC, as a DAW would send it."""

from __future__ import annotations

import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.resources import as_file
from pathlib import Path
from typing import IO

import httpx
import soundfile
from rich.console import Console

from segue.bridge.cli.picture import Clip, draw
from segue.bridge.osc import addresses, codec
from segue.bridge.terminal import JobBar, job_figures, print_figures
from segue.bridge.up import Pair
from segue.presets.library import SHIPPED
from segue.presets.vocabulary import Code, Result, SegueError, Status

NEW_SECONDS = 6.0
SEED = 7
PRESET = "continue"
OVERLAP_SECONDS = 1.0  # its own
JOB_ID = "demo"
AUDIO_SUFFIXES = (".flac", ".wav")

SILENCE_SECONDS = 1.0  # after which a datagram may have been lost
LOAD_SECONDS = 300.0
JOB_SECONDS = 900.0
LOG_TAIL_LINES = 20


class Daw:
    """The DAW's side: a plain UDP socket of its own that speaks OSC to the bridge.

    `check` is called in every silence; it raises when nobody is left to answer.
    """

    def __init__(
        self,
        osc_port: int,
        check: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bridge = ("127.0.0.1", osc_port)
        self._check, self._clock = check, clock
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(SILENCE_SECONDS)

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def wait_until_loaded(self) -> None:
        """Say hello until the server has loaded its model."""
        hello = addresses.write(addresses.HELLO, "segue demo")
        for address, args in self._answers(hello, LOAD_SECONDS):
            if address == addresses.WELCOME.address:
                if args[1] == "failed":
                    raise SegueError(Code.NO_MODEL, "the server could not load its model")
                if args[1] != "loading":
                    return

    def outpaint(self, region: Path, show: Callable[[str, float], None]) -> tuple[Path, float]:
        """Have a whole file continued: the clip's path, and how many seconds it took."""
        info = soundfile.info(str(region))
        place = (str(region), 0.0, info.frames / info.samplerate, NEW_SECONDS)
        begun = self._clock()
        packet = addresses.write(addresses.OUTPAINT, JOB_ID, *place, SEED, PRESET)
        for message in self._answers(packet, JOB_SECONDS):
            match message:
                case addresses.PROGRESS.address, (_, float(fraction), str(stage)):
                    show(stage, fraction)
                case addresses.DONE.address, (_, str(path), *_):
                    return Path(path), self._clock() - begun
        raise AssertionError("unreachable: answers end with an error")

    def _answers(
        self, packet: bytes, patience_seconds: float
    ) -> Iterator[tuple[str, tuple[codec.Value, ...]]]:
        """Send a packet and yield what comes back as (address, arguments).

        The packet goes out again after every silence: hello asks for news that way, and a
        request that was heard is not harmed by it, since jobs are told apart by id.
        """
        deadline = self._clock() + patience_seconds
        self._socket.sendto(packet, self._bridge)
        while self._clock() < deadline:
            try:
                received = self._socket.recv(codec.MAX_DATAGRAM_BYTES)
            except (TimeoutError, ConnectionError):
                self._check()
                self._socket.sendto(packet, self._bridge)
                continue
            for message in codec.decode(received):
                if message.address == addresses.ERROR.address:
                    raise SegueError(Code(str(message.args[1])), str(message.args[2]))
                yield message.address, message.args
        text = f"no end after {patience_seconds:g} s: this machine may be too slow"
        raise SegueError(Code.SERVER_UNREACHABLE, text)


def run_demo(out: Path) -> None:
    """Leave region.wav, continued.wav and continued.png in `out` and print the figures.

    Raises SegueError with the end of the server's log if any part of the path fails.
    """
    console = Console()
    region = prepare_region(out)
    with tempfile.TemporaryDirectory(prefix="segue-demo-") as scratch:
        log_path = Path(scratch) / "log.txt"
        try:
            with log_path.open("w", encoding="utf-8") as log:
                result, taken_seconds = _by_osc(region, out, Path(scratch) / "data", log, console)
        except SegueError as error:
            raise SegueError(error.code, error.text + _tail(log_path)) from error
    with console.status("drawing the picture"):
        draw_result(out, result, taken_seconds)
    written = {"written": f"continued.wav, continued.png and region.wav in {out}"}
    print_figures(console, written | job_figures(result, taken_seconds))


def prepare_region(out: Path) -> Path:
    """Put the shipped excerpt into `out` as region.wav, at its own rate and sample format."""
    folder = SHIPPED / "excerpts"
    shipped = folder.iterdir() if folder.is_dir() else ()
    found = [each for each in shipped if each.name.endswith(AUDIO_SUFFIXES)]
    if not found:
        raise SegueError(Code.MISSING_FILE, f"no recording in {folder}: reinstall Segue")
    out.mkdir(parents=True, exist_ok=True)
    region = out.absolute() / "region.wav"
    with as_file(min(found, key=lambda each: each.name)) as excerpt:
        info = soundfile.info(str(excerpt))
        audio, rate = soundfile.read(str(excerpt), dtype="float64", always_2d=True)
    soundfile.write(str(region), audio, rate, subtype=info.subtype)
    return region


def draw_result(out: Path, result: Result, taken_seconds: float) -> None:
    """Draw continued.png from continued.wav in `out`."""
    audio, rate = soundfile.read(str(out / "continued.wav"), dtype="float32", always_2d=True)
    clip = Clip(
        audio=audio,
        sample_rate=rate,
        seam_seconds=(result.length_samples - result.new_samples) / rate,
        overlap_seconds=OVERLAP_SECONDS,
    )
    title = f"{NEW_SECONDS:g} s of new music, made in {taken_seconds:.1f} s on {result.device}"
    draw(clip, f"{title}, seed {result.seed}", out / "continued.png")


def _by_osc(
    region: Path, out: Path, data: Path, log: IO[str], console: Console
) -> tuple[Result, float]:
    with Pair(port=0, osc_port=0, server_options=("--data", str(data)), log=log) as pair:
        daw = Daw(pair.osc_port, pair.check)
        try:
            with console.status("loading the model"):
                daw.wait_until_loaded()
            with JobBar(console) as bar:
                clip, taken_seconds = daw.outpaint(region, bar.show)
                bar.show("done", 1.0)
        finally:
            daw.close()
        shutil.copyfile(clip, out / "continued.wav")
        # The losses are not part of the OSC answer.
        answer = httpx.get(f"{pair.url}/jobs/{JOB_ID}", trust_env=False)
        result = Status.model_validate_json(answer.content).event
    assert isinstance(result, Result)
    return result, taken_seconds


def _tail(log_path: Path) -> str:
    lines = log_path.read_text(encoding="utf-8", errors="replace").splitlines()
    last = lines[-LOG_TAIL_LINES:]
    return "\n".join(["\nThe last lines of the server and the bridge:", *last]) if last else ""
