"""What REAPER's scripts read from a project and order: audio to the sample, curves, tempo."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.reaper_desk import ITEM_OFFSET, ITEM_START, REGION, SCRIPTS, Desk
from tests.reaper_double import Envelope, Item, Marker, Project, Script, Take, sample

RATES = (44100, 48000, 96000)
MAX_FRAMES_A_TURN = 65536
START = 1 / 3  # between samples at every rate


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A REAPER at 48 kHz whose orders nobody carries away."""
    monkeypatch.setenv("SEGUE_SPOOL", str(tmp_path / "desk ü" / "spool"))
    return Desk(tmp_path / "desk ü")


def desk_at(rate: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """The same at another rate."""
    monkeypatch.setenv("SEGUE_SPOOL", str(tmp_path / 'it\'s "here"' / "spool"))
    return Desk(tmp_path / 'it\'s "here"', rate)


@pytest.mark.parametrize("rate", RATES)
def test_an_untouched_item_is_read_from_its_file(
    rate: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order names the file, and whole samples of it, also for an item between samples."""
    desk = desk_at(rate, tmp_path, monkeypatch)
    desk.item.info["D_POSITION"] = START
    desk.act("continue")
    _, path, start, length, preset = desk.make()[:5]
    assert (path, preset) == (str(desk.file), "continue")
    first = round((ITEM_OFFSET + REGION[0] - START) * rate)
    last = round((ITEM_OFFSET + REGION[1] - START) * rate)
    assert start == first / rate
    assert length == pytest.approx((last - first) / rate, abs=1e-12)


def add_second_item(item: Item) -> None:
    """Another item over the region."""
    copy = item.track.add(Path(item.takes[0].source.path), 5.0, 1.0)  # type: ignore[union-attr]
    assert copy is not item


TOUCHED: dict[str, Callable[[Item], object]] = {
    "gain": lambda item: item.info.update(D_VOL=0.5),
    "mute": lambda item: item.info.update(B_MUTE=1.0),
    "all takes": lambda item: item.info.update(B_ALLTAKESPLAY=1.0),
    "take gain": lambda item: item.takes[0].info.update(D_VOL=2.0),
    "rate": lambda item: item.takes[0].info.update(D_PLAYRATE=1.01),
    "pitch": lambda item: item.takes[0].info.update(D_PITCH=1.0),
    "pan": lambda item: item.takes[0].info.update(D_PAN=0.1),
    "channels": lambda item: item.takes[0].info.update(I_CHANMODE=2.0),
    "spectral edit": lambda item: item.takes[0].info.update({"IP_SPECEDIT:CNT": 1.0}),
    "effect": lambda item: setattr(item.takes[0], "effects", 1),
    "stretch": lambda item: setattr(item.takes[0], "stretch_markers", 1),
    "envelope": lambda item: setattr(item.takes[0], "envelopes", 1),
    "fade": lambda item: item.info.update(D_FADEINLEN=2.5),
    "fade of an item that is to have no automatic ones": lambda item: item.info.update(
        D_FADEINLEN=2.5, D_FADEINLEN_AUTO=-1.0
    ),
    "automatic fade": lambda item: item.info.update(D_FADEOUTLEN_AUTO=7.0),
    "too short": lambda item: item.info.update(D_LENGTH=5.0),
    "loop": lambda item: item.takes[0].info.update(D_STARTOFFS=15.0),
    "mp3": lambda item: setattr(item.takes[0].source, "kind", "MP3"),
    "second item": add_second_item,
}


@pytest.mark.parametrize("touch", TOUCHED)
def test_a_touched_item_is_bounced(touch: str, desk: Desk) -> None:
    """Whatever an item does to its file is heard, so the track is read as it plays."""
    TOUCHED[touch](desk.item)
    desk.act("continue")
    path = Path(str(desk.make()[1]))
    assert path.parent == desk.project.folder / "Segue" / "in"
    assert soundfile.info(str(path)).frames == 4 * 48000


@pytest.mark.parametrize("rate", RATES)
def test_a_bounce_is_exact_to_the_sample(
    rate: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A float WAV of the project's rate holds every sample from the nearest to the start on."""
    desk = desk_at(rate, tmp_path, monkeypatch)
    desk.item.info["D_VOL"] = 0.5
    desk.project.selection = (4 + START, 4.9)
    desk.act("continue")
    _, path, start, length = desk.make()[:4]
    first = round((4 + START) * rate)
    frames = round((4.9 - first / rate) * rate)
    expected = [[sample(first + n, channel) for channel in (0, 1)] for n in range(frames)]
    audio, found_rate = soundfile.read(str(path), dtype="float32")
    assert soundfile.info(str(path)).subtype == "FLOAT"
    assert (found_rate, start, length) == (rate, 0.0, frames / rate)
    assert np.array_equal(audio, np.array(expected, np.float32))
    assert all(not accessor.open for accessor in desk.reaper.accessors)


@pytest.mark.parametrize(("device", "rate"), [("96000", 96000), ("", 48000)])
def test_a_project_without_a_rate(device: str, rate: int, desk: Desk) -> None:
    """The audio device's counts, and 48 kHz where there is none."""
    desk.project.has_rate, desk.reaper.device_rate = False, device
    desk.item.info["D_VOL"] = 0.5
    desk.act("continue")
    facts = soundfile.info(str(desk.make()[1]))
    assert (facts.samplerate, facts.frames) == (rate, 4 * rate)


def test_a_turn_never_reads_for_long(desk: Desk) -> None:
    """A turn reads a bounded number of samples, and fewer where REAPER is slow."""
    desk.item.info["D_VOL"] = 0.5
    desk.act("continue")
    desk.order()
    frames = desk.reaper.frames_a_turn
    assert (max(frames), sum(frames)) == (MAX_FRAMES_A_TURN, 4 * 48000)
    slow = Desk(desk.folder / "slow")
    slow.spool = desk.spool
    for order in desk.spool.glob("*.order"):
        order.unlink()
    slow.item.info["D_VOL"] = 0.5
    slow.reaper.reading_costs = 0.005
    slow.act("continue")
    slow.order()
    assert max(slow.reaper.frames_a_turn) == 3 * 4096


def test_a_bounce_that_is_stopped_leaves_nothing(desk: Desk) -> None:
    """Neither a half file nor an open accessor, nor an order."""
    desk.item.info["D_VOL"] = 0.5
    desk.act("continue")
    desk.reaper.turn()
    desk.act("stop")
    desk.finish()
    assert list((desk.project.folder / "Segue" / "in").iterdir()) == []
    assert not any(accessor.open for accessor in desk.reaper.accessors)
    assert list(desk.spool.iterdir()) == []


def test_a_full_disk(desk: Desk) -> None:
    """Also where it is full at the very end, it is said, and no half file stays or is ordered."""
    desk.item.info["D_VOL"] = 0.5
    script = Script(desk.reaper, SCRIPTS / "segue_continue.lua")
    script.lua.execute(
        "local open = io.open"
        " function io.open(path, mode)"
        "   local file = open(path, mode)"
        "   if mode ~= 'wb' or not file then return file end"
        "   return { write = function(_, text) return file:write(text) end,"
        "     flush = function() return nil, 'No space left on device' end,"
        "     close = function() return file:close() end } end"
    )
    desk.reaper.scripts.append(script)
    script.begin()
    desk.finish()
    assert desk.reaper.console == "Segue: the disk takes no more\n"
    assert list((desk.project.folder / "Segue" / "in").iterdir()) == []


@pytest.mark.parametrize("end", ["done", "error"])
def test_what_was_read_for_a_job_goes_with_it(end: str, desk: Desk) -> None:
    """The project keeps the clip alone; a file of the producer's own is never removed."""
    for gain in (0.5, 1.0):
        desk.item.info["D_VOL"] = gain
        desk.act("continue")
        desk.order()
        if end == "done":
            desk.done(0.0)
        else:
            desk.answer("/segue/error", "bad-region", "silence")
        desk.finish()
    assert list((desk.project.folder / "Segue" / "in").iterdir()) == []
    assert desk.file.exists()


def test_a_track_removed_while_it_is_read(desk: Desk) -> None:
    """It is said, and nothing stays open."""
    desk.item.info["D_VOL"] = 0.5
    desk.act("continue")
    desk.reaper.turn()
    desk.project.tracks.clear()
    desk.finish()
    assert desk.reaper.console == "Segue: the track was removed while it was read\n"
    assert not any(accessor.open for accessor in desk.reaper.accessors)


@pytest.mark.parametrize("same_tab", [True, False])
def test_a_project_closed_while_it_is_read(same_tab: bool, desk: Desk) -> None:
    """It is said, also where another file takes its tab and its track's pointer."""
    desk.item.info["D_VOL"] = 0.5
    desk.act("continue")
    desk.reaper.turn()
    other = Project(desk.folder / "other", file="y.rpp")
    other.track()
    if same_tab:
        desk.reaper.open_in_tab(desk.project, other)
    else:
        desk.reaper.projects = [other]
    desk.finish()
    assert desk.reaper.console == "Segue: the project was closed while it was read\n"
    assert not any(accessor.open for accessor in desk.reaper.accessors)


def test_a_razor_edit(desk: Desk) -> None:
    """Without a time selection the first razor edit of a track counts, not one of an envelope."""
    desk.project.selection = (0.0, 0.0)
    other = desk.project.track("Other")
    other.razor = '1.5 2.5 "{ABC}" 5.0 6.5 ""'
    other.add(desk.file, 0.0, 10.0)
    desk.act("continue")
    assert desk.make()[2:4] == [5.0, 1.5]


def test_an_item_alone(desk: Desk) -> None:
    """Without either, the selected item is the region."""
    desk.project.selection = (0.0, 0.0)
    desk.item.selected = True
    desk.act("before")
    assert desk.make()[2:5] == [ITEM_OFFSET, 12.0, "lead-in"]


def test_an_item_elsewhere_is_not_meant(desk: Desk) -> None:
    """The time selection is of the selected item only where the two meet, else of the track."""
    other = desk.project.track("Other").add(desk.file, 20.0, 5.0, selected=True)
    desk.act("continue")
    assert desk.make()[2] == ITEM_OFFSET + REGION[0] - ITEM_START
    other.info["D_POSITION"] = 5.0
    desk.reaper.scripts[0].end()
    desk.act("vary")
    assert soundfile.info(str(desk.make()[1])).frames == 4 * 48000


def test_nothing_selected(desk: Desk) -> None:
    """It says what to select."""
    desk.project.selection = (0.0, 0.0)
    desk.act("continue")
    assert desk.reaper.console.startswith("Segue: select some time and a track")


def test_tempo_over_region_and_continuation(desk: Desk) -> None:
    """Tempo and metre at the region's start, every change after it up to the new music's end."""
    desk.project.markers = [
        Marker(1.0, 100.0, 3, 4),
        Marker(5.0, 150.0),
        Marker(9.0, 90.0, 7, 8),
        Marker(100.0, 60.0),
    ]
    desk.act("continue", unit="seconds", length=6)
    assert desk.rows("tempo") == [0.0, 100.0, 3.0, 1.0, 150.0, 3.0, 5.0, 90.0, 3.5]
    assert desk.heading("tempo") == [3, "", "", pytest.approx(2.0)]  # 5 beats at 100: 3 + 2
    assert desk.make()[5:7] == [6.0, 0.0]


def test_bars_before_a_region_are_those_before_it(desk: Desk) -> None:
    """In the tempo and metre that are there, whatever begins with the region."""
    desk.project.metre = (3, 4)
    desk.project.markers = [Marker(3.0, 60.0), Marker(4.0, 200.0, 4, 4)]
    desk.project.selection = (4.0, 8.0)
    desk.act("before", length=1)
    assert desk.make()[5:7] == pytest.approx([2.0, 0.0])  # a beat at 60, two at 120


def test_bars_before_a_region_are_each_in_their_own_metre(desk: Desk) -> None:
    """One bar of 4/4 and, before the change, one of 3/4; so too where the region begins inside."""
    desk.project.metre, desk.project.markers = (3, 4), [Marker(3.0, 120.0, 4, 4)]
    desk.project.selection = (5.0, 8.0)
    desk.act("before", length=2)
    assert desk.make()[5:7] == pytest.approx([3.5, 0.0])
    desk.reaper.scripts[0].end()
    desk.project.selection = (4.0, 8.0)  # half a bar after the change
    desk.act("before", length=2)
    assert desk.make()[5:7] == pytest.approx([1.0 + 1.5 * 1.5, 0.0])


def test_bars_before_the_project(desk: Desk) -> None:
    """Go on as at its start."""
    desk.project.bpm, desk.project.metre = 60.0, (3, 4)
    desk.project.markers = [Marker(3.0, 120.0, 4, 4)]
    desk.project.selection = (5.0, 8.0)
    desk.act("before", length=3)
    assert desk.make()[5:7] == pytest.approx([2.0 + 3.0 + 3.0, 0.0])


def test_bars_after_a_region_are_each_in_their_own_metre(desk: Desk) -> None:
    """So the tempo map and the curve reach to the new music's end, in seconds as long as it."""
    desk.project.markers = [Marker(10.0, 120.0, 7, 4), Marker(18.0, 60.0)]
    desk.track.envelopes.append(Envelope("Volume", [(0.0, 1.0), (30.0, 0.5)]))
    desk.act("continue", length=4)
    assert desk.rows("tempo") == [0.0, 120.0, 4.0, 6.0, 120.0, 7.0, 14.0, 60.0, 7.0]
    numbers = desk.rows("intensity")
    assert numbers is not None
    assert numbers[-2] == pytest.approx(2.0 + 8.0 + 5.0)  # a bar of 4, 16 beats of 21, 5 at 60


def test_a_region_that_rounding_puts_before_a_bar_line(desk: Desk) -> None:
    """It begins on the bar line, in the metre that begins there."""
    desk.project.markers = [Marker(4.0 + 1e-9, 120.0, 3, 4)]
    desk.act("continue")
    assert desk.rows("tempo") == [0.0, 120.0, 3.0]
    assert desk.heading("tempo")[3] == 0.0


def test_a_gliding_tempo_keeps_its_beats(desk: Desk) -> None:
    """A glide becomes steps, at the ends of which as many beats have passed."""
    desk.project.markers = [Marker(2.0, 100.0, glides=True), Marker(7.0, 200.0)]
    desk.act("continue", unit="seconds", length=1)
    numbers = desk.rows("tempo")
    assert numbers is not None
    rows = [numbers[place : place + 3] for place in range(0, len(numbers), 3)]
    assert [row[0] for row in rows] == pytest.approx([n * 0.25 for n in range(13)])
    beats = sum(row[1] * 0.25 / 60 for row in rows[:12])
    assert beats == pytest.approx(desk.project.quarters(7.0) - desk.project.quarters(4.0))
    assert rows[-1] == [3.0, 200.0, 4.0]


def level_points(desk: Desk) -> Envelope:
    """The track's volume: full until 8, then falling to a quarter at 10."""
    volume = Envelope("Volume", [(0.0, 0.8), (8.0, 0.8), (10.0, 0.2)], scaling=1)
    desk.track.envelopes.append(volume)
    return volume


def test_the_volume_envelope_as_levels(desk: Desk) -> None:
    """Decibels above the value at the seam, 20 a second, through the fader's own scale."""
    volume = level_points(desk)
    desk.act("continue", unit="seconds", length=2)
    numbers = desk.rows("intensity")
    assert numbers is not None
    times = [n * 0.05 for n in range(41)]
    assert numbers[::2] == pytest.approx(times, abs=1e-12)
    gains = [volume.at(8 + time) ** 2 / 0.8**2 for time in times]
    assert numbers[1::2] == pytest.approx([20 * math.log10(gain) for gain in gains], abs=1e-9)
    assert desk.heading("intensity") == [41, "", "db", 0.0]


def test_silence_in_an_envelope_is_bounded(desk: Desk) -> None:
    """A level that Segue can take, also where the envelope goes to nothing or comes from it."""
    desk.track.envelopes.append(Envelope("Volume", [(4.0, 0.0), (8.0, 0.0), (9.0, 1.0)]))
    desk.act("continue", unit="seconds", length=1)
    numbers = desk.rows("intensity")
    assert numbers is not None
    assert numbers[1] == 0.0
    assert max(numbers[1::2]) == 30.0


def test_levels_before_the_region(desk: Desk) -> None:
    """Music before a region joins at its start: time 0 is the new music's beginning."""
    desk.track.envelopes.append(Envelope("Volume", [(2.0, 0.1), (4.0, 1.0)]))
    desk.act("before", unit="seconds", length=2)
    numbers = desk.rows("intensity")
    assert numbers is not None
    assert numbers[:2] == pytest.approx([0.0, -20.0])
    assert numbers[-2:] == pytest.approx([2.0, 0.0])


def test_a_selected_envelope_of_another_kind(desk: Desk) -> None:
    """It goes before the volume, and its values are a share of what Segue can do."""
    level_points(desk)
    desk.project.selected_envelope = Envelope("Cutoff", [(8.0, 0.0), (9.0, 1.5)])
    desk.act("continue", unit="seconds", length=1)
    numbers = desk.rows("intensity")
    assert numbers is not None
    assert numbers[-2:] == [1.0, 1.0]
    assert desk.heading("intensity")[2] == "share"


@pytest.mark.parametrize("name", ["Pan", "Pan (Pre-FX)", "Width"])
def test_a_selected_envelope_from_left_to_right(name: str, desk: Desk) -> None:
    """Its lowest value is -1: both halves count."""
    desk.project.selected_envelope = Envelope(name, [(8.0, -1.0), (9.0, 1.0)])
    desk.act("continue", unit="seconds", length=1)
    numbers = desk.rows("intensity")
    assert numbers is not None
    assert numbers[1::2] == pytest.approx([n / 20 for n in range(21)])
    assert desk.heading("intensity")[2] == "share"


def test_a_selected_envelope_of_an_effect(desk: Desk) -> None:
    """Its values are a share of what the parameter can be, whatever its name."""
    points = [(8.0, -12.0), (9.0, 24.0)]
    desk.project.selected_envelope = Envelope("Pan / Drive", points, parameter=(-12.0, 12.0))
    desk.act("continue", unit="seconds", length=1)
    numbers = desk.rows("intensity")
    assert numbers is not None
    assert numbers[1:4:2] == pytest.approx([0.0, 1.8 / 24])
    assert numbers[-1] == 1.0


@pytest.mark.parametrize("why", ["flat", "switched off", "bypassed", "of a take"])
def test_no_levels(why: str, desk: Desk) -> None:
    """A flat envelope says nothing, nor does one that is not to be followed or not heard."""
    volume = level_points(desk)
    if why == "flat":
        volume.points = [(0.0, 0.5)]
    volume.active = why != "bypassed"
    if why == "of a take":
        volume.name, volume.take = "Take volume", desk.item.takes[0]
        desk.project.selected_envelope = volume
    desk.act("continue", curve=why != "switched off")
    assert desk.rows("intensity") is None


def midi(desk: Desk, position: float) -> Take:
    """A selected MIDI item of three notes and a muted one; a beat is half a second."""
    item = Item(desk.project.track("Line"), selected=True)
    item.info |= {"D_POSITION": position, "D_LENGTH": 2.0}
    notes = [(0, 960, 60, False), (960, 1920, 64, False), (0, 960, 72, True)]
    item.takes.append(Take(item, notes=[*notes, (2880, 9600, 67, False)]))
    item.track.items.append(item)
    return item.takes[0]


@pytest.mark.parametrize(("position", "shift"), [(8.0, 0.0), (8.5, 0.5), (30.0, 0.0), (7.5, -0.5)])
def test_a_selected_midi_item_is_the_line(position: float, shift: float, desk: Desk) -> None:
    """Notes where they lie in the new music; those of an item elsewhere from its beginning."""
    midi(desk, position)
    desk.act("continue", unit="seconds", length=4)
    notes = [(0.0, 0.5, 60), (0.5, 0.5, 64), (1.5, 0.5, 67)]
    moved = [n for start, length, pitch in notes for n in (start + shift, length, pitch)]
    assert desk.rows("melody") == pytest.approx(moved[3:] if shift < 0 else moved)


def test_a_long_line_is_ordered_over_turns(desk: Desk) -> None:
    """Every note arrives, and REAPER goes on meanwhile."""
    take = midi(desk, 8.0)
    take.item.info["D_LENGTH"] = 100.0
    take.notes = [(n, n + 1, 60, False) for n in range(10_000)]
    desk.act("continue", unit="seconds", length=100)
    begun = len(desk.reaper.frames_a_turn)
    numbers = desk.rows("melody")
    assert numbers is not None
    assert len(desk.reaper.frames_a_turn) - begun >= 5
    assert numbers[::3] == pytest.approx([n / 1920 for n in range(10_000)])
    assert list(desk.spool.glob("*.part")) == []


def test_a_line_that_is_stopped_while_it_is_ordered(desk: Desk) -> None:
    """Nothing is left of it."""
    take = midi(desk, 8.0)
    take.item.info["D_LENGTH"] = 100.0
    take.notes = [(n, n + 1, 60, False) for n in range(10_000)]
    desk.act("continue", unit="seconds", length=100)
    desk.act("stop")
    desk.finish()
    assert list(desk.spool.iterdir()) == []
    assert desk.reaper.console == "Segue: cancelled\n"


def test_a_gap_inside_an_item(desk: Desk) -> None:
    """The whole item is the region, the selection a gap of it, and the lengths are its own."""
    desk.act("fill")
    assert desk.make()[1:7] == [str(desk.file), ITEM_OFFSET, 12.0, "bridge-the-gap", 0.0, 0.0]
    assert desk.rows("gaps") == [REGION[0] - ITEM_START, REGION[1] - REGION[0]]
    assert desk.heading("gaps") == [1, "", "", 0.0]


def test_a_gap_between_items(desk: Desk) -> None:
    """Where no item holds it, eight seconds are heard on each side, or what there is."""
    desk.project.selection = (1.0, 3.0)
    desk.act("fill")
    _, path, start, length = desk.make()[:4]
    assert soundfile.info(str(path)).frames == 11 * 48000
    assert (start, length) == (0.0, 11.0)
    assert desk.rows("gaps") == [1.0, 2.0]


def test_a_gap_needs_a_selection(desk: Desk) -> None:
    """An item alone does not say what is to be made anew."""
    desk.project.selection, desk.item.selected = (0.0, 0.0), True
    desk.act("fill")
    assert "select the time that is to be made anew" in desk.reaper.console


def bars_at_120(count: float) -> list[float]:
    """New seconds, new bars and bpm of an order in bars."""
    return [0.0, count, 0.0]


@pytest.mark.parametrize(
    ("action", "preset", "length"),
    [
        ("continue", "continue", bars_at_120(4.0)),
        ("before", "lead-in", [8.0, 0.0, 0.0]),
        ("both", "both-sides", bars_at_120(4.0)),
        ("loop", "seamless-loop", bars_at_120(4.0)),
        ("vary", "vary-a-little", [0.0, 0.0, 0.0]),
    ],
)
def test_each_task_has_its_preset(
    action: str, preset: str, length: list[float], desk: Desk
) -> None:
    """An action asks for its own preset and as many bars as the window was left with; those before
    the region in seconds, since its tempo map begins with it."""
    desk.act(action, seed=11, text='warm, "slow" strings\t')
    assert desk.make()[4:] == [preset, *length, 11, 'warm, "slow" strings\t']


def effects_heard(desk: Desk, fail: bool = False) -> dict[str, float | str]:
    """Let REAPER render; what it was asked for is gathered."""
    asked: dict[str, float | str] = {}

    def render(project: Project) -> None:
        asked.update(project.numbers)
        asked["format"], asked["format2"] = (
            project.texts["RENDER_FORMAT"],
            project.texts["RENDER_FORMAT2"],
        )
        asked["selected"] = [t.info["I_SELECTED"] for t in project.tracks].index(1.0)
        if fail:
            raise RuntimeError("no disk")
        audio = np.zeros((4 * 48000, 2), np.float32)
        path = Path(project.texts["RENDER_FILE"]) / f"{project.texts['RENDER_PATTERN']}.wav"
        soundfile.write(path, audio, 48000)

    desk.reaper.render = render
    return asked


def test_a_render_into_a_path_with_a_semicolon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """REAPER parts the files that it will write by semicolons, and a folder's name may have one."""
    monkeypatch.setenv("SEGUE_SPOOL", str(tmp_path / "a;b.wav" / "spool"))
    desk = Desk(tmp_path / "a;b.wav")
    effects_heard(desk)
    desk.act("continue", effects=True)
    assert Path(str(desk.make()[1])).parent == desk.project.folder / "Segue" / "in"


@pytest.mark.parametrize("fail", [False, True])
def test_a_render_puts_every_setting_back(fail: bool, desk: Desk) -> None:
    """Also after an error: numbers, texts and the selected tracks are as they were."""
    other = desk.project.track("Selected")
    other.info["I_SELECTED"], desk.track.info["I_SELECTED"] = 1.0, 0.0
    desk.item.selected = True
    numbers, texts = dict(desk.project.numbers), dict(desk.project.texts)
    asked = effects_heard(desk, fail)
    desk.act("continue", effects=True)
    if fail:
        desk.finish()
        assert "REAPER rendered nothing" in desk.reaper.console
        assert "no disk" in desk.reaper.console
    else:
        assert desk.make()[2:4] == [0.0, 4.0]
    bounds = ("RENDER_STARTPOS", "RENDER_ENDPOS", "RENDER_BOUNDSFLAG", "RENDER_SETTINGS")
    assert [asked[name] for name in bounds] == [4.0, 8.0, 0.0, 2.0]
    assert (asked["format"], asked["format2"]) == ("ZXZhdyAAAQ==", "")  # float WAV, nothing else
    assert asked["selected"] == 0
    left = {name: value for name, value in desk.project.numbers.items() if value}
    assert (left, {k: v for k, v in desk.project.texts.items() if v}) == (numbers, texts)
    assert (other.info["I_SELECTED"], desk.track.info["I_SELECTED"]) == (1.0, 0.0)
