"""The script's files as Live sees them: old Python, no packages, a folder of their own."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import platformdirs
import pytest
from platformdirs.macos import MacOS

from segue.bridge.daw.ableton.Segue.port import runtime_folder
from segue.bridge.daw.ableton_install import default_ableton_folder, install_ableton
from segue.bridge.daw.install import MARKER, Fate
from segue.bridge.osc.port_file import default_path
from segue.presets.vocabulary import Code, SegueError

FOLDER = Path(__file__).parent.parent / "bridge" / "daw" / "ableton" / "Segue"
FILES = sorted(FOLDER.glob("*.py"))
# Of Python 3.7's library, what the script may use: nothing that blocks or starts threads.
LIBRARY = {"__future__", "bisect", "contextlib", "enum", "errno", "json", "math", "os", "socket"}
LIBRARY |= {"struct", "sys", "time", "traceback", "typing", "uuid"}
LIVE = {"_Framework"}
# Names that the library of 3.7 lacks, of the modules above.
NEWER = {"Protocol", "Literal", "Final", "TypedDict", "StrEnum", "prod", "dist", "isqrt", "comb"}

SURFACE = """
import importlib, json, pathlib, sys, types
sys.path.insert(0, sys.argv[1])
class ControlSurface:
    def __init__(self, c_instance): self.c_instance, self.said, self.due = c_instance, [], []
    def song(self): return self.c_instance
    def show_message(self, text): self.said.append(text)
    def log_message(self, text): self.said.append(text)
    def schedule_message(self, ticks, call): self.due.append(call)
    def disconnect(self): self.said.append("gone")
framework, module = types.ModuleType("_Framework"), types.ModuleType("_Framework.ControlSurface")
module.ControlSurface = ControlSurface
sys.modules["_Framework"], sys.modules["_Framework.ControlSurface"] = framework, module
view = types.SimpleNamespace(detail_clip=None, selected_track=None)
surface = importlib.import_module("Segue").create_instance(types.SimpleNamespace(view=view))
for _ in range(3):
    surface.due.pop()()
told = json.loads(pathlib.Path(sys.argv[2]).read_text())
surface.disconnect()
surface.due.pop()()
left = pathlib.Path(sys.argv[2]).exists(), len(surface.due)
print(json.dumps([surface.said, told, left]))
"""

SET = """
import importlib, importlib.util, json, pathlib, sys, types, wave
sys.path.insert(0, sys.argv[1])
def info(path):
    with wave.open(path) as file:
        return types.SimpleNamespace(samplerate=file.getframerate(), frames=file.getnframes())
soundfile = sys.modules["soundfile"] = types.ModuleType("soundfile")
soundfile.info, soundfile.LibsndfileError = info, OSError
spec = importlib.util.spec_from_file_location("fake_live", sys.argv[2])
fake = sys.modules["fake_live"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fake)
segue = {name: importlib.import_module("Segue." + name) for name in sys.argv[4].split()}
def wav(name, seconds):
    path = pathlib.Path(sys.argv[3]) / name
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(16000 * seconds))
    return path
song = fake.Song(fake.LaneTrack)
song.loop_start, song.loop_length, song.first_beat = 8.0, 8.0, 0.3
clip = song.view.detail_clip = song.tracks[0].lay(wav("a.wav", 18), 4.0)
clip.warp([(0.0, 0.0), (6.0, 8.0)], 24.0)
wish = segue["wish"].make_wish("continue", 4, "calm")
taken = segue["live_set"].take(song, wish)
job = segue["job"].Job("live-1", taken.region, wish, 0.0)
packets = job.packets(0.0) + job.hear("/segue/rows/ack", ["live-1", "tempo", 1], 0.1)[0]
done = ["live-1", str(wav("b.wav", 9)), 3.0, 72000, 8000, 7, str(wav("c.wav", 4)), 8.0]
more = ["live-1", 2, str(wav("d.wav", 9)), str(wav("e.wav", 4)), 8.0]
job.hear("/segue/job/variation", more, 1.0)
_, result = job.hear("/segue/job/done", done, 1.0)
placed, where = segue["placing"].place(song, taken, result, "made")
song.idle()
settled = segue["placing"].settle(song, placed)
clips = [(each.clip.name, each.clip.start_time, each.clip.warping) for each in placed]
orders = [segue["osc"].decode(packet)[0] for packet in packets]
print(json.dumps([orders, where, settled, clips, len(song.steps)]))
"""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_are_of_python_3_7(path: Path) -> None:
    """Live 11's Python parses them; they import its library, each other and Live alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 7))
    typed = [each for each in tree.body if isinstance(each, ast.If)]
    checked = {each for block in typed for each in ast.walk(block)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert {alias.name for alias in node.names} <= LIBRARY
        elif isinstance(node, ast.ImportFrom) and node not in checked:
            assert node.level or (node.module or "").split(".")[0] in LIBRARY | LIVE
            assert {alias.name for alias in node.names} & NEWER == set()
    assert {ast.unparse(each.test) for each in typed} <= {"TYPE_CHECKING"}
    assert isinstance(tree.body[1], ast.ImportFrom), "without it, 3.7 would evaluate annotations"
    assert tree.body[1].module == "__future__"
    assert "removeprefix" not in path.read_text(encoding="utf-8")


def old_python() -> str:
    """Live 11's, if there is one here."""
    found = [shutil.which("python3.7") or ""]
    found += map(str, Path.home().glob(".pyenv/versions/3.7.*/bin/python"))
    for each in filter(None, found):
        if subprocess.run([each, "-V"], capture_output=True, check=False).returncode == 0:
            return each
    pytest.skip("NOT TESTED: with a python3.7 (`pyenv install 3.7`) the script runs as in Live 11")


@pytest.mark.parametrize("python", [lambda: sys.executable, old_python], ids=["this", "3.7"])
def test_a_clip_goes_there_and_back_without_any_package(
    tmp_path: Path, python: Callable[[], str]
) -> None:
    """Taken from a fake set, ordered, placed on a track and a lane, settled: in Live 11's too."""
    (tmp_path / "Remote Scripts").mkdir()
    install_ableton(tmp_path)
    files = [tmp_path / "Remote Scripts", Path(__file__).with_name("fake_live.py"), tmp_path]
    names = "wish live_set job placing osc"
    command = [python(), "-I", "-S", "-c", SET, *map(str, files), names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    orders, where, settled, clips, steps = json.loads(done.stdout)
    assert orders[1] == ["/segue/rows/add", ["live-1", "tempo", 0, 0.0, 80.0, 4.0]]
    make = ["live-1", str(tmp_path / "a.wav"), 3.0, 6.0, "continue", 0.0, 4.0, 0.0, -1, "calm"]
    assert orders[3] == ["/segue/make", make]
    assert (where, settled, steps) == ("on track AI at 4.3", [], 1)
    assert [(name, round(beat, 9), on) for name, beat, on in clips] == [
        ("made", 14.666666667, True),
        ("made (2)", 14.666666667, True),
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="the folder of ports is Linux's")
@pytest.mark.parametrize("python", [lambda: sys.executable, old_python], ids=["this", "3.7"])
def test_the_surface_runs_without_any_package(tmp_path: Path, python: Callable[[], str]) -> None:
    """Installed and loaded as Live does it, it ticks, tells its port, and leaves nothing."""
    (tmp_path / "User Library").mkdir()
    install_ableton(tmp_path / "User Library")
    scripts = tmp_path / "User Library" / "Remote Scripts"
    ports = tmp_path / "run" / "segue" / "live.json"
    command = [python(), "-I", "-S", "-c", SURFACE, str(scripts), str(ports)]
    done = subprocess.run(
        command,
        env={"XDG_RUNTIME_DIR": str(tmp_path / "run")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said, told, left = json.loads(done.stdout)
    assert said == [f"Segue listens on udp://127.0.0.1:{told['osc_port']}", "gone"]
    assert left == [False, 0]


def test_ports_are_looked_for_where_segue_tells_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The script has no platformdirs, and finds the same folders."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)  # Live is started from no shell
    monkeypatch.setattr(sys, "platform", "darwin")
    assert runtime_folder() == MacOS("segue").user_runtime_dir
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "C:\\L")
    assert runtime_folder().replace("/", "\\") == "C:\\L\\Temp\\segue"
    monkeypatch.undo()
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert runtime_folder() == str(default_path().parent)


def _members(source: str, path: Path) -> dict[str, set[str]]:
    """Names of methods, properties and attributes by class, of the model's part of a double."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(source, str(path))):
        if isinstance(node, ast.ClassDef):
            names = found.setdefault(node.name, set())
            for each in ast.walk(node):
                if isinstance(each, ast.FunctionDef) and "Not part of" not in ast.unparse(each):
                    names.add(each.name)
    return found


# Names of Live's as the script writes them, each on something that it has from one of Live's lists.
FROM_LISTS = {
    "content.py": ["marker.beat_time"],
    "fitting.py": ["marker.beat_time"],
    "guides.py": ["n.start_time", "event.time"],
    "live_set.py": ["track.arrangement_clips", "clip.start_time < end", "scene.clip_slots"],
    "tracks.py": ["lane.arrangement_clips", "slot.has_clip", "track.is_frozen"],
}


def test_a_name_that_live_lacks_is_reported(tmp_path: Path) -> None:
    """Of what comes from Live's lists too, of which the stubs leave the kind open."""
    api = pytest.importorskip("mypy.api")
    shutil.copytree(FOLDER, tmp_path / "Segue")
    for name, words in FROM_LISTS.items():
        text = (tmp_path / "Segue" / name).read_text(encoding="utf-8")
        for word in words:
            assert word in text
            text = text.replace(word, word.replace(".", ".not_"))
        (tmp_path / "Segue" / name).write_text(text, encoding="utf-8")
    command = ["--strict", "--config-file", "", "--cache-dir", str(tmp_path / "cache")]
    told, _, _ = api.run([*command, str(tmp_path / "Segue")])
    for name, words in FROM_LISTS.items():
        for word in words:
            missing = word.partition(".")[2].partition(" ")[0]
            pattern = rf'{name}:\d+: error: .* has no attribute "not_{missing}"'
            assert re.search(pattern, told), (name, word, told)


def test_the_double_has_only_what_live_has() -> None:
    """Every method of the fake set is in the stubs of the class that it stands for."""
    stubs = Path(sysconfig.get_path("purelib")) / "Live-stubs"
    if not stubs.is_dir():
        pytest.skip("NOT TESTED: `pip install ableton-live-stubs` brings Live's own names")
    double = Path(__file__).with_name("fake_live.py")
    own = {"audio", "delete", "idle", "lay", "warp"}  # what the producer does, and Live itself
    fakes = _members(double.read_text(encoding="utf-8"), double)
    stands_for = {"Clip": "Clip", "MidiClip": "Clip", "Slot": "ClipSlot", "OldSlot": "ClipSlot"}
    stands_for |= {"Track": "Track", "LaneTrack": "Track", "OldTrack": "Track", "Song": "Song"}
    stands_for |= {"TakeLane": "TakeLane", "Envelope": "Envelope", "TellingEnvelope": "Envelope"}
    stands_for |= {"Parameter": "DeviceParameter", "WarpMarker": "WarpMarker"}
    files = {"WarpMarker": "Clip"}
    for fake, real in stands_for.items():
        path = stubs / f"{files.get(real, real)}.pyi"
        names = _members(path.read_text(encoding="utf-8"), path)[real]
        public = {name for name in fakes[fake] if not name.startswith("_")}
        assert public - names - own == set()


def test_installing(tmp_path: Path) -> None:
    """All files get there, an older Segue is replaced, what is not Segue's stays."""
    (tmp_path / "Remote Scripts" / "Segue").mkdir(parents=True)
    foreign = tmp_path / "Remote Scripts" / "Segue" / "job.py"
    foreign.write_text("mine")
    placed = {each.path.name: each.fate for each in install_ableton(tmp_path)}
    assert placed == {path.name: Fate.WRITTEN for path in FILES} | {"job.py": Fate.KEPT}
    assert foreign.read_text() == "mine"
    foreign.write_text(f"# {MARKER}\nold")
    assert {each.fate for each in install_ableton(tmp_path)} == {Fate.SAME, Fate.REPLACED}
    for path in FILES:
        assert (foreign.parent / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("platform", "folder"), [("darwin", "Music"), ("win32", "OneDrive/Documents")]
)
def test_the_usual_library(monkeypatch: pytest.MonkeyPatch, platform: str, folder: str) -> None:
    """Where Live puts it on each system; Windows may have moved its documents."""
    monkeypatch.setattr(sys, "platform", platform)
    documents = Path.home() / "OneDrive" / "Documents"
    monkeypatch.setattr(platformdirs, "user_documents_path", lambda: documents)
    assert default_ableton_folder() == Path.home() / folder / "Ableton" / "User Library"


def test_there_is_no_live_on_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the folder must be named."""
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(SegueError, match="macOS and Windows") as caught:
        default_ableton_folder()
    assert caught.value.code is Code.UNSUPPORTED
