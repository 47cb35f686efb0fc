"""A clip that goes round, and the newer one that takes its place at the loop's boundary."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]  # (frames, channels)


class Looping:
    """Plays whole clips round and round; silence until there is one.

    `offer` is for any thread; `fill` for the audio callback alone, which never waits: it copies,
    and looks once a round whether something newer is there.
    """

    def __init__(self) -> None:
        self.rounds = 0  # begun
        self._newest: queue.SimpleQueue[Samples] = queue.SimpleQueue()
        self._clip: Samples | None = None
        self._at = 0

    def offer(self, clip: Samples) -> None:
        """Play this one from the next round on; of those that wait the newest wins."""
        self._take()
        self._newest.put(clip)

    def fill(self, out: Samples) -> None:
        """Write the next frames of what plays, (frames, channels)."""
        done = 0
        while done < len(out):
            if self._clip is None or self._at == len(self._clip):
                self._turn()
            if self._clip is None:
                out[done:] = 0
                return
            count = min(len(out) - done, len(self._clip) - self._at)
            out[done : done + count] = self._clip[self._at : self._at + count]
            self._at += count
            done += count

    def _turn(self) -> None:
        newer = self._take()
        if newer is not None and len(newer):
            self._clip = newer
        self._at = 0
        self.rounds += self._clip is not None

    def _take(self) -> Samples | None:
        try:
            return self._newest.get_nowait()
        except queue.Empty:
            return None
