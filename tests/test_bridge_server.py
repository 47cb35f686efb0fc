"""The whole way, DAW to server and back, with the real server and with foreign OSC clients."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import pytest

from segue.bridge.osc import addresses
from segue.bridge.osc.codec import Message, Value
from segue.presets.library import load_preset
from segue.presets.tempo import TempoMap
from segue.presets.vocabulary import MAX_SEED, Progress, Region, Request, Result, Settings
from tests.osc_client import DEADLINE_SECONDS, Daw, Running
from tests.recorder import FRAMES, SAMPLE_RATE, Recorder, serving, write_noise

ASKED = Settings(overlay=True)  # of every order by OSC
ROOT = Path(__file__).parent.parent
NO_LIBLO = (
    "NOT TESTED: no foreign OSC client is here; `apt-get install liblo-tools` brings oscsend"
    " and oscdump"
)
needs_liblo = pytest.mark.skipif(shutil.which("oscdump") is None, reason=NO_LIBLO)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Jobs end once it is set; it is at the latest when the test is over."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def engine(gate: threading.Event) -> Recorder:
    """Records what reaches it."""
    return Recorder(gate=gate)


@pytest.fixture
def running(tmp_path: Path, engine: Recorder) -> Iterator[Running]:
    """A bridge in front of a real server with that engine."""
    with serving(tmp_path, engine) as url, Running(url) as bridge:
        yield bridge


@pytest.fixture
def daw(running: Running) -> Iterator[Daw]:
    """A client of that bridge."""
    with Daw(running.port) as client:
        yield client


def done(job_id: str, folder: Path, seed: int) -> Message:
    """What the recorder's clip is announced with."""
    path = str(folder / "results" / f"{job_id}.wav")
    return Message("/segue/job/done", (job_id, path, 1.5, FRAMES, SAMPLE_RATE, seed, "", 1.5))


def test_two_bridges_do_not_talk_to_each_other(running: Running, daw: Daw, tmp_path: Path) -> None:
    """One that subscribed another hands on its answer to a hello, and that is all."""
    with serving(tmp_path / "other") as url, Running(url) as other:
        while daw.ask().args[1] == "loading":
            time.sleep(0.02)
        daw.send("/segue/subscribe", ("i", other.port))
        daw.ask()
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not other.bridge.session.ignored and time.monotonic() < deadline:
            time.sleep(0.02)
        with Daw(other.port) as other_daw:
            assert other_daw.ask().address == "/segue/hello"
        assert (other.bridge.session.ignored, running.bridge.session.ignored) == (1, 0)


class Reader(Recorder):
    """Takes in the file of each request."""

    def run(
        self, request: Request, out_path: Path, on_progress: Callable[[Progress], None]
    ) -> Result:
        """Read it, then record as ever."""
        assert request.region is not None
        self.read = Path(request.region.path).read_bytes()
        return super().run(request, out_path, on_progress)


def test_a_path_of_any_characters_reaches_its_file(tmp_path: Path) -> None:
    """Unicode, both quotes, spaces, a backslash and percent signs, over UDP there and back."""
    odd = tmp_path / "Ünï  'q' \"日本\" %20 \\n"
    odd.mkdir()
    source = odd / "Łoop ♫ 'a\" 1.wav"
    write_noise(source, 5)
    engine = Reader()
    with serving(odd / "data", engine) as url, Running(url) as bridge, Daw(bridge.port) as daw:
        numbers: list[tuple[str, Value]] = [("d", 0.0), ("d", 0.02), ("d", 6.0)]
        daw.send("/segue/outpaint", ("s", "j1"), ("s", str(source)), *numbers)
        clip = daw.until("/segue/job/done")[-1].args[1]
    assert engine.read == source.read_bytes()
    assert engine.requests[0].region == Region(
        path=str(source), start_seconds=0.0, length_seconds=0.02
    )
    assert clip == str(odd / "data" / "results" / "j1.wav")
    assert Path(str(clip)).is_file()


def test_one_job_from_hello_to_done(
    tmp_path: Path, engine: Recorder, gate: threading.Event, daw: Daw
) -> None:
    """Hello, accepted, progress that never falls, done; asked again, the answer comes again."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (hello := daw.ask()).args[1] == "loading":
        assert time.monotonic() < deadline
    assert hello == Message("/segue/hello", (version("segue"), "recorder"))
    gate.set()
    daw.outpaint("a", ("i", 7))
    accepted, *progress, end = daw.until("/segue/job/done")
    assert accepted == Message("/segue/job/accepted", ("a",))
    assert {each.address for each in progress} <= {"/segue/job/progress"}
    fractions = [each.args[1] for each in progress]
    assert fractions == sorted(fractions, key=lambda value: float(str(value)))
    assert end == done("a", tmp_path, 7)
    assert Path(str(end.args[1])).is_file()
    region = Region(path="/take.wav", start_seconds=1.5, length_seconds=4.0)
    asked = Request(id="a", region=region, new_seconds=6.0, seed=7, settings=ASKED)
    assert engine.requests == [asked]
    daw.outpaint("a", ("i", 7))
    assert [daw.hear(), daw.hear(), daw.ask()] == [accepted, end, hello]
    assert len(engine.requests) == 1


def test_a_preset_by_name(engine: Recorder, gate: threading.Event, daw: Daw) -> None:
    """`/segue/make` over real sockets: four bars at 120 beats a minute, rising."""
    gate.set()
    strings: list[tuple[str, Value]] = [("s", "a"), ("s", "/take.wav")]
    region: list[tuple[str, Value]] = [("d", 1.5), ("d", 4.0), ("s", "rise")]
    daw.send("/segue/make", *strings, *region, ("d", 0.0), ("d", 4.0), ("d", 120.0), ("i", 7))
    assert daw.until("/segue/job/done")[-1].args[0] == "a"
    (asked,) = engine.requests
    assert asked.controls == load_preset("rise").controls
    assert (asked.new_seconds, asked.new_bars, asked.seed) == (None, 4.0, 7)
    assert asked.tempo == TempoMap.steady(120.0)


def test_a_seed_of_minus_one_is_drawn_and_told(gate: threading.Event, daw: Daw) -> None:
    """Without a seed the answer names the one that was drawn."""
    gate.set()
    daw.outpaint("a", ("i", addresses.DRAW_SEED))
    seed = daw.until("/segue/job/done")[-1].args[5]
    assert isinstance(seed, int)
    assert 0 <= seed <= MAX_SEED


def test_cancel_and_cancel_again(engine: Recorder, daw: Daw) -> None:
    """A running job stops; what is stopped stays so; what never was is an error."""
    daw.outpaint("a")
    assert engine.started.wait(DEADLINE_SECONDS)
    for _ in range(2):
        daw.send("/segue/cancel", ("s", "a"))
        assert daw.until("/segue/job/cancelled")[-1].args == ("a",)
    daw.send("/segue/cancel", ("s", "never"))
    assert daw.until("/segue/error")[-1].args[:2] == ("never", "unknown-id")


def test_two_daws_hear_of_their_own_jobs_only(
    tmp_path: Path, gate: threading.Event, running: Running, daw: Daw
) -> None:
    """Answers go to the port that asked, also when an id is asked for twice."""
    with Daw(running.port) as other:
        daw.outpaint("a", ("i", 1))
        assert daw.hear() == Message("/segue/job/accepted", ("a",))
        other.outpaint("a", ("i", 2))
        assert other.hear().args[:2] == ("a", "id-taken")
        other.outpaint("b", ("i", 3))
        gate.set()
        assert daw.until("/segue/job/done")[-1] == done("a", tmp_path, 1)
        heard = other.until("/segue/job/done")
    assert heard[-1] == done("b", tmp_path, 3)
    assert {message.args[0] for message in heard} == {"b"}


PROGRAM = """
import sys
from pathlib import Path
from segue.server.app import serve
from segue.server.config import ServerConfig
sys.path.insert(0, sys.argv[1])
from tests.recorder import FileGate, Recorder
config = ServerConfig(port=int(sys.argv[2]), data_dir=Path(sys.argv[3]), model="recorder")
serve(config, lambda: Recorder(gate=FileGate(Path(sys.argv[4]))))
"""


def start_server(port: int, folder: Path) -> tuple[subprocess.Popen[str], int]:
    """A server process whose jobs end once `folder`/gate exists, and its port."""
    arguments = [str(ROOT), str(port), str(folder / "data"), str(folder / "gate")]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline().rpartition(":")[2])


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL on Windows")
def test_a_server_killed_in_the_middle_of_a_job(tmp_path: Path) -> None:
    """kill -9, start again on the same port: the DAW gets its clip, once, without asking."""
    server, port = start_server(0, tmp_path)
    with Running(f"http://127.0.0.1:{port}") as bridge, Daw(bridge.port) as daw:
        daw.outpaint("a", ("i", 7))
        assert daw.until("/segue/job/progress")[0].address == "/segue/job/accepted"
        with server:
            server.kill()
        while (answer := daw.ask()).address == "/segue/job/progress":
            pass  # sent before the end
        assert answer.args[:2] == ("", "server-unreachable")
        server, same_port = start_server(port, tmp_path)
        (tmp_path / "gate").touch()
        assert daw.until("/segue/job/done")[-1] == done("a", tmp_path / "data", 7)
        assert daw.ask().address == "/segue/hello"  # nothing came after the end
        with server:
            server.send_signal(signal.SIGTERM)
    assert same_port == port


@needs_liblo
def test_oscsend_drives_the_bridge(
    tmp_path: Path, engine: Recorder, gate: threading.Event, running: Running, daw: Daw
) -> None:
    """liblo's oscsend asks for two jobs, with doubles and with floats; our client asks for the
    first again and so hears of it (oscsend itself listens to nothing)."""
    region = Region(path="/take.wav", start_seconds=1.5, length_seconds=4.0)
    port = str(running.port)
    for job_id, tags in (("a", "ssdddi"), ("b", "ssfffh")):
        values = [job_id, "/take.wav", "1.5", "4", "6", "7"]
        command = ["oscsend", "127.0.0.1", port, "/segue/outpaint", tags, *values]
        subprocess.run(command, check=True, timeout=DEADLINE_SECONDS)
    gate.set()
    daw.outpaint("b", ("i", 7))
    assert daw.until("/segue/job/done")[-1] == done("b", tmp_path, 7)
    assert engine.requests == [
        Request(id=job_id, region=region, new_seconds=6.0, seed=7, settings=ASKED)
        for job_id in "ab"
    ]


@needs_liblo
def test_oscdump_reads_what_the_bridge_sends() -> None:
    """liblo's oscdump prints every kind of packet of ours with its tags and values."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    packets = [
        addresses.write(addresses.WELCOME, "0.1.0", "cpu"),
        addresses.write(addresses.ACCEPTED, "j1"),
        addresses.write(addresses.PROGRESS, "j1", 0.25, "optimizing"),
        addresses.write(addresses.VARIATION, "j1", 2, "/m/ä~2.wav", "/m/o2.wav", 3602.5),
        addresses.write(addresses.DONE, "j1", "/m/ä.wav", 3601.25, 2**40, 44100, 7, "", 3601.25),
        addresses.write(addresses.ACK, "j1", "melody", 300),
        addresses.write(addresses.MISSING, "j1", "melody", -1, 64, 128),
        addresses.write(addresses.CANCELLED, "j1"),
        addresses.write(addresses.ERROR, "j1", "not-audio", "say it"),
    ]
    dump = ["oscdump", "-L", str(port)]
    with (
        subprocess.Popen(dump, stdout=subprocess.PIPE, text=True, encoding="utf-8") as oscdump,
        Daw(port) as sender,
    ):
        assert oscdump.stdout is not None
        lines = iter(oscdump.stdout.readline, "")
        knocking = threading.Event()
        knock = threading.Thread(target=_knock, args=(sender.socket, knocking))
        knock.start()
        assert next(lines)  # it listens now
        knocking.set()
        knock.join()
        for packet in packets:
            sender.socket.send(packet)
        heard: list[str] = []
        while len(heard) < len(packets):
            words = next(lines).strip().split(" ", 1)[1]  # without the timetag
            if not words.startswith("/knock"):
                heard.append(words)
        oscdump.terminate()
    assert heard == [
        '/segue/hello ss "0.1.0" "cpu"',
        '/segue/job/accepted s "j1"',
        '/segue/job/progress sds "j1" 0.250000 "optimizing"',
        '/segue/job/variation sissd "j1" 2 "/m/ä~2.wav" "/m/o2.wav" 3602.500000',
        '/segue/job/done ssdhiisd "j1" "/m/ä.wav" 3601.250000 1099511627776 44100 7 "" 3601.250000',
        '/segue/rows/ack ssi "j1" "melody" 300',
        '/segue/rows/missing ssiii "j1" "melody" -1 64 128',
        '/segue/job/cancelled s "j1"',
        '/segue/error sss "j1" "not-audio" "say it"',
    ]


def _knock(sender: socket.socket, enough: threading.Event) -> None:
    """Send until somebody is there to hear it."""
    while not enough.wait(0.02):
        with suppress(ConnectionRefusedError):
            sender.send(b"/knock\0\0,\0\0\0")
