"""Where REAPER's scripts lay what was made: on which track, as which take, how loud."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reaper_desk import (
    ITEM_OFFSET,
    ITEM_SECONDS,
    ITEM_START,
    ODD_NAME,
    REGION,
    RETURN,
    START,
    Desk,
    laid,
    press,
    sources,
    window,
    write_wav,
)
from tests.reaper_double import Envelope, Project, Send, Take


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A REAPER at 48 kHz whose orders nobody carries away."""
    folder = tmp_path / 'it\'s "a" ümlaut'
    monkeypatch.setenv("SEGUE_SPOOL", str(folder / "spool"))
    return Desk(folder, name=ODD_NAME)


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
    assert names == [ODD_NAME, f"AI: {ODD_NAME}", "Below"]
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
        (made,) = [track for track in desk.project.tracks if track.name == name + ODD_NAME]
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
