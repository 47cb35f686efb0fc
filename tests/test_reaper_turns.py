"""What REAPER's scripts read of a large project: a little at every turn, and all of one moment."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reaper_desk import Desk
from tests.reaper_double import Envelope, Item, Marker, Take
from tests.test_reaper_curl import seconds_of
from tests.test_reaper_wire import STEP_SECONDS

MAX_CALLS_A_TURN = 600  # of REAPER's functions: 128 things, up to four for each, and some more
NOTES, POINTS, MARKERS, ITEMS = 20_000, 20_000, 3000, 2000
TICK_SECONDS = 1 / 1920
LONG = 180  # seconds


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A REAPER whose orders nobody carries away."""
    monkeypatch.setenv("SEGUE_SPOOL", str(tmp_path / "spool"))
    return Desk(tmp_path)


def line(desk: Desk, position: float = 8.0, count: int = NOTES) -> Take:
    """A selected MIDI item full of notes, each a tick long, one after the other."""
    item = Item(desk.project.track("Line"), selected=True)
    item.info |= {"D_POSITION": position, "D_LENGTH": 100.0}
    item.takes.append(Take(item, notes=[(n, n + 1, n % 128, False) for n in range(count)]))
    item.track.items.append(item)
    return item.takes[0]


def pan(desk: Desk) -> Envelope:
    """A selected envelope of many points."""
    points = [(n / 100, math.sin(n)) for n in range(POINTS)]
    desk.project.selected_envelope = Envelope("Pan", points)
    return desk.project.selected_envelope


def tempo_map(desk: Desk) -> None:
    """A marker at every sixteenth of a second; some change the metre."""
    desk.project.markers = [
        Marker(n / 16, 100.0 + n % 7, *((3, 4) if n % 500 == 0 else (0, 0)), glides=n % 3 == 0)
        for n in range(MARKERS)
    ]


def glide(desk: Desk) -> None:
    """A tempo that glides all the while."""
    desk.project.markers = [Marker(0.0, 100.0, glides=True), Marker(500.0, 150.0)]


def slices(desk: Desk) -> None:
    """A track of many items."""
    for place in range(ITEMS):
        desk.track.add(desk.file, 100.0 + place, 1.0)


def razor(desk: Desk) -> None:
    """A razor edit on the last one of many tracks."""
    for _ in range(ITEMS):
        desk.project.track()
    desk.project.selection = (0.0, 0.0)
    desk.project.tracks.append(desk.project.tracks.pop(0))
    desk.track.razor = '4.0 8.0 ""'


def selected(desk: Desk) -> None:
    """A selected MIDI item behind many selected items of audio."""
    for place in range(ITEMS):
        desk.track.add(desk.file, 100.0 + place, 1.0, selected=True)
    line(desk, count=3)


LARGE: dict[str, tuple[Callable[[Desk], object], str, dict[str, object]]] = {
    "notes": (line, "continue", {"unit": "seconds", "length": 100}),
    "points": (pan, "continue", {"unit": "seconds", "length": LONG}),
    "markers": (tempo_map, "continue", {"unit": "bars", "length": 8}),
    "markers before": (tempo_map, "before", {"unit": "bars", "length": 2}),
    "glide": (glide, "continue", {"unit": "seconds", "length": LONG}),
    "items": (slices, "continue", {"unit": "seconds", "length": 10}),
    "items around a gap": (slices, "fill", {}),
    "razor edits": (razor, "continue", {"unit": "seconds", "length": 10}),
    "selected items": (selected, "continue", {"unit": "seconds", "length": 10}),
}


def order(desk: Desk) -> list[object]:
    """The messages of the order, without the id in each."""
    return [(address, values[1:]) for address, values in desk.order()[1]]


@pytest.mark.parametrize("what", LARGE)
def test_a_turn_reads_a_little(what: str, desk: Desk) -> None:
    """However much there is, it asks REAPER for a bounded number of things, over several turns;
    the order is as if all had been read in one, as it is where the project never stands still."""
    make, action, wish = LARGE[what]
    make(desk)
    desk.act(action, **wish)
    read = order(desk)
    assert max(desk.reaper.calls_a_turn) < MAX_CALLS_A_TURN
    desk.reaper.scripts.pop().end()
    desk.act(action, **wish)

    def never_still() -> bool:
        desk.project.state_changes += 1
        return any(desk.spool.glob("*.order"))

    desk.until(never_still)
    assert order(desk) == read
    assert max(desk.reaper.calls_a_turn) > MAX_CALLS_A_TURN


def test_no_turn_looks_through_all_tracks(desk: Desk) -> None:
    """The region's is known until its clip is placed."""
    for _ in range(ITEMS):
        desk.project.track()
    desk.project.tracks.append(desk.project.tracks.pop(0))
    desk.act("continue")
    desk.done(3.0)
    desk.finish()
    assert len(desk.project.tracks[-1].items) == 1
    assert max(desk.reaper.calls_a_turn) < MAX_CALLS_A_TURN


def longest_turn(desk: Desk, **wish: object) -> float:
    """How long the longest one works until the order is there, in seconds."""
    seconds = [seconds_of(lambda: desk.act("continue", unit="seconds", **wish), desk)]
    while not any(desk.spool.glob("*.order")):
        seconds.append(seconds_of(desk.reaper.turn, desk))
    desk.reaper.scripts.pop().end()
    return max(seconds)


@pytest.mark.parametrize("what", ["notes", "points"])
def test_no_turn_works_for_long(what: str, desk: Desk) -> None:
    """For many notes and a long envelope of many points; the best of three."""
    make, _, wish = LARGE[what]
    make(desk)
    tries = [longest_turn(desk, length=wish["length"]) for _ in range(3)]
    assert min(tries) < STEP_SECONDS


def test_a_line_late_in_a_long_item(desk: Desk) -> None:
    """What lies before the new music does not count towards the most notes that Segue takes."""
    line(desk, position=8.0 - 15_000 * TICK_SECONDS)
    desk.act("continue", unit="seconds", length=100)
    numbers = desk.rows("melody")
    assert numbers is not None
    assert numbers[::3] == pytest.approx([n * TICK_SECONDS for n in range(5000)], abs=1e-9)
    assert numbers[2::3] == [n % 128 for n in range(15_000, 20_000)]


def turns(desk: Desk, count: int = 3) -> None:
    """Some more, in which no order comes."""
    for _ in range(count):
        desk.reaper.turn()
    assert not any(desk.spool.glob("*.order"))


def test_notes_that_are_changed_meanwhile(desk: Desk) -> None:
    """The line is that of one moment: none of the old notes is in it."""
    take = line(desk)
    desk.act("continue", unit="seconds", length=100)
    turns(desk)
    take.notes = [(n, n + 1, 3, False) for n in range(5000)]
    desk.project.state_changes += 1
    numbers = desk.rows("melody")
    assert numbers is not None
    assert numbers[2::3] == [3.0] * 5000


def test_an_envelope_that_is_changed_meanwhile(desk: Desk) -> None:
    """The curve is that of one moment."""
    envelope = pan(desk)
    desk.act("continue", unit="seconds", length=LONG)
    turns(desk)
    envelope.points = [(8.0, -1.0), (8.0 + LONG, 1.0)]
    desk.project.state_changes += 1
    numbers = desk.rows("intensity")
    assert numbers is not None
    assert numbers[1::2] == pytest.approx([n / (LONG * 20) for n in range(LONG * 20 + 1)])


def test_a_tempo_map_that_is_changed_meanwhile(desk: Desk) -> None:
    """Length and rows are those of one moment."""
    tempo_map(desk)
    desk.act("before", unit="bars", length=1)
    turns(desk)
    desk.project.markers = []
    desk.project.state_changes += 1
    assert desk.rows("tempo") == [0.0, 120.0, 4.0]
    assert desk.make()[5] == 2.0


def test_an_item_that_is_changed_meanwhile(desk: Desk) -> None:
    """It is no longer as its file is, so it is bounced."""
    slices(desk)
    desk.act("continue")
    turns(desk, 2)
    desk.item.info["D_VOL"] = 0.5
    desk.project.state_changes += 1
    assert Path(str(desk.make()[1])).parent == desk.project.folder / "Segue" / "in"


def remove_note(desk: Desk) -> None:
    """All but some."""
    take = desk.project.tracks[-1].items[0].takes[0]
    take.notes = (take.notes or [])[:9]


def remove_item(desk: Desk) -> None:
    """With its notes."""
    desk.project.tracks[-1].items.clear()


@pytest.mark.parametrize("remove", [remove_note, remove_item])
def test_what_is_removed_without_being_counted(remove: Callable[[Desk], None], desk: Desk) -> None:
    """As scripts can: nothing breaks, and the order comes, with what had been read at most."""
    line(desk)
    desk.act("continue", unit="seconds", length=100)
    turns(desk, 2)
    remove(desk)
    assert len(desk.rows("melody") or []) // 3 < 1000
    assert desk.reaper.console == ""


def close(desk: Desk) -> None:
    """The tab."""
    desk.reaper.projects[0] = Desk(desk.folder / "other").project


def remove_track(desk: Desk) -> None:
    """The region's."""
    del desk.project.tracks[0]
    desk.project.state_changes += 1


@pytest.mark.parametrize(
    ("what", "go", "said"),
    [
        ("notes", remove_track, "the track was removed while it was read"),
        ("notes", close, "the project was closed while it was read"),
        ("notes", lambda desk: desk.act("stop"), "cancelled"),
        (
            "items",
            remove_track,
            "select some time and a track, make a razor edit, or select an item",
        ),
        ("items", close, "the project was closed while it was read"),
        ("items", lambda desk: desk.act("stop"), "cancelled"),
    ],
)
def test_it_ends_while_it_is_read(
    what: str, go: Callable[[Desk], object], said: str, desk: Desk
) -> None:
    """It is said why, or what to do; nothing is left, what was bounced included."""
    make, action, wish = LARGE[what]
    make(desk)
    desk.item.info["D_VOL"] = 0.5
    desk.act(action, **wish)
    turns(desk, 5)
    go(desk)
    desk.finish()
    assert desk.reaper.console == f"Segue: {said}\n"
    assert list(desk.spool.iterdir()) == []
    assert list(desk.project.folder.rglob("*.wav")) == []
