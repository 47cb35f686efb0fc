# Segue: placed by `segue install`
"""What the script does on each of Live's ticks: commands in, orders out, clips placed."""

from __future__ import annotations

import time
import traceback
import uuid
from typing import TYPE_CHECKING, Any, Callable, Sequence

from . import wish as wishes
from .job import GONE, NOBODY, START_SECONDS, Failed, Job, Progress, Result, Waiting
from .leftover import Left, Leftovers
from .live_set import Taken, abilities, take
from .names import NameWatch
from .osc import Message, OscError, decode, encode
from .placing import Placed, kept, place, settle
from .port import HOST, Port, Sender
from .region import RefusedError
from .wish import Wish

if TYPE_CHECKING:
    from Live.Clip import Clip
    from Live.Song import Song

MAX_DATAGRAMS = 64  # a tick
HELLO = "/segue/hello"
ERROR = "/segue/error"
MAX_JOBS = 8  # at a time
SHOWN_STEP = 0.05  # of progress between two messages in the status bar
MAX_TICKS = 100  # until a clip that Live does not unwarp, or warp, is left as it is


class Errand:
    """A job, what it was asked for, and who asked; `taken` is None if its set was closed since."""

    def __init__(
        self, job: Job, left: Left, taken: Taken | None, asker: Sender | None, port: int
    ) -> None:
        self.job = job
        self.left = left
        self.taken = taken
        self.name = left.name if taken else f"{left.name}, in {left.set_name or 'another set'}"
        self.asker = asker
        self.port = port  # of the bridge that answered last
        self.unheard = 0  # tries since
        self.shown = -1.0  # of progress
        self.is_held_up = False  # which was said


class Desk:
    """All that is between Live and the bridge. `tick` belongs to Live's main thread."""

    def __init__(
        self,
        song: Callable[[], Song],
        say: Callable[[str], None],
        log: Callable[[str], None],
        port: Port,
        bridges: Callable[[], list[int]],
        clock: Callable[[], float] = time.monotonic,
        leftovers: Leftovers | None = None,
    ) -> None:
        self._song = song
        self._status = say
        self._log = log
        self._port = port
        self._bridges = bridges
        self._clock = clock
        self._names = NameWatch()
        self._left = leftovers or Leftovers()
        self._errands = {
            job_id: Errand(
                Job(job_id, left.region, left.wish, clock()), left, None, None, bridges()[0]
            )
            for job_id, left in self._left.jobs.items()
        }
        self._unsettled: list[tuple[list[Placed], Sender | None, int]] = []  # and ticks since
        self._bridge = 0  # the port that answered last
        self._fault = ""  # the error logged last
        self._checker: Sender | None = None  # who wants to know whether all is well
        self._checked: float | None = None  # when that was asked, until it is answered

    @property
    def open_jobs(self) -> int:
        """How many clips are being made."""
        return len(self._errands)

    def tick(self) -> None:
        """Everything that is due; after an error the next tick comes all the same."""
        for part in (self._settle, self._read_names, self._read_port, self._send):
            try:
                part()
            except Exception:
                fault = traceback.format_exc()
                if fault != self._fault:  # ten times a second would fill Live's log
                    self._log(fault)
                self._fault = fault

    def ask(self, wish: Wish, asker: Sender | None = None) -> None:
        """Carry out a command, from a name or from `asker`."""
        if wish.verb == wishes.CANCEL:
            self._cancel(asker)
            return
        if wish.verb == wishes.CHECK:
            self._check(asker)
            return
        try:
            if len(self._errands) == MAX_JOBS:
                raise RefusedError(f"{MAX_JOBS} clips are being made: wait, or cancel")
            taken = take(self._song(), wish)
        except Exception as error:
            self._explain(error, "{}", asker)
            return
        job = Job("live-" + uuid.uuid4().hex, taken.region, wish, self._clock())
        clip = taken.source.clip.name  # it may be gone when its name is needed
        name = f"{clip}, {wish}" if clip else str(wish)
        set_name = getattr(self._song(), "name", "")  # not in Live 11.0
        left = Left(name, set_name, taken.region, wish)
        errand = Errand(job, left, taken, asker, self._bridge or self._bridges()[0])
        self._errands[job.id] = errand
        self._say("; ".join([errand.name, *taken.notes]), asker)

    def close(self) -> None:
        """The set is closed, or the script switched off; the next start asks what came of it."""
        for errand in self._errands.values():
            self._log(f"{errand.name} is still being made; the clip stays in Segue's folder")
        self._errands.clear()
        self._port.close()

    def _settle(self) -> None:
        waiting, self._unsettled = self._unsettled, []
        for placed, asker, ticks in waiting:
            there = [each for each in placed if self._is_there(each.clip)]
            try:
                wrong = settle(self._song(), there, ticks < MAX_TICKS)
            except Exception:
                self._log(traceback.format_exc())
                continue
            if wrong is None:
                self._unsettled.append((there, asker, ticks + 1))
            for text in wrong or ():
                self._say(text, asker)

    def _is_there(self, clip: Clip) -> bool:
        """Whether it was not deleted meanwhile: of what was, Live raises whatever is asked."""
        try:
            return clip.warping in (True, False)
        except Exception:
            self._log(traceback.format_exc())
            return False

    def _read_names(self) -> None:
        wish = self._names.look(self._song())
        if wish is not None:
            self.ask(wish)

    def _read_port(self) -> None:
        for data, sender in self._port.receive(MAX_DATAGRAMS):
            try:
                for message in decode(data):
                    self._take(message, sender)
            except (OscError, IndexError, TypeError, ValueError) as error:
                self._log(f"a message that is none of Segue's: {error}")

    def _take(self, message: Message, sender: Sender) -> None:
        if message.address.startswith(wishes.PREFIX):
            wish = wishes.in_message(message.address, message.args)
            if wish is not None:
                self.ask(wish, sender)
        elif message.address == HELLO:
            version, device = message.args
            self._checked = None
            self._say(f"Segue {version} answers, on {device}", self._checker)
        elif message.address == ERROR and not message.args[0]:  # about no job: about a hello
            self._checked = None
            self._say(message.args[2], self._checker)
        elif message.args and message.args[0] in self._errands:
            errand = self._errands[message.args[0]]
            self._bridge = errand.port = sender[1]
            errand.unheard = 0
            self._hear(errand, message.address, message.args)

    def _hear(self, errand: Errand, address: str, args: Sequence[Any]) -> None:
        packets, event = errand.job.hear(address, args, self._clock())
        if errand.job.accepted:
            self._left.add(errand.job.id, errand.left)
        for packet in packets:
            self._port.send(packet, (HOST, errand.port))
        if event is not None:
            self._act(errand, event)

    def _act(self, errand: Errand, event: Any) -> None:
        if isinstance(event, Waiting):
            if not errand.is_held_up:
                self._say(f"{errand.name} waits: {event.text}", errand.asker)
            errand.is_held_up = True
            return
        if isinstance(event, Progress):
            errand.is_held_up = False
            if abs(event.fraction - errand.shown) >= SHOWN_STEP:
                errand.shown = event.fraction
                self._say(f"{errand.name}: {event.fraction:.0%}", errand.asker)
            return
        del self._errands[errand.job.id]
        if isinstance(event, Result) and errand.taken is not None:
            self._place(errand, errand.taken, event)
        elif isinstance(event, Result):
            files = ", ".join(made.overlay_path or made.path for made in event.clips)
            self._say(f"{errand.name} was made meanwhile; kept: {files}", errand.asker)
        elif isinstance(event, Failed):
            if errand.taken is None and event.text == NOBODY:
                return  # nobody asked just now: the next start does
            self._say(f"{errand.name}: {event.text}", errand.asker)
            if event.text == GONE:
                return  # it may be done yet
        self._left.remove(errand.job.id)

    def _place(self, errand: Errand, taken: Taken, result: Result) -> None:
        try:
            placed, where = place(self._song(), taken, result, errand.name)
        except Exception as error:
            what = "nothing was placed" if isinstance(error, RefusedError) else "Live refused"
            files = kept(self._song(), taken, result.clips)
            self._explain(error, what + ": {}; kept: " + files, errand.asker)
            return
        self._unsettled.append((placed, errand.asker, 0))
        notes = "; ".join([where, *taken.notes])
        self._say(f"{errand.name} is {notes}", errand.asker)

    def _explain(self, error: Exception, text: str, asker: Sender | None) -> None:
        """Ours is a sentence; Live's own, of many classes, are logged with their place too."""
        if not isinstance(error, RefusedError):
            self._log(traceback.format_exc())
        self._say(text.replace("{}", str(error), 1), asker)

    def _send(self) -> None:
        if self._checked is not None and self._clock() - self._checked > START_SECONDS:
            self._checked = None
            self._say(NOBODY, self._checker)
        for errand in list(self._errands.values()):
            failed = errand.job.overdue(self._clock())
            if failed is not None:
                self._act(errand, failed)
                continue
            packets = errand.job.packets(self._clock())
            if packets:
                self._send_all(errand, packets)

    def _send_all(self, errand: Errand, packets: list[bytes]) -> None:
        """To where the last answer came from; after a silence, to each place in turn."""
        if errand.unheard:
            ports = self._bridges()
            errand.port = ports[errand.unheard % len(ports)]
        errand.unheard += 1
        for packet in packets:
            self._port.send(packet, (HOST, errand.port))

    def _cancel(self, asker: Sender | None) -> None:
        self._say(f"stopping {len(self._errands)}", asker)
        for errand in self._errands.values():
            errand.job.cancel()

    def _check(self, asker: Sender | None) -> None:
        """Whether all is well: what this Live can do, and whoever answers a hello."""
        self._checker, self._checked = asker, self._clock()
        self._say(f"Live places {abilities(self._song())}; waiting for Segue", asker)
        for port in self._bridges():
            self._port.send(encode(HELLO, "s", "Ableton Live"), (HOST, port))

    def _say(self, text: str, asker: Sender | None) -> None:
        """In Live's status bar, in its log, and to whoever asked by OSC."""
        self._status("Segue: " + text)
        self._log(text)
        if asker is not None:
            self._port.send(encode("/segue/live/said", "s", text), asker)
