"""`segue pipe`: JSON lines in, events out, whatever the lines and the server are like."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from queue import Queue
from threading import Event as Flag
from threading import Thread
from typing import Any

import pytest

from segue.bridge.pipe import ports
from segue.bridge.pipe import session as pipe
from segue.bridge.pipe.ports import Writer
from segue.bridge.pipe.run import NOBODY, STOPPED, PipeRun
from segue.bridge.pipe.session import (
    MAX_ID_CHARACTERS,
    MAX_LINE_BYTES,
    Cancel,
    Command,
    Lines,
    Pipe,
    Submit,
    read_line,
)
from segue.presets.controls import Outpaint
from segue.presets.vocabulary import (
    EVENT,
    Cancelled,
    Code,
    Event,
    Failure,
    Progress,
    Result,
    SegueError,
    State,
    Status,
)
from tests.recorder import DEADLINE_SECONDS, Recorder, make_request, result_of, serving

BASE = Path("/music") if os.name != "nt" else Path("C:/music")
HALF = Progress(id="a", fraction=0.5, stage=State.OPTIMIZING)
RESULT = result_of(make_request(seed=1), BASE / "a.wav")
WORDS = {
    "id": "a",
    "region": {"path": "a.wav", "start_seconds": 0.0, "length_seconds": 4.0},
    "new_seconds": 6.0,
}


def line_of(value: object) -> bytes:
    """A line without its end."""
    return json.dumps(value).encode()


@pytest.mark.parametrize("step", [1, 2, 5, 100])
def test_lines_are_cut_anywhere(step: int) -> None:
    """However the bytes arrive, the lines are the same; the last one needs no end."""
    data, lines = b"ab\n\r\n\ncd\xff\nlast", Lines()
    found = [line for i in range(0, len(data), step) for line in lines.feed(data[i : i + step])]
    assert [*found, *lines.end()] == [b"ab", b"\r", b"", b"cd\xff", b"last"]
    assert lines.end() == []


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_line_has_a_limit(pieces: int) -> None:
    """The longest one passes, one byte more does not, and the next line is as ever."""
    lines, found = Lines(), list[bytes | None]()
    for data in (b"x" * MAX_LINE_BYTES + b"\n", b"y" * (MAX_LINE_BYTES + 1) + b"\nz\n"):
        size = -(-len(data) // pieces)
        for i in range(0, len(data), size):
            found += lines.feed(data[i : i + size])
    assert found == [b"x" * MAX_LINE_BYTES, None, b"z"]
    lines.feed(b"y" * (MAX_LINE_BYTES + 1))
    assert (lines.end(), lines.end()) == ([None], [])


def test_a_request_in_a_line() -> None:
    """The words of the vocabulary; a relative path counts from where the pipe was started."""
    found = read_line(line_of(WORDS), BASE)
    assert isinstance(found, Submit)
    assert found.request == make_request(path=str(BASE / "a.wav")).model_copy(
        update={"region": found.request.region}
    )
    assert found.request.region is not None
    assert found.request.region.path == str(BASE / "a.wav")


def test_a_preset_and_a_tempo_in_a_line() -> None:
    """As over HTTP, the line lies over the preset; bpm is short for a steady tempo."""
    words = {"preset": "four-bars", "bpm": 120, "beats_per_bar": 3, "settings": {"keep": 1}}
    fields = {key: WORDS[key] for key in ("id", "region")} | words
    found = read_line(line_of(fields), BASE)
    assert isinstance(found, Submit)
    assert (found.request.new_bars, found.request.new_seconds) == (4.0, None)
    assert found.request.tempo is not None
    assert found.request.tempo.seconds_of_bars(0, 4) == 6.0
    assert found.request.controls == (Outpaint(),)


def test_other_lines() -> None:
    """A cancel names its job; an empty line says nothing."""
    assert read_line(b'{"cancel": "a"}', BASE) == Cancel("a")
    assert read_line(b" \r", BASE) is None


@pytest.mark.parametrize(
    ("line", "job_id", "sentence"),
    [
        (None, "", f"a line may have {MAX_LINE_BYTES} bytes at most"),
        (b"nonsense", "", "not a line of JSON: expected ident at line 1 column 2"),
        (b"\xff", "", "not a line of JSON"),
        (b"[" * 1000, "", "not a line of JSON: recursion limit exceeded"),
        (b'"\\ud800"', "", "not a line of JSON"),
        (b"[]", "", 'give an object: a request, or {"cancel": "its id"}'),
        (b"{}", "", "id: Field required"),
        (line_of(WORDS | {"id": "a b"}), "a b", "id: String should match"),
        (line_of(WORDS | {"id": "x" * 99}), "x" * MAX_ID_CHARACTERS, "id: String should match"),
        (line_of(WORDS | {"id": 3}), "", "id: Input should be a valid string"),
        (line_of(WORDS | {"new_seconds": "6"}), "a", "new_seconds: Input should be a valid number"),
        (line_of(WORDS | {"new_seconds": float("nan")}), "a", "new_seconds: "),
        (line_of(WORDS | {"more": 1}), "a", "more: Extra inputs are not permitted"),
        (line_of(WORDS | {"preset": "no"}), "a", "preset: no preset 'no'; there are: aabb, "),
        (line_of(WORDS | {"preset": "no.toml"}), "a", "preset: "),
        (line_of(WORDS | {"region": 3}), "a", "region: "),
        (line_of({"cancel": "a", "id": "b"}), "a", "cancel: it goes alone"),
        (line_of({"cancel": "../a"}), "../a", "cancel: give an id of 1 to 64 letters"),
        (line_of({"cancel": None}), "", "cancel: give an id of 1 to 64 letters"),
    ],
)
def test_a_bad_line_is_a_failure(line: bytes | None, job_id: str, sentence: str) -> None:
    """It says what to do, under the id that the line has, if it has one."""
    found = read_line(line, BASE)
    assert isinstance(found, Failure)
    assert (found.id, found.code) == (job_id, Code.BAD_REQUEST)
    assert sentence in found.text


def status(event: Event, state: State) -> Status:
    """The server's answer about job a."""
    return Status(id="a", state=state, request=make_request(), event=event)


QUEUED = status(Progress(id="a", fraction=0.0, stage=State.QUEUED), State.QUEUED)
UNKNOWN = SegueError(Code.UNKNOWN_ID, "no job a")
NOTHING = "there is nothing to cancel: the job is already done"


def answered(pipe: Pipe, command: Command, outcome: Status | SegueError) -> Event | None:
    """What is said about a command that the server answers so."""
    pipe.begin(command)
    return pipe.answer(command, outcome)


def test_the_events_of_a_job() -> None:
    """From the answer on until its end, which is told once; those of other jobs never."""
    pipe = Pipe()
    assert pipe.handle(HALF) is None
    assert answered(pipe, Submit(make_request()), QUEUED) == QUEUED.event
    assert list(pipe.open_ids()) == ["a"]
    assert pipe.handle(HALF) == HALF
    assert pipe.handle(HALF.model_copy(update={"id": "b"})) is None
    assert pipe.handle(RESULT) == RESULT
    assert pipe.handle(RESULT) is None
    assert list(pipe.open_ids()) == []


def test_a_job_that_is_done_already() -> None:
    """Its result is the answer, and nothing is waited for."""
    pipe = Pipe()
    assert answered(pipe, Submit(make_request()), status(RESULT, State.DONE)) == RESULT
    assert list(pipe.open_ids()) == []


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize(
    ("outcome", "said", "left"),
    [
        (status(Cancelled(id="a"), State.CANCELLED), Cancelled(id="a"), (False, False)),
        (status(HALF, State.OPTIMIZING), None, (True, True)),
        (
            status(RESULT, State.DONE),
            Failure(id="a", code=Code.BAD_REQUEST, text=NOTHING),
            (True, False),
        ),
        (UNKNOWN, UNKNOWN.failure("a"), (True, False)),
    ],
)
def test_answers_to_a_cancel(
    is_open: bool, outcome: Status | SegueError, said: Event | None, left: tuple[bool, bool]
) -> None:
    """Of a job of ours the end is still to come; of another's, only if it will be stopped."""
    pipe = Pipe()
    if is_open:
        answered(pipe, Submit(make_request()), QUEUED)
    assert answered(pipe, Cancel("a"), outcome) == said
    assert list(pipe.open_ids()) == (["a"] if left[0 if is_open else 1] else [])


def test_an_end_before_its_answer() -> None:
    """The event of a cancelled job may overtake the answer: it is told once all the same."""
    pipe = Pipe()
    answered(pipe, Submit(make_request()), QUEUED)
    pipe.begin(Cancel("a"))
    assert pipe.handle(Cancelled(id="a")) == Cancelled(id="a")
    assert pipe.answer(Cancel("a"), status(Cancelled(id="a"), State.CANCELLED)) is None


def test_so_many_jobs_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is refused before the server is asked; a cancel never is."""
    monkeypatch.setattr(pipe, "MAX_OPEN_JOBS", 1)
    full = Pipe()
    answered(full, Submit(make_request()), QUEUED)
    with pytest.raises(SegueError, match="1 jobs are waited for"):
        full.begin(Submit(make_request("b")))
    full.begin(Cancel("c"))


class Reader:
    """Takes a few bytes at a time, but none before it is let."""

    def __init__(self, at_once: int) -> None:
        self.go, self.data = Flag(), b""
        self._at_once = at_once

    def write(self, data: bytes) -> int:
        """As os.write with a full pipe."""
        assert self.go.wait(DEADLINE_SECONDS)
        self.data += data[: self._at_once]
        return len(data[: self._at_once])

    def read(self) -> list[Event]:
        """All that was written."""
        return [EVENT.validate_json(line) for line in self.data.splitlines()]


def test_unread_progress_gives_way() -> None:
    """While nobody reads, a job's newest progress is kept, and nothing of it behind its end."""
    events: list[Event] = [
        HALF,
        HALF.model_copy(update={"fraction": 0.6}),
        HALF.model_copy(update={"id": "b"}),
        Failure(id="", code=Code.BAD_REQUEST, text="x"),
        Failure(id="", code=Code.BAD_REQUEST, text="x"),
        HALF.model_copy(update={"fraction": 0.7}),
        RESULT,
    ]
    reader = Reader(at_once=7)
    writer = Writer(reader.write, lambda: None)
    for event in events:
        writer.say(event)
    reader.go.set()
    writer.close()
    said = reader.read()
    assert said[-4:] == [events[2], *events[3:5], RESULT]
    assert len(said) <= 5  # one may have been on its way before it was replaced


def test_reading_waits_for_a_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """With MAX_UNREAD events unread there is no room, until one is taken."""
    monkeypatch.setattr(ports, "MAX_UNREAD", 2)
    reader, has_room = Reader(at_once=1000), Flag()
    writer = Writer(reader.write, lambda: None)

    def wait() -> None:
        writer.wait_for_room()
        has_room.set()

    for number in range(3):  # one on its way, two unread
        writer.say(Failure(id=str(number), code=Code.BAD_REQUEST, text=""))
    Thread(target=wait, daemon=True).start()
    assert not has_room.wait(0.05)
    reader.go.set()
    assert has_room.wait(DEADLINE_SECONDS)
    writer.close()
    assert [event.id for event in reader.read()] == ["0", "1", "2"]


def test_a_reader_that_takes_too_long() -> None:
    """A writer that is told to stop does not wait for ever."""
    reader = Reader(at_once=1000)
    writer = Writer(reader.write, lambda: None)
    writer.say(RESULT)
    writer.close(0.01)
    assert reader.data == b""
    reader.go.set()
    writer.close()
    assert reader.read() == [RESULT]


PIPE = ("-m", "segue.bridge.cli.main", "pipe", "--server")


def start(folder: Path, *command: str) -> subprocess.Popen[bytes]:
    """Python, with all its streams in our hands."""
    return subprocess.Popen(
        [sys.executable, "-P", *command],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


class Program:
    """A program that has started `segue pipe` and speaks with it."""

    def __init__(self, folder: Path, *command: str) -> None:
        self.process = start(folder, *command)
        self.said: Queue[Event] = Queue()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.put(EVENT.validate_json(line))

    def send(self, *lines: Any) -> None:
        """Whole lines at once."""
        assert self.process.stdin is not None
        for line in lines:
            data = line if isinstance(line, bytes) else line_of(line)
            self.process.stdin.write(data + b"\n")
        self.process.stdin.flush()

    def hear(self, kind: type[Event]) -> Any:
        """The next event of a kind; what comes before it is passed over."""
        while not isinstance(event := self.said.get(timeout=60), kind):
            pass
        return event

    def end(self) -> tuple[int, str]:
        """Close stdin and wait: exit code and stderr."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.wait()

    def wait(self) -> tuple[int, str]:
        """Exit code and stderr."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        with self.process.stderr:
            said = self.process.stderr.read().decode()
        self.process.stdin.close()
        code = self.process.wait(60)
        self._reader.join(DEADLINE_SECONDS)
        self.process.stdout.close()
        return code, said


def test_a_whole_conversation(tmp_path: Path) -> None:
    """Lines good and bad, a cancel, a job still running when stdin ends: all are answered."""
    gate = Flag()
    with serving(tmp_path / "server", Recorder(gate=gate)) as url:
        program = Program(tmp_path, *PIPE, url)
        program.send(WORDS, b"", WORDS | {"id": "b"}, b"x" * (MAX_LINE_BYTES + 1), {"cancel": "b"})
        assert program.hear(Failure).text == pipe.TOO_LONG
        assert program.hear(Cancelled) == Cancelled(id="b")
        program.send({"cancel": "c"})
        assert program.hear(Failure).code is Code.UNKNOWN_ID
        assert program.process.stdin is not None
        program.process.stdin.close()
        gate.set()
        result = program.hear(Result)
        assert program.wait()[0] == 0
    assert result.id == "a"
    assert Path(result.path).is_file()
    assert program.said.empty()


def test_many_lines_at_once(tmp_path: Path) -> None:
    """Ten thousand bad lines in one go: as many failures, in order, and a job after them."""
    count = 10_000
    with serving(tmp_path / "server") as url:
        program = Program(tmp_path, *PIPE, url)
        program.send(*({"cancel": f"?{i}"} for i in range(count)), WORDS)
        assert program.end()[0] == 0
    events = [program.said.get_nowait() for _ in range(program.said.qsize())]
    failures = [event.id for event in events if isinstance(event, Failure)]
    assert failures == [f"?{i}" for i in range(count)]
    assert isinstance(events[-1], Result)


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    """One that is named must be there; nothing is started in its place."""
    code, said = Program(tmp_path, *PIPE, "http://127.0.0.1:9").wait()
    assert code == 1
    assert said.startswith("segue: no server at http://127.0.0.1:9")


@pytest.mark.skipif(os.name == "nt", reason="signals are not sent this way on Windows")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it(tmp_path: Path, number: signal.Signals) -> None:
    """Open jobs are told as interrupted; the exit code says that not all was done."""
    gate = Flag()
    with serving(tmp_path / "server", Recorder(gate=gate)) as url:
        program = Program(tmp_path, *PIPE, url)
        program.send(WORDS)
        program.hear(Progress)
        program.process.send_signal(number)
        assert program.hear(Failure).code is Code.INTERRUPTED
        code, said = program.wait()
        gate.set()
    assert code == 1
    assert said == f"segue: {STOPPED}\n"


@pytest.mark.skipif(os.name == "nt", reason="closed pipes are seen otherwise on Windows")
def test_nobody_reads(tmp_path: Path) -> None:
    """A program that goes away takes the pipe with it."""
    with serving(tmp_path / "server") as url:
        process = start(tmp_path, *PIPE, url)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        with process.stdin, process.stderr:
            with process.stdout:
                process.stdin.write(b"x\n")
                process.stdin.flush()
                assert process.stdout.readline().startswith(b'{"type":"failure"')
            process.stdin.write(b"x\n")
            process.stdin.flush()
            assert process.stderr.read().decode() == f"segue: {NOBODY}\n"
    assert process.wait(60) == 1


def test_a_server_that_dies(tmp_path: Path) -> None:
    """One of our own is looked after: its end is an error, and the end of every open job."""
    said: list[Event] = []
    gone = SegueError(Code.SERVER_UNREACHABLE, "the server has ended")

    def say(event: Event) -> None:
        said.append(event)

    def check() -> None:
        if said:
            raise gone

    async def scenario(url: str) -> None:
        run = PipeRun(url, say, check)
        await run.put(Submit(make_request()))
        try:
            await run.run(asyncio.Event())
        finally:
            run.fail(gone)

    with serving(tmp_path, Recorder(gate=(gate := Flag()))) as url:
        with pytest.raises(SegueError, match="the server has ended"):
            asyncio.run(scenario(url))
        gate.set()
    assert said[-1] == gone.failure("a")
    assert {event.type for event in said[:-1]} == {"progress"}


@pytest.mark.slow
def test_a_server_of_its_own(tmp_path: Path) -> None:
    """Where no server runs one is started, and ends with it."""
    program = Program(
        tmp_path,
        "-c",
        "from segue.bridge.pipe.run import run_pipe;"
        "run_pipe(None, 'http://127.0.0.1:9', ('--data', 'own'))",
    )
    program.send({"cancel": "a"})
    assert program.hear(Failure) == Failure(
        id="a", code=Code.UNKNOWN_ID, text="no job has the id 'a'"
    )
    assert program.end()[0] == 0
    assert (tmp_path / "own" / "jobs.sqlite3").is_file()
