"""The words every room shares: what is asked for, how far along it is, what came of it.

All are frozen pydantic models. Unknown keys, NaN and infinities are refused.
Times are seconds (float64) unless a name says samples.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

MAX_NEW_SECONDS = 180.0
MAX_REGION_SECONDS = 600.0
MAX_SEED = 2**31 - 1  # an OSC int32
MAX_PATH_CHARACTERS = 4096
MAX_GUIDANCE = 4.0

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED, strict=True)]
FilePath = Annotated[str, StringConstraints(pattern=r"^[^\x00]+$", max_length=MAX_PATH_CHARACTERS)]


class Word(BaseModel):
    """Base of every message: immutable, finite numbers only, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Region(Word):
    """A stretch of an audio file: from `start_seconds` for `length_seconds`."""

    path: FilePath
    start_seconds: float = Field(ge=0)
    length_seconds: float = Field(gt=0, le=MAX_REGION_SECONDS)


class Outpaint(Word):
    """Continue a region to the right, the clip's first `overlap_seconds` matching its end.

    DITTO-2 section 4.2: squared L2 on the mel over the overlap; the paper uses 1 s.
    """

    kind: Literal["outpaint"] = "outpaint"
    overlap_seconds: float = Field(default=1.0, ge=0.25, le=3.0)


Control = Outpaint  # a union, told apart by `kind`, as soon as there are two


Tag = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9 -]{0,31}$")]


class Settings(Word):
    """How the starting noise is optimized and decoded (DITTO-2 section 3).

    `tags` ask the model for a kind of music, by names it was trained with; `guidance` says how
    strictly (w of classifier-free guidance, 1 = as the data goes) and does nothing without tags.
    """

    iterations: int = Field(default=70, ge=1, le=1000)  # K
    decode_steps: int = Field(default=2, ge=1, le=8)  # T
    gamma: float = Field(default=0.2, ge=0, le=1)  # CTM stochasticity, Alg. 1
    learning_rate: float = Field(default=0.03, gt=0, le=1)
    tags: tuple[Tag, ...] = Field(default=(), max_length=16)
    guidance: float = Field(default=2.0, ge=1, le=MAX_GUIDANCE)


class Request(Word):
    """One job: make `new_seconds` of music after `region`.

    Without a seed the server draws one; the result always names it.
    """

    id: Id
    region: Region
    new_seconds: float = Field(gt=0, le=MAX_NEW_SECONDS)
    seed: Seed | None = None
    controls: tuple[Control, ...] = Field(default=(Outpaint(),), min_length=1, max_length=1)
    settings: Settings = Settings()


class State(StrEnum):
    """Where a job stands; `segue.server.jobs` holds the table of what may follow what."""

    QUEUED = "queued"
    OPTIMIZING = "optimizing"
    DECODING = "decoding"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


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


class Progress(Word):
    """How far a job is. `fraction` never falls while one attempt runs; `loss` is the newest."""

    type: Literal["progress"] = "progress"
    id: Id
    fraction: float = Field(ge=0, le=1)
    stage: State
    loss: float | None = None


class Result(Word):
    """A finished clip: the region followed by the new music, in one WAV file.

    `start_seconds` is where the clip belongs, the region's own start. Of its
    `length_samples`, the last `new_samples` are new.
    """

    type: Literal["result"] = "result"
    id: Id
    path: FilePath
    start_seconds: float
    length_samples: int = Field(gt=0)
    new_samples: int = Field(gt=0)
    sample_rate: int = Field(gt=0)
    channels: int = Field(gt=0)
    seed: Seed
    loss_first: float
    loss_last: float
    taken_seconds: float = Field(ge=0)
    device: str


class Failure(Word):
    """What went wrong, and what to do about it."""

    type: Literal["failure"] = "failure"
    id: str
    code: Code
    text: str


class Cancelled(Word):
    """A job that was stopped on request."""

    type: Literal["cancelled"] = "cancelled"
    id: Id


Event = Annotated[Progress | Result | Failure | Cancelled, Field(discriminator="type")]
EVENT: TypeAdapter[Event] = TypeAdapter(Event)


class Status(Word):
    """A job as the server knows it now; `event` is the newest one it sent."""

    id: Id
    state: State
    request: Request
    event: Event


class Health(Word):
    """What `GET /health` answers. `device` is empty until the worker has loaded the model."""

    version: str
    instance: str
    pid: int
    model: str
    device: str
    worker: Literal["loading", "ready", "failed"]
    queued: int = Field(ge=0)
    running: str | None = None
    problem: str | None = None


class SegueError(Exception):
    """Anything the user can act on: a code and a sentence that says what to do."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    def failure(self, job_id: str) -> Failure:
        """The same, as the message that crosses rooms."""
        return Failure(id=job_id, code=self.code, text=self.text)
