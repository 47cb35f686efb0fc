"""Who hears of every job, for how long: subscriptions that end unless their taker is heard of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from segue.bridge.osc.commands import Sender
from segue.presets.vocabulary import Code, SegueError

LEASE_SECONDS = 60.0
MAX_SUBSCRIBERS = 32


@dataclass(frozen=True, slots=True)
class Lease:
    """Who asked for a subscription, and when it ends."""

    taker: Sender
    until: float


class Leases:
    """Subscribers, and who asked for each. Times are seconds of any clock that never goes back."""

    def __init__(self, leases: Mapping[Sender, Lease] | None = None) -> None:
        self._leases = dict(leases or {})

    def draft(self) -> Leases:
        """A copy that can be changed without changing ours."""
        return Leases(self._leases)

    def take(self, subscriber: Sender, taker: Sender, now: float) -> None:
        """Begin or renew. Raises SegueError(QUEUE_FULL) where there are too many."""
        self._expire(now)
        if subscriber not in self._leases and len(self._leases) == MAX_SUBSCRIBERS:
            text = f"there are {MAX_SUBSCRIBERS} subscribers: try again in {LEASE_SECONDS:g} s"
            raise SegueError(Code.QUEUE_FULL, text)
        self._leases[subscriber] = Lease(taker, now + LEASE_SECONDS)

    def renew(self, sender: Sender, now: float) -> None:
        """A message of this sender came: what it took, and what it is, lasts on."""
        self._expire(now)
        for subscriber, lease in self._leases.items():
            if sender in (subscriber, lease.taker):
                self._leases[subscriber] = replace(lease, until=now + LEASE_SECONDS)

    def drop(self, subscriber: Sender) -> None:
        """End one, if there is such a one."""
        self._leases.pop(subscriber, None)

    def leave(self, sender: Sender) -> None:
        """End all that this sender is or took: it is gone."""
        for subscriber, lease in list(self._leases.items()):
            if sender in (subscriber, lease.taker):
                del self._leases[subscriber]

    def held(self, now: float) -> list[Sender]:
        """All subscribers, the oldest first."""
        self._expire(now)
        return list(self._leases)

    def taken_by(self, taker: Sender, now: float) -> list[Sender]:
        """Where else this sender listens."""
        self._expire(now)
        return [where for where, lease in self._leases.items() if lease.taker == taker]

    def _expire(self, now: float) -> None:
        for subscriber, lease in list(self._leases.items()):
            if lease.until <= now:
                del self._leases[subscriber]
