"""What a server is started with, and where its files live."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from segue.presets.vocabulary import Code, SegueError

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 9136
DEFAULT_MODEL = "segue-small"
DEFAULT_QUEUE_LIMIT = 128
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def default_data_dir() -> Path:
    """`$SEGUE_DATA`, or the user's data folder of this system."""
    chosen = os.environ.get("SEGUE_DATA")
    return Path(chosen or platformdirs.user_data_dir("segue", appauthor=False)).absolute()


def clap_folder() -> Path | None:
    """`$SEGUE_CLAP`: the folder of a CLAP that is to judge texts in place of the shipped model."""
    chosen = os.environ.get("SEGUE_CLAP")
    return Path(chosen).absolute() if chosen else None


def may_compile() -> bool:
    """Whether an idle server may compile the network, unless `$SEGUE_COMPILE` is 0."""
    return os.environ.get("SEGUE_COMPILE", "1") != "0"


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """How `segue serve` runs. Port 0 takes any free port.

    Raises SegueError when a value cannot work.
    """

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    data_dir: Path = field(default_factory=default_data_dir)
    model: str = DEFAULT_MODEL
    queue_limit: int = DEFAULT_QUEUE_LIMIT

    def __post_init__(self) -> None:
        if self.host not in LOOPBACK:
            text = (
                f"the server listens on this machine only ({', '.join(LOOPBACK)}), not on "
                f"{self.host!r}: it reads files by path and asks nobody for a password"
            )
            raise SegueError(Code.BAD_REQUEST, text)
        if not 0 <= self.port <= 65535:
            raise SegueError(Code.BAD_REQUEST, f"port {self.port}: give 0 to 65535 (0 = any free)")
        if self.queue_limit < 1:
            raise SegueError(Code.BAD_REQUEST, f"queue_limit {self.queue_limit}: give at least 1")
