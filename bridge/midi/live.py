"""A player and Segue: what is played becomes requests, and the newest clip is listened to.

Pure: bytes, events of the server and the time come in, actions go out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import ValidationError

from segue.bridge.midi.channels import MEMBERS, Channels, Gesture, Moved, Source
from segue.bridge.midi.codec import Decoder
from segue.bridge.midi.controller_map import ControllerMap, Target
from segue.bridge.midi.events import Event as MidiEvent
from segue.bridge.midi.events import NoteOn
from segue.bridge.midi.learn import Learner
from segue.bridge.midi.recording import Recording
from segue.bridge.midi.rounds import SONG_START, InSong
from segue.presets.library import sentence
from segue.presets.vocabulary import Event, Failure, Progress, Request, Result

PRESSED = 0.5  # a button is down from here on


@dataclass(frozen=True, slots=True)
class Ask:
    """Give the server a job."""

    request: Request


@dataclass(frozen=True, slots=True)
class Withdraw:
    """A job that something newer has taken the place of, or that nobody wants any more."""

    id: str


@dataclass(frozen=True, slots=True)
class Hear:
    """Play this clip from the loop's next round on."""

    path: str


@dataclass(frozen=True, slots=True)
class Say:
    """A sentence for the player."""

    text: str


@dataclass(frozen=True, slots=True)
class Learned:
    """The map with the control that was learned in it."""

    map: ControllerMap


Action = Ask | Withdraw | Hear | Say | Learned


class LiveSession:
    """One phrase, made again whenever a take of it is over, or a knob rests within one.

    All its jobs are of one slot, so each starts from the noise that the last one ended with.
    `base` says where and how long, `begins` where in a song that runs; `draw` gives seeds. A
    map without `record_melody` has the melody armed all the time.
    """

    def __init__(
        self,
        base: Request,
        chosen: ControllerMap,
        draw: Callable[[], int],
        learn: Target | None = None,
        begins: InSong = SONG_START,
    ) -> None:
        self._base, self._map, self._draw = base, chosen, draw
        self._recording = Recording(base, begins)
        self._learner = Learner(learn) if learn else None
        self._decoders: dict[str, Decoder] = defaultdict(Decoder)
        # A controller says what its zone is when it is switched on, which may be long ago.
        members = MEMBERS if any(each.kind == "zone" for each in chosen.controls) else 0
        self._channels: dict[str, Channels] = defaultdict(lambda: Channels(members))
        self._pressed: set[tuple[str, Source]] = set()
        self._asked = self._slots = 0
        self._seed = base.seed
        self._newest = ""  # the job that is waited for; empty: none
        self._previewed = 0  # number of its preview that was heard last

    def begin(self) -> list[Action]:
        """Ask for the phrase as it is without anything played."""
        return self._order()

    def receive(self, port: str, data: bytes, now: float) -> list[Action]:
        """Bytes that came from a port at `now`."""
        found: list[Action] = []
        for event in self._decoders[port].receive(data):
            self._recording.follow(port, event, now)
            for each in (event, *self._channels[port].receive(event)):
                found += self._played(port, each, now)
        return found + self.tick(now)

    def gone(self, port: str, now: float) -> list[Action]:
        """A port is not there any more: its song is over, and half a message stays half."""
        self._decoders.pop(port, None)
        self._channels.pop(port, None)
        self._recording.forget(port, now)
        return self.tick(now)

    def tick(self, now: float) -> list[Action]:
        """What time brings: takes end, knobs rest. Call it often, 20 times a second or so."""
        return self._order() if self._recording.tick(now) else []

    def handle(self, event: Event) -> list[Action]:
        """News of the server; what is not of the newest job is old."""
        if event.id != self._newest or not self._newest:
            return []
        match event:
            case Progress(preview=preview):
                # Every report names the newest preview again.
                if preview is None or preview.number <= self._previewed:
                    return []
                self._previewed = preview.number
                return [Hear(preview.path)]
            case Result(path=path, taken_seconds=taken):
                self._newest = ""
                return [Hear(path), Say(f"{event.id}: made in {taken:.1f} s, {path}")]
            case Failure(text=text):
                self._newest = ""
                return [Say(f"{event.id}: {text}")]
        self._newest = ""
        return []

    def refused(self, job_id: str, text: str) -> list[Action]:
        """The server did not take a job."""
        if job_id == self._newest:
            self._newest = ""
        return [Say(f"{job_id}: {text}")]

    def song(self, now: float) -> float | None:
        """Where a song that runs is, in the clip's seconds; None where none runs."""
        return self._recording.song(now)

    @property
    def open_ids(self) -> list[str]:
        """Jobs whose end is waited for."""
        return [self._newest] if self._newest else []

    def _played(self, port: str, event: MidiEvent | Gesture, now: float) -> list[Action]:
        if isinstance(event, Moved):
            return self._moved(port, event, now)
        if isinstance(event, NoteOn) and not self._armed_by_hand:
            self._recording.arm_by_playing("melody", now)
        self._recording.receive(event, now)
        return []

    def _moved(self, port: str, moved: Moved, now: float) -> list[Action]:
        found = self._learn(port, moved, now)
        for target in self._map.targets(port, moved.source):
            if target == "intensity":
                self._recording.arm_by_playing("intensity", now, moved.source)
                self._recording.receive(moved, now)
            elif moved.value >= PRESSED and (port, moved.source) not in self._pressed:
                found += self._press(target, now)
        down = moved.value >= PRESSED
        (self._pressed.add if down else self._pressed.discard)((port, moved.source))
        return found

    def _learn(self, port: str, moved: Moved, now: float) -> list[Action]:
        bound = self._learner.receive(port, moved, now) if self._learner else None
        if bound is None:
            return []
        self._learner = None
        others = (
            each.model_copy(update={"port": each.port or self._map.port})
            for each in self._map.controls
            if each.target != bound.target
        )
        fields = {"controls": (*others, bound), "port": None}
        self._map = self._map.model_copy(update=fields)
        text = f"learned {bound.target}: {bound.kind} {bound.number} of channel {bound.channel}"
        return [Learned(self._map), Say(f"{text}, {bound.bits} bits")]

    def _press(self, target: Target, now: float) -> list[Action]:
        match target:
            case "record_melody":
                self._recording.arm_by_hand("melody", now)
                return [Say("melody: armed; it begins with your first note")]
            case "again":
                self._slots, self._seed = self._slots + 1, self._draw()
                return self._order()
            case "stop":
                return self._withdraw()
        return []

    @property
    def _armed_by_hand(self) -> bool:
        return any(control.target == "record_melody" for control in self._map.controls)

    def _order(self) -> list[Action]:
        """The phrase with all that was played; the newest wins."""
        self._asked += 1
        fields = self._base.model_dump(mode="json")
        slot = f"{self._base.id}-{self._slots}"
        fields["id"] = f"{self._base.id}-{self._asked}"
        fields["settings"] |= {"slot": slot, "previews": True}
        fields["seed"] = self._seed
        played = self._recording.features
        own = (c for c in fields["controls"] if c["kind"] not in played)
        fields["controls"] = [*own, *played.values()]
        try:
            request = Request.model_validate(fields)
        except ValidationError as error:
            return [Say(f"this cannot be asked for: {sentence(error)}")]
        older = self._withdraw()
        self._newest, self._previewed = request.id, 0
        return [*older, Ask(request)]

    def _withdraw(self) -> list[Action]:
        older, self._newest = self._newest, ""
        return [Withdraw(older)] if older else []
