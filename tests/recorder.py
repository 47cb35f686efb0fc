"""An engine that records what it is asked and writes a tiny real WAV, and servers around it.

Started as a program it is a whole server with that engine:
`python tests/recorder.py DATA_DIR [GATE_FILE]`; jobs wait until GATE_FILE exists.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from segue.presets.vocabulary import Event, Progress, Region, Request, Result, State
from segue.server.app import Server, serve
from segue.server.config import DEFAULT_QUEUE_LIMIT, ServerConfig
from segue.server.events import Hub
from segue.server.worker import Engine

DEADLINE_SECONDS = 20.0  # for real threads and processes; never reached when all is well
FRAMES = 160
SAMPLE_RATE = 8000


class Gate(Protocol):
    """What a run can wait for; a threading.Event is one."""

    def wait(self, timeout: float) -> bool:
        """Whether it is open, after at most `timeout` seconds."""
        ...


class FileGate:
    """Open as soon as a file exists, for engines in other processes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def wait(self, timeout: float) -> bool:
        """Whether the file exists."""
        if not self._path.exists():
            time.sleep(timeout)
        return self._path.exists()


class Recorder:
    """Obeys the engine's contract without any music.

    While `gate` is shut it reports the same progress again and again, so that
    a cancel gets through; then it raises `error`, if any, or writes the clip.
    """

    device = "recorder"
    model = "recorder"

    def __init__(
        self, *, gate: Gate | None = None, error: Exception | None = None, steps: int = 2
    ) -> None:
        self.requests: list[Request] = []
        self.started = threading.Event()
        self.warmed = False
        self.quickened, self.quickened_again = threading.Event(), threading.Event()
        self._gate = gate
        self._error = error
        self._steps = steps

    def run(
        self, request: Request, out_path: Path, on_progress: Callable[[Progress], None]
    ) -> Result:
        """Report `steps` steps of each stage and write 20 ms of noise that depends on the seed."""
        self.requests.append(request)
        self._report(request, on_progress, State.OPTIMIZING, 0.0)
        self.started.set()
        while self._gate is not None and not self._gate.wait(0.005):
            self._report(request, on_progress, State.OPTIMIZING, 0.0)
        if self._error is not None:
            raise self._error
        for stage, start in ((State.OPTIMIZING, 0.0), (State.DECODING, 0.5)):
            for step in range(1, self._steps + 1):
                self._report(request, on_progress, stage, start + 0.5 * step / self._steps)
        assert request.seed is not None
        write_noise(out_path, request.seed)
        return result_of(request, out_path)

    def warm(self) -> None:
        """Remember that it was done."""
        self.warmed = True

    def quicken(self) -> Iterator[float]:
        """Remember that the server had time for a step, and for another."""
        self.quickened.set()
        yield 0.0
        self.quickened_again.set()

    def _report(
        self,
        request: Request,
        on_progress: Callable[[Progress], None],
        stage: State,
        fraction: float,
    ) -> None:
        on_progress(Progress(id=request.id, fraction=fraction, stage=stage, loss=1 - fraction))


def write_noise(path: Path, seed: int) -> None:
    """A mono 16-bit WAV, written beside its place and moved there whole."""
    part = path.with_name(path.name + ".part")
    with wave.open(str(part), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(random.Random(seed).randbytes(2 * FRAMES))
    os.replace(part, path)


def result_of(request: Request, path: Path) -> Result:
    """What the recorder answers for a request."""
    assert request.seed is not None
    assert request.region is not None
    return Result(
        id=request.id,
        path=str(path),
        start_seconds=request.region.start_seconds,
        length_samples=FRAMES,
        new_samples=FRAMES // 2,
        sample_rate=SAMPLE_RATE,
        channels=1,
        seed=request.seed,
        loss_first=1.0,
        loss_last=0.0,
        taken_seconds=0.0,
        device=Recorder.device,
    )


def make_request(job_id: str = "a", *, seed: int | None = None, path: str = "") -> Request:
    """A valid request; the recorder never opens the file."""
    region = Region(path=path or os.path.abspath("take.wav"), start_seconds=1.5, length_seconds=4.0)
    return Request(id=job_id, region=region, new_seconds=6.0, seed=seed)


class Transcript(Hub):
    """A hub that keeps everything it is told, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []

    def publish(self, event: Event) -> None:
        """Keep and pass on."""
        self.events.append(event)
        super().publish(event)


@contextmanager
def serving(
    data_dir: Path,
    engine: Engine | None = None,
    *,
    load: Callable[[], Engine] | None = None,
    queue_limit: int = DEFAULT_QUEUE_LIMIT,
) -> Iterator[str]:
    """A real server on a free port in a thread of this process; yields its URL."""
    config = ServerConfig(port=0, data_dir=data_dir, model="recorder", queue_limit=queue_limit)
    chosen = engine or Recorder()
    server = Server(config, load or (lambda: chosen))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert server.listening.wait(DEADLINE_SECONDS)
        yield server.url
    finally:
        server.stop()
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive()


def main() -> None:
    """Serve with the recorder until stopped."""
    data_dir, *gates = sys.argv[1:]
    gate = FileGate(Path(gates[0])) if gates else None
    config = ServerConfig(port=0, data_dir=Path(data_dir), model="recorder")
    serve(config, lambda: Recorder(gate=gate))


if __name__ == "__main__":
    main()
