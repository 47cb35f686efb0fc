"""What is known of a clip of the evaluation, in a JSON file beside it."""

from __future__ import annotations

import platform
from pathlib import Path

from pydantic import ValidationError

from segue.export.evaluation.laid_out import Laid
from segue.presets.vocabulary import Word
from segue.server.engine import Engine


class Sheet(Word):
    """What is known of a clip. `first` and `last` bound its new samples, known ones lie outside.

    `seams` are the samples where one side meets the other; the one at the end of a loop is its
    length. `overlap_error`: mean squared difference, in deviations of a band, of what was made
    over the known frames from them, both as the log-mel of audio. `seconds` it took on `machine`.
    """

    key: str
    first: int
    last: int
    seams: tuple[int, ...]
    seconds: float
    machine: str
    overlap_error: float | None = None

    @classmethod
    def of(cls, laid: Laid, seconds: float, engine: Engine, error: float | None) -> Sheet:
        """Of a clip made in so many seconds, not yet with its key."""
        first, last = laid.clip.span
        return cls(
            key="",
            first=first,
            last=last,
            seams=laid.seams,
            seconds=seconds,
            machine=f"{engine.device}, {processor()}",
            overlap_error=error,
        )

    @classmethod
    def read(cls, path: Path) -> Sheet | None:
        """From its file; None when there is no sheet in it."""
        try:
            return cls.model_validate_json(path.read_text("utf-8"))
        except (OSError, ValidationError):
            return None

    def write(self, path: Path) -> None:
        """To a file that is there as a whole or not at all."""
        partial = path.with_suffix(".partial")
        partial.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")
        partial.replace(path)


def processor() -> str:
    """The name of the machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
