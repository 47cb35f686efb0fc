"""REAPER's scripts from the region to the clip: what is placed, where, and what is not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from segue.bridge.daw.spool_folder import SpoolFolder
from segue.bridge.osc.codec import Message
from segue.bridge.osc.lines import encode_line
from segue.presets.vocabulary import Progress, Request, Result
from tests.osc_client import Running
from tests.reaper_desk import (
    ITEM_OFFSET,
    ITEM_SECONDS,
    ITEM_START,
    REGION,
    SCRIPTS,
    Desk,
    carrying,
    write_wav,
)
from tests.reaper_double import Envelope, Item, Project, Script, Send, Source, Take
from tests.recorder import FRAMES, SAMPLE_RATE, Recorder, serving, write_noise
from tests.test_bridge_server import start_server
from tests.wire import ended

UP, DOWN, LEFT, RIGHT, RETURN, ESCAPE = 30064, 1685026670, 1818584692, 1919379572, 13, 27

START = 3.0  # of the region inside its file
HELP = "arrows: choose   e: type   Return: make music   Esc: close"
LOST = "REAPER ended before its clip was placed; the clip is kept: "
NAME = "Gitärre 'l\"ive' %d"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A REAPER at 48 kHz whose orders nobody carries away."""
    folder = tmp_path / 'it\'s "a" ümlaut'
    monkeypatch.setenv("SEGUE_SPOOL", str(folder / "spool"))
    return Desk(folder, name=NAME)


def laid(desk: Desk, track: int = 1) -> Item:
    """The only item of what is now the second track."""
    (item,) = desk.project.tracks[track].items
    return item


def sources(item: Item) -> list[Source]:
    """Those of its takes, which all have one."""
    return [take.source for take in item.takes if take.source]


def window(desk: Desk) -> Script:
    """The window, open."""
    script = desk.reaper.run(SCRIPTS / "segue.lua")
    desk.reaper.turn()
    return script


def press(desk: Desk, script: Script, *keys: int) -> None:
    """Keys, one a turn."""
    script.keys += keys
    desk.until(lambda: not script.keys)
    desk.reaper.turn()


@contextmanager
def segue(desk: Desk, engine: Recorder) -> Iterator[str]:
    """A real server, bridge and spool for the desk's scripts; the server's URL."""
    with (
        serving(desk.folder / "data", engine) as url,
        Running(url) as bridge,
        carrying(desk.spool, bridge.port),
    ):
        yield url


def test_the_whole_way(desk: Desk) -> None:
    """From the action to the item, through files, OSC and the real server; one undo step."""
    engine = Recorder()
    before = (dict(desk.item.info), list(desk.item.takes), dict(desk.track.info))
    with segue(desk, engine):
        desk.act("continue", seed=5)
        desk.finish()
    (request,) = engine.requests
    assert request.region is not None
    assert (request.region.path, request.region.start_seconds) == (str(desk.file), START)
    assert (request.region.length_seconds, request.new_bars, request.seed) == (4.0, 4.0, 5)
    assert request.tempo is not None
    assert request.tempo.changes[0].bpm == 120.0
    assert [track.name for track in desk.project.tracks] == [NAME, f"AI: {NAME}"]
    item = laid(desk)
    assert (item.info["D_POSITION"], item.info["D_LENGTH"]) == (4.0, FRAMES / SAMPLE_RATE)
    assert (item.info["D_FADEINLEN"], item.info["D_FADEOUTLEN"]) == (0.0, 0.0)
    (source,) = sources(item)
    result = desk.folder / "data" / "results" / f"{request.id}.wav"
    assert Path(source.path) == desk.project.folder / "Segue" / f"{request.id}.wav"
    assert Path(source.path).read_bytes() == result.read_bytes()
    assert source.peaks_to_build == 0
    assert before == (desk.item.info, desk.item.takes, desk.track.info)
    assert desk.project.undo == ["Segue: continue, seed 5"]
    assert (desk.project.changes_outside, desk.project.open_blocks) == ([], 0)
    assert (desk.reaper.console, desk.reaper.refresh_prevented) == ("", 0)
    assert list(desk.spool.iterdir()) == []


class Varied(Recorder):
    """An engine that keeps a second clip, and makes an overlay for each."""

    def run(
        self, request: Request, out_path: Path, on_progress: Callable[[Progress], None]
    ) -> Result:
        """As the recorder's, and more files beside its clip."""
        result = super().run(request, out_path, on_progress)
        more = [out_path.with_name(f"{out_path.stem}~{end}.wav") for end in ("o", "2", "2o")]
        for number, path in enumerate(more, start=1):
            write_noise(path, result.seed + number)
        overlay, second, second_overlay = map(str, more)
        told = {"overlay_path": overlay, "overlay_start_seconds": result.start_seconds + 3.5}
        told |= {"variations": (second,), "variation_overlays": (second_overlay,)}
        return result.model_copy(update=told)


def test_overlays_of_two_clips_on_the_whole_way(desk: Desk) -> None:
    """Told by the real server and bridge: both overlays are takes of one item, at their place."""
    with segue(desk, Varied()):
        desk.act("continue", preset="best-of-eight", seed=5)
        desk.finish()
    item = laid(desk)
    assert item.info["D_POSITION"] == 7.5
    audio = [Path(source.path).read_bytes() for source in sources(item)]
    results = desk.folder / "data" / "results"
    assert audio == [next(results.glob(f"*~{end}.wav")).read_bytes() for end in ("o", "2o")]
    assert audio[0] != audio[1]


def test_rows_reach_the_server(desk: Desk) -> None:
    """More rows than one message holds, and a gap, become the request's own."""
    engine = Recorder()
    desk.project.selection = (5.0, 8.0)
    with segue(desk, engine):
        desk.act("fill", seed=1)
        desk.finish()
    (request,) = engine.requests
    (place,) = request.controls
    assert place.kind == "inpaint"
    assert [(gap.start, gap.length) for gap in place.gaps] == [(3.0, 3.0)]
    assert desk.reaper.console == ""


def test_stopping_reaches_the_server(desk: Desk, client: httpx.Client) -> None:
    """The action `stop` ends a running job, here and there, and says so."""
    engine = Recorder(gate=threading.Event())
    with segue(desk, engine) as url:
        desk.act("continue")
        desk.until(engine.started.is_set)
        job_id = desk.order()[0]
        desk.act("stop")
        desk.finish()
        assert ended(client, url, job_id).state == "cancelled"
    assert desk.reaper.console == "Segue: cancelled\n"
    assert len(desk.project.tracks) == 1
    assert desk.project.undo == []


@pytest.mark.parametrize("rate", [44100, 48000, 96000])
def test_an_overlay_lies_to_the_sample(
    rate: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the region's file position and the overlay's say, at every rate, float noise apart."""
    monkeypatch.setenv("SEGUE_SPOOL", str(tmp_path / "desk" / "spool"))
    desk = Desk(tmp_path / "desk", rate)
    desk.project.selection = (4.1, 8.0)
    desk.act("continue")
    start = float(str(desk.make()[2]))
    first = round(4.1 * rate)
    times = ((n, 2.0 + start - 1.0 + (start + n / rate - start)) for n in range(rate))
    frames = next(n for n, time in times if time < (first + n) / rate)
    overlay = Path(desk.clip("overlay.wav"))
    desk.done(start, str(overlay), start + frames / rate)
    desk.finish()
    item = laid(desk)
    assert item.info["D_POSITION"] == (first + frames) / rate
    assert item.info["D_LENGTH"] == 3.0
    assert Path(sources(item)[0].path).read_bytes() == overlay.read_bytes()


def test_an_item_between_samples_keeps_its_offset(desk: Desk) -> None:
    """What is laid over an item shares its fraction of a sample."""
    shift = 0.3 / 48000
    desk.item.info["D_POSITION"] += shift
    desk.act("continue")
    start = float(str(desk.make()[2]))
    desk.done(start, desk.clip("overlay.wav"), start + 1.0)
    desk.finish()
    place = (laid(desk).info["D_POSITION"] - shift) * 48000
    assert place == pytest.approx(round(place), abs=1e-6)


def test_music_before_the_project(desk: Desk) -> None:
    """What would begin before time 0 begins inside its file instead."""
    desk.project.selection, desk.item.info["D_POSITION"] = (1.0, 3.0), 0.0
    desk.act("before")
    desk.done(-1.0, desk.clip("overlay.wav"), ITEM_OFFSET + 1.0 - 2.5)
    desk.finish()
    item = laid(desk)
    assert (item.info["D_POSITION"], item.info["D_LENGTH"]) == (0.0, 1.5)
    assert item.takes[0].info["D_STARTOFFS"] == 1.5


def test_variations_are_takes(desk: Desk) -> None:
    """One item, a take for each clip, the best one first and active; files of their own."""
    desk.act("continue", task="continue", preset="best-of-eight")
    for number in (2, 3):
        paths = (desk.clip(f"clip~{number}.wav"), desk.clip(f"overlay~{number}.wav"))
        desk.answer("/segue/job/variation", number, *paths, START + 4.0)
    desk.done(START, desk.clip("overlay.wav"), START + 4.0)
    job_id = desk.order()[0]
    desk.finish()
    item = laid(desk)
    assert item.active == 0
    names = [f"{job_id}{more}.wav" for more in ("", "-take2", "-take3")]
    assert [Path(source.path).name for source in sources(item)] == names
    assert [take.name for take in item.takes] == [
        f"best-of-eight, seed 7 ({number})" for number in (1, 2, 3)
    ]
    assert desk.project.undo == ["Segue: best-of-eight, seed 7"]


@pytest.mark.parametrize(
    ("action", "preset"), [("vary", "vary-a-little"), ("fill", "bridge-the-gap")]
)
def test_what_replaces_an_item_is_its_take(action: str, preset: str, desk: Desk) -> None:
    """It is the item's new take, under the item's own fades: no track, nothing doubled."""
    if action == "vary":
        desk.project.selection, desk.item.selected = (0.0, 0.0), True
    desk.item.info["D_FADEINLEN"] = 0.01
    desk.act(action)
    assert desk.make()[1:4] == [str(desk.file), ITEM_OFFSET, ITEM_SECONDS]
    desk.done(ITEM_OFFSET)
    desk.finish()
    assert len(desk.project.tracks) == 1
    assert (len(desk.item.takes), desk.item.active) == (2, 1)
    assert desk.item.takes[1].info["D_STARTOFFS"] == 0.0
    assert desk.item.info["D_LENGTH"] == ITEM_SECONDS
    assert desk.project.undo == [f"Segue: {preset}, seed 7"]


def test_an_item_that_is_cut_meanwhile(desk: Desk) -> None:
    """The new take plays in time with the old one, wherever the item now begins."""
    desk.project.selection, desk.item.selected = (0.0, 0.0), True
    desk.act("vary")
    desk.order()
    desk.item.info |= {"D_POSITION": 20.0, "D_LENGTH": 5.0}
    desk.item.takes[0].info["D_STARTOFFS"] = ITEM_OFFSET + 2.0
    desk.done(ITEM_OFFSET)
    desk.finish()
    assert desk.item.takes[1].info["D_STARTOFFS"] == 2.0
    assert (desk.item.info["D_POSITION"], desk.item.info["D_LENGTH"]) == (20.0, 5.0)


def test_an_item_whose_take_is_gone(desk: Desk) -> None:
    """Nothing says where in it the clip belongs: it lies where it was asked for."""
    desk.project.selection, desk.item.selected = (0.0, 0.0), True
    desk.act("vary")
    desk.order()
    desk.item.takes = [Take(desk.item, desk.item.takes[0].source)]
    desk.done(ITEM_OFFSET)
    desk.finish()
    assert (len(desk.item.takes), laid(desk).info["D_POSITION"]) == (1, ITEM_START)


def test_what_replaces_a_part_lies_beside_it(desk: Desk) -> None:
    """On the track below, and the window says how to hear it alone."""
    desk.reaper.states["Segue", "task"] = "vary"
    script = window(desk)
    press(desk, script, RETURN)
    desk.done(START)
    desk.until(lambda: "done: mute what lies under it to hear it alone" in script.drawn)
    assert (laid(desk).info["D_POSITION"], len(desk.item.takes)) == (4.0, 1)


def test_the_track_below(desk: Desk) -> None:
    """Made once, inside the same folder, with the same fader and effects; the second clip is a
    second take, since both at once are not to be heard."""
    desk.track.info |= {"D_VOL": 0.5, "D_PAN": -0.3, "I_FOLDERDEPTH": -1.0}
    desk.track.effects = ["EQ", "Tape"]
    desk.project.track("Below")
    for _ in range(2):
        desk.act("continue")
        desk.done(START)
        desk.finish()
    names = [track.name for track in desk.project.tracks]
    assert names == [NAME, f"AI: {NAME}", "Below"]
    made = desk.project.tracks[1]
    (item,) = made.items
    assert (len(item.takes), item.active) == (2, 1)
    assert made.effects == ["EQ", "Tape"]
    assert [made.info[name] for name in ("D_VOL", "D_PAN", "I_FOLDERDEPTH")] == [0.5, -0.3, -1.0]
    assert desk.track.info["I_FOLDERDEPTH"] == 0.0
    assert sources(item)[0].path != sources(item)[1].path


def test_the_track_below_goes_where_the_track_goes(desk: Desk) -> None:
    """To the same buses, as loudly, and only past them if the track does."""
    reverb = desk.project.track("Reverb")
    desk.track.sends = [Send(reverb), Send(reverb)]
    desk.track.sends[1].info |= {"D_VOL": 0.25, "I_SENDMODE": 3.0}
    desk.track.info["B_MAINSEND"] = 0.0
    channels = {"C_MAINSEND_OFFS": 2.0, "C_MAINSEND_NCH": 2.0}
    desk.track.info |= channels
    desk.act("continue")
    desk.done(START)
    desk.finish()
    made = desk.project.tracks[1]
    assert [(each.to, each.info) for each in made.sends] == [
        (reverb, each.info) for each in desk.track.sends
    ]
    assert made.info["B_MAINSEND"] == 0.0
    assert {name: made.info[name] for name in channels} == channels
    assert desk.project.changes_outside == []


@pytest.mark.parametrize("depth", [0.0, 1.0])
def test_a_track_that_plays_its_media_later(depth: float, desk: Desk) -> None:
    """Files have to be played with the same delay, also inside a folder; what was rendered has
    it."""
    rendering(desk)
    delay = {"I_PLAY_OFFSET_FLAG": 2.0, "D_PLAY_OFFSET": 480.0}
    desk.track.info |= {"I_FOLDERDEPTH": depth, **delay}
    for effects, name in ((False, "AI: "), (True, "AI, as heard: ")):
        desk.act("continue", effects=effects)
        desk.done(0.0 if effects else START)
        desk.finish()
        (made,) = [track for track in desk.project.tracks if track.name == name + NAME]
        wanted = dict.fromkeys(delay, 0.0) if effects else delay
        assert {each: made.info[each] for each in delay} == wanted


def test_a_second_try_with_another_fade(desk: Desk) -> None:
    """Its item begins with the earlier and ends with the later of both; each plays where it did."""
    for start, seconds in ((7.9, 3.0), (7.8, 3.0), (7.95, 4.0)):
        desk.act("continue")
        overlay = desk.clip(f"{start}.wav", seconds)
        desk.done(START, overlay, START + start - REGION[0])
        desk.finish()
    item = laid(desk)
    assert item.info["D_POSITION"] == pytest.approx(7.8)
    assert item.info["D_LENGTH"] == pytest.approx(7.95 + 4.0 - 7.8)
    offsets = [take.info["D_STARTOFFS"] for take in item.takes]
    assert offsets == pytest.approx([-0.1, 0.0, -0.15])
    assert (item.active, item.info["B_LOOPSRC"]) == (2, 0.0)


@pytest.mark.parametrize("changed", ["B_MUTE", "D_VOL", "D_FADEINLEN", "B_ALLTAKESPLAY"])
def test_a_second_try_where_the_first_one_was_changed(changed: str, desk: Desk) -> None:
    """A take would be as silent, loud or faded as that item: it is an item of its own, and the
    third try is its take."""
    for _ in range(3):
        desk.act("continue")
        desk.done(START)
        desk.finish()
        desk.project.tracks[1].items[0].info[changed] = 0.5
    first, second = desk.project.tracks[1].items
    assert [len(item.takes) for item in (first, second)] == [1, 2]
    assert second.info["D_POSITION"] == first.info["D_POSITION"]
    assert second.info["B_MUTE"] == 0.0


def test_a_second_try_before_a_first_one_at_another_rate(desk: Desk) -> None:
    """Room before it is as much of its file as it plays in that time."""
    for start in (7.9, 7.8):
        desk.act("continue")
        desk.done(START, desk.clip(f"{start}.wav"), START + start - REGION[0])
        desk.finish()
        laid(desk).takes[0].info["D_PLAYRATE"] = 2.0
    offsets = [take.info["D_STARTOFFS"] for take in laid(desk).takes]
    assert offsets == pytest.approx([-0.2, 0.0])


def test_music_elsewhere_on_the_track_below(desk: Desk) -> None:
    """It is an item of its own."""
    for selection in ((4.0, 8.0), (4.0, 9.0)):
        desk.project.selection = selection
        desk.act("continue")
        desk.done(START, desk.clip("overlay.wav"), START + selection[1] - selection[0])
        desk.finish()
    places = [item.info["D_POSITION"] for item in desk.project.tracks[1].items]
    assert places == [8.0, 9.0]


def test_a_volume_envelope_goes_on(desk: Desk) -> None:
    """The track below has none, so the clip is as loud as the original is where it joins."""
    desk.track.envelopes.append(Envelope("Volume", [(0.0, 0.5), (20.0, 0.5)]))
    desk.act("continue")
    desk.done(START, desk.clip("overlay.wav"), START + 4.0)
    desk.finish()
    assert laid(desk).takes[0].info["D_VOL"] == pytest.approx(0.5)


def rendering(desk: Desk) -> None:
    """Let REAPER render: silence."""

    def render(project: Project) -> None:
        texts = project.texts
        write_wav(Path(texts["RENDER_FILE"]) / f"{texts['RENDER_PATTERN']}.wav", 4.0, 48000)

    desk.reaper.render = render


def test_what_was_rendered_goes_through_no_effects_again(desk: Desk) -> None:
    """An instrument's track is heard through REAPER's render; the track below stays plain."""

    rendering(desk)
    desk.track.effects, desk.track.instrument, desk.track.name = ["Synth"], 0, ""
    desk.track.info["D_VOL"] = 0.5
    desk.act("continue")
    desk.done(0.0, desk.clip("overlay.wav"), 3.5)
    desk.finish()
    made = desk.project.tracks[1]
    assert (made.name, made.effects, made.info["D_VOL"]) == ("AI, as heard: Track 1", [], 1.0)
    assert list((desk.project.folder / "Segue" / "in").iterdir()) == []
    assert laid(desk).info["D_POSITION"] == 7.5


def test_dry_and_rendered_clips_have_a_track_each(desk: Desk) -> None:
    """Whichever comes first: effects are heard once, and each track is used again."""
    rendering(desk)
    desk.track.effects, desk.track.name = ["EQ"], "A"
    desk.project.track("A")
    for effects in (False, True, False, True):
        desk.act("continue", effects=effects)
        desk.done(0.0 if effects else START)
        desk.finish()
    tracks = [(track.name, track.effects, len(track.items)) for track in desk.project.tracks]
    assert tracks[1:] == [("AI, as heard: A", [], 1), ("AI: A", ["EQ"], 1), ("A", [], 0)]
    desk.project.tracks[0].info["I_SELECTED"], desk.project.tracks[3].info["I_SELECTED"] = 0, 1
    desk.act("continue", effects=False)
    desk.done(0.0)
    desk.finish()
    assert [track.name for track in desk.project.tracks][3:] == ["A", "AI: A"]


@pytest.mark.parametrize(("effects", "index"), [(True, 0), (False, 1)])
def test_beside_a_folder(effects: bool, index: int, desk: Desk) -> None:
    """What lies in a folder goes through its effects: once."""
    rendering(desk)
    desk.track.effects, desk.track.info["I_FOLDERDEPTH"] = ["Bus"], 1.0
    for _ in range(2):
        desk.act("continue", effects=effects)
        desk.done(0.0 if effects else START)
        desk.finish()
    assert [track.name.startswith("AI") for track in desk.project.tracks].index(True) == index
    assert len(desk.project.tracks) == 2
    assert desk.project.tracks[index].effects == []


def test_a_turn_copies_little(desk: Desk) -> None:
    """A long clip comes into the project over many turns, a megabyte in each."""
    desk.act("continue")
    path = Path(desk.clip("long.wav", 10.0))
    desk.answer("/segue/job/done", str(path), START, 480000, 48000, 7, "", 0.0)
    before = len(desk.reaper.frames_a_turn)
    desk.until(lambda: len(desk.project.tracks) == 2)
    assert len(desk.reaper.frames_a_turn) - before >= path.stat().st_size / 2**20
    assert Path(sources(laid(desk))[0].path).read_bytes() == path.read_bytes()


def test_nothing_is_written_over(desk: Desk) -> None:
    """A file that has the clip's name already stays as it is."""
    desk.act("continue")
    job_id = desk.order()[0]
    mine = desk.project.folder / "Segue" / f"{job_id}.wav"
    mine.parent.mkdir(exist_ok=True)
    mine.write_bytes(b"mine")
    desk.done(START)
    desk.finish()
    assert mine.read_bytes() == b"mine"
    assert Path(sources(laid(desk))[0].path).name == f"{job_id}-2.wav"


def open_other(desk: Desk) -> Project:
    """Another project tab comes to the front."""
    other = Project(desk.folder / "other")
    other.track("Also here")
    desk.reaper.projects.insert(0, other)
    return other


def test_another_tab_in_front(desk: Desk) -> None:
    """The clip waits until its project is in front again; the other one is not touched."""
    desk.act("continue")
    desk.order()
    other = open_other(desk)
    desk.done(START)
    for _ in range(20):
        desk.reaper.turn()
    assert [len(project.tracks) for project in (other, desk.project)] == [1, 1]
    assert (other.changes_outside, desk.project.changes_outside) == ([], [])
    assert desk.reaper.console == "Segue: ready: go back to its project\n"
    desk.reaper.front = 1
    desk.finish()
    assert laid(desk).info["D_POSITION"] == 4.0


@pytest.mark.parametrize("by", ["action", "window"])
def test_a_script_that_ends_before_its_clip_is_placed(by: str, desk: Desk) -> None:
    """The clip is there, so it is kept, and the console says where."""
    if by == "action":
        desk.act("continue")
    else:
        press(desk, window(desk), RETURN)
    desk.order()
    open_other(desk)
    desk.done(START)
    for _ in range(3):
        desk.reaper.turn()
    desk.reaper.scripts[0].end()
    kept = desk.folder / "server" / "clip.wav"
    assert desk.reaper.console.endswith(f"Segue: cancelled; the clip is kept: {kept}\n")
    assert kept.exists()


def test_another_file_in_the_same_tab(desk: Desk) -> None:
    """REAPER gives it the same pointers: nothing is copied into its folder or put on its track."""
    desk.act("continue")
    desk.order()
    other = Project(desk.folder / "other", file="y.rpp")
    other.folder.mkdir()
    also = other.track("Also here")
    desk.reaper.open_in_tab(desk.project, other)
    desk.done(START)
    desk.finish()
    kept = desk.folder / "server" / "clip.wav"
    said = f"Segue: the project was closed; the clip is kept: {kept}\n"
    assert desk.reaper.console == said
    assert kept.exists()
    assert list(other.folder.iterdir()) == []
    assert desk.project.tracks == [desk.track]
    assert (desk.track.guid, desk.track.items, desk.project.undo) == (also.guid, [], [])


def test_the_tab_s_file_changes_while_a_clip_is_copied(desk: Desk) -> None:
    """The copy that is not whole goes, from the first project's folder."""
    desk.act("continue")
    path = desk.clip("long.wav", 10.0)
    desk.answer("/segue/job/done", path, START, 480000, 48000, 7, "", 0.0)
    folder = desk.project.folder / "Segue"
    desk.until(lambda: list(folder.glob("*.wav")))
    desk.reaper.open_in_tab(desk.project, Project(desk.folder / "other", file="y.rpp"))
    desk.finish()
    assert desk.reaper.console == f"Segue: the project was closed; the clip is kept: {path}\n"
    assert list(folder.glob("*.wav")) == []


def test_a_project_that_is_saved_under_another_name(desk: Desk) -> None:
    """It has the track still, so it is the one."""
    desk.act("continue")
    desk.order()
    desk.project.file = "y.rpp"
    desk.done(START)
    desk.finish()
    assert (laid(desk).info["D_POSITION"], desk.reaper.console) == (4.0, "")


@pytest.mark.parametrize("lost", ["project", "track"])
def test_project_or_track_gone(lost: str, desk: Desk) -> None:
    """The clip is kept, its place is said, and nothing is put anywhere else."""
    desk.act("continue")
    desk.order()
    if lost == "project":
        other = open_other(desk)
        desk.reaper.projects.remove(desk.project)
    else:
        other = desk.project
        other.tracks[0].name = other.track("Also here").name
        other.tracks.pop(0)
    desk.done(START)
    desk.finish()
    assert f"Segue: the {lost} " in desk.reaper.console
    kept = Path(desk.reaper.console.rpartition(": ")[2].strip())
    assert kept.read_bytes() == (desk.folder / "server" / "clip.wav").read_bytes()
    assert ([track.items for track in other.tracks], other.undo) == ([[]], [])


def test_an_item_that_is_deleted_at_once(desk: Desk) -> None:
    """Its waveform is not drawn: REAPER has freed the file."""
    desk.act("continue")
    desk.done(START)
    desk.until(lambda: len(desk.project.tracks) == 2)
    laid(desk).track.items.clear()
    desk.finish()
    assert desk.reaper.console == ""


def test_a_clip_that_is_no_audio(desk: Desk) -> None:
    """It is said, and the undo history does not know of it."""
    desk.act("continue")
    bad = desk.folder / "bad.wav"
    bad.write_bytes(b"RIFF")
    desk.answer("/segue/job/done", str(bad), START, 1, 48000, 7, "", 0.0)
    desk.finish()
    assert "Segue: REAPER cannot read the clip; the clip is kept: " in desk.reaper.console
    assert (len(desk.project.tracks), desk.project.undo) == (1, [])


def test_a_clip_that_is_gone(desk: Desk) -> None:
    """It is said."""
    desk.act("continue")
    desk.answer("/segue/job/done", "/nowhere.wav", START, 1, 48000, 7, "", 0.0)
    desk.finish()
    assert "Segue: the clip is gone: /nowhere.wav" in desk.reaper.console


def test_an_error_is_said(desk: Desk) -> None:
    """In Segue's own words, which say what to do."""
    desk.act("continue")
    desk.answer("/segue/error", "bad-region", "region: too short")
    desk.finish()
    assert desk.reaper.console == "Segue: region: too short\n"
    assert list(desk.spool.iterdir()) == []


def test_an_answer_half_written(desk: Desk) -> None:
    """A line counts once its end is there; another job's, or one nobody knows, never."""
    desk.act("continue")
    job_id = desk.order()[0]
    with (desk.spool / f"{job_id}.answers").open("w") as file:
        file.write("/segue/error\tsss\tanother\tbad-request\tnot ours\n/what\ts\t?\n/segue/err")
    for _ in range(5):
        desk.reaper.turn()
    assert desk.reaper.console == ""
    with (desk.spool / f"{job_id}.answers").open("a") as file:
        file.write(f"or\tsss\t{job_id}\tbad-request\tours\n")
    desk.finish()
    assert desk.reaper.console == "Segue: ours\n"


def test_a_script_that_ends_stops_its_job(desk: Desk) -> None:
    """REAPER closes, or the user ends the script: the order is taken away."""
    desk.act("continue")
    desk.order()
    desk.reaper.scripts[0].end()
    assert list(desk.spool.iterdir()) == []


def test_reaper_crashes(desk: Desk) -> None:
    """The job goes on; the next REAPER says once where its clip is, and places nothing."""
    desk.act("continue")
    desk.order()
    desk.reaper.crash()
    assert "kept" not in "".join(window(desk).drawn)
    desk.reaper.crash()
    desk.done(START)
    kept = desk.folder / "server" / "clip.wav"
    said = f"{LOST}{kept}"
    assert said in "".join(window(desk).drawn)
    assert said not in "".join(window(desk).drawn)
    assert (list(desk.spool.iterdir()), len(desk.project.tracks)) == ([], 1)


def says_done(desk: Desk, job_id: str) -> str:
    """Segue tells that a job is done; the clip's path."""
    clip = desk.clip(f"{job_id}.wav")
    message = Message("/segue/job/done", (job_id, clip, START, 144000, 48000, 7, "", 0.0))
    (desk.spool / f"{job_id}.answers").write_text(encode_line(message) + "\n", "utf-8")
    return clip


def test_several_jobs_are_lost(desk: Desk) -> None:
    """Also over another crash and another job: each clip is told of, once."""
    for _ in range(2):
        desk.act("continue")
        desk.order()
    ids = sorted(path.stem for path in desk.spool.glob("*.order"))
    desk.reaper.crash()
    desk.act("continue")
    (third,) = {path.stem for path in desk.spool.glob("*.order")} - set(ids)
    says_done(desk, third)
    desk.finish()
    assert desk.reaper.console == ""
    desk.reaper.crash()
    clips = [says_done(desk, job_id) for job_id in ids]
    desk.act("continue")
    said = ", ".join(clips)
    assert desk.reaper.console == f"Segue: {LOST}{said}\n"
    desk.act("continue")
    assert desk.reaper.console == f"Segue: {LOST}{said}\n"


def test_a_lost_job_that_never_ends(desk: Desk) -> None:
    """After a day nobody waits for it."""
    desk.act("continue")
    desk.order()
    desk.reaper.crash()
    desk.reaper.away += 24 * 3600
    assert "kept" not in "".join(window(desk).drawn)
    assert list(desk.spool.iterdir()) == []
    assert list((desk.reaper.resources / "Data" / "Segue").iterdir()) == []


def test_another_reaper_that_runs(desk: Desk) -> None:
    """With the same settings: its job is its own, however long it lasts, until it crashes."""
    other = Desk(desk.folder / "other")
    other.reaper.resources = desk.reaper.resources
    desk.act("continue")
    job_id = desk.order()[0]
    for _ in range(3):
        desk.reaper.away += 15
        desk.reaper.turn()
    other.reaper.away = desk.reaper.away
    other.reaper.states = {key: desk.reaper.states[key] for key in desk.reaper.lasting}
    clip = says_done(desk, job_id)
    assert "kept" not in "".join(window(other).drawn)
    other.reaper.scripts[0].end()
    desk.finish()
    assert laid(desk).info["D_POSITION"] == 4.0
    assert Path(clip).exists()


def test_reaper_is_closed_while_a_clip_waits(desk: Desk) -> None:
    """Its console closes with it, so the next REAPER says where the clip is."""
    desk.act("continue")
    desk.order()
    open_other(desk)
    desk.done(START)
    desk.until(lambda: "go back to its project" in desk.reaper.console)
    desk.reaper.scripts[0].end()
    desk.reaper.crash()
    kept = desk.folder / "server" / "clip.wav"
    assert f"{LOST}{kept}" in "".join(window(desk).drawn)
    assert "kept" not in "".join(window(desk).drawn)


def test_a_crash_is_no_matter_of_other_scripts(desk: Desk) -> None:
    """A job that runs in this REAPER is its own script's, whatever else begins."""
    desk.act("continue")
    desk.order()
    desk.done(START)
    desk.reaper.run(SCRIPTS / "segue_vary.lua")
    desk.until(lambda: len(desk.project.tracks) == 2)
    assert desk.reaper.console == ""


def test_two_reapers_at_once(desk: Desk) -> None:
    """Through one spool: each gets its own clip."""
    other = Desk(desk.folder / "other")
    with segue(desk, Recorder()):
        for each, seed in ((desk, 1), (other, 2)):
            each.act("continue", seed=seed)
        desk.finish()
        other.finish()
    names = [laid(each).takes[0].name for each in (desk, other)]
    assert names == ["continue, seed 1", "continue, seed 2"]
    paths = [Path(sources(laid(each))[0].path) for each in (desk, other)]
    assert [path.parent.parent for path in paths] == [desk.project.folder, other.project.folder]
    assert paths[0].read_bytes() != paths[1].read_bytes()


def test_no_spool(desk: Desk) -> None:
    """Without the folder nobody can answer, so it is said at once."""
    desk.spool.rmdir()
    desk.act("continue")
    desk.finish()
    assert desk.reaper.console == "Segue: Segue is not there: start it with `segue up`\n"


UNATTENDED = "Segue does not answer: start `segue up`, or start it anew; this waits"


def test_segue_is_started_late(desk: Desk) -> None:
    """The folder is there from another day, but nobody looks into it: the action says so, once,
    and its order waits."""
    desk.act("continue")
    desk.until(lambda: desk.reaper.clock > 20.0)
    assert desk.reaper.console == f"Segue: {UNATTENDED}\n"
    with segue(desk, Recorder()):
        desk.finish()
    assert len(laid(desk).takes) == 1
    assert list(desk.spool.iterdir()) == []


def test_a_spool_that_dies(desk: Desk) -> None:
    """The window says so in the middle of the job, and the clip comes once it is back."""
    gate = threading.Event()
    engine, script = Recorder(gate=gate), window(desk)
    with serving(desk.folder / "data", engine) as url, Running(url) as bridge:
        with carrying(desk.spool, bridge.port):
            press(desk, script, RETURN)
            desk.until(lambda: "optimizing" in script.drawn)
        desk.until(lambda: UNATTENDED in "".join(script.drawn))
        with carrying(desk.spool, bridge.port):
            desk.until(lambda: "optimizing" in script.drawn)
            gate.set()
            desk.until(lambda: "done" in script.drawn)
    assert len(laid(desk).takes) == 1


def test_a_bridge_that_is_not_there(desk: Desk) -> None:
    """An action without a window says in the console what the spool says."""
    desk.act("continue")
    desk.order()
    desk.answer("/spool/waiting", "nobody answers: start it with `segue up`")
    desk.until(lambda: desk.reaper.console)
    desk.answer("/segue/error", "bad-region", "silence")
    desk.finish()
    assert desk.reaper.console == (
        "Segue: nobody answers: start it with `segue up`\nSegue: silence\n"
    )


def test_the_bridge_is_started_late(desk: Desk) -> None:
    """The window says that nobody answers, and goes on waiting; then the clip comes."""
    engine = Recorder()
    script = window(desk)
    spool = SpoolFolder(desk.spool, 9)  # the discard port: nobody listens
    press(desk, script, RETURN)
    desk.order()
    spool.turn(0.0, 0.0)
    spool.turn(10.0, 0.0)
    spool.close()
    desk.until(lambda: "nobody answers: start it with `segue up`" in script.drawn)
    with segue(desk, engine):
        desk.until(lambda: "done" in script.drawn)
    assert len(laid(desk).takes) == 1


@pytest.mark.slow
def test_a_server_killed_in_the_middle(desk: Desk) -> None:
    """kill -9, started again: the clip still comes, once, and no turn waits for it."""
    server, port = start_server(0, desk.folder)
    with Running(f"http://127.0.0.1:{port}") as bridge, carrying(desk.spool, bridge.port):
        script = window(desk)
        press(desk, script, RETURN)
        desk.until(lambda: "optimizing" in script.drawn)
        with server:
            server.kill()
        for _ in range(10):
            desk.reaper.turn()
        server, same_port = start_server(port, desk.folder)
        (desk.folder / "gate").touch()
        desk.until(lambda: "done" in script.drawn)
        with server:
            server.terminate()
    assert same_port == port
    assert len(laid(desk).takes) == 1


def test_the_window_by_keys(desk: Desk) -> None:
    """Arrows choose task, preset and length; Return asks for it; Escape stops, then closes."""
    script = window(desk)
    press(desk, script, RIGHT)  # before
    press(desk, script, LEFT, LEFT)  # loop
    assert "Loop" in script.drawn
    press(desk, script, RIGHT, DOWN, RIGHT, RIGHT, DOWN, RIGHT)
    assert {"Continue", "rise", "5"} <= set(script.drawn)
    press(desk, script, DOWN, LEFT)
    assert "seconds" in script.drawn
    press(desk, script, RETURN)
    assert desk.make()[4:10] == ["rise", 5.0, 0.0, 0.0, -1, ""]
    desk.answer("/segue/job/progress", 0.25, "optimizing")
    desk.until(lambda: "optimizing" in script.drawn)
    assert "Esc: stop" in script.drawn
    press(desk, script, ESCAPE)
    assert {"cancelled", HELP} <= set(script.drawn)
    assert list(desk.spool.iterdir()) == []
    assert script.gfx.open
    script.keys.append(ESCAPE)
    desk.finish()
    script.end()
    assert not script.gfx.open
    assert desk.reaper.states["Segue", "preset"] == "rise"


def test_the_window_by_typing(desk: Desk) -> None:
    """`e` or a click takes a length, a seed and words; what makes no sense changes nothing."""
    script = window(desk)
    desk.reaper.dialog = ["7.5", "much", "99", None, "a, b"]
    press(desk, script, DOWN, DOWN, ord("e"), ord("e"), DOWN, DOWN, ord("e"), ord("e"), DOWN)
    script.gfx.mouse_x, script.gfx.mouse_y, script.gfx.mouse_cap = 300, 12 + 5 * 22 + 3, 1
    desk.reaper.turn()
    desk.reaper.turn()
    assert {"7.5", "99", "a, b"} <= set(script.drawn)
    press(desk, script, RETURN)
    assert desk.make()[6:10] == [7.5, 0.0, 99, "a, b"]


def test_a_long_message_is_shown_whole(desk: Desk) -> None:
    """It is broken between words and the folders of a path; no line is wider than the window."""
    script = window(desk)
    press(desk, script, RETURN)
    text = "region: too short; the clip is kept: " + "/a folder/another" * 10 + ".wav"
    desk.answer("/segue/error", "bad-region", text)
    desk.until(lambda: "".join(script.drawn).endswith(text))
    assert max(7 * len(each) for each in script.drawn) <= 460 - 12


def test_one_job_at_a_time(desk: Desk) -> None:
    """Return does nothing while a job runs."""
    script = window(desk)
    press(desk, script, RETURN)
    desk.order()
    press(desk, script, RETURN)
    assert len(list(desk.spool.glob("*.order"))) == 1


def test_the_self_test(desk: Desk) -> None:
    """Each step passes where all is well, the server's own word included; nothing is changed."""
    with segue(desk, Recorder()):
        desk.act("self_test")
        desk.finish()
    lines = desk.reaper.console.splitlines()
    assert [line[:6] for line in lines[:-1]] == ["ok    "] * 8
    assert any("orders go as files alone: there is no LuaSocket, and" in line for line in lines)
    assert lines[-1] == "Segue's self-test: all passed"
    assert (desk.project.changes_outside, desk.project.undo) == ([], [])


def test_the_self_test_where_nothing_works(desk: Desk) -> None:
    """Each failure is told with what to do."""
    desk.spool.rmdir()
    desk.project.folder.rmdir()
    desk.project.folder.write_text("a file")
    desk.act("self_test")
    desk.finish()
    lines = desk.reaper.console.splitlines()
    failed = [line.partition(":")[0] for line in lines if line.startswith("FAIL")]
    assert failed == [
        "FAIL  the project's folder takes files",
        f"FAIL  an order can be left in {desk.spool}",
    ]
    assert "start it with `segue up`" in desk.reaper.console
    assert lines[-1] == "Segue's self-test: 2 failed"


def test_the_self_test_without_a_bridge(desk: Desk) -> None:
    """Nobody answers in time."""
    desk.act("self_test")
    desk.finish()
    said = "FAIL  Segue answers by files: nobody does: start it with `segue up`"
    assert said in desk.reaper.console


def test_adding_the_actions(desk: Desk) -> None:
    """One script makes all of them known to REAPER."""
    desk.act("add_actions")
    names = {Path(path).name for path in desk.reaper.registered}
    shipped = {path.name for path in SCRIPTS.glob("*.lua")}
    assert names == shipped - {"segue_add_actions.lua"}
    assert desk.reaper.console == f"Segue: {len(names)} actions are in the action list\n"
