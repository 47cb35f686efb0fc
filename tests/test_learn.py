"""MIDI learn, and the maps it is kept in."""

from __future__ import annotations

from pathlib import Path

import pytest

from segue.bridge.midi.channels import Channels, Moved, Source
from segue.bridge.midi.controller_map import (
    Bound,
    ControllerMap,
    load_map,
    map_names,
    save_map,
)
from segue.bridge.midi.events import ChannelPressure, ControlChange, Event, NoteOn, PitchBend
from segue.bridge.midi.learn import FAR, MAX_SOURCES, SOON_SECONDS, Learner
from segue.presets.vocabulary import SegueError


def learned(*moves: tuple[float, Event], port: str = "Keys") -> list[Bound]:
    """What a learner makes of events at times, on one port."""
    channels, learner = Channels(), Learner("intensity")
    found = []
    for now, event in moves:
        for gesture in channels.receive(event):
            if isinstance(gesture, Moved) and (bound := learner.receive(port, gesture, now)):
                found.append(bound)
    return found


def sweep(number: int, *values: int, every: float = 0.1) -> list[tuple[float, Event]]:
    """A controller that moves."""
    return [(i * every, ControlChange(2, number, value)) for i, value in enumerate(values)]


def test_the_knob_that_moves_is_learned() -> None:
    """Port, channel, kind and number are kept; a channel counts from 1."""
    (bound,) = learned(*sweep(21, 10, 20, 30))
    assert bound == Bound(target="intensity", kind="cc", port="Keys", channel=3, number=21, bits=7)


@pytest.mark.parametrize(
    ("port", "kept"),
    [
        ("nanoKONTROL2:nanoKONTROL2 MIDI 1 20:0", "nanoKONTROL2:nanoKONTROL2 MIDI 1"),
        ("synth:midi out 2", "synth:midi out 2"),
    ],
)
def test_a_controller_is_known_again_at_another_number(port: str, kept: str) -> None:
    """ALSA's port numbers change when it is plugged in again; others belong to the name."""
    (bound,) = learned(*sweep(21, 10, 20, 30), port=port)
    assert bound.port == kept
    assert bound.fits(port.replace("20:0", "24:0"), Source(2, "cc", 21, 7))


def test_one_message_is_no_movement() -> None:
    """Where a knob stands says nothing; nor does a movement of exactly FAR or less."""
    assert learned(*sweep(21, 127)) == []
    little = int(FAR * 127)
    assert learned(*sweep(21, 0, little)) == []
    assert len(learned(*sweep(21, 0, little + 1))) == 1


def test_a_slow_drift_is_no_movement() -> None:
    """All of it must happen within SOON_SECONDS."""
    assert learned(*sweep(21, *range(0, 120, 10), every=SOON_SECONDS)) == []


def test_notes_are_not_learned() -> None:
    """A player may go on playing."""
    assert learned((0.0, NoteOn(0, 60, 1)), (0.1, NoteOn(0, 100, 127))) == []


def test_a_pair_is_learned_as_a_pair() -> None:
    """Its low bits, which run through all their values, are never taken for a knob."""
    steps = range(0, 16384, 37)
    moves: list[tuple[float, Event]] = []
    for i, value in enumerate(steps):
        moves += [
            (i * 0.001, ControlChange(0, 1, value >> 7)),
            (i * 0.001, ControlChange(0, 33, value & 127)),
        ]
    found = learned(*moves)
    assert {(bound.number, bound.bits) for bound in found} == {(1, 14)}


def test_a_bend_is_learned() -> None:
    """A wheel without a number."""
    found = learned((0.0, PitchBend(0, 0)), (0.1, PitchBend(0, 4000)))
    assert [(b.kind, b.channel, b.number) for b in found] == [("bend", 1, 0)]
    assert found[0].fits("Keys", Source(0, "bend", 0, 14))


def test_a_pressure_is_learned() -> None:
    """Of a keyboard whose keys share it."""
    (bound,) = learned((0.0, ChannelPressure(2, 0)), (0.1, ChannelPressure(2, 90)))
    assert (bound.kind, bound.channel, bound.number) == ("pressure", 3, 0)
    assert bound.fits("Keys", Source(2, "pressure", 0, 7))


def test_an_mpe_zone_is_learned() -> None:
    """Not the channel of the note that is pressed, nor its bend or timbre, which come first."""
    setup = [ControlChange(0, 101, 0), ControlChange(0, 100, 6), ControlChange(0, 6, 15)]
    loud: list[Event] = [NoteOn(1, 60, 9), ChannelPressure(1, 100)]
    note: list[Event] = [
        NoteOn(4, 64, 9),
        PitchBend(4, 0),
        PitchBend(4, 4000),
        ControlChange(4, 74, 0),
    ]
    note += [ControlChange(4, 74, 90), ChannelPressure(4, 0), ChannelPressure(4, 90)]
    events: list[Event] = [*setup, *loud[:1], *note]
    (bound,) = learned(*((i * 0.01, event) for i, event in enumerate(events)))
    assert (bound.kind, bound.channel, bound.number, bound.bits) == ("zone", 1, 0, 7)
    assert bound.fits("Keys", Source(0, "zone", 0, 7))
    events = [*setup, *loud, *note]  # another note is pressed harder all the time
    assert {bound.kind for bound in learned(*((i * 0.01, e) for i, e in enumerate(events)))} == {
        "zone"
    }


def test_a_learner_watches_so_many_sources_and_no_more() -> None:
    """One that has not moved for MAX_SOURCES others is forgotten."""
    learner = Learner("again")
    knobs = [Source(n // 128, "cc", n % 128, 7) for n in range(MAX_SOURCES + 1)]
    for knob in knobs:
        assert learner.receive("p", Moved(knob, 0.0), 0.0) is None
    assert learner.receive("p", Moved(knobs[1], 1.0), 0.1) is not None
    assert learner.receive("p", Moved(knobs[0], 1.0), 0.1) is None


@pytest.mark.parametrize("name", ["mod-wheel", "mpe", "nanokontrol2"])
def test_shipped_maps(name: str, tmp_path: Path) -> None:
    """Each is read, says what it is for, steers the intensity, and is written as it was."""
    assert name in map_names()
    chosen = load_map(name)
    assert chosen.description.endswith(".")
    assert "intensity" in [control.target for control in chosen.controls]
    save_map(chosen, tmp_path / "again.toml")
    assert load_map(str(tmp_path / "again.toml")) == chosen


def test_a_map_is_written_whatever_the_port_is_called(tmp_path: Path) -> None:
    """Quotes, backslashes and control characters come back."""
    bound = Bound(target="stop", kind="cc", port='a"b\\c\té\x7f', number=1)
    chosen = ControllerMap(title="x", controls=(bound,))
    save_map(chosen, tmp_path / "odd.toml")
    assert load_map(str(tmp_path / "odd.toml")) == chosen


@pytest.mark.parametrize(
    ("source", "port", "targets"),
    [
        (Source(0, "cc", 0, 7), "nanoKONTROL2 1 CTRL", ["intensity"]),
        (Source(0, "cc", 45, 7), "NANOKONTROL2", ["record_melody"]),
        (Source(1, "cc", 0, 7), "nanoKONTROL2", []),
        (Source(0, "cc", 0, 14), "nanoKONTROL2", []),
        (Source(0, "cc", 0, 7), "Keystation", []),
    ],
)
def test_what_a_source_steers(source: Source, port: str, targets: list[str]) -> None:
    """Port, channel, number and width must fit."""
    assert load_map("nanokontrol2").targets(port, source) == targets


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('title = "x"\ncontrols = []', "controls: "),
        ('title = "x"\ncolour = 1\n[[controls]]\ntarget = "stop"\nkind = "cc"', "colour: "),
        ('title = "x"\n[[controls]]\ntarget = "volume"\nkind = "cc"', "controls.0.target: "),
        (
            'title = "x"\n[[controls]]\ntarget = "stop"\nkind = "cc"\nchannel = 0',
            "controls.0.channel: ",
        ),
        (
            'title = "x"\n[[controls]]\ntarget = "stop"\nkind = "cc"\nnumber = 32\nbits = 14',
            "controls.0: number 32 is above 31",
        ),
        ('title = "x"\n[[controls]\n', "Expected"),
    ],
)
def test_a_map_that_does_not_fit(text: str, said: str, tmp_path: Path) -> None:
    """The error names the file and the key."""
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(SegueError) as caught:
        load_map(str(path))
    assert caught.value.text.startswith(f"{path}: {said}")


def test_a_map_that_is_not_there(tmp_path: Path) -> None:
    """A name is answered with the names there are, a path with the system's words."""
    with pytest.raises(SegueError, match="there are: mod-wheel, mpe, nanokontrol2"):
        load_map("launchpad")
    with pytest.raises(SegueError, match="No such file"):
        load_map(str(tmp_path / "none.toml"))
