"""MIDI through a real JACK: what a DAW sends is what arrives."""

from __future__ import annotations

import builtins
import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

import pytest

from segue.bridge.midi import events as midi
from segue.bridge.midi import inlet
from segue.bridge.midi import port as midi_port
from segue.bridge.midi.channels import Channels, Moved, NoteShaped, Source
from segue.bridge.midi.clock import SongClock
from segue.bridge.midi.codec import Decoder, encode
from segue.bridge.midi.events import Event
from segue.bridge.midi.port import LOOK_SECONDS, MidiInputs, MidiPort
from segue.bridge.midi.timecode import TimeCode
from segue.presets.vocabulary import SegueError
from tests.jack import connect, jack_server, until

JACK = "UNIX_JACK"


@pytest.fixture(scope="module")
def rtmidi() -> Iterator[Any]:
    """python-rtmidi with a JACK server."""
    try:
        import rtmidi
    except ImportError:
        pytest.skip("python-rtmidi is missing: pip install 'segue[midi]'")
    if rtmidi.API_UNIX_JACK not in rtmidi.get_compiled_api():
        pytest.skip("this python-rtmidi was built without JACK: use a wheel for Linux")
    with jack_server():
        yield rtmidi


class Daw:
    """A virtual output, as a DAW or controller has one."""

    def __init__(self, rtmidi: Any, port: str = "out") -> None:
        self._out = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name="daw")
        self._out.open_virtual_port(port)
        self.name = f"daw:{port}"

    def send(self, *events: Event) -> None:
        """Each event as one message."""
        for event in events:
            self._out.send_message(encode(event))

    def unplug(self) -> None:
        """The port goes; once it has gone nothing happens."""
        if not self._out.is_deleted:
            self._out.close_port()
            self._out.delete()


@pytest.fixture
def daw(rtmidi: Any) -> Iterator[Daw]:
    """A DAW that is there."""
    sender = Daw(rtmidi)
    yield sender
    sender.unplug()


@pytest.fixture
def port(daw: Daw) -> Iterator[MidiPort]:
    """Our virtual port, connected to the DAW."""
    opened = MidiPort(None, only=JACK)
    connect(daw.name, "Segue:Segue")
    yield opened
    opened.close()


def heard(port: MidiPort, count: int) -> list[tuple[float, Event]]:
    """The next `count` events and when they came."""
    decoder = Decoder()
    found: list[tuple[float, Event]] = []

    def all_there() -> bool:
        for now, data in port.poll():
            found.extend((now, event) for event in decoder.receive(data))
        return len(found) >= count

    until(all_there, f"{count} events did not arrive")
    assert decoder.dropped == 0
    return found


def test_all_that_a_controller_sends_arrives(daw: Daw, port: MidiPort) -> None:
    """Notes, a pair of controllers, bend, pressures and sysex, in order and unchanged."""
    sent: list[Event] = [
        midi.NoteOn(0, 60, 1),
        midi.ControlChange(2, 1, 64),
        midi.ControlChange(2, 33, 5),
        midi.PitchBend(1, -8192),
        midi.ChannelPressure(1, 77),
        midi.PolyPressure(1, 60, 78),
        midi.ProgramChange(3, 9),
        midi.SysEx(bytes(range(100)) * 3),
        midi.NoteOff(0, 60, 2),
    ]
    daw.send(*sent)
    events = [event for _, event in heard(port, len(sent))]
    assert events == sent
    channels = Channels()
    moved = [g for e in events for g in channels.receive(e) if isinstance(g, Moved)]
    assert Moved(Source(2, "cc", 1, 14), (64 << 7 | 5) / 16383) in moved


def test_mpe_arrives(daw: Daw, port: MidiPort) -> None:
    """A zone and a note's bend within it."""
    zone = [midi.ControlChange(0, number, value) for number, value in ((101, 0), (100, 6), (6, 5))]
    daw.send(*zone, midi.NoteOn(1, 60, 9), midi.PitchBend(1, 8191))
    channels = Channels()
    found = [g for _, event in heard(port, 5) for g in channels.receive(event)]
    assert found[-1] == NoteShaped(1, 60, "bend", 48.0)


def test_clock_and_transport_arrive(daw: Daw, port: MidiPort) -> None:
    """Song position, continue, clocks, stop: the position is theirs, times never go back."""
    clocks = [midi.Clock()] * 48
    daw.send(midi.SongPosition(16), midi.Continue(), *clocks, midi.Stop())
    found = heard(port, 51)
    assert [event for _, event in found] == [
        midi.SongPosition(16),
        midi.Continue(),
        *clocks,
        midi.Stop(),
    ]
    times = [now for now, _ in found]
    assert times == sorted(times)
    clock = SongClock()
    for now, event in found:
        clock.receive(event, now)
    assert clock.beat(times[-1]) == 6
    daw.send(midi.Start(), midi.Clock())
    for now, event in heard(port, 2):
        clock.receive(event, now)
    assert clock.running(now)


def test_time_code_arrives(daw: Daw, port: MidiPort) -> None:
    """A full frame, then the eight quarter-frames of 0:00:10:00 at 30 frames a second."""
    code = TimeCode()
    daw.send(midi.SysEx(bytes([0x7F, 0x7F, 1, 1, 0x60, 0, 2, 0])))
    for now, event in heard(port, 1):
        code.receive(event, now)
        assert code.seconds(now) == 2
    numbers = [0, 0, 10, 0, 0, 0, 0, 6]
    daw.send(*(midi.QuarterFrame(i, value) for i, value in enumerate(numbers)))
    for now, event in heard(port, 8):
        code.receive(event, now)
    assert code.seconds(now) == pytest.approx(10 + 1.75 / 30)


def test_a_port_by_a_part_of_its_name(daw: Daw) -> None:
    """The player need not know how JACK calls it; what is not there is answered with what is."""
    port = MidiPort("DAW:o", only=JACK)
    try:
        assert port.name == "daw:out"
        daw.send(midi.NoteOn(0, 60, 1))
        assert [event for _, event in heard(port, 1)] == [midi.NoteOn(0, 60, 1)]
        with pytest.raises(SegueError, match=r"no MIDI input 'Launchpad'; there are: .*daw:out"):
            MidiPort("Launchpad", only=JACK)
    finally:
        port.close()


def test_unplugged_and_plugged_in_again(rtmidi: Any) -> None:
    """The port is noticed to be gone, opened when it is back, and heard again."""
    daw = Daw(rtmidi, "keys")
    now = 0.0
    port = MidiPort("keys", only=JACK, clock=lambda: now)
    try:
        assert not port.look(now + LOOK_SECONDS / 2)
        daw.unplug()
        now += LOOK_SECONDS
        assert port.look(now)
        assert not port.connected
        assert not port.look(now + LOOK_SECONDS)
        daw = Daw(rtmidi, "keys")
        now += 2 * LOOK_SECONDS
        assert port.look(now)
        assert port.connected
        daw.send(midi.NoteOn(0, 60, 1))
        assert heard(port, 1) == [(now, midi.NoteOn(0, 60, 1))]
    finally:
        port.close()
        daw.unplug()


def test_unplugged_between_listing_and_opening(
    rtmidi: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port that is gone when it is opened is not back yet, and nothing ends by it."""
    daw = Daw(rtmidi, "keys")
    now = 0.0
    port = MidiPort("daw:keys", only=JACK, clock=lambda: now)
    listed = MidiInputs._of

    def unplugged(inputs: MidiInputs, system: str) -> list[str]:
        names = listed(inputs, system)
        daw.unplug()
        return names

    try:
        daw.unplug()
        now += LOOK_SECONDS
        assert port.look(now) == "daw:keys has gone"
        daw = Daw(rtmidi, "keys")
        now += LOOK_SECONDS
        with monkeypatch.context() as patch:
            patch.setattr(MidiInputs, "_of", unplugged)
            assert port.look(now) == ""
        assert not port.connected
        daw = Daw(rtmidi, "keys")
        now += LOOK_SECONDS
        assert port.look(now) == "daw:keys is back"
        daw.send(midi.NoteOn(0, 60, 1))
        assert heard(port, 1) == [(now, midi.NoteOn(0, 60, 1))]
    finally:
        port.close()
        daw.unplug()


def test_a_burst_is_kept_whole(port: MidiPort) -> None:
    """5,000 messages that come while nobody takes any, given as the inputs' thread gives them."""
    notes = [midi.NoteOn(0, i % 128, 1 + i // 128) for i in range(5000)]
    for note in notes:
        port._arrived(0.0, encode(note))
    assert port.lost == 0
    assert [event for _, event in heard(port, len(notes))] == notes


def test_what_waits_has_a_limit(daw: Daw, port: MidiPort, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages nobody takes are counted, not kept; what was there first stays."""
    monkeypatch.setattr(midi_port, "MAX_WAITING", 3)
    daw.send(*(midi.NoteOn(0, note, 1) for note in range(1, 6)))
    until(lambda: port.lost == 2, "two messages should have been lost")
    assert [event for _, event in heard(port, 3)] == [midi.NoteOn(0, n, 1) for n in (1, 2, 3)]


OPENED_OFTEN = """
from segue.bridge.midi.port import MidiInputs, MidiPort
inputs = MidiInputs("UNIX_JACK")
for _ in range(100):
    port = MidiPort("daw:out", inputs=inputs)
    while not port.poll():
        pass
    port.close()
inputs.close()
"""


def test_a_port_closes_while_messages_stream(daw: Daw) -> None:
    """A hundred times over; JACK ends its thread where it is, which must not be in Python."""
    child = subprocess.Popen([sys.executable, "-c", OPENED_OFTEN])
    deadline = time.monotonic() + 60
    try:
        while child.poll() is None:
            assert time.monotonic() < deadline, "a port that is closed hangs"
            daw.send(*[midi.NoteOn(0, 60, 1)] * 100)
    finally:
        child.kill()
    assert child.wait() == 0


def test_a_queue_that_overflows(daw: Daw, rtmidi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was there first stays, the loss is told, and what comes after arrives."""
    monkeypatch.setattr(midi_port, "MAX_WAITING", 8)
    monkeypatch.setattr(inlet, "MAX_WAITING", 8)
    port, other = MidiPort(daw.name, only=JACK), MidiPort(daw.name, only=JACK)
    notes = [midi.NoteOn(0, note, 1) for note in range(40)]
    try:
        with port._inputs.inlets._lock:
            for note in notes[:20]:
                daw.send(note)
                heard(other, 1)
        assert [event for _, event in heard(port, 7)] == notes[:7]
        until(lambda: port.lost == 1, "the loss should have been noticed")
        daw.send(notes[30])
        assert [event for _, event in heard(port, 1)] == notes[30:31]
        assert port.lost == 1
        assert other.lost == 0
    finally:
        port.close()
        other.close()


def test_times_are_those_of_a_callback(
    daw: Daw, rtmidi: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a millisecond, though the queue is looked at every 20 and active sensing passes."""
    monkeypatch.setattr(inlet, "POLL_SECONDS", 0.02)
    called: list[float] = []
    other = rtmidi.MidiIn(rtmidi.API_UNIX_JACK, name="other")
    other.set_callback(lambda *message: called.append(time.monotonic()))
    other.open_virtual_port("in")
    port = MidiPort(None, only=JACK)
    connect(daw.name, "other:in")
    connect(daw.name, "Segue:Segue")
    try:
        for i in range(200):
            daw.send(midi.ActiveSensing(), midi.NoteOn(0, i % 128, 1))
            time.sleep(0.007)
        times = [now for now, _ in heard(port, 200)]
    finally:
        port.close()
        other.close_port()  # nothing comes any more
        other.delete()
    assert len(called) == 200
    errors = [abs(ours - theirs) for ours, theirs in zip(times, called, strict=True)]
    assert median(errors[100:]) < 0.001


def test_names(daw: Daw) -> None:
    """The DAW's port is listed, as JACK calls it."""
    inputs = MidiInputs(JACK)
    try:
        assert daw.name in inputs.names()
    finally:
        inputs.close()


def test_without_python_rtmidi(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra that brings it."""
    real = builtins.__import__

    def missing(name: str, *arguments: Any, **more: Any) -> Any:
        if name == "rtmidi":
            raise ImportError("No module named 'rtmidi'")
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(SegueError, match=r"pip install 'segue\[midi\]'"):
        MidiPort(None)


def test_a_system_that_is_not_there(rtmidi: Any) -> None:
    """No MIDI system at all is an error that says what to start."""
    with pytest.raises(SegueError, match="start JACK"):
        MidiInputs("WINDOWS_KS")
