"""Ableton Live to server and back: the script ticked by hand, a real bridge, real sockets."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import soundfile

from segue.bridge.daw.ableton.Segue.desk import MAX_JOBS
from segue.bridge.daw.ableton.Segue.job import (
    ANSWER_SECONDS,
    GONE,
    GONE_SECONDS,
    NOBODY,
    QUIET_SECONDS,
    START_SECONDS,
    State,
)
from segue.bridge.daw.ableton.Segue.leftover import Leftovers
from segue.bridge.daw.ableton.Segue.placing import MOVED, TOO_OLD
from segue.bridge.daw.ableton.Segue.port import HOST
from segue.bridge.osc.codec import MAX_DATAGRAM_BYTES, Value, decode, encode
from segue.presets.controls import Inpaint, Intensity, Melody, Text
from segue.presets.tempo import TempoChange, TempoMap
from segue.presets.vocabulary import Region
from segue.server.worker import Engine
from tests.fake_live import Clip, Envelope, LaneTrack, MidiClip, OldTrack, Song
from tests.live_script import NASTY, Live, Painter, a_song, ai_clips, kept, wav
from tests.osc_client import DEADLINE_SECONDS, Running
from tests.recorder import FRAMES, SAMPLE_RATE, FileGate, serving
from tests.test_bridge_server import start_server
from tests.test_restart import process


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file; jobs end once it exists."""
    return tmp_path / "gate"


@pytest.fixture
def engine(gate: Path) -> Painter:
    """What is asked of it is written down."""
    gate.touch()
    return Painter(gate=FileGate(gate))


@pytest.fixture
def bridge(tmp_path: Path, engine: Painter) -> Iterator[int]:
    """The port of a bridge in front of a real server, whose folder has a nasty name."""
    (tmp_path / NASTY).mkdir()
    with serving(tmp_path / NASTY, engine) as url, Running(url) as running:
        yield running.port


@pytest.fixture
def opened() -> Iterator[Callable[[Song, int], Live]]:
    """Opens Lives, and closes them after the test."""
    with ExitStack() as stack:
        yield lambda song, bridge: stack.enter_context(Live(song, bridge))


@pytest.fixture
def live(tmp_path: Path, bridge: int, opened: Callable[[Song, int], Live]) -> Live:
    """A Live with that song, before that bridge."""
    return opened(a_song(tmp_path), bridge)


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
def test_a_renamed_clip_is_continued(
    tmp_path: Path, bridge: int, engine: Painter, rate: int, opened: Callable[[Song, int], Live]
) -> None:
    """From the typed name to a clip at the right beat: region, bars, tempo and words arrive."""
    song = a_song(tmp_path, rate=rate)
    song.tempo, song.signature_numerator, song.signature_denominator = 125.0, 7, 8
    live = opened(song, bridge)
    live.type("continue 4 warm strings")
    live.hears("is on track AI at")
    (asked,) = engine.requests
    region = Region(path=str(tmp_path / f"{NASTY}.wav"), start_seconds=1.92, length_seconds=3.84)
    assert (asked.region, asked.new_bars, asked.new_seconds) == (region, 4.0, None)
    change = TempoChange(at_seconds=0, bpm=125, beats_per_bar=3.5)
    assert asked.tempo == TempoMap(changes=(change,), first_beat=1.0)
    assert Text(text="warm strings") in asked.controls
    assert asked.settings.overlay
    (clip,) = ai_clips(live)
    assert clip.start_time == pytest.approx(8 + 0.01 * 125 / 60, abs=1e-9)
    assert clip.end_time - clip.start_time == pytest.approx(FRAMES / SAMPLE_RATE * 125 / 60)
    assert (clip.name, clip.warping) == (f"{NASTY}, continue 4", False)
    assert Path(clip.file_path).parent == tmp_path / NASTY / "results"
    assert clip.file_path.endswith("~overlay.wav")
    laid = ["create_audio_track", "value", "value", "create_audio_clip", "gain", "warping"]
    assert song.steps[0] == laid


def test_a_warped_clip_is_continued(tmp_path: Path, live: Live, engine: Painter) -> None:
    """120 and then 80 a minute reach the engine; what it made is warped as the clip is there."""
    live.song.view.detail_clip.warp([(0.0, 0.0), (3.0, 6.0), (6.0, 10.0)], 12.0)
    live.type("continue")
    live.hears("is on track AI at 3.1; approximate, because the clip is warped")
    (asked,) = engine.requests
    region = Region(path=str(tmp_path / f"{NASTY}.wav"), start_seconds=2.0, length_seconds=5.5)
    assert asked.region == region
    changes = TempoChange(at_seconds=0, bpm=120), TempoChange(at_seconds=1, bpm=80)
    assert asked.tempo == TempoMap(changes=changes)
    (clip,) = ai_clips(live)
    live.tick()
    assert clip.warping
    assert clip.start_time == pytest.approx(8.02, abs=1e-9)
    assert clip.end_time - clip.start_time == pytest.approx(FRAMES / SAMPLE_RATE * 2, abs=1e-9)
    assert len(live.song.steps) == 1


def test_progress_is_shown(live: Live, gate: Path) -> None:
    """In the status bar, not for every message."""
    gate.unlink()
    live.type("rise 8")
    live.hears("rise 8: 0%")
    gate.touch()
    live.hears("is on track AI")
    assert len([text for text in live.said if text.endswith("%")]) <= 20


@pytest.mark.slow
@pytest.mark.parametrize("command", ["sketch 2", "before 1"])
def test_over_the_original_it_sounds_as_the_clip_does(
    tmp_path: Path, tiny_model: Path, command: str, opened: Callable[[Song, int], Live]
) -> None:
    """With a real engine: at its beat, original and overlay add up to the clip, each sample."""
    rate, rng = 44_100, np.random.default_rng(0)
    music = rng.standard_normal((10 * rate, 2)).astype(np.float32) * 0.1
    with (
        serving(tmp_path, load=lambda: load_engine(tiny_model)) as url,
        Running(url) as running,
    ):
        song = a_song(tmp_path, rate=rate)
        song.tempo, song.loop_start, song.loop_length = 133.0, 10.3, 8.0
        clip = song.view.detail_clip
        soundfile.write(clip.file_path, music, rate, subtype="FLOAT")
        live = opened(song, running.port)
        live.type(command)
        live.hears("is on track AI", patience=200)
        (placed,) = ai_clips(live)
    origin = 4 * rate  # where the file's first sample is on a timeline of samples
    timeline = np.zeros((20 * rate, 2))
    start, end = (round(beats * 60 / 133 * rate) for beats in (6.3, 14.3))
    timeline[origin + start : origin + end] = music[start:end]
    exact = (placed.start_time - clip.start_time) * 60 / 133 * rate
    at = origin + round(exact)
    assert abs(exact - round(exact)) < 1e-6
    overlay = soundfile.read(placed.file_path)[0]
    timeline[at : at + len(overlay)] += overlay
    whole = soundfile.read(placed.file_path.replace("~overlay", ""))[0]
    first = origin + (start if command.startswith("sketch") else end - len(whole))
    assert np.allclose(timeline[first : first + len(whole)], whole, rtol=1e-6, atol=1e-6)


def load_engine(model: Path) -> Engine:
    """The engine with a tiny model; torch takes long to import."""
    from segue.server.engine import Engine as RealEngine

    return RealEngine.load(str(model))


def test_asking_again_harms_nothing(live: Live, gate: Path, engine: Painter) -> None:
    """The same bridge gets the same rows and order of a job that runs: it goes on."""
    gate.unlink()
    live.type("continue")
    live.hears("0%")
    (errand,) = live.desk._errands.values()
    for _ in range(2):
        live.ahead += QUIET_SECONDS
        live.tick()
        assert errand.job.state is State.TELLING
        live.until(lambda: errand.job.state is State.RUNNING)
    gate.touch()
    live.hears("is on track AI")
    assert len(engine.requests) == 1


def test_variations(tmp_path: Path, bridge: int, opened: Callable[[Song, int], Live]) -> None:
    """Best-of-eight keeps three: one on the track, two on its take lanes."""
    live = opened(a_song(tmp_path, LaneTrack), bridge)
    live.type("best-of-eight 2")
    live.hears("is on track AI")
    track = live.song.tracks[1]
    lanes = [clip for lane in track.take_lanes for clip in lane.arrangement_clips]
    names = [Path(clip.file_path).name for clip in [*track.arrangement_clips, *lanes]]
    stem = names[0].removesuffix("~overlay.wav")
    assert names[1:] == [f"{stem}~2~overlay.wav", f"{stem}~3~overlay.wav"]


def test_a_curve_and_a_line_reach_the_engine(tmp_path: Path, live: Live, engine: Painter) -> None:
    """A session clip's volume envelope, and the notes of a MIDI clip in its scene."""
    song: Song = live.song
    slots = [track.clip_slots[0] for track in song.tracks]
    slots[0].clip = clip = Clip(song, slots[0], str(wav(tmp_path)), None)
    clip.warp([(0.0, 0.0), (10.0, 20.0)], 8.0)
    clip.envelopes[song.tracks[0].mixer_device.volume] = Envelope(lambda beat: 0.85 + beat / 80)
    notes = [(60 + i % 12, 4 + i / 32, 1 / 32, False) for i in range(100)]
    slots[1].clip = song.view.detail_clip = MidiClip(slots[1], False, notes)
    song.view.selected_track = song.tracks[1]
    live.type("continue")
    live.hears("is in a slot of track AI")
    curve, line = engine.requests[0].controls[-2:]
    assert isinstance(curve, Intensity)
    assert (curve.unit, curve.scale, len(curve.points)) == ("beats", "db", 65)
    assert curve.points[64] == (8.0, 4.0)
    assert isinstance(line, Melody)
    assert [note.pitch for note in line.notes] == [pitch for pitch, *_ in notes]
    assert line.notes[33].start == pytest.approx(33 / 32)
    placed = song.tracks[1].clip_slots[0].clip
    assert not placed.file_path.endswith("~overlay.wav")
    assert "approximate" in live.said[-1]


def test_what_is_under_the_brace_is_made_anew(live: Live, engine: Painter) -> None:
    """The gap is the brace, with three seconds of music around it where there are so many."""
    live.type("inpaint")
    live.hears("is on track AI")
    (asked,) = engine.requests
    assert asked.region is not None
    assert (asked.region.start_seconds, asked.region.length_seconds) == (0.0, 9.0)
    (place,) = asked.controls
    assert isinstance(place, Inpaint)
    assert [(gap.start, gap.length) for gap in place.gaps] == [(2.0, 4.0)]


def test_an_older_live_says_where_the_file_is(
    tmp_path: Path, bridge: int, opened: Callable[[Song, int], Live]
) -> None:
    """Nothing can be placed before 12.0.5; the clip is kept."""
    live = opened(a_song(tmp_path, OldTrack), bridge)
    live.type("continue")
    assert kept(live.hears(TOO_OLD)).name.endswith("~overlay.wav")
    assert live.said[-1].endswith(", for 3.1")


def test_a_live_that_unwarps_late(live: Live) -> None:
    """Each tick looks again; when it is given up, or the clip deleted, the others are not."""
    live.song.first_beat, live.song.busy = 0.005, 1_000_000
    live.type("continue")
    live.hears("is on track AI at 3.1")
    for _ in range(3):
        live.tick()
    assert ai_clips(live)[0].warping
    live.song.busy = 0
    live.until(lambda: not ai_clips(live)[0].warping)
    assert ai_clips(live)[0].loop_start == 0.0
    live.song.busy = 1_000_000
    live.type("continue 2")
    live.type("continue 3")
    live.hears("is on track AI 3")
    live.song.delete(live.song.tracks[2])
    live.faults = 1
    live.hears("continue 3 is still warped: switch Warp off in its view")


def test_another_set_is_open_when_the_clip_is_done(tmp_path: Path, live: Live, gate: Path) -> None:
    """Nothing is placed there; the clip is kept."""
    gate.unlink()
    live.type("continue")
    live.hears("0%")
    other = live.song = a_song(tmp_path)
    gate.touch()
    kept(live.hears(MOVED))
    assert (other.steps, len(other.tracks)) == ([], 2)


def test_two_lives_at_once(
    tmp_path: Path, bridge: int, gate: Path, opened: Callable[[Song, int], Live]
) -> None:
    """One bridge, two sets with a job each at the same time: each gets its own clip, and one."""
    gate.unlink()
    lives = [opened(a_song(tmp_path), bridge) for _ in range(2)]
    names = []
    for live in lives:
        live.type("continue")
        (errand,) = live.desk._errands.values()
        live.until(partial(getattr, errand.job, "accepted"))
        names.append([f"{errand.job.id}~overlay.wav"])
    gate.touch()
    for live in lives:
        live.hears("is on track AI")
    assert [[Path(clip.file_path).name for clip in ai_clips(live)] for live in lives] == names


def test_an_error_on_every_tick(live: Live) -> None:
    """It is logged once, and the rest of the script goes on."""
    live.faults, live.song.view.detail_clip = 1, object()
    for _ in range(3):
        live.tick()
    assert "has no attribute 'name'" in live.log[-1]
    live.song.view.detail_clip = live.song.tracks[0].arrangement_clips[0]
    live.type("continue")
    live.hears("is on track AI")


def test_the_bridge_is_killed_and_another_one_started(
    tmp_path: Path, opened: Callable[[Song, int], Live]
) -> None:
    """The job goes on, at another port too; the clip is made once and placed once."""
    gate = tmp_path / "gate"
    engine = Painter(gate=FileGate(gate))
    with ExitStack() as stack:
        url = stack.enter_context(serving(tmp_path, engine))
        with Running(url) as first:
            live = opened(a_song(tmp_path), first.port)
            live.type("continue")
            live.hears("0%")
        live.ahead += QUIET_SECONDS  # nobody answers
        live.tick()
        live.bridges.append(stack.enter_context(Running(url)).port)
        gate.touch()
        for _ in range(2):
            live.ahead += QUIET_SECONDS
            live.tick()
        live.hears("is on track AI")
        assert len(engine.requests) == 1
        assert len(ai_clips(live)) == 1


def test_the_bridge_is_looked_for_and_remembered(live: Live, gate: Path) -> None:
    """Nobody at the usual port: it is the other one, also when the job is asked about."""
    gate.unlink()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind((HOST, 0))
        live.bridges.insert(0, nobody.getsockname()[1])
        live.type("continue")
        live.ahead += ANSWER_SECONDS
        live.hears("0%")
        (errand,) = live.desk._errands.values()
        live.ahead += QUIET_SECONDS
        live.tick()
        assert errand.port == live.bridges[1]
        gate.touch()
        live.hears("is on track AI")


def test_no_bridge(tmp_path: Path, opened: Callable[[Song, int], Live]) -> None:
    """After six seconds the producer is told what to start, and nothing comes later."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind((HOST, 0))
        live = opened(a_song(tmp_path), nobody.getsockname()[1])
        live.type("continue")
        begun = time.perf_counter()
        live.tick()
        assert time.perf_counter() - begun < 0.05
        live.ahead += START_SECONDS + 1
        live.hears(NOBODY)
        assert live.desk.open_jobs == 0
        live.said.clear()
        live.type("check")
        live.ahead += START_SECONDS + 1
        live.hears(NOBODY)


def test_no_server(tmp_path: Path, opened: Callable[[Song, int], Live]) -> None:
    """The bridge's sentence is shown."""
    with Running("http://127.0.0.1:9") as running:
        live = opened(a_song(tmp_path), running.port)
        live.type("continue")
        live.hears("continue 4: no server at")
        live.type("check")
        live.hears(
            "Segue: no server at http://127.0.0.1:9: run `segue serve`, or `segue up` for both"
        )


def test_the_server_is_killed_meanwhile(
    tmp_path: Path, gate: Path, opened: Callable[[Song, int], Live]
) -> None:
    """The producer is told once what the job waits for, and it stays; it can be given up."""
    with process(tmp_path / "data", gate) as (server, url), Running(url) as running:
        live = opened(a_song(tmp_path), running.port)
        live.type("continue")
        live.hears("0%")
        server.kill()
        server.wait(DEADLINE_SECONDS)
        for _ in range(2):
            live.ahead += QUIET_SECONDS
            live.tick()
            live.until(lambda: not any(each.unheard for each in live.desk._errands.values()))
        live.hears("continue 4 waits: no server at")
        assert len([text for text in live.said if "waits" in text]) == 1
        live.ahead += GONE_SECONDS
        live.hears(GONE)
        assert live.desk.open_jobs == 0
        assert [left.name for left in live.desk._left.jobs.values()] == [f"{NASTY}, continue 4"]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL on Windows")
def test_the_server_is_killed_and_started_again(
    tmp_path: Path, opened: Callable[[Song, int], Live]
) -> None:
    """On one folder and port: the producer waits, and gets the clip, once."""
    server, port = start_server(0, tmp_path)
    with Running(f"http://127.0.0.1:{port}") as running:
        live = opened(a_song(tmp_path), running.port)
        live.type("continue")
        live.hears("0%")
        (job_id,) = live.desk._errands
        with server:
            server.kill()
        live.ahead += QUIET_SECONDS
        live.hears("continue 4 waits: no server at")
        server, same_port = start_server(port, tmp_path)
        (tmp_path / "gate").touch()
        live.ahead += QUIET_SECONDS
        live.hears("is on track AI")
        with server:
            server.terminate()
    assert same_port == port
    (clip,) = ai_clips(live)
    assert list((tmp_path / "data" / "results").glob("*.wav")) == [Path(clip.file_path)]
    assert Path(clip.file_path).name == f"{job_id}.wav"


def test_an_unknown_preset(live: Live) -> None:
    """The bridge names those there are."""
    live.type("contniue")
    assert "continue, drop" in live.hears("no preset 'contniue'")
    assert live.desk.open_jobs == 0


class Pad:
    """A touch controller, or a terminal, that talks to the script."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect((HOST, live.port.number))
        self.socket.setblocking(False)

    def press(self, address: str, *args: tuple[str, Value]) -> None:
        """A command."""
        self.socket.send(encode(f"/segue/live/{address}", *args))

    def told(self, words: str) -> str:
        """The next answer with these words."""

        def rule() -> str | None:
            try:
                (message,) = decode(self.socket.recv(MAX_DATAGRAM_BYTES))
            except BlockingIOError:
                return None
            assert message.address == "/segue/live/said"
            return str(message.args[0]) if words in str(message.args[0]) else None

        found: str = self.live.until(rule)
        return found


@pytest.fixture
def pad(live: Live) -> Iterator[Pad]:
    """A controller of that Live."""
    pad = Pad(live)
    yield pad
    pad.socket.close()


def test_commands_by_osc(live: Live, engine: Painter, pad: Pad) -> None:
    """A button's number is bars; who pressed it is told what comes of it."""
    pad.press("continue", ("f", 2.0))
    pad.press("continue", ("f", 0.0))
    pad.told("is on track AI at 3.1")
    assert [asked.new_bars for asked in engine.requests] == [2.0]


def test_checking(live: Live, pad: Pad) -> None:
    """What this Live can do, and that Segue answers."""
    live.type("check")
    live.hears("Live places audio: yes, take lanes: no; waiting for Segue")
    live.hears(f"Segue {version('segue')} answers, on ")
    pad.press("check")
    pad.told("answers, on ")
    live.ahead += START_SECONDS + 1
    live.tick()
    assert not any(NOBODY in text for text in live.said)


def test_cancelling(live: Live, gate: Path, engine: Painter, pad: Pad) -> None:
    """All that is being made stops."""
    gate.unlink()
    pad.press("continue", ("i", 2))
    assert live.until(engine.started.is_set)
    pad.press("cancel")
    pad.told("stopping 1")
    pad.told("stopped")
    assert (live.desk.open_jobs, ai_clips(live)) == (0, [])


def test_too_many_jobs(live: Live, gate: Path, pad: Pad) -> None:
    """One more than there may be is refused in words."""
    gate.unlink()
    for _ in range(MAX_JOBS + 1):
        pad.press("continue")
    pad.told("wait, or cancel")
    assert live.desk.open_jobs == MAX_JOBS
    gate.touch()
    live.until(lambda: not live.desk.open_jobs)
    assert len(live.song.tracks) == 2 + MAX_JOBS


def test_nothing_to_continue(live: Live, pad: Pad) -> None:
    """A sentence, and no job."""
    live.song.view.detail_clip = None
    live.song.loop_start = 400.0
    pad.press("continue")
    pad.told("select an audio clip")
    assert live.desk.open_jobs == 0


def test_what_live_itself_refuses(live: Live, pad: Pad) -> None:
    """Its own words are shown, the details logged."""
    live.faults = 1
    live.song.signature_numerator = "?"
    pad.press("continue")
    pad.told("can't multiply")
    assert "live_set.py" in "".join(live.log)


def test_garbage_at_its_port(live: Live, gate: Path, pad: Pad) -> None:
    """Bytes that are no OSC, and answers that no bridge sends, stop nothing."""
    gate.unlink()
    pad.press("continue")
    live.hears("0%")
    (job_id,) = live.desk._errands
    for name in ("job/done", "error", "job/progress", "rows/missing", "rows/ack", "job/variation"):
        pad.socket.send(encode(f"/segue/{name}", ("s", job_id), ("s", "x")))
    pad.socket.send(b"\xff" * 100)
    pad.socket.send(encode("/segue/job/done", ("s", "another")))
    live.until(lambda: len([t for t in live.log if "none of Segue's" in t]) >= 5)
    gate.touch()
    live.hears("is on track AI")


def test_live_closes_the_set(tmp_path: Path, live: Live, gate: Path) -> None:
    """What is being made then is named in the log; its clip stays where the server puts it."""
    gate.unlink()
    live.type("continue")
    live.hears("0%")
    live.desk.close()
    assert "is still being made; the clip stays in Segue's folder" in live.log[-1]
    gate.touch()
    folder = tmp_path / NASTY / "results"
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not list(folder.glob("live-*~overlay.wav")):
        assert time.monotonic() < deadline


@pytest.mark.parametrize("crash", [False, True])
def test_the_next_start_tells_what_came_of_it(
    tmp_path: Path, bridge: int, gate: Path, engine: Painter, crash: bool
) -> None:
    """After a crash, or in the next set: the clip's path, once, and nothing is placed or made."""
    gate.unlink()
    jobs = str(tmp_path / "run" / "live-jobs.json")
    with Live(a_song(tmp_path), bridge, jobs) as live:
        live.type("continue")
        live.hears("0%")
        (job_id,) = live.desk._errands
        if crash:
            live.desk._errands.clear()  # nothing more is done, or logged
    gate.touch()
    with Live(a_song(tmp_path), bridge, jobs) as live:
        text = live.hears("continue 4, in Night was made meanwhile; kept: ")
        path = tmp_path / NASTY / "results" / f"{job_id}~overlay.wav"
        assert text.endswith(f"kept: {path}")
        assert path.is_file()
        assert text.removeprefix("Segue: ") in live.log
        assert (live.song.steps, len(engine.requests)) == ([], 1)
    with Live(a_song(tmp_path), bridge, jobs) as live:
        assert live.desk.open_jobs == 0


def test_a_file_of_jobs_that_is_none(tmp_path: Path) -> None:
    """Whatever is in it, the script starts."""
    for text in ("", "[]", "{", '{"a": 1}', '{"a": ["name"]}', '{"a": ["n", "s", [1], [2]]}'):
        (tmp_path / "live-jobs.json").write_text(text)
        assert Leftovers(str(tmp_path / "live-jobs.json")).jobs == {}


def test_nobody_to_ask_at_the_next_start(tmp_path: Path, bridge: int, gate: Path) -> None:
    """Nothing is said then, and the start after that asks again."""
    gate.unlink()
    jobs = str(tmp_path / "live-jobs.json")
    with Live(a_song(tmp_path), bridge, jobs) as live:
        live.type("continue")
        live.hears("0%")
    gate.touch()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind((HOST, 0))
        with Live(a_song(tmp_path), nobody.getsockname()[1], jobs) as live:
            live.tick()
            live.ahead += START_SECONDS + 1
            live.until(lambda: not live.desk.open_jobs)
            assert live.said == []
    with Live(a_song(tmp_path), bridge, jobs) as live:
        live.hears("was made meanwhile")


def test_a_clip_that_live_does_not_take(live: Live, gate: Path, pad: Pad) -> None:
    """Its own words are shown, the details logged, and the next command works."""
    gate.unlink()
    pad.press("continue")
    live.hears("0%")
    live.faults, taken = 1, live.song.audio
    live.song.audio = "not callable"
    gate.touch()
    kept(pad.told("Live refused: 'str' object is not callable"))
    live.song.audio = taken
    pad.press("continue")
    pad.told("is on track AI")
