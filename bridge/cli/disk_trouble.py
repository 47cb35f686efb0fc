"""Errors of the disk, as sentences of a command that writes for a long time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from segue.presets.vocabulary import Code, SegueError


@contextmanager
def disk_trouble_said() -> Iterator[None]:
    """Raises what the system refused inside as a SegueError."""
    try:
        yield
    except (FileExistsError, NotADirectoryError) as error:
        text = f"{error.filename}: a file lies where a folder has to be, so name another"
        raise SegueError(Code.DISK, text) from error
    except OSError as error:
        raise SegueError(Code.DISK, str(error)) from error
