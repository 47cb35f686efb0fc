"""What every message is made of: immutable words, names, files and stretches of them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MAX_REGION_SECONDS = 600.0
MAX_START_SECONDS = 1e9
MAX_PATH_CHARACTERS = 4096

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
FilePath = Annotated[str, StringConstraints(pattern=r"^[^\x00]+$", max_length=MAX_PATH_CHARACTERS)]


class Word(BaseModel):
    """Base of every message: immutable, finite numbers only, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Region(Word):
    """A stretch of an audio file: from `start_seconds` for `length_seconds`."""

    path: FilePath
    start_seconds: float = Field(ge=0, le=MAX_START_SECONDS)
    length_seconds: float = Field(gt=0, le=MAX_REGION_SECONDS)


class Code(StrEnum):
    """Why a request failed. The text beside it says what to do."""

    BAD_REQUEST = "bad-request"
    ID_TAKEN = "id-taken"
    UNKNOWN_ID = "unknown-id"
    QUEUE_FULL = "queue-full"
    MISSING_FILE = "missing-file"
    NOT_AUDIO = "not-audio"
    BAD_REGION = "bad-region"
    BAD_SAMPLES = "bad-samples"
    UNSUPPORTED = "unsupported"
    NO_MODEL = "no-model"
    DISK = "disk"
    INTERRUPTED = "interrupted"
    SERVER_UNREACHABLE = "server-unreachable"
    INTERNAL = "internal"


class Failure(Word):
    """What went wrong, and what to do about it."""

    type: Literal["failure"] = "failure"
    id: str
    code: Code
    text: str


class SegueError(Exception):
    """Anything the user can act on: a code and a sentence that says what to do."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    def failure(self, job_id: str) -> Failure:
        """The same, as the message that crosses rooms."""
        return Failure(id=job_id, code=self.code, text=self.text)
