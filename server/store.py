"""Jobs and their results on disk, safe against a kill at any point and against a second server."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError

from segue.presets.vocabulary import EVENT, Code, Request, SegueError, State
from segue.server.jobs import TERMINAL, Job

SCHEMA_VERSION = 1
PREVIEW_ENDING = "~preview.wav"  # no job's clip can have such a name
DATABASE = "jobs.sqlite3"

# Ids are ASCII by the vocabulary, so NOCASE folds them as str.lower does.
CREATE = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY COLLATE NOCASE,
    place INTEGER NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    cancelling INTEGER NOT NULL,
    request TEXT NOT NULL,
    event TEXT NOT NULL
)
"""
SAVE = "REPLACE INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?)"
COLUMNS = "SELECT id, place, state, attempts, cancelling, request, event FROM jobs"
FINISHED = ", ".join(f"'{state.value}'" for state in sorted(TERMINAL))
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
Row = tuple[str, int, str, int, int, str, str]

log = logging.getLogger(__name__)


class Store:
    """The data folder of one server: `jobs.sqlite3`, `results/` and the lock.

    Not safe for concurrent calls; its owner holds a lock around each. Every
    method raises SegueError(DISK) when the disk does not do its part.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.results = self.folder / "results"
        with _disk_errors(self.folder):
            self.results.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self.folder)
        try:
            with _disk_errors(self.folder):
                for left in self.results.glob(f"*{PREVIEW_ENDING}"):  # by jobs that were killed
                    _remove(left)
                self._database = _open(self.folder / DATABASE)
        except BaseException:
            self._lock.close()
            raise

    def save(self, job: Job) -> None:
        """Keep a job as it is now. On return it survives a kill and a power cut."""
        request, event = job.request.model_dump_json(), EVENT.dump_json(job.event).decode()
        row = (job.id, job.place, job.state, job.attempts, job.cancelling, request, event)
        with _disk_errors(self.folder):
            self._database.execute(SAVE, row)

    def find(self, job_id: str) -> Job | None:
        """The job of this id in any case, however old."""
        return next(iter(self._select("WHERE id = ?", job_id)), None)

    def load(self, history: int) -> list[Job]:
        """Every unfinished job and the newest `history` finished ones, by arrival."""
        unfinished = self._select(f"WHERE state NOT IN ({FINISHED})")
        finished = self._select(
            f"WHERE state IN ({FINISHED}) ORDER BY place DESC LIMIT ?", str(history)
        )
        return sorted(unfinished + finished, key=lambda job: job.place)

    def result_path(self, job_id: str) -> Path:
        """Where the WAV of a job belongs; ids are file names by the vocabulary."""
        return self.results / f"{job_id}.wav"

    def discard(self, job_id: str) -> None:
        """Remove the WAV of a job and all that lies beside it under its name and a `~`."""
        for path in (self.result_path(job_id), *self.results.glob(f"{job_id}~*.wav")):
            _remove(path)

    def close(self) -> None:
        """Let go of the folder."""
        self._database.close()
        self._lock.close()

    def _select(self, where: str, *values: str) -> list[Job]:
        with _disk_errors(self.folder):
            rows = self._database.execute(f"{COLUMNS} {where}", values).fetchall()
        return [job for row in rows if (job := _job(row)) is not None]


def _remove(path: Path) -> None:
    """Unless a player on Windows holds on to it: no other job waits for that."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _job(row: Row) -> Job | None:
    job_id, place, state, attempts, cancelling, request, event = row
    try:
        return Job(
            request=Request.model_validate_json(request),
            event=EVENT.validate_json(event),
            state=State(state),
            place=place,
            attempts=attempts,
            cancelling=bool(cancelling),
        )
    except (ValidationError, ValueError) as error:
        log.warning("job %s in %s cannot be read and is passed over: %s", job_id, DATABASE, error)
        return None


def _lock(folder: Path) -> sqlite3.Connection:
    """Hold the folder until the connection closes or the process ends, however it ends.

    An open exclusive transaction on an empty SQLite file is a file lock that
    works alike on Linux, macOS and Windows.
    """
    with _disk_errors(folder):
        lock = sqlite3.connect(
            folder / "server.lock", timeout=0, isolation_level=None, check_same_thread=False
        )
    try:
        lock.execute("BEGIN EXCLUSIVE")
        (folder / "server.pid").write_text(str(os.getpid()), encoding="ascii")
    except (sqlite3.Error, OSError) as error:
        lock.close()
        if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY:
            raise _disk_error(folder, error) from error
        text = (
            f"{folder} is in use by another segue server{_owner(folder)}: "
            "stop that one, or start with another data folder"
        )
        raise SegueError(Code.DISK, text) from error
    return lock


def _owner(folder: Path) -> str:
    try:
        return f" (pid {int((folder / 'server.pid').read_text(encoding='ascii'))})"
    except (OSError, ValueError):
        return ""


def _open(path: Path) -> sqlite3.Connection:
    try:
        return _connect(path)
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in DAMAGED:
            raise
        kept = _set_aside(path)
        log.warning("%s is damaged (%s); it is kept as %s, starting anew", path, error, kept)
    return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    """A checked connection at our schema, durable at each statement.

    WAL with synchronous=FULL syncs the log at every commit: NORMAL would lose
    the newest commits in a power cut. A job costs a handful of commits.
    """
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            text = (
                f"{path} was written by a newer segue (schema {version}, this one knows "
                f"{SCHEMA_VERSION}): update segue, or start with another data folder"
            )
            raise SegueError(Code.UNSUPPORTED, text)
        _check(database)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute(CREATE)
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    except BaseException:
        database.close()
        raise
    return database


def _check(database: sqlite3.Connection) -> None:
    (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        error = sqlite3.DatabaseError(verdict)
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


def _set_aside(path: Path) -> Path:
    """Rename the database, with its log, to the first free name; nothing is deleted."""
    number = 1
    while (kept := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    path.rename(kept)
    for suffix in ("-wal", "-shm"):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.rename(kept.with_name(kept.name + suffix))
    return kept


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise _disk_error(folder, error) from error


def _disk_error(folder: Path, error: Exception) -> SegueError:
    return SegueError(Code.DISK, f"{folder}: {error}: check that it is writable and not full")
