"""The `segue` command: what it says, what it refuses, and with which exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from segue.bridge import offline
from segue.bridge.cli import main, play
from segue.bridge.cli.order import Order, request_of
from segue.bridge.midi.rounds import InSong
from segue.presets.controls import Outpaint
from segue.presets.library import preset_names
from segue.presets.tempo import TempoMap
from segue.presets.vocabulary import Code, Progress, Request, Result, SegueError, State

RATE = 8000
SONG = (  # 3/4, at 120 and from bar 2 on at 60
    b"MThd\0\0\0\6\0\0\0\1\1\xe0MTrk\0\0\0\x14"
    b"\0\xff\x58\4\3\2\x18\x08\x8b\x20\xff\x51\3\x0f\x42\x40\0\xff\x2f\0"
)


def invoke(*arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `segue ARGUMENTS`, on a wide terminal."""
    result = CliRunner().invoke(main.app, list(arguments), env={"COLUMNS": "200", "NO_COLOR": "1"})
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    """Two seconds of a WAV file."""
    path = tmp_path / "tone.wav"
    soundfile.write(path, np.zeros((2 * RATE, 1)), RATE)
    return path


def ask(source: Path | None, **changed: object) -> Request:
    """What `segue make SOURCE --seconds 6 --seed 1` and some more options ask for."""
    options: dict[str, object] = {"seconds": 6.0, "seed": 1}
    return request_of(Order(source=source, **(options | changed)))  # type: ignore[arg-type]


def test_help_lists_the_commands() -> None:
    """The installed command starts, and shows what there is to do."""
    program = Path(sys.executable).with_name("segue")
    done = subprocess.run([program, "--help"], capture_output=True, text=True, check=True)
    for command in ("up", "serve", "bridge", "make", "presets", "doctor", "demo"):
        assert f" {command} " in done.stdout


def test_version() -> None:
    """`segue --version` is the installed version."""
    assert invoke("--version") == (0, f"segue {version('segue')}\n", "")


def test_presets_are_listed() -> None:
    """`segue presets` shows each preset with a little plot and what it does."""
    code, shown, _ = invoke("presets")
    assert code == 0
    for name in preset_names():
        assert f" {name} " in shown
    for plot in ("▁▂▂▃▄▄▅▅▆▇▇█", "AAAA·BBBB·AAAA", "██░░░░██", "░░░░████", "▒▒▒▒▒▒▒▒"):
        assert plot in shown


def test_the_hidden_table() -> None:
    """`segue osc` prints the table that stands in the README."""
    code, shown, _ = invoke("osc")
    assert code == 0
    assert "/segue/job/done" in shown


def test_defaults_are_those_of_the_rooms() -> None:
    """The command's own copies of the defaults agree with the rooms'."""
    from segue.bridge.osc.addresses import DEFAULT_OSC_PORT
    from segue.server.config import DEFAULT_MODEL, DEFAULT_PORT

    rooms = (DEFAULT_PORT, DEFAULT_OSC_PORT, DEFAULT_MODEL)
    assert rooms == (main.PORT, main.OSC_PORT, main.MODEL)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("gone.wav", "--seconds", "6"), "there is no file gone.wav"),
        (("notes.txt", "--seconds", "6"), "notes.txt cannot be read as audio"),
        (("empty.wav", "--seconds", "6"), "empty.wav is empty"),
        (("tone.wav", "--seconds", "-1"), "--seconds: "),
        (("tone.wav", "--seconds", "nan"), "--seconds: "),
        (("tone.wav", "--seconds", "10000"), "--seconds: "),
        (("tone.wav", "--seconds", "6", "--start", "2"), "--start 2 is not before the end"),
        (("tone.wav", "--seconds", "6", "--start", "nan"), "--start: "),
        (("tone.wav", "--seconds", "6", "--length", "0"), "--length: "),
        ((), "--seconds: say how much"),
        (("--preset", "rise"), "--seconds: say how much"),
        (("tone.wav", "--seconds", "6", "--preset", "no"), "no preset 'no'"),
        (("tone.wav", "--preset", "no.toml"), "there is no preset file no.toml"),
        (("tone.wav", "--seconds", "6", "-o", "gone/x.wav"), "there is no folder gone"),
        (("tone.wav", "--seconds", "6", "-o", "x.mp3"), "x.mp3: the clip is a WAV file"),
        (("tone.wav", "--seconds", "6", "-o", "take.1"), "take.1: the clip is a WAV file"),
        (("tone.wav", "--seconds", "6", "-o", "tone.wav"), "tone.wav exists"),
        (("tone.wav", "--seconds", "6", "-o", "tone.wav", "--force"), "tone.wav exists"),
    ],
)
def test_bad_input_is_one_sentence(
    tone: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], sentence: str
) -> None:
    """What the user can act on: one line on stderr, exit code 1, no traceback."""
    monkeypatch.chdir(tone.parent)
    Path("notes.txt").write_text("no audio")
    soundfile.write("empty.wav", np.zeros((0, 1)), RATE)
    code, shown, said = invoke("make", *arguments)
    assert (code, shown) == (1, "")
    assert said.startswith("segue: ")
    assert said.count("\n") == 1
    assert sentence in said


@pytest.mark.parametrize(
    "arguments",
    [
        ("make", "a.wav", "b.wav"),
        ("make", "a.wav", "--seconds", "six"),
        ("make", "a.wav", "--seconds", "6", "--seed", "-1"),
        ("make", "a.wav", "--seconds", "6", "--keep", "0"),
        ("outpaint", "a.wav", "--seconds", "6"),
        ("serve", "--port", "65536"),
        ("bridge", "--osc-port", "-1"),
        ("no-such-command",),
    ],
)
def test_misuse_is_exit_code_two(arguments: tuple[str, ...]) -> None:
    """A command line that cannot be understood is told apart from a job that fails."""
    assert invoke(*arguments)[0] == 2


def test_a_bad_server_url_is_one_sentence() -> None:
    """The bridge refuses what is no URL before it opens a port."""
    code, _, said = invoke("bridge", "--server", "nonsense", "--osc-port", "0")
    assert code == 1
    assert "nonsense" in said


def test_where_the_clip_goes(tone: Path) -> None:
    """Beside its source under its own name; over an existing file only if forced."""
    beside = tone.with_name("tone-segue.wav")
    assert offline.choose_out(tone, None, False) == beside
    beside.touch()
    with pytest.raises(SegueError, match="--force"):
        offline.choose_out(tone, None, False)
    assert offline.choose_out(tone, None, True) == beside
    assert offline.choose_out(None, None, False) == Path("segue.wav")


def test_more_clips_are_named_as_the_engine_does() -> None:
    """What is looked for before the job is what the job writes."""
    from segue.server.clip_files import variation

    clip = Path("a/take.1.wav")
    assert offline.numbered(clip, 2) == variation(clip, 2) == Path("a/take.1~2.wav")


def test_more_clips_lie_beside_the_first(tone: Path) -> None:
    """None of the numbered ones may exist either, and forcing never replaces the source."""
    out = tone.with_name("out.wav")
    numbered = tone.with_name("out~3.wav")
    numbered.touch()
    assert offline.choose_out(tone, out, False, keep=2) == out
    with pytest.raises(SegueError, match=r"out~3\.wav exists: .*--force"):
        offline.choose_out(tone, out, False, keep=3)
    assert offline.choose_out(tone, out, True, keep=3) == out
    with pytest.raises(SegueError, match=r"out~3\.wav exists: choose another --out$"):
        offline.choose_out(numbered, out, True, keep=3)


def test_the_figures_of_a_job(tone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At the end: seconds made, time taken, ratio to real time, losses, device and seed."""

    def run(request: Request, out: Path, on_progress: object) -> Result:
        assert callable(on_progress)
        on_progress(Progress(id=request.id, fraction=0.5, stage=State.OPTIMIZING, loss=0.5))
        return Result(
            id=request.id,
            path=str(out),
            variations=(str(out.with_name("second.wav")),),
            notes=("a compromise",),
            start_seconds=0.0,
            length_samples=8 * RATE,
            new_samples=6 * RATE,
            sample_rate=RATE,
            channels=1,
            seed=1,
            loss_first=0.75,
            loss_last=0.0625,
            taken_seconds=3.0,
            device="cpu (2 threads)",
        )

    ticks = iter((100.0, 103.0))
    offline.run_offline(ask(tone), tone, lambda: run, clock=lambda: next(ticks))
    shown = capsys.readouterr().out
    for figure in ("6.000 s", "3.00 s, 0.50 × real time", "0.7500 first, 0.0625 last", "cpu (2"):
        assert figure in shown
    assert "second.wav" in shown.replace("\n", "").replace(" ", "")
    assert "a compromise" in shown


def test_every_option_arrives(tone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line says what the request asks."""
    asked: list[Request] = []
    monkeypatch.setattr(offline, "run_offline", lambda request, *_: asked.append(request))
    monkeypatch.chdir(tone.parent)
    words = (
        "tone.wav --bars 2 --bpm 90 --beats-per-bar 3 --start 0.5 --length 1 --at both"
        " --overlap 0.5 --intensity 0:-12,1:0 --structure A:2,B:1 --unit bars --text warm"
        " --melody tone.wav --preset hold-on --tag slow --tag strings --guidance 3"
        " --iterations 9 --seed 4 --seeds 5 --keep 2 --within 30s"
    )
    assert invoke("make", *words.split()) == (0, "", "")
    (made,) = asked
    assert made.region is not None
    assert (made.region.start_seconds, made.region.length_seconds) == (0.5, 1.0)
    assert made.tempo is not None
    (change,) = made.tempo.changes
    assert (made.new_bars, change.bpm, change.beats_per_bar) == (2.0, 90.0, 3.0)
    kinds = ["outpaint", "intensity", "melody", "structure", "text"]
    assert [control.kind for control in made.controls] == kinds
    assert (made.seed, made.settings.seeds, made.settings.keep) == (4, 5, 2)
    assert (made.settings.iterations, made.settings.within_seconds) == (9, 30.0)
    assert (made.settings.tags, made.settings.guidance) == (("slow", "strings"), 3.0)


def test_the_tempo_map_of_a_song_arrives(tone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--tempo takes the place of --bpm, from --from-bar on: bar 2 of 3/4 is at 60."""
    asked: list[Request] = []
    monkeypatch.setattr(offline, "run_offline", lambda request, *_: asked.append(request))
    tone.with_name("song.mid").write_bytes(SONG)
    monkeypatch.chdir(tone.parent)
    words = "tone.wav --bars 2 --tempo song.mid --from-bar"
    assert invoke("make", *words.split(), "2") == (0, "", "")
    assert asked[0].tempo == TempoMap.steady(60, 3)
    assert invoke("make", *words.split(), "0")[0] == 2  # as all that is outside a range
    assert invoke("make", *words.split(), "2", "--bpm", "60") == (
        1, "", "segue: --bpm: the file of --tempo says it already: leave one of them out\n",
    )  # fmt: skip


def test_the_bar_of_a_song_to_play_in(tone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bar 3 begins at beat 6: at one tempo of the command line, or by the song's own map."""
    asked: list[tuple[Request, play.Setup]] = []
    monkeypatch.setattr(play, "run_play", lambda *each: asked.append((each[0], each[1])))
    song = tone.with_name("song.mid")
    song.write_bytes(SONG)
    for words in (("--bpm", "90", "--beats-per-bar", "3"), ("--tempo", str(song))):
        assert invoke("play", str(tone), "--from-bar", "3", *words) == (0, "", "")
    (steady, first), (mapped, second) = asked
    assert (first.begins, second.begins) == (
        InSong(beats=6, seconds=4),
        InSong(beats=6, seconds=4.5),
    )
    assert (steady.tempo, mapped.tempo) == (TempoMap.steady(90, 3), TempoMap.steady(60, 3))


def test_what_a_preset_needs_may_be_played(tone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A melody comes from the keys; words still have to be said."""
    asked: list[Request] = []
    monkeypatch.setattr(play, "run_play", lambda *each: asked.append(each[0]))
    assert invoke("play", str(tone), "--preset", "follow-my-melody") == (0, "", "")
    assert asked[0].controls == (Outpaint(),)
    code, _, said = invoke("play", str(tone), "--preset", "say-it-in-words")
    assert (code, "needs your text" in said) == (1, True)


def test_errors_of_the_engine_reach_the_user(tone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A SegueError raised deep inside becomes the sentence it carries."""

    def broken(*_: object) -> None:
        raise SegueError(Code.NO_MODEL, "[no] model; reinstall Segue")

    monkeypatch.setattr(offline, "run_offline", broken)
    code, _, said = invoke("make", str(tone), "--seconds", "6")
    assert (code, said) == (1, "segue: [no] model; reinstall Segue\n")


def test_a_file_here_does_not_shadow_a_module(tmp_path: Path) -> None:
    """A producer's folder may hold files of any name."""
    (tmp_path / "random.py").write_text("raise SystemExit('shadowed')")
    program = Path(sys.executable).with_name("segue")
    environment = {**os.environ, "SEGUE_DATA": str(tmp_path / "data")}
    done = subprocess.run(
        [program, "presets"], cwd=tmp_path, env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0


@pytest.mark.parametrize("seeds", ["nan", "0", "1,65", "1.5", "", "1e999"])
def test_bench_takes_as_many_seeds_as_a_job(seeds: str) -> None:
    """Others are refused before anything is made."""
    code, shown, said = invoke("bench", "--seeds", seeds)
    assert (code, shown) == (1, "")
    assert said == f"segue: {seeds!r} is no list of numbers from 1 to 64 such as 1,4,16\n"
