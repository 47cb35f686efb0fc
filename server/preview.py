"""Unfinished clips to listen to while a job runs, each written over the one before it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from segue.presets.vocabulary import Preview, SegueError
from segue.server.audio_file import Waveform, write_wav
from segue.server.store import PREVIEW_ENDING

EVERY_SECONDS = 1.0
MOST_TIME = 0.2  # the share of a job that its previews may take, beyond the first

log = logging.getLogger(__name__)


@dataclass
class Previews:
    """Those of one job, in a file beside its clip's that is gone when the job ends."""

    clip: Path
    clock: Callable[[], float]
    latest: Preview | None = None
    _due: float = -math.inf

    @property
    def path(self) -> Path:
        """Where they are written."""
        return self.clip.with_name(f"{self.clip.stem}{PREVIEW_ENDING}")

    def show(self, make: Callable[[], Waveform], start_seconds: float) -> Preview | None:
        """The newest one, made now if it is time. One that can't be written is left out.

        `start_seconds` is where the clip belongs.
        """
        begun = self.clock()
        if begun < self._due:
            return self.latest
        wave = make()
        try:
            write_wav(self.path, wave)
        except SegueError as error:  # such as a file that a player on Windows holds on to
            log.warning("left out a preview: %s", error.text)
            return self.latest
        finally:
            taken = self.clock() - begun
            self._due = begun + max(EVERY_SECONDS, taken / MOST_TIME)
        self.latest = Preview(
            number=self.latest.number + 1 if self.latest else 1,
            path=str(self.path),
            start_seconds=start_seconds,
            length_samples=len(wave.samples),
            sample_rate=wave.sample_rate,
        )
        return self.latest

    def close(self) -> None:
        """Remove the file, unless a player on Windows holds on to it; the next start does then."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
