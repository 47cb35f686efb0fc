"""Events on their way from the worker to everyone who listens."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from segue.presets.vocabulary import Event

MAX_LISTENERS = 64
MAX_PENDING = 1024  # jobs with news that one listener has not taken yet


class TooSlowError(Exception):
    """A listener let too much pile up; it should connect again and ask for the jobs."""


class Mailbox:
    """What one listener has not taken yet: at most one event a job, the newest.

    A job's last event is never followed by another, so it is never replaced.
    Lives in one event loop and is not for other threads.
    """

    def __init__(self) -> None:
        self._pending: dict[str, Event] = {}
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._overflowed = False

    def put(self, event: Event) -> None:
        """Add an event, in place of an older one of the same job."""
        if event.id not in self._pending and len(self._pending) >= MAX_PENDING:
            self._overflowed = True
            self._pending.clear()
        if not self._overflowed:
            self._pending[event.id] = event
        self._news.set()

    async def take(self) -> Event:
        """The job longest without delivery, its newest event. Raises TooSlowError for good."""
        while not self._pending:
            if self._overflowed:
                raise TooSlowError
            self._news.clear()
            await self._news.wait()
        return self._pending.pop(next(iter(self._pending)))

    def put_from_any_thread(self, event: Event) -> None:
        """`put`, from outside the loop."""
        with suppress(RuntimeError):  # the loop has closed: nobody listens any more
            self._loop.call_soon_threadsafe(self.put, event)


class Hub:
    """The listeners of now. Any thread may publish; join and leave belong to the event loop."""

    def __init__(self) -> None:
        self._mailboxes: tuple[Mailbox, ...] = ()  # replaced whole, so publish needs no lock

    @property
    def full(self) -> bool:
        """Whether as many listen as may."""
        return len(self._mailboxes) >= MAX_LISTENERS

    def join(self) -> Mailbox:
        """A new listener's mailbox; it gets everything published from now on."""
        mailbox = Mailbox()
        self._mailboxes = (*self._mailboxes, mailbox)
        return mailbox

    def leave(self, mailbox: Mailbox) -> None:
        """End a listener."""
        self._mailboxes = tuple(other for other in self._mailboxes if other is not mailbox)

    def publish(self, event: Event) -> None:
        """Tell everyone; never waits."""
        for mailbox in self._mailboxes:
            mailbox.put_from_any_thread(event)
