"""`segue watch`: which files are made into clips, once each, and what is said of the others."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from segue.bridge.job_sheet import MAX_SHEET_BYTES, laid_over, request_of_sheet
from segue.bridge.watch import folder as watch_folder
from segue.bridge.watch.folder import WatchedFolder, run_watch
from segue.bridge.watch.ready import SETTLE_SECONDS, Job, Stamp, Watch
from segue.presets.controls import Intensity, Vary
from segue.presets.library import SHIPPED
from segue.presets.vocabulary import Code, Request, Result, SegueError
from tests.recorder import Recorder, write_noise

RATE = 8000
OLD, NEW = Stamp(100, 1), Stamp(200, 2)


class Folder:
    """A watched folder, a recorder for an engine, and a clock that the test moves."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.path, self.lines, self.now = path, list[str](), 0.0
        self.engine = Recorder()
        self.run: Callable[..., Result] = self.engine.run
        self.options = {"preset": "continue"} | options
        self.restart()

    def restart(self) -> None:
        """As if the command had been stopped and started again."""
        self.watched = WatchedFolder(
            self.path, self.options, lambda *a: self.run(*a), self.lines.append
        )

    def settle(self) -> list[str]:
        """Look until nothing is left to do; the lines that were said meanwhile."""
        self.lines.clear()
        self.watched.step(self.now)
        self.now += SETTLE_SECONDS
        while self.watched.step(self.now):
            pass
        return self.lines

    def results(self) -> list[str]:
        """The names of what was made."""
        return sorted(path.name for path in (self.path / "segue").iterdir())

    def sheet(self, name: str, text: str) -> None:
        """A sheet beside the audio."""
        (self.path / name).write_text(text, encoding="utf-8")

    def error(self, name: str) -> str:
        """What is said of a file that failed."""
        return (self.path / "segue" / f"{name}.wav.error.txt").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty one."""
    return Folder(tmp_path)


def add_tone(path: Path, level: float = 0.5) -> None:
    """Two seconds of audio."""
    soundfile.write(path, np.full((2 * RATE, 1), level), RATE)


def scans(*steps: tuple[float, dict[str, Stamp]]) -> list[list[str]]:
    """What each scan of a watch offers, all of it begun at once."""
    watch, offered = Watch(), []
    for now, listing in steps:
        jobs = watch.scan(listing, now)
        for job in jobs:
            watch.begin(job)
        offered.append([job.audio for job in jobs])
    return offered


def test_a_file_is_ready_when_it_stays_as_it_is() -> None:
    """Exactly SETTLE_SECONDS without a change of size or time; every change starts anew."""
    t = SETTLE_SECONDS
    listings = [(0.0, OLD), (t - 0.01, OLD), (t, NEW), (2 * t - 0.01, NEW), (2 * t, NEW)]
    steps = [(now, {"a.wav": stamp}) for now, stamp in listings]
    assert scans(*steps) == [[], [], [], [], ["a.wav"]]


def test_a_file_is_offered_once_and_again_when_it_changes() -> None:
    """What was begun is not offered again, until its stamp is another and has settled."""
    t = SETTLE_SECONDS
    listings = [(0.0, OLD), (t, OLD), (2 * t, OLD), (3 * t, NEW), (4 * t, NEW), (9 * t, NEW)]
    steps = [(now, {"a.wav": stamp}) for now, stamp in listings]
    assert scans(*steps) == [[], ["a.wav"], [], [], ["a.wav"], []]


def test_an_empty_file_is_waited_for() -> None:
    """Some programs make the file first and write it when the bounce is done."""
    empty = {"a.wav": Stamp(0, 1)}
    assert scans((0.0, empty), (100.0, empty)) == [[], []]


def test_a_sheet_must_be_written_too() -> None:
    """A sheet that still changes holds its audio back; one that changes later offers it again."""
    t, audio = SETTLE_SECONDS, {"a.wav": OLD}
    first = {**audio, "a.toml": OLD, "b.json": OLD}
    changed = {**audio, "a.toml": NEW}
    steps = [(0.0, audio), (t, first), (2 * t, first), (3 * t, changed), (4 * t, changed)]
    assert scans(*steps) == [[], [], ["a.wav"], [], ["a.wav"]]


def test_toml_before_json() -> None:
    """Of two sheets the TOML counts, whichever was there first."""
    watch, listing = Watch(), {"a.json": OLD, "a.flac": OLD, "a.toml": NEW}
    watch.scan(listing, 0.0)
    assert watch.scan(listing, 9.0) == [Job("a.flac", OLD, "a.toml", NEW)]


def test_the_oldest_first_and_what_is_gone_is_forgotten() -> None:
    """By the time of change, then by name; a name that comes back is new."""
    listing = {"b.WAV": OLD, "c.wav": Stamp(1, 0), "a.aiff": OLD, ".hid.wav": OLD, "x.txt": OLD}
    t = SETTLE_SECONDS
    offered = scans((0.0, listing), (t, listing), (2 * t, {}), (3 * t, listing), (4 * t, listing))
    assert offered == [[], ["c.wav", "a.aiff", "b.WAV"], [], [], ["c.wav", "a.aiff", "b.WAV"]]


def test_a_clip_of_every_file(folder: Folder) -> None:
    """Unicode, quotes and spaces in names; two files of one stem; a sheet beside each clip."""
    names = ["Łoop 'a\" 1.wav", "loop.wav", "loop.flac", "dots.1.2.wav"]
    for level, name in enumerate(names):
        add_tone(folder.path / name, level / 10)
    folder.settle()
    stems = ["Łoop 'a\" 1", "loop", "loop-2", "dots.1.2"]
    assert folder.results() == sorted(f"{s}{end}" for s in stems for end in (".json", ".wav"))
    regions = {r.region.path for r in folder.engine.requests if r.region}
    assert regions == {str(folder.path / name) for name in names}
    request = folder.engine.requests[0]
    assert request.region is not None
    assert (request.region.length_seconds, request.new_seconds) == (2.0, 6.0)
    said = json.loads((folder.path / "segue" / "dots.1.2.json").read_text(encoding="utf-8"))
    assert said["source"]["name"] == "dots.1.2.wav"
    assert Result.model_validate_json(json.dumps(said["result"])).path == str(
        folder.path / "segue" / "dots.1.2.wav"
    )


def test_nothing_is_done_twice(folder: Folder) -> None:
    """Not while it runs, not after a restart, not when it is saved again as it was."""
    add_tone(folder.path / "a.wav")
    assert folder.settle() == ["a.wav: being made", "a.wav: segue/a.wav, 0.0 s new in 0.0 s"]
    assert folder.settle() == []
    folder.restart()
    assert folder.settle() == []
    add_tone(folder.path / "a.wav")
    os.utime(folder.path / "a.wav", (1, 1))
    assert folder.settle() == []
    assert len(folder.engine.requests) == 1


def test_nothing_is_written_over(folder: Folder) -> None:
    """New content or a new sheet makes a clip of its own; whatever has a name keeps it."""
    add_tone(folder.path / "a.wav")
    folder.settle()
    first = (folder.path / "segue" / "a.wav").read_bytes()
    add_tone(folder.path / "a.wav", 0.1)
    folder.settle()
    folder.sheet("a.toml", "seed = 5")
    write_noise(folder.path / "segue" / "A-3~2.WAV", 1)
    folder.settle()
    made = ["A-3~2.WAV", *(f"a{n}.{end}" for n in ("", "-2", "-4") for end in ("json", "wav"))]
    assert folder.results() == sorted(made)
    assert (folder.path / "segue" / "a.wav").read_bytes() == first
    assert folder.engine.requests[-1].seed == 5


@pytest.mark.parametrize("ending", ["toml", "json"])
def test_a_sheet_says_what_to_make(tmp_path: Path, ending: str) -> None:
    """Its words replace the options', the length and the tempo as a whole; paths are its own."""
    folder = Folder(tmp_path, new_seconds=9.0, bpm=90, seed=3)
    add_tone(tmp_path / "a.wav")
    words: dict[str, Any] = {
        "preset": "rise",
        "new_bars": 2,
        "bpm": 120,
        "beats_per_bar": 3,
        "region": {"start_seconds": 0.5},
        "controls": [{"kind": "intensity", "unit": "bars", "points": [[0, -6], [2, 0.5]]}],
        "settings": {"iterations": 9},
    }
    toml = (
        'preset = "rise"\nnew_bars = 2\nbpm = 120\nbeats_per_bar = 3\n'
        "region = {start_seconds = 0.5}\n"
        '[[controls]]\nkind = "intensity"\nunit = "bars"\npoints = [[0, -6], [2, 0.5]]\n'
        "[settings]\niterations = 9\n"
    )
    folder.sheet(f"a.{ending}", toml if ending == "toml" else json.dumps(words))
    folder.settle()
    (request,) = folder.engine.requests
    assert request.region is not None
    assert request.tempo is not None
    (change,) = request.tempo.changes
    assert (request.region.start_seconds, request.region.length_seconds) == (0.5, 1.5)
    assert (request.new_seconds, request.new_bars) == (None, 2.0)
    assert (change.bpm, change.beats_per_bar, request.seed) == (120, 3, 3)
    assert request.settings.iterations == 9
    assert request.controls[1] == Intensity(unit="bars", points=((0, -6), (2, 0.5)))


@pytest.mark.parametrize(
    "text",
    ['preset = "vary-a-little"', 'controls = [{kind = "vary"}]', 'preset = "own.toml"'],
)
def test_a_sheet_whose_region_says_how_long(tmp_path: Path, text: str) -> None:
    """The folder's length is for other files; one of the sheet's own is still one too many."""
    folder = Folder(tmp_path, new_bars=4, bpm=120)
    (tmp_path / "own.toml").write_bytes((SHIPPED / "vary-a-lot.toml").read_bytes())
    for name in ("a.wav", "b.wav"):
        add_tone(tmp_path / name)
    folder.sheet("a.toml", text)
    folder.sheet("b.toml", f"new_seconds = 2\n{text}")
    folder.settle()
    (request,) = folder.engine.requests
    assert isinstance(request.place, Vary)
    assert (request.new_bars, request.new_seconds) == (None, None)
    assert "b.toml: the region says how long it is" in folder.error("b")


def test_paths_in_a_sheet_count_from_the_folder(folder: Folder) -> None:
    """A preset and a recording beside the audio are named as they lie there."""
    (folder.path / "own.toml").write_bytes((SHIPPED / "hold-on.toml").read_bytes())
    add_tone(folder.path / "a.wav")
    hum = '{kind = "melody", audio = {path = "hum.wav", start_seconds = 0, length_seconds = 1}}'
    folder.sheet("a.toml", f'preset = "own.toml"\nnew_seconds = 4.0\ncontrols = [{hum}]')
    folder.settle()
    (request,) = folder.engine.requests
    assert [c.audio.path for c in request.controls if c.kind == "melody" and c.audio] == [
        str(folder.path / "hum.wav")
    ]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.toml", "preset = 'no'", "a.toml: preset: no preset 'no'; there are: "),
        ("a.toml", "preset = 'no.toml'", "a.toml: preset: "),
        ("a.toml", "preset = 3", "a.toml: preset: give the name of a preset"),
        ("a.toml", "= 3", "a.toml: Invalid statement"),
        ("a.json", "{", "a.json: EOF while parsing"),
        ("a.json", "[]", "a.json: give a table"),
        ("a.json", "[" * 100_000, "a.json: "),
        ("a.json", '"\\ud800"', "a.json: "),
        ("a.json", '{"preset": "\\ud800.toml"}', "a.json: unexpected end of hex"),
        ("a.json", '{"nonsense": "\\ud800"}', "a.json: "),
        ("a.json", " " * MAX_SHEET_BYTES + "{}", f"more than {MAX_SHEET_BYTES} bytes"),
        ("a.toml", "new_second = 3", "a.toml: new_second: Extra inputs are not permitted"),
        ("a.toml", "new_seconds = '3'", "a.toml: new_seconds: Input should be a valid number"),
        ("a.toml", "new_seconds = inf", "a.toml: new_seconds: "),
        ("a.toml", "new_bars = 3", "a.toml: bars and beats need a tempo map"),
        ("a.toml", "new_bars = 3\nbpm = '120'", "a.toml: bpm: give a number"),
        ("a.toml", "new_bars = 3\nbpm = 1", "a.toml: bpm: "),
        ("a.toml", "beats_per_bar = 3", "a.toml: beats_per_bar: it means nothing without bpm"),
        ("a.toml", "bpm = 90\ntempo = {}", "a.toml: bpm: there is a tempo already"),
        ("a.toml", "region = {path = '/etc/passwd'}", "region.path: a.wav is meant, leave it out"),
        ("a.toml", "region = 3", "a.toml: region: "),
        ("a.toml", "region = {start_seconds = 2}", "a.toml: region.length_seconds: "),
        ("a.toml", "controls = 3", "a.toml: controls: "),
        ("a.toml", "controls = [3]", "a.toml: controls.0: "),
        ("a.toml", "id = 'mine'\nseed = -1", "a.toml: seed: "),
    ],
)
def test_a_bad_sheet_is_a_sentence(folder: Folder, name: str, text: str, sentence: str) -> None:
    """Beside the results, naming file and key; nothing is made, and the next file is."""
    folder.sheet(name, text)
    add_tone(folder.path / "a.wav")
    add_tone(folder.path / "b.wav")
    folder.settle()
    assert folder.error("a").startswith("a.wav: ")
    assert sentence in folder.error("a")
    assert folder.error("a").count("\n") == 1
    assert folder.results() == ["a.wav.error.txt", "b.json", "b.wav"]


def test_a_sentence_goes_when_the_clip_is_there(folder: Folder) -> None:
    """What failed is tried again when the sheet changes, or after a restart."""
    (folder.path / "a.wav").write_text("no audio")
    folder.sheet("b.toml", "seed = 'x'")
    add_tone(folder.path / "b.wav")
    folder.settle()
    assert "cannot be read as audio" in folder.error("a")
    assert folder.settle() == []
    add_tone(folder.path / "a.wav")
    folder.sheet("b.toml", "seed = 7")
    folder.settle()
    assert folder.results() == ["a.json", "a.wav", "b.json", "b.wav"]


def test_what_the_engine_says_is_said(folder: Folder) -> None:
    """Its sentence as it stands; a bug by its name, and the watch goes on."""
    add_tone(folder.path / "a.wav")
    add_tone(folder.path / "b.wav", 0.1)
    errors = iter([SegueError(Code.BAD_SAMPLES, "NaN: render it again"), ValueError("oops")])

    def fail(*_: object) -> Result:
        raise next(errors)

    folder.run = fail
    folder.settle()
    folder.restart()
    assert folder.error("a") == "a.wav: NaN: render it again\n"
    assert folder.error("b") == "b.wav: ValueError: oops: this is a bug; please report it\n"
    folder.run = folder.engine.run
    folder.settle()
    assert folder.results() == ["a.json", "a.wav", "b.json", "b.wav"]


@pytest.mark.skipif(os.name == "nt", reason="such names and links are not to be had on Windows")
def test_other_files_are_left_alone(folder: Folder) -> None:
    """One line each for a link, a pipe and a text; none for hidden files, sheets and folders."""
    add_tone(folder.path / ".hidden.wav")
    (folder.path / "x.wav").symlink_to(folder.path / ".hidden.wav")
    (folder.path / "notes\n1.txt").touch()
    (folder.path / "lonely.toml").touch()
    (folder.path / "deeper.wav").mkdir()
    os.mkfifo(folder.path / "pipe.wav")
    assert sorted(folder.settle()) == [
        "notes\N{REPLACEMENT CHARACTER}1.txt: no audio file: left alone",
        "pipe.wav: a link or device: left alone",
        "x.wav: a link or device: left alone",
    ]
    assert folder.settle() == folder.results() == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names that are no text")
def test_a_name_that_is_no_text(folder: Folder) -> None:
    """It cannot be told to the engine, and is said so under its own name."""
    name = os.fsdecode(b"\xff.wav")
    add_tone(folder.path / "a.wav")
    (folder.path / "a.wav").rename(folder.path / name)
    said = ["\N{REPLACEMENT CHARACTER}.wav: its name is not in UTF-8: give it another one"]
    assert folder.settle() == said
    assert folder.error(os.fsdecode(b"\xff")) == f"{said[0]}\n"


@pytest.mark.skipif(os.name == "nt", reason="names are counted differently on Windows")
def test_a_name_too_long_for_its_results(folder: Folder) -> None:
    """Said beside the results, or in the terminal alone when even that has no place."""
    for name in ("ü" * 101, "x" * 245):
        add_tone(folder.path / "a.wav")
        (folder.path / "a.wav").rename(folder.path / f"{name}.wav")
        folder.settle()
        assert folder.lines[0] == f"{name}.wav: its name is too long: give it a shorter one"
    assert "File name too long" in folder.lines[1]
    assert folder.results() == [f"{'ü' * 101}.wav.error.txt"]


def test_a_full_folder(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """More files than are looked at: a line says so, and taking some out lets the rest in."""
    monkeypatch.setattr(watch_folder, "MAX_FILES", 2)
    add_tone(folder.path / "a.wav")
    assert len(folder.settle()) == 2  # a.wav and the folder of results
    (folder.path / "b.toml").touch()
    assert folder.settle() == [
        f"{folder.path.name}: more than 2 files: take some out, the rest wait"
    ]
    assert folder.settle() == []


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    """Missing at first, gone later, or no place for results: each is a sentence."""
    with pytest.raises(SegueError, match="there is no folder"):
        Folder(tmp_path / "gone")
    (tmp_path / "segue").touch()
    with pytest.raises(SegueError, match="watch another folder"):
        Folder(tmp_path)
    (tmp_path / "segue").unlink()
    folder = Folder(tmp_path)
    (tmp_path / "segue").rmdir()
    tmp_path.rmdir()
    with pytest.raises(SegueError, match="is it still there"):
        folder.settle()


def test_a_sentence_belongs_to_its_file_alone(folder: Folder) -> None:
    """What becomes of another file of the same stem does not touch it."""
    (folder.path / "a.wav").write_text("no audio")
    (folder.path / "a.aiff").write_text("no audio")
    add_tone(folder.path / "a.flac")
    folder.settle()
    assert folder.results() == ["a.aiff.error.txt", "a.json", "a.wav", "a.wav.error.txt"]
    assert folder.error("a").startswith("a.wav: ")


def test_results_that_were_deleted(folder: Folder) -> None:
    """The folder is made anew, for clips and for sentences; where it can't be, that is said."""
    add_tone(folder.path / "a.wav")
    folder.settle()
    for level, name in enumerate(("b.wav", "c.wav"), start=1):
        shutil.rmtree(folder.path / "segue")
        add_tone(folder.path / name, level / 10)
        folder.settle()
        assert folder.results() == [f"{name[0]}.json", name]
    shutil.rmtree(folder.path / "segue")
    (folder.path / "d.wav").write_text("no audio")
    folder.settle()
    assert folder.results() == ["d.wav.error.txt"]
    shutil.rmtree(folder.path / "segue")
    (folder.path / "segue").touch()
    add_tone(folder.path / "e.wav", 0.5)
    text = f"{folder.path / 'segue'} cannot be used (File exists): watch another folder"
    assert folder.settle()[-2:] == [f"e.wav: {text}", text]


def test_foreign_sheets_among_the_results(folder: Folder) -> None:
    """What is no sheet of ours is passed over when the watch starts."""
    for number, text in enumerate(["", "[]", "{}", '{"source": 3}', "[" * 100_000]):
        folder.sheet(f"segue/{number}.json", text)
    (folder.path / "segue" / "6.json").write_bytes(b"\xff")
    folder.restart()
    add_tone(folder.path / "a.wav")
    folder.settle()
    assert "a.wav" in folder.results()


def test_ctrl_c_says_what_is_left(folder: Folder) -> None:
    """Between files nothing is; in the middle of one it is named, and made the next time."""
    said: list[str] = []

    def interrupted(*_: object) -> Result:
        raise KeyboardInterrupt

    def sleep(seconds: float) -> None:
        folder.now += seconds
        if folder.now > 10:
            raise KeyboardInterrupt

    run_watch(folder.watched, said.append, lambda: folder.now, sleep)
    add_tone(folder.path / "a.wav")
    folder.run, folder.now = interrupted, 0.0
    run_watch(folder.watched, said.append, lambda: folder.now, sleep)
    assert said == ["stopped", "stopped; a.wav is made when you watch again"]
    folder.run = folder.engine.run
    folder.restart()
    folder.settle()
    assert folder.results() == ["a.json", "a.wav"]


def test_words_of_a_sheet_replace_groups() -> None:
    """A length said in bars takes the place of one in seconds; what is not said stays."""
    options = {"preset": "rise", "new_seconds": 3.0, "bpm": 90, "beats_per_bar": 3}
    assert laid_over(options, {"new_bars": 2}) == {
        "preset": "rise", "new_bars": 2, "bpm": 90, "beats_per_bar": 3,
    }  # fmt: skip
    assert laid_over(options, {"tempo": {}}) == {"preset": "rise", "new_seconds": 3.0, "tempo": {}}


def test_a_sheet_without_a_preset_is_a_request(tmp_path: Path) -> None:
    """Written down whole, a request comes back the same."""
    points = [[0.0, -6.0], [1.0, 0.0]]
    sheet = {"id": "a", "new_seconds": 2.0, "controls": [{"kind": "intensity", "points": points}]}
    expected = Request(
        id="a", new_seconds=2.0, controls=(Intensity(points=((0.0, -6.0), (1.0, 0.0))),)
    )
    assert request_of_sheet(sheet, tmp_path) == expected


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals are not sent this way on Windows")
def test_the_shipped_model_watches(tmp_path: Path) -> None:
    """The real command makes a real clip, stops at once in the middle of the next one."""
    folder = tmp_path / "my loops"
    folder.mkdir()
    audio, rate = soundfile.read(Path(str(SHIPPED)) / "excerpts" / "feelings.flac", frames=88200)
    soundfile.write(folder / "ein Stück.wav", audio, rate, subtype="PCM_24")
    (folder / "ein Stück.toml").write_text("new_seconds = 2.0\nsettings = {iterations = 2}\n")
    command = [sys.executable, "-P", "-m", "segue.bridge.cli.main", "watch", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"watching {folder}; Ctrl-C stops\n"
        assert process.stdout.readline() == "ein Stück.wav: being made\n"
        assert process.stdout.readline().startswith("ein Stück.wav: segue/ein Stück.wav, 2.0 s new")
        soundfile.write(folder / "long.flac", audio, rate)
        assert process.stdout.readline() == "long.flac: being made\n"
        process.send_signal(signal.SIGINT)
        asked = time.monotonic()
        left = process.stdout.readline()
        assert left == "stopped; long.flac is made when you watch again\n"
        assert time.monotonic() - asked < 5.0
        assert process.wait(60) == 0
    made = soundfile.info(str(folder / "segue" / "ein Stück.wav"))
    assert (made.frames, made.samplerate, made.subtype) == (4 * rate, rate, "PCM_24")
    assert sorted(path.name for path in (folder / "segue").iterdir()) == [
        "ein Stück.json", "ein Stück.wav",
    ]  # fmt: skip
