"""Our clock follows a real Ardour's, over JACK."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from segue.bridge.midi.clock import SongClock
from segue.bridge.midi.codec import Decoder, encode
from segue.bridge.midi.events import Continue, Event, SongPosition, Start, Stop, SysEx
from segue.bridge.midi.port import MidiPort
from segue.bridge.midi.song import Song
from segue.bridge.midi.timecode import TimeCode
from tests.jack import connect, jack_server, ports, until

ROOM = Path("/usr/lib/ardour7")
MISSING = "NOT TESTED: Ardour 7 is missing: apt-get install --no-install-recommends ardour jackd2"
CONFIG = """<?xml version="1.0" encoding="UTF-8"?>
<Ardour><Config><Option name="try-autostart-engine" value="1"/>
<Option name="send-midi-clock" value="1"/><Option name="send-mtc" value="1"/></Config>
<Extra><AudioMIDISetup><EngineStates>
<State backend="JACK" driver="" device="" input-device="" output-device="" sample-rate="0"
 buffer-size="1024" n-periods="0" input-latency="0" output-latency="0" lm-input="" lm-output=""
 active="1" use-buffered-io="0" midi-option="" lru="1"><MIDIDevices/></State>
</EngineStates></AudioMIDISetup></Extra></Ardour>
"""
SESSION = """
AudioEngine:set_backend ("None (Dummy)", "", "")
create_session ("%s", "song", 48000):save_state ("song")
close_session () quit ()
"""
PLAY, STOP = (2,), (1,)  # MIDI machine control


def locate(seconds: int) -> tuple[int, ...]:
    """To a second of the song, at 30 frames a second."""
    return 0x44, 6, 1, 0x60, 0, seconds, 0, 0


class Ardour:
    """Ardour without a window, played by machine control, its clock and time code in our port."""

    def __init__(self, rtmidi: Any) -> None:
        self.clock, self.code, self.events = SongClock(), TimeCode(), list[Event]()
        self.song = Song()  # the two of them together
        self._port, self._decoder = MidiPort(None, only="UNIX_JACK"), Decoder()
        self._out = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name="desk")
        self._out.open_virtual_port("out")
        connect("desk:out", "ardour:MMC in")
        for source in ("ardour:MIDI Clock out", "ardour:MTC out"):
            connect(source, "Segue:Segue")

    def send(self, command: tuple[int, ...]) -> None:
        """One command of machine control to all devices."""
        self._out.send_message(encode(SysEx(bytes([0x7F, 0x7F, 6, *command]))))

    def heard(self, wanted: type[Event]) -> bool:
        """Take what has come; whether such an event has been among it."""
        for now, data in self._port.poll():
            for event in self._decoder.receive(data):
                self.clock.receive(event, now)
                self.code.receive(event, now)
                self.song.receive("Ardour", event, now)
                self.events.append(event)
        return any(isinstance(event, wanted) for event in self.events)

    def obeys(self, command: tuple[int, ...], done: Callable[[], bool]) -> None:
        """Send a command, again every second while Ardour is too busy to hear it."""
        due = 0.0

        def tried() -> bool:
            nonlocal due
            if time.monotonic() >= due:
                self.send(command)
                due = time.monotonic() + 1
            self.heard(Stop)
            return done()

        until(tried, f"Ardour does not obey {command}")

    def running(self) -> bool:
        """Whether its clock runs."""
        return self.clock.running(time.monotonic())

    def close(self) -> None:
        """Let go of the ports."""
        self._port.close()
        self._out.close_port()
        self._out.delete()


def started(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Ardour with all its ports. Once in some twenty starts it had come up without inputs."""
    needed = {"ardour:MMC in", "ardour:MTC out", "ardour:MIDI Clock out"}
    for last in (False, True):
        silent = subprocess.DEVNULL
        program = subprocess.Popen(command, env=environment, stdout=silent, stderr=silent)
        try:
            until(lambda: needed <= set(ports()), "Ardour did not start")
        except AssertionError:
            program.kill()
            program.wait()
            if last:
                raise
        else:
            return program
    raise AssertionError("unreachable: the last failure is raised")


@pytest.fixture
def ardour(tmp_path: Path) -> Iterator[Ardour]:
    """A new song at 120 bpm."""
    programs = list(ROOM.glob("hardour-7*"))
    if not programs or shutil.which("ardour7-lua") is None:
        pytest.skip(MISSING)
    rtmidi = pytest.importorskip("rtmidi", reason="pip install 'segue[midi]'")
    config = tmp_path / ".config" / "ardour7"
    config.mkdir(parents=True)
    (config / ".a7").touch()
    (config / "config").write_text(CONFIG)
    song, script = tmp_path / "song", tmp_path / "make.lua"
    script.write_text(SESSION % song)
    paths = {"DATA": "/usr/share/ardour7", "CONFIG": "/etc/ardour7", "DLL": str(ROOM)}
    environment = os.environ | {f"ARDOUR_{key}_PATH": path for key, path in paths.items()}
    environment |= {"HOME": str(tmp_path), "LANG": "C.UTF-8", "LD_LIBRARY_PATH": str(ROOM)}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(["ardour7-lua", str(script)], env=environment, check=True, **quiet)  # type: ignore[call-overload]
    saved = song / "song.ardour"  # whose engine was another one
    saved.write_text(re.sub(r"  <EngineHints.*\n", "", saved.read_text()))
    with jack_server():
        environment |= {"JACK_DEFAULT_SERVER": os.environ["JACK_DEFAULT_SERVER"]}
        program = started([str(programs[0]), str(song), "song"], environment)
        try:
            desk = Ardour(rtmidi)
            yield desk
            desk.close()
        finally:
            program.kill()  # a session that nobody needs
            program.wait()


@pytest.mark.slow
def test_the_clock_of_ardour(ardour: Ardour) -> None:
    """From the start: its tempo, and a position that agrees with its time code."""
    ardour.obeys(
        locate(0),
        lambda: ardour.code.seconds(0.0) == 0 and not ardour.running(),
    )
    ardour.obeys(PLAY, ardour.running)

    def known() -> bool:
        """JACK itself runs slow on a busy machine: waited for until it has kept up for a bar."""
        begun = ardour.heard(Start) and ardour.clock.beat(time.monotonic()) > 8
        return begun and ardour.clock.bpm == pytest.approx(120, abs=4)

    until(known, "no clock of 120 bpm")
    now = time.monotonic()
    assert ardour.code.running(now)
    assert ardour.clock.beat(now) == pytest.approx(2 * (ardour.code.seconds(now) or 0), abs=0.5)
    ardour.obeys(STOP, lambda: not ardour.running())


@pytest.mark.slow
def test_a_song_position_of_ardour(ardour: Ardour) -> None:
    """Ardour 7.3 says 96, clocks, for beat 4, where MIDI 1.0 wants 16; its MTC corrects that."""
    ardour.obeys(locate(2), lambda: ardour.code.seconds(0.0) == 2 and not ardour.running())
    ardour.events.clear()
    ardour.obeys(PLAY, ardour.running)
    assert ardour.heard(Continue)
    (position,) = [event for event in ardour.events if isinstance(event, SongPosition)]
    assert position.sixteenths == 96

    def known() -> bool:
        """Both run, and JACK has kept up for a beat."""
        ardour.heard(Continue)
        now = time.monotonic()
        return ardour.running() and ardour.code.running(now) and ardour.clock.bpm is not None

    until(known, "no clock and time code")
    now = time.monotonic()
    assert (clock := ardour.song.clock(now)) is not None
    assert clock.beat(now) == pytest.approx(2 * (ardour.code.seconds(now) or 0), abs=0.5)
    assert ardour.clock.beat(now) == pytest.approx(clock.beat(now) + 20)
