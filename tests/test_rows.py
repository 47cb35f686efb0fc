"""Lists that come before their order: mixed up, with losses, and what an order makes of them."""

from __future__ import annotations

import itertools
import logging
import math
import random
from collections.abc import Sequence

import pytest

from segue.bridge.osc import addresses
from segue.bridge.osc.codec import Message, Value, decode, encode
from segue.bridge.osc.commands import Sender, Submit
from segue.bridge.osc.row_list import KINDS
from segue.bridge.osc.rows import MAX_JOBS
from segue.bridge.osc.session import Reply, Session
from segue.presets.controls import Gap, Inpaint, Intensity, Melody, Note, Outpaint
from segue.presets.library import load_preset, preset_names
from segue.presets.tempo import TempoChange, TempoMap
from segue.presets.vocabulary import Cancelled, Progress, Region, Request, State, Status
from segue.server.guard import MAX_BODY_BYTES

DAW = Sender("127.0.0.1", 50001)
NOW = 100.0
Rows = Sequence[tuple[float, ...]]
CURVE = [(0.0, -12.0), (1.5, 0.0), (2.25, 6.0)]


@pytest.fixture
def talk() -> Session:
    """A session that knows the shipped presets."""
    return Session({name: load_preset(name) for name in preset_names()})


def said(talk: Session, data: bytes) -> list[Message]:
    """What one datagram is answered with, without asking the server."""
    found = talk.receive(data, DAW, NOW)
    assert all(isinstance(each, Reply) for each in found)
    return [m for each in found if isinstance(each, Reply) for m in decode(each.data)]


def begin(what: str, total: int, *rest: tuple[str, Value], job: str = "j1") -> bytes:
    """The announcement of a list."""
    return encode("/segue/rows/begin", ("s", job), ("s", what), ("i", total), *rest)


def add(what: str, first: int, *rows: tuple[float, ...], job: str = "j1", tag: str = "d") -> bytes:
    """Rows from number `first` on."""
    numbers: list[tuple[str, Value]] = [(tag, number) for row in rows for number in row]
    return encode("/segue/rows/add", ("s", job), ("s", what), ("i", first), *numbers)


def end(what: str, total: int, job: str = "j1") -> bytes:
    """The question what is missing."""
    return encode("/segue/rows/end", ("s", job), ("s", what), ("i", total))


def ack(what: str, total: int, job: str = "j1") -> list[Message]:
    """All are there."""
    return [Message("/segue/rows/ack", (job, what, total))]


def missing(what: str, *firsts: int) -> list[Message]:
    """These are not."""
    return [Message("/segue/rows/missing", ("j1", what, *firsts))]


def error(talk: Session, data: bytes) -> str:
    """The text of the one error about j1 that a datagram gets."""
    (message,) = said(talk, data)
    assert (message.address, message.args[0]) == ("/segue/error", "j1")
    return " ".join(map(str, message.args[1:]))


def send(talk: Session, what: str, rows: Rows, *rest: tuple[str, Value]) -> None:
    """A whole list, as a client sends it that knows no loss."""
    assert said(talk, begin(what, len(rows), *rest)) == []
    for first in range(0, len(rows), 64):
        assert said(talk, add(what, first, *rows[first : first + 64])) == []
    assert said(talk, end(what, len(rows))) == ack(what, len(rows))


def make(preset: str, *rest: tuple[str, Value], path: str = "/m/loop.wav") -> bytes:
    """An order of j1."""
    region: list[tuple[str, Value]] = [("s", path), ("d", 1.25), ("d", 8.0)]
    return encode("/segue/make", ("s", "j1"), *region, ("s", preset), *rest)


def ordered(talk: Session, data: bytes) -> Request:
    """The request that an order becomes."""
    (command,) = talk.receive(data, DAW, NOW)
    assert isinstance(command, Submit)
    return command.request


def accepted(talk: Session, request: Request) -> None:
    """The server takes the order."""
    queued = Progress(id=request.id, fraction=0.0, stage=State.QUEUED)
    status = Status(id=request.id, state=State.QUEUED, request=request, event=queued)
    talk.answer(Submit(request, DAW), status, NOW)


def test_a_list_in_order(talk: Session) -> None:
    """Only the end is answered: with an ack of the total, again as often as it is sent."""
    send(talk, "intensity", CURVE)
    assert said(talk, end("intensity", 3)) == ack("intensity", 3)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_any_order_and_any_repeats(order: tuple[int, ...]) -> None:
    """However begin, two adds and end are ordered, and twice each: the rows are the same."""
    talk = Session({})
    datagrams = [
        begin("intensity", 3, ("s", "share"), ("s", "")),
        add("intensity", 0, *CURVE[:2]),
        add("intensity", 2, CURVE[2]),
        end("intensity", 3),
    ]
    answers = [said(talk, datagrams[i]) for i in order]
    assert answers[-1] == ack("intensity", 3)
    for i in order:
        assert said(talk, datagrams[i]) == (ack("intensity", 3) if i == 3 else [])
    fields: list[tuple[str, Value]] = [("s", "/m/a.wav"), ("d", 0), ("d", 8), ("d", 4)]
    (curve,) = ordered(talk, encode("/segue/outpaint", ("s", "j1"), *fields)).controls[1:]
    assert curve == Intensity(points=tuple(CURVE), unit="share")


def test_what_is_missing_is_named(talk: Session) -> None:
    """Numbers stand for 64 rows each, -1 for the begin; the ack follows the last of them."""
    row = (0.5, -3.0)
    assert said(talk, end("intensity", 200)) == missing("intensity", -1, 0, 64, 128, 192)
    assert said(talk, begin("intensity", 200)) == []
    for first in (0, 20, 70, 192):
        assert said(talk, add("intensity", first, *[row] * 8)) == []
    assert said(talk, end("intensity", 200)) == missing("intensity", 8, 78, 142)
    for first in (8, 72, 136):
        assert said(talk, add("intensity", first, *[row] * 64)) == (
            ack("intensity", 200) if first == 136 else []
        )


def test_missing_numbers_fit_a_message(talk: Session) -> None:
    """At most 64 are named; the next end names the rest."""
    said(talk, begin("intensity", 100_000))
    (message,) = said(talk, end("intensity", 100_000))
    assert message.args[2:] == tuple(range(0, 64 * 64, 64))


def test_losses_are_repaired(talk: Session) -> None:
    """Three of ten datagrams are lost, each time: after some rounds every row has its number."""
    dice = random.Random(7)
    rows = [(float(n), dice.uniform(-60, 30)) for n in range(5000)]

    def over(data: bytes) -> list[Message]:
        return said(talk, data) if dice.random() > 0.3 else []

    over(begin("intensity", len(rows)))
    for first in range(0, len(rows), 64):
        over(add("intensity", first, *rows[first : first + 64]))
    for _ in range(100):
        for answer in over(end("intensity", len(rows))):
            if answer.address == "/segue/rows/ack":
                control = ordered(talk, make("continue")).controls[1]
                assert control == Intensity(points=tuple(rows))
                return
            for number in answer.args[2:]:
                assert isinstance(number, int)
                if number < 0:
                    over(begin("intensity", len(rows)))
                else:
                    over(add("intensity", number, *rows[number : number + 64]))
    pytest.fail("never acknowledged")


@pytest.mark.parametrize("tag", ["f", "d", "i", "h"])
def test_any_numeric_tag_serves(talk: Session, tag: str) -> None:
    """Rows may come as floats, doubles or whole numbers."""
    said(talk, begin("melody", 2))
    said(talk, add("melody", 0, (0, 1, 60), (1, 2, 64), tag=tag))
    melody = ordered(talk, make("follow-my-melody", ("d", 4.0))).controls[1]
    notes = (Note(start=0, length=1, pitch=60), Note(start=1, length=2, pitch=64))
    assert melody == Melody(notes=notes)


def test_a_make_takes_all_of_its_lists(talk: Session) -> None:
    """Curve and melody become controls beside the words, the tempo map wins over the bpm."""
    send(talk, "intensity", [(0.0, 0.25), (2.0, 1.0)], ("s", "bars"), ("s", "share"))
    send(talk, "melody", [(0.0, 1.0, 67.0)], ("s", "beats"))
    tempo = [(0.0, 120.0, 4.0), (3.5, 90.0, 3.0)]
    send(talk, "tempo", tempo, ("s", ""), ("s", ""), ("d", 1.5))
    rest: list[tuple[str, Value]] = [("d", 0), ("d", 4), ("d", 100), ("i", -1), ("s", "slow")]
    request = ordered(talk, make("rise", *rest))
    changes = [TempoChange(at_seconds=at, bpm=bpm, beats_per_bar=n) for at, bpm, n in tempo]
    assert request.tempo == TempoMap(changes=tuple(changes), first_beat=1.5)
    place, text, *features = request.controls
    assert (place, text.kind) == (Outpaint(), "text")
    points = ((0.0, 0.25), (2.0, 1.0))
    notes = (Note(start=0, length=1, pitch=67),)
    assert features == [
        Intensity(points=points, unit="bars", scale="share"),
        Melody(notes=notes, unit="beats"),
    ]


def test_gaps_are_filled(talk: Session) -> None:
    """They take the place of the preset's own; what it says about overlaps stays."""
    send(talk, "gaps", [(1.0, 0.5), (4.0, 2.0)])
    gaps = (Gap(start=1, length=0.5), Gap(start=4, length=2))
    bridge = load_preset("bridge-the-gap").place
    assert isinstance(bridge, Inpaint)
    place = ordered(talk, make("bridge-the-gap")).place
    assert place == bridge.model_copy(update={"gaps": gaps, "unit": "seconds"})
    assert ordered(talk, make("rise")).place == Inpaint(gaps=gaps)
    said(talk, begin("gaps", 2, ("s", "share")))
    said(talk, add("gaps", 0, (0.1, 0.2), (0.5, 0.25)))
    gaps = (Gap(start=0.1, length=0.2), Gap(start=0.5, length=0.25))
    assert ordered(talk, make("rise")).place == Inpaint(gaps=gaps, unit="share")


def test_an_outpaint_fills_no_gaps(talk: Session) -> None:
    """It makes music longer; the error names the address that would do."""
    send(talk, "gaps", [(1.0, 0.5)])
    fields: list[tuple[str, Value]] = [("s", "/m/a.wav"), ("d", 0), ("d", 8), ("d", 4)]
    text = error(talk, encode("/segue/outpaint", ("s", "j1"), *fields))
    assert text.startswith("bad-request gaps: ")
    assert text.endswith("send /segue/make")


def test_other_jobs_are_left_alone(talk: Session) -> None:
    """A list belongs to its id, whoever sent it."""
    send(talk, "intensity", CURVE)
    data = make("continue").replace(b"j1\0", b"j2\0")
    assert [control.kind for control in ordered(talk, data).controls] == ["outpaint"]


def test_an_order_names_the_list_it_lacks(talk: Session) -> None:
    """Whether rows are missing or the begin, nothing is made without them."""
    said(talk, begin("intensity", 3))
    said(talk, add("intensity", 1, CURVE[1]))
    text = error(talk, make("continue"))
    assert text.startswith("bad-request intensity: 2 of 3 rows are missing; /segue/rows/end says")
    said(talk, add("intensity", 0, *CURVE))
    said(talk, add("melody", 0, (0.0, 1.0, 60.0)))
    text = error(talk, make("continue"))
    assert text.startswith("bad-request melody: /segue/rows/begin is missing; ")


@pytest.mark.parametrize(
    ("what", "rows", "rest", "begins"),
    [
        ("intensity", [(1.0, 0.0), (0.5, 0.0)], [], "intensity: points must be sorted by time"),
        ("intensity", [(0.0, 31.0)], [], "intensity: the level 31 at 0 is outside -60 to 30"),
        ("intensity", [(0.0, 0.0)], [("s", "furlongs")], "intensity: unit: "),
        ("intensity", [(0.0, 0.0)], [("s", ""), ("s", "lufs")], "intensity: scale: "),
        ("intensity", [(-1.0, 0.0)], [], "intensity: points.0.0: "),
        ("melody", [(0.0, 1.0, 60.0), (1.0, 1.0, 60.5)], [], "melody: notes.1.pitch: "),
        ("melody", [(0.0, 0.0, 60.0)], [], "melody: notes.0.length: "),
        ("melody", [(0.0, 1.0, 60.0)], [("s", "beats")], "bars and beats need a tempo map"),
        ("tempo", [(1.0, 120.0, 4.0)], [], "tempo: the first change must be at 0 s"),
        ("tempo", [(0.0, 5.0, 4.0)], [], "tempo: changes.0.bpm: "),
        ("tempo", [(0.0, 120.0, 4.1)], [], "tempo: changes.0.beats_per_bar: beats_per_bar must"),
        ("gaps", [(2.0, 1.0), (2.5, 1.0)], [], "gaps: gaps must be sorted and leave music"),
    ],
)
def test_rows_that_make_no_sense(
    talk: Session,
    what: str,
    rows: Rows,
    rest: list[tuple[str, Value]],
    begins: str,
) -> None:
    """The order is refused with the list's name and the place in it."""
    send(talk, what, rows, *rest)
    assert error(talk, make("rise", ("d", 4.0))).startswith(f"bad-request {begins}")


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (
            begin("volume", 3),
            "what: no rows of 'volume'; there are: intensity, melody, tempo, gaps",
        ),
        (begin("gaps", 0), "total: send 1 to 16 rows, not 0"),
        (begin("gaps", 17), "total: send 1 to 16 rows, not 17"),
        (begin("intensity", 100_001), "total: send 1 to 100000 rows, not 100001"),
        (begin("gaps", 1, ("s", ""), ("s", "db")), "scale: gaps has none; leave it empty"),
        (
            begin("gaps", 1, ("N", None), ("N", None), ("d", 1.0)),
            "first_beat: it belongs to tempo, not to gaps",
        ),
        (begin("tempo", 1, ("s", "beats")), "unit: rows of tempo are in seconds; leave it empty"),
        (
            add("gaps", 15, (1.0, 1.0), (3.0, 1.0)),
            "first: rows 15 to 16 are not among those from 0",
        ),
        (add("gaps", -1, (1.0, 1.0)), "first: rows -1 to -1 are not among those from 0 to 15"),
        (add("gaps", 0, (1.0, 1.0, 1.0)), "numbers: a row has 2 of them, and here are 3"),
        (
            add("gaps", 0),
            "numbers: is missing; send /segue/rows/add s:id s:what i:first d:numbers…",
        ),
        (add("melody", 0, *[(0.0, 1.0, 60.0)] * 65), "numbers: send at most 64 rows in a message"),
        (add("gaps", 0, (math.nan, 1.0)), "numbers: send a finite number"),
        (add("gaps", 0, (1.0, math.inf)), "numbers: send a finite number"),
        (end("gaps", 17), "total: send 1 to 16 rows, not 17"),
    ],
)
def test_a_bad_argument_is_named(talk: Session, data: bytes, wanted: str) -> None:
    """The error comes at once, and the list is as it was before."""
    assert error(talk, data).startswith(f"bad-request {wanted}")
    assert [control.kind for control in ordered(talk, make("continue")).controls] == ["outpaint"]


def test_rows_beyond_the_total(talk: Session) -> None:
    """They are refused, and so is an end that differs from its begin."""
    said(talk, begin("intensity", 3))
    text = error(talk, add("intensity", 2, *CURVE[:2]))
    assert text == "bad-request first: rows 2 to 3 are not among those from 0 to 2"
    text = error(talk, end("intensity", 4))
    assert text == "bad-request total: the begin of intensity said 3, its end says 4"


def test_another_begin_begins_anew(talk: Session) -> None:
    """The same one changes nothing; one that says something else empties the list."""
    send(talk, "intensity", CURVE)
    assert said(talk, begin("intensity", 3)) == []
    assert said(talk, end("intensity", 3)) == ack("intensity", 3)
    assert said(talk, begin("intensity", 3, ("s", "share"))) == []
    assert said(talk, end("intensity", 3)) == missing("intensity", 0)
    assert said(talk, begin("intensity", 1)) == []
    assert said(talk, end("intensity", 1)) == missing("intensity", 0)


def test_a_begin_wins_over_an_end_before_it(talk: Session) -> None:
    """An end of another total is not acknowledged when the rows of the begin are there."""
    assert said(talk, end("intensity", 5)) == missing("intensity", -1, 0)
    said(talk, begin("intensity", 3))
    assert said(talk, add("intensity", 0, *CURVE)) == []
    assert said(talk, end("intensity", 3)) == ack("intensity", 3)


def test_an_id_that_no_job_can_have(talk: Session) -> None:
    """It is refused at the first message."""
    (message,) = said(talk, begin("gaps", 1, job="../x"))
    assert message.args[:2] == ("../x", "bad-request")
    assert str(message.args[2]).startswith("id: use 1 to 64 letters")


def test_what_a_job_was_made_of_stays(talk: Session) -> None:
    """The same messages are harmless, so the same order can be sent again; others are refused."""
    send(talk, "intensity", CURVE)
    request = ordered(talk, make("continue", ("d", 4.0)))
    accepted(talk, request)
    send(talk, "intensity", CURVE)
    taken = "id-taken what: the job of this id has begun with other rows of"
    for data in (
        begin("intensity", 2),
        add("intensity", 0, (0.0, -11.0)),
        begin("melody", 1),
        add("melody", 0, (0.0, 1.0, 60.0)),
        end("melody", 1),
    ):
        assert error(talk, data).startswith(taken)
    assert ordered(talk, make("continue", ("d", 4.0))) == request
    talk.handle(Cancelled(id="j1"), NOW)
    assert ordered(talk, make("continue", ("d", 4.0))) == request


def test_a_job_that_began_without_rows_gets_none(talk: Session) -> None:
    """Rows that come after their order are an error, never silently left out."""
    accepted(talk, ordered(talk, make("continue", ("d", 4.0))))
    for data in (begin("gaps", 1), add("gaps", 0, (1.0, 1.0)), end("gaps", 1)):
        assert error(talk, data).startswith("id-taken what: ")
    assert len(ordered(talk, make("continue", ("d", 4.0))).controls) == 1


def test_jobs_with_lists_are_bounded(talk: Session, caplog: pytest.LogCaptureFixture) -> None:
    """Lists of jobs that have ended are forgotten first, then the oldest; the log says so."""
    for n in range(MAX_JOBS):
        assert said(talk, begin("gaps", 1, job=f"n{n}")) == []
    talk.handle(Cancelled(id="n5"), NOW)
    with caplog.at_level(logging.WARNING):
        said(talk, begin("gaps", 1, job="new"))
        said(talk, begin("gaps", 1, job="newer"))
    assert [record.message.split()[-3] for record in caplog.records] == ["n5", "n0"]
    for n in range(1, MAX_JOBS):
        wanted = (-1, 0) if n == 5 else (0,)
        (message,) = said(talk, end("gaps", 1, job=f"n{n}"))
        if n < 5:
            assert message.args[2:] == wanted


def test_the_longest_lists(talk: Session) -> None:
    """Every kind takes as many rows as its control does, and the order takes them all."""
    count = KINDS["intensity"].most
    send(talk, "intensity", [(float(n), -6.0) for n in range(count)])
    curve = ordered(talk, make("continue")).controls[1]
    assert isinstance(curve, Intensity)
    assert len(curve.points) == count == 100_000


def test_the_table_says_how_much() -> None:
    """The README's words are the limits that hold."""
    meaning = {row.address: row.meaning for row in addresses.ROWS}
    assert "At most 64 rows" in meaning["/segue/rows/add"]
    assert "Send 64 rows" in meaning["/segue/rows/missing"]


def test_the_longest_lists_fit_a_servers_body() -> None:
    """All four at their limits, every number with all of its digits."""
    points = tuple((n + math.pi, -math.pi) for n in range(KINDS["intensity"].most))
    notes = tuple(
        Note(start=n + math.pi, length=math.pi, pitch=100) for n in range(KINDS["melody"].most)
    )
    changes = tuple(
        TempoChange(at_seconds=n + math.pi * (n > 0), bpm=math.pi * 100, beats_per_bar=0.625)
        for n in range(KINDS["tempo"].most)
    )
    region = Region(path="/" + "p" * 4000, start_seconds=math.pi, length_seconds=math.pi)
    features = (Outpaint(), Intensity(points=points), Melody(notes=notes))
    tempo = TempoMap(changes=changes)
    request = Request(id="j1", region=region, new_seconds=6, tempo=tempo, controls=features)
    assert len(request.model_dump_json()) < MAX_BODY_BYTES
