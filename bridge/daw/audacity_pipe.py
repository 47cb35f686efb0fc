"""Audacity's scripting pipe: two named pipes, one line to it, lines back."""

from __future__ import annotations

import os
import select
import sys
import time
from pathlib import Path
from types import TracebackType

from segue.bridge.daw.audacity import answer_of
from segue.presets.vocabulary import Code, SegueError

ANSWER_SECONDS = 60.0  # an export of minutes takes seconds
POLL_SECONDS = 0.05
MAX_ANSWER_BYTES = 2**24
MISSING = (
    "Audacity's scripting pipe is not there: start Audacity with mod-script-pipe"
    " (Edit > Preferences > Modules: Enabled, then restart it)"
)


class AudacityPipe:
    """The pipe of a running Audacity of this user, as a context. Not on Windows.

    Raises SegueError when it is not there, or does not answer.
    """

    def __init__(self, folder: Path = Path("/tmp"), patience_seconds: float = 5.0) -> None:
        if sys.platform == "win32":
            text = "this works on Linux and macOS only: use `segue watch`"
            raise SegueError(Code.UNSUPPORTED, text)
        self._patience = patience_seconds
        names = (f"audacity_script_pipe.{way}.{os.getuid()}" for way in ("to", "from"))
        self._to_path, self._from_path = (folder / name for name in names)

    def __enter__(self) -> AudacityPipe:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                # Without a reader at the other end this fails at once instead of waiting.
                self._to = os.open(self._to_path, os.O_WRONLY | os.O_NONBLOCK)
                break
            except OSError as error:  # not there, or left by one that is gone
                if time.monotonic() > deadline:
                    raise SegueError(Code.MISSING_FILE, MISSING) from error
                time.sleep(POLL_SECONDS)
        os.set_blocking(self._to, True)
        self._from = os.open(self._from_path, os.O_RDONLY | os.O_NONBLOCK)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._to)
        os.close(self._from)

    def ask(self, line: str) -> str:
        """Send a command and return what it answers."""
        os.write(self._to, f"{line}\n".encode())
        data, deadline = b"", time.monotonic() + ANSWER_SECONDS
        while not data.endswith(b"\n\n") or b"BatchCommand finished:" not in data:
            left = deadline - time.monotonic()
            if left <= 0 or len(data) > MAX_ANSWER_BYTES:
                text = "Audacity does not answer: is a dialog open in it? Close that, then again"
                raise SegueError(Code.UNSUPPORTED, text)
            if select.select([self._from], [], [], min(left, POLL_SECONDS))[0]:
                if not (part := os.read(self._from, 65536)):
                    time.sleep(POLL_SECONDS)  # nobody writes at the other end yet
                data += part
        return answer_of(data.decode(errors="replace").split("\n"))
