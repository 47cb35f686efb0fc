"""Audacity: the selection goes out through its scripting pipe, clips come onto new tracks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile

from segue.bridge.cli.audacity import run_audacity
from segue.bridge.daw.audacity import Placing, Selection, answer_of, placings, selection
from segue.bridge.daw.audacity_pipe import AudacityPipe
from segue.presets.vocabulary import Code, Progress, Request, Result, SegueError
from tests.recorder import make_request, result_of

RATE = 44100
MODULE = Path("/usr/lib/audacity/modules/mod-script-pipe.so")
PATIENCE_SECONDS = 90.0
OK = "BatchCommand finished: OK\n"
TRACK = {"name": "a", "selected": 1, "kind": "wave", "channels": 2}


def test_an_answer_ends_with_its_status() -> None:
    """What Audacity could not do is an error in its own words."""
    assert answer_of(["[ 1 ]\n", OK, "\n"]) == "[ 1 ]"
    with pytest.raises(SegueError, match="Audacity says: no such file BatchCommand finished: Fai"):
        answer_of(["no such file\n", "BatchCommand finished: Failed!\n"])
    with pytest.raises(SegueError, match="Audacity says: nothing"):
        answer_of(["\n"])


class Spoken:
    """An Audacity of which the tracks and the selected time are known; what it is asked is kept."""

    def __init__(self, start: float, end: float, *tracks: object) -> None:
        self.tracks, self.asked = tracks, list[str]()
        self.labels = [[0, [[0, 9, "mine"]]], [len(tracks), [[start, end, ""]]]]

    def ask(self, line: str) -> str:
        """As Audacity answers."""
        self.asked.append(line)
        kind = line.partition("Type=")[2].partition(" ")[0]
        return json.dumps({"Tracks": self.tracks, "Labels": self.labels}.get(kind, ""))


def test_the_selection_is_the_new_label() -> None:
    """Audacity tells it in no other way; the label's track goes, the selection is made again."""
    unselected = TRACK | {"selected": 0, "channels": 9}
    spoken = Spoken(1.5, 4, {"kind": "label", "selected": 1}, TRACK, unselected, TRACK)
    assert selection(spoken.ask) == Selection(1.5, 4, 2)
    assert [line for line in spoken.asked if not line.startswith("GetInfo")] == [
        "NewLabelTrack:",
        "AddLabel:",
        "SelectTracks: Track=4 TrackCount=1 Mode=Set",
        "RemoveTracks:",
        "SelectTime: Start=1.500000000 End=4.000000000",
        "SelectTracks: Track=1 TrackCount=1 Mode=Set",
        "SelectTracks: Track=3 TrackCount=1 Mode=Add",
    ]


@pytest.mark.parametrize(
    ("end", "track"), [(1.0, TRACK), (4, TRACK | {"selected": 0}), (4, TRACK | {"kind": "label"})]
)
def test_nothing_is_selected(end: float, track: dict[str, object]) -> None:
    """A cursor, no track, no audio: it says what to do, and leaves no label."""
    spoken = Spoken(1.0, end, track)
    with pytest.raises(SegueError, match="select a range of an audio track"):
        selection(spoken.ask)
    assert spoken.asked[-1] == "RemoveTracks:"


def result(**changed: object) -> Result:
    """What the engine answers about a file that begins with the selection."""
    base = result_of(make_request(seed=7), Path("/t/clip.wav"))
    return base.model_copy(update={"start_seconds": 0.0, **changed})


def test_where_clips_belong() -> None:
    """Overlays from their own start; without one, the clips from theirs; never before second 0."""
    chosen = Selection(2.0, 4.0, 1)
    over = {"overlay_path": "/t/o.wav", "overlay_start_seconds": 1.9, "variations": ("/t/2.wav",)}
    assert placings(result(**over, variation_overlays=("/t/o2.wav",)), chosen) == [
        Placing(Path("/t/o.wav"), 3.9),
        Placing(Path("/t/o2.wav"), 3.9),
    ]
    assert placings(result(variations=("/t/2.wav",)), chosen) == [
        Placing(Path("/t/clip.wav"), 2.0),
        Placing(Path("/t/2.wav"), 2.0),
    ]
    with pytest.raises(SegueError, match=r"begin 0\.50 s before the project"):
        placings(result(start_seconds=-2.5), chosen)


@pytest.mark.parametrize("problem", [BrokenPipeError("gone"), SegueError(Code.UNSUPPORTED, "no")])
def test_an_audacity_that_is_gone_when_the_clip_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    """The clip outlives the folder that it was made in, and the error says where it is."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spoken = Spoken(0.0, 1.0, TRACK)

    def ask(line: str) -> str:
        if line.startswith("Export2"):
            soundfile.write(line.split('"')[1], np.zeros(RATE), RATE)
        if line.startswith("Import2"):
            raise problem
        return spoken.ask(line)

    def run(request: Request, out: Path, on_progress: Callable[[Progress], None]) -> Result:
        soundfile.write(out, np.ones(8), RATE)
        return result(path=str(out))

    with pytest.raises(SegueError, match="kept: ") as error:
        run_audacity(ask, {"preset": "continue", "new_seconds": 2.0}, run)
    kept = Path(error.value.text.partition("kept: ")[2])
    assert kept.name == "clip.wav"
    assert len(soundfile.read(kept)[0]) == 8
    assert [path.name for path in tmp_path.iterdir()] == [kept.parent.name]


@pytest.mark.skipif(os.name == "nt", reason="Audacity's pipe has another form on Windows")
def test_no_audacity(tmp_path: Path) -> None:
    """No pipe, or one that a dead Audacity left: it says how to get one."""
    for prepare in (lambda path: None, os.mkfifo):
        prepare(tmp_path / f"audacity_script_pipe.to.{os.getuid()}")
        with pytest.raises(SegueError, match="mod-script-pipe"):
            AudacityPipe(tmp_path, 0.0).__enter__()


@contextmanager
def stopped_after(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """The process does not outlive the test."""
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def until(rule: Callable[[], bool]) -> None:
    """Wait for a rule to hold."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not rule():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.1)


def is_idle(pid: int) -> bool:
    """Whether a process used a tenth of a processor at most for a second.

    Audacity hears nothing while it starts, and its idle window draws up to 5 % here.
    """
    used = [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]]
    time.sleep(1.0)
    used.append(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13])
    return sum(map(int, used[1])) - sum(map(int, used[0])) <= 10


@pytest.fixture
def audacity(tmp_path: Path) -> Iterator[AudacityPipe]:
    """A real Audacity with its pipe, on a screen that nobody sees."""
    missing = [name for name in ("audacity", "Xvfb") if shutil.which(name) is None]
    if sys.platform != "linux" or missing or not MODULE.exists():
        pytest.skip("apt-get install -y --no-install-recommends audacity xvfb")
    for way in ("to", "from"):
        Path(f"/tmp/audacity_script_pipe.{way}.{os.getuid()}").unlink(missing_ok=True)
    home = tmp_path / "home"
    (home / ".audacity-data").mkdir(parents=True)
    stamp = datetime.fromtimestamp(MODULE.stat().st_mtime).strftime("%Y-%m-%dT%H:%M:%S")
    (home / ".audacity-data" / "audacity.cfg").write_text(
        "PrefsVersion=1.1.1r1\n[Module]\nmod-script-pipe=1\n"
        f"[ModulePath]\nmod-script-pipe={MODULE}\n[ModuleDateTime]\nmod-script-pipe={stamp}\n"
        "[GUI]\nShowSplashScreen=0\n"
    )
    screen = ["Xvfb", "-displayfd", "1", "-screen", "0", "1024x768x24", "-nolisten", "tcp"]
    quiet = subprocess.DEVNULL
    with (
        subprocess.Popen(screen, stdout=subprocess.PIPE, stderr=quiet) as display,
        stopped_after(display),
    ):
        assert display.stdout is not None
        number = display.stdout.readline().decode().strip()
        mine = {"HOME": str(home), "TMPDIR": str(tmp_path), "DISPLAY": f":{number}"}
        with (
            subprocess.Popen(
                ["audacity"], env={**os.environ, **mine}, stdout=quiet, stderr=quiet
            ) as process,
            stopped_after(process),
            AudacityPipe(patience_seconds=PATIENCE_SECONDS) as pipe,
        ):
            until(lambda: is_idle(process.pid))
            yield pipe


@pytest.mark.slow
def test_a_real_audacity(audacity: AudacityPipe, tmp_path: Path) -> None:
    """The selection arrives, the overlay lies on the sample where it belongs, others are muted."""
    rng = np.random.default_rng(1)
    music = rng.uniform(-0.3, 0.3, 6 * RATE)
    made = rng.uniform(-0.3, 0.3, 2 * RATE)
    heard: list[np.ndarray] = []

    def run(request: Request, out: Path, on_progress: Callable[[Progress], None]) -> Result:
        assert request.region is not None
        assert (request.new_seconds, request.settings.overlay) == (2.0, True)
        heard.append(soundfile.read(request.region.path)[0])
        overlay = out.with_name("clip~overlay.wav")
        soundfile.write(overlay, made, RATE, subtype="FLOAT")
        other = out.with_name("clip~2~overlay.wav")
        soundfile.write(other, -made, RATE, subtype="FLOAT")
        places = {"overlay_path": str(overlay), "overlay_start_seconds": 2.5}
        places |= {"variations": ("/t/2.wav",), "variation_overlays": (str(other),)}
        return result(path=str(out), **places)

    for name in ("other", "music"):
        soundfile.write(tmp_path / f"{name}.wav", music, RATE, subtype="FLOAT")
        audacity.ask(f'Import2: Filename="{tmp_path / name}.wav"')
    audacity.ask('SetTrackStatus: Name="by a script"')
    for _ in range(2):
        audacity.ask("SelectTime: Start=1.25 End=3.75")
        audacity.ask("SelectTracks: Track=1 TrackCount=1")
        run_audacity(audacity.ask, {"preset": "continue", "new_seconds": 2.0}, run)
    tracks = json.loads(audacity.ask("GetInfo: Type=Tracks Format=JSON"))
    assert [track["name"] for track in tracks] == ["other", "by a script", *["Segue 7"] * 4]
    assert [track["mute"] for track in tracks] == [0, 0, 0, 1, 0, 1]
    audacity.ask("SelectAll:")
    audacity.ask("SelectTracks: Track=1 TrackCount=2")
    audacity.ask(f'Export2: Filename="{tmp_path / "mix.wav"}" NumChannels=1')
    region, seam = music[int(1.25 * RATE) : int(3.75 * RATE)], int(3.75 * RATE)
    expected = music.copy()
    expected[seam : seam + len(made)] += made
    mixed = soundfile.read(tmp_path / "mix.wav")[0]
    few = 16 / 2**15  # 16 bits and Audacity's shaped dither; one sample beside it would be 0.3
    assert [float(np.abs(each - region).max()) <= few for each in heard] == [True, True]
    assert np.abs(mixed - expected).max() <= few
