"""A live session at work: one event loop between MIDI ports, the server and a sound card."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Protocol

from segue.bridge.client import ServerClient
from segue.bridge.midi.controller_map import ControllerMap, save_map
from segue.bridge.midi.live import Action, Ask, Hear, Learned, LiveSession, Say, Withdraw
from segue.presets.vocabulary import Event, SegueError

TICK_SECONDS = 0.05  # how often takes are looked at when nothing is played
MAX_ACTIONS = 256  # that wait for the server; older ones would be out of date


class Port(Protocol):
    """What is needed of `port.MidiPort`."""

    name: str

    @property
    def connected(self) -> bool:
        """Whether it is there."""
        ...

    @property
    def lost(self) -> int:
        """Messages for which there was no room, at least."""
        ...

    def poll(self) -> list[tuple[float, bytes]]:
        """Messages and when they came."""
        ...

    def look(self, now: float) -> str:
        """That it has come or gone, in words; empty when neither."""
        ...


class Speaker(Protocol):
    """What is needed of `audition.Audition`."""

    @property
    def alive(self) -> bool:
        """Whether it still plays."""
        ...

    def play(self, path: Path) -> None:
        """Play a clip from the loop's next round on."""
        ...

    def follow(self, song: float | None, now: float) -> None:
        """Keep in time with a song that is there at `now`, in seconds; None: none runs."""
        ...

    def describe(self) -> str:
        """Which one it is, for people to read."""
        ...


class Playing:
    """Carries out what a session wants. `wake` may be called from any thread."""

    def __init__(
        self,
        session: LiveSession,
        url: str,
        tell: Callable[[str], None],
        *,
        speaker: Speaker | None = None,
        keep_map: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session, self._tell = session, tell
        self._speaker, self._keep_map, self._clock = speaker, keep_map, clock
        self._lost: Counter[str] = Counter()  # messages of a port, that were told of
        self._accepted = ""  # the newest job that the server knows of
        self._client = ServerClient(url, self._on_event, self._open_ids)
        self._actions: asyncio.Queue[Ask | Withdraw] = asyncio.Queue(MAX_ACTIONS)
        self._woken = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def wake(self) -> None:
        """Something has come from MIDI."""
        with suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(self._woken.set)

    async def run(self, ports: Sequence[Port], stop: asyncio.Event) -> None:
        """Play from these ports until `stop` is set."""
        try:
            self._do(self._session.begin())
            async with asyncio.TaskGroup() as group:
                jobs = (self._listen(ports), self._ask(), self._client.follow())
                tasks = [group.create_task(job) for job in jobs]
                await stop.wait()
                for task in tasks:
                    task.cancel()
        finally:
            await self._leave()

    def _open_ids(self) -> list[str]:
        """Not those still on their way: asked about, they would be unknown."""
        return [job_id for job_id in self._session.open_ids if job_id == self._accepted]

    async def _leave(self) -> None:
        """Nobody would hear what is still being made."""
        for job_id in self._open_ids():
            with suppress(SegueError):
                await self._client.cancel(job_id)
        await self._client.close()

    async def _listen(self, ports: Sequence[Port]) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await self._woken.wait()
            self._woken.clear()
            came = [(now, port.name, data) for port in ports for now, data in port.poll()]
            for now, name, data in sorted(came, key=lambda each: each[0]):
                self._do(self._session.receive(name, data, now))
            now = self._clock()
            self._do(self._session.tick(now))
            for port in ports:
                self._look(port, now)
            self._keep_time(now)

    def _look(self, port: Port, now: float) -> None:
        """Whether it has come or gone, and has had room."""
        if lost := port.lost - self._lost[port.name]:
            self._lost[port.name] = port.lost
            self._tell(f"at least {lost} MIDI messages of {port.name} came too fast and were lost")
        if change := port.look(now):
            self._tell(change)
            if not port.connected:
                self._do(self._session.gone(port.name, now))

    def _keep_time(self, now: float) -> None:
        if self._speaker is None:
            return
        self._speaker.follow(self._session.song(now), now)
        if not self._speaker.alive:
            self._speaker = None
            self._tell("the sound output has gone: stop, see to it, and start again")

    async def _ask(self) -> None:
        """One after the other, so that nothing overtakes what it was to replace."""
        while True:
            action = await self._actions.get()
            try:
                if isinstance(action, Ask):
                    await self._client.submit(action.request)
                    self._accepted = action.request.id
                    self._client.look()  # it may have ended before anyone listened
                else:
                    await self._client.cancel(action.id)
            except SegueError as error:
                if isinstance(action, Ask):
                    self._do(self._session.refused(action.request.id, error.text))

    def _on_event(self, event: Event) -> None:
        self._do(self._session.handle(event))

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Ask() | Withdraw():
                    self._queue(action)
                case Hear(path):
                    self._hear(Path(path))
                case Say(text):
                    self._tell(text)
                case Learned(chosen):
                    self._keep(chosen)

    def _queue(self, action: Ask | Withdraw) -> None:
        if self._actions.full():
            self._tell("the server does not keep up: this take is not asked for")
            return
        self._actions.put_nowait(action)
        if isinstance(action, Ask):
            self._tell(f"{action.request.id}: asked for")

    def _hear(self, path: Path) -> None:
        if self._speaker is not None:
            try:
                self._speaker.play(path)
            except SegueError as error:
                self._tell(error.text)

    def _keep(self, chosen: ControllerMap) -> None:
        if self._keep_map is not None:
            try:
                save_map(chosen, self._keep_map)
            except SegueError as error:
                self._tell(error.text)
            else:
                self._tell(f"kept in {self._keep_map}")


def speaker_or_none(wanted: bool, device: str | None) -> AbstractContextManager[Speaker | None]:
    """The sound card, when one is to be used. Raises SegueError when there is none."""
    if not wanted:
        return nullcontext()
    from segue.bridge.midi.audition import Audition

    number = device is not None and device.isdecimal()
    return Audition(int(device) if device is not None and number else device)
