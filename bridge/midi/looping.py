"""A clip that goes round, and the newer one that takes its place at the loop's boundary."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]  # (frames, channels)


NEAR_SECONDS = 0.02  # beside the song: as good as in time
FAR_SECONDS = 0.1  # the song has jumped, or begun: followed at once


class Looping:
    """Plays whole clips round and round; silence until there is one.

    `offer` is for any thread; `fill` for the audio callback alone, which never waits: it copies,
    and looks once a round whether something newer is there. With a song the first frame of a clip
    is where the song begins, and every clip's length after that.
    """

    def __init__(self, rate: int = 48_000) -> None:
        self.rounds = 0  # begun
        self._near, self._far = round(NEAR_SECONDS * rate), round(FAR_SECONDS * rate)
        self._newest: queue.SimpleQueue[Samples] = queue.SimpleQueue()
        self._clip: Samples | None = None
        self._at = 0

    def offer(self, clip: Samples) -> None:
        """Play this one from the next round on; of those that wait the newest wins."""
        self._take()
        self._newest.put(clip)

    def fill(self, out: Samples, song: int | None = None) -> None:
        """Write the next frames of what plays, (frames, channels).

        `song` is the frame of a song that the first of them belongs to; without, none runs.
        """
        done = 0
        if song is not None:
            self._keep_up(song, self._far)
        while done < len(out):
            if self._clip is None or self._at == len(self._clip):
                self._turn(None if song is None else song + done)
            if self._clip is None:
                out[done:] = 0
                return
            count = min(len(out) - done, len(self._clip) - self._at)
            out[done : done + count] = self._clip[self._at : self._at + count]
            self._at += count
            done += count

    def _keep_up(self, song: int, tolerance: int) -> None:
        """Go to where the song is, if that is further away than the tolerance."""
        if self._clip is not None:
            length = len(self._clip)
            ahead = (song - self._at) % length
            if min(ahead, length - ahead) > tolerance:
                self._at = song % length

    def _turn(self, song: int | None) -> None:
        newer = self._take()
        if newer is not None and len(newer):
            self._clip = newer
        self._at = 0
        if song is not None:
            self._keep_up(song, self._near)
        self.rounds += self._clip is not None

    def _take(self) -> Samples | None:
        try:
            return self._newest.get_nowait()
        except queue.Empty:
            return None
