"""The file that says where a bridge listens, for scripts in DAWs that do not find it at its place.

JSON: `osc_port` (UDP and TCP), `http_port` of the server, `pid` of the bridge.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import platformdirs
from pydantic import TypeAdapter, ValidationError

HOST = "127.0.0.1"
MAX_FILE_BYTES = 4096

LOGGER = logging.getLogger("segue.bridge")


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Where a bridge and its server are."""

    osc_port: int
    http_port: int
    pid: int


_PORTS: TypeAdapter[Ports] = TypeAdapter(Ports)


def default_path() -> Path:
    """`bridge.json` in the user's runtime folder of this system."""
    with warnings.catch_warnings():  # of its other choice where XDG_RUNTIME_DIR is not set
        warnings.simplefilter("ignore")
        return Path(platformdirs.user_runtime_dir("segue", appauthor=False)) / "bridge.json"


def read(path: Path) -> Ports | None:
    """What the file says, if it is there and is one."""
    try:
        with path.open("rb") as file:
            return _PORTS.validate_json(file.read(MAX_FILE_BYTES))
    except (OSError, ValidationError):
        return None


def lives(ports: Ports) -> bool:
    """Whether its bridge still runs: its process is there, and its port is taken."""
    return _runs(ports.pid) and not _free(ports.osc_port)


@contextmanager
def announced(path: Path, ports: Ports) -> Iterator[None]:
    """The file is there inside, and gone after it, unless another live bridge has its own there.

    A folder that cannot be written to is logged: the bridge works without.
    """
    there = read(path)
    if there is not None and there.pid != ports.pid and lives(there):
        LOGGER.warning("%s stays that of the bridge on port %d", path, there.osc_port)
    else:
        _write(path, ports)
    try:
        yield
    finally:
        if read(path) == ports:
            with suppress(OSError):
                path.unlink()


def _write(path: Path, ports: Ports) -> None:
    part = path.with_name(f"{path.name}.{ports.pid}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part.write_text(json.dumps(asdict(ports)), encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        LOGGER.warning("scripts will look at the default port only: %s", error)


def _runs(pid: int) -> bool:
    """Whether there is such a process; on Windows, where asking would end it, it counts as one."""
    if os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True


def _free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            return getattr(error, "errno", None) not in (errno.EADDRINUSE, errno.EACCES)
    return True
