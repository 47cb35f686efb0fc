"""MIDI inputs of this machine through python-rtmidi: ALSA, JACK, CoreMIDI or WinMM.

mido's own ports are left aside: their queue has no limit, and they drop what their parser
refuses. What arrives here are bytes and the time they came.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Any

from segue.bridge.midi.codec import MAX_SYSEX_BYTES, encode
from segue.bridge.midi.events import ActiveSensing
from segue.bridge.midi.inlet import MAX_WAITING, Inlet, Inlets
from segue.bridge.midi.jack_watch import JackWatch
from segue.presets.vocabulary import Code, SegueError

CLIENT = "Segue"
LOOK_SECONDS = 1.0  # how often names are looked at for what was plugged in or out
NO_VIRTUAL = "WINDOWS_MM"
JACK = "UNIX_JACK"
ALIVE = encode(ActiveSensing())  # that a cable is there, three times a second


def _rtmidi() -> ModuleType:
    try:
        import rtmidi
    except ImportError as error:
        text = f"MIDI needs python-rtmidi ({error}): pip install 'segue[midi]'"
        raise SegueError(Code.UNSUPPORTED, text) from error
    return rtmidi


def _systems(rtmidi: ModuleType, only: str | None) -> dict[str, int]:
    """What python-rtmidi was built with, by its own names, the system's preferred one first."""
    names = {getattr(rtmidi, name): name[4:] for name in dir(rtmidi) if name.startswith("API_")}
    built = {names[api]: api for api in rtmidi.get_compiled_api()}
    return {name: api for name, api in built.items() if only in (None, name)}


class MidiInputs:
    """Every MIDI input there is. `only` restricts it to one system, such as UNIX_JACK."""

    def __init__(self, only: str | None = None) -> None:
        self._rtmidi = _rtmidi()
        # Of rtmidi's errors some are an OSError, others a ValueError or RuntimeError.
        self._problems = OSError, self._rtmidi.RtMidiError
        self._lists: dict[str, Any] = {}
        self._open: list[Any] = []
        self._jack: JackWatch | None = None
        for name, api in _systems(self._rtmidi, only).items():
            with suppress(*self._problems):  # this system is not there
                self._lists[name] = self._list(api)
        if not self._lists:
            text = "no MIDI here: start JACK, or load the kernel's sequencer (modprobe snd-seq)"
            raise SegueError(Code.UNSUPPORTED, text)
        self.inlets = Inlets()

    def names(self) -> list[str]:
        """Ports that can be opened, as their system calls them."""
        return [name for system in self._lists for name in self._of(system)]

    def close(self) -> None:
        """Let the systems go. Their ports are closed before."""
        self.inlets.close()
        for system in list(self._lists):
            self._leave(system)

    def let_go(self, port: Any) -> None:
        """Close an open port. Without `delete` its client stays, and the next gets another name."""
        self._open.remove(port)
        self.inlets.remove(port)
        port.delete()

    def ended(self, port: Any) -> bool:
        """Whether the system of an open port has ended; the port itself just stays silent."""
        return self._jack_gone and port.get_current_api() == self._rtmidi.API_UNIX_JACK

    def open(self, wanted: str) -> tuple[Any, str]:
        """The open port whose name is `wanted`, else the first that holds it; and its name.

        A JACK that has ended is looked for again, once all its ports are closed. Raises SegueError
        with the names there are.
        """
        self._rejoin()
        for fits in (lambda name: name == wanted, lambda name: wanted.lower() in name.lower()):
            for system in self._lists:
                for number, name in enumerate(self._of(system)):
                    if fits(name):
                        return self._opened(system, number), name
        known = ", ".join(self.names()) or "none"
        text = f"--midi-port: there is no MIDI input {wanted!r}; there are: {known}"
        raise SegueError(Code.BAD_REQUEST, text)

    def open_virtual(self, name: str) -> Any:
        """A port that others connect to. Raises SegueError on Windows, which has none."""
        self._rejoin()
        for system in self._lists:
            if system != NO_VIRTUAL:
                return self._opened(system, name)
        known = ", ".join(self.names()) or "none"
        text = f"--midi-port: Windows has no virtual ports; choose one of: {known}"
        raise SegueError(Code.UNSUPPORTED, text)

    @property
    def _jack_gone(self) -> bool:
        return self._jack is not None and self._jack.gone

    def _list(self, api: int) -> Any:
        found = self._rtmidi.MidiIn(api, name=f"{CLIENT} looks")
        if api == self._rtmidi.API_UNIX_JACK:
            with suppress(AttributeError):  # not linked to libjack: whether it ends stays unknown
                self._jack = JackWatch(self._rtmidi._rtmidi.__file__, f"{CLIENT} watches")
        return found

    def _rejoin(self) -> None:
        if self._jack_gone and not any(self.ended(port) for port in self._open):
            self._leave(JACK)
            with suppress(*self._problems):  # not yet
                self._lists[JACK] = self._list(self._rtmidi.API_UNIX_JACK)

    def _leave(self, system: str) -> None:
        if system in self._lists:
            self._lists.pop(system).delete()
        if system == JACK and self._jack is not None:
            self._jack.close()

    def _of(self, system: str) -> list[str]:
        if system == JACK and self._jack_gone:
            return []  # it would list what was there at the end
        try:
            return list(self._lists[system].get_ports())
        except self._problems:
            return []

    def _opened(self, system: str, port: int | str) -> Any:
        api, midi = getattr(self._rtmidi, f"API_{system}"), None
        try:
            midi = self._rtmidi.MidiIn(api, name=CLIENT, queue_size_limit=MAX_WAITING)
            self._open.append(midi)
            # Of what is ignored JACK still counts the time, and leaves it out.
            midi.ignore_types(sysex=False, timing=False, active_sense=False)
            midi.open_virtual_port(port) if isinstance(port, str) else midi.open_port(port)
        except self._problems as error:
            if midi is not None:
                self.let_go(midi)
            text = f"--midi-port: {port!r} cannot be opened ({error}): is it in use?"
            raise SegueError(Code.UNSUPPORTED, text) from error
        return midi


class MidiPort:
    """One input, opened again when it was unplugged, or its JACK ended, and comes back.

    `wanted` is a name or a part of one; None makes a port of our own that others connect to.
    Ports that are open together share their `inputs`; who gives them closes them. `wake` is
    called from the inputs' thread for each message; `poll` takes them in any other.
    """

    def __init__(
        self,
        wanted: str | None,
        wake: Callable[[], None] = lambda: None,
        *,
        only: str | None = None,
        inputs: MidiInputs | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lost = 0  # messages for which there was no room, at least
        self._wanted, self._wake, self._clock = wanted, wake, clock
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._looked = clock()
        self._shared, self._inputs = inputs is not None, inputs or MidiInputs(only)
        self._midi: Any = None
        self.name = f"{CLIENT}:{CLIENT}"
        try:
            self._open()
        except SegueError:
            self.close()
            raise

    @property
    def connected(self) -> bool:
        """Whether the port is open."""
        return self._midi is not None

    def poll(self) -> list[tuple[float, bytes]]:
        """What has come since the last call: seconds of the clock, and one message's bytes."""
        return [self._waiting.popleft() for _ in range(len(self._waiting))]

    def look(self, now: float) -> str:
        """Every LOOK_SECONDS, see whether the port is there; what has changed, for the player."""
        if now - self._looked < LOOK_SECONDS:
            return ""
        self._looked = now
        if self.connected:
            if self._is_there():
                return ""
            self._close()
            return f"{self.name} has gone"
        try:
            self._open()
        except SegueError:
            return ""
        return f"{self.name} is back" + (": connect it again" if self._wanted is None else "")

    def close(self) -> None:
        """Close the port and forget what waits."""
        self._close()
        if not self._shared:
            self._inputs.close()
        self._waiting.clear()

    def _open(self) -> None:
        if self._wanted is None:
            self._midi = self._inputs.open_virtual(CLIENT)
        else:
            self._midi, self.name = self._inputs.open(self._wanted)
        self._inputs.inlets.add(Inlet(self._midi, self._arrived, self._overflowed, self._clock))

    def _is_there(self) -> bool:
        if self._inputs.ended(self._midi):
            return False
        return self._wanted is None or self.name in self._inputs.names()

    def _close(self) -> None:
        if self._midi is not None:
            self._inputs.let_go(self._midi)
            self._midi = None

    def _arrived(self, now: float, data: bytes) -> None:
        if data == ALIVE:
            return
        if len(self._waiting) >= MAX_WAITING or len(data) > MAX_SYSEX_BYTES + 2:
            self.lost += 1
            return
        self._waiting.append((now, data))
        self._wake()

    def _overflowed(self) -> None:
        self.lost += 1  # nobody counts how many
        self._wake()
