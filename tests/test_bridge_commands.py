"""What the bridge makes of datagrams: commands, errors that name the argument, or nothing."""

import logging
import math

import pytest

from segue.bridge.osc import addresses
from segue.bridge.osc.addresses import ROWS, markdown_table
from segue.bridge.osc.codec import Message, Value, decode, encode
from segue.bridge.osc.commands import Cancel, Hello, Sender, Submit
from segue.bridge.osc.session import Reply, Session
from segue.presets.controls import Intensity, Outpaint, Text, Vary
from segue.presets.library import load_preset, preset_names
from segue.presets.tempo import TempoMap
from segue.presets.vocabulary import Region, Request, Settings

DAW = Sender("127.0.0.1", 50001)
NOW = 100.0
REGION = Region(path="/m/loop.wav", start_seconds=1.25, length_seconds=4.0)
ASKED = Settings(overlay=True)  # of every order by OSC
REQUEST = Request(id="j1", region=REGION, new_seconds=6.0, seed=7, settings=ASKED)
OUTPAINT: list[tuple[str, Value]] = [
    ("s", "j1"),
    ("s", "/m/loop.wav"),
    ("d", 1.25),
    ("d", 4.0),
    ("d", 6.0),
    ("i", 7),
]
MAKE: list[tuple[str, Value]] = [*OUTPAINT[:4], ("s", "continue")]


@pytest.fixture
def talk() -> Session:
    """A session that knows the shipped presets."""
    return Session({name: load_preset(name) for name in preset_names()})


def the_error(talk: Session, data: bytes) -> tuple[Value, ...]:
    """The arguments of the one `/segue/error` that a datagram gets."""
    (reply,) = talk.receive(data, DAW, NOW)
    assert isinstance(reply, Reply)
    (message,) = decode(reply.data)
    assert (message.address, reply.to) == ("/segue/error", DAW)
    return message.args


def test_the_three_requests_are_understood(talk: Session) -> None:
    """Each incoming address becomes its command, with the sender to answer."""
    assert talk.receive(encode("/segue/hello", ("s", "REAPER")), DAW, NOW) == [Hello("REAPER", DAW)]
    assert talk.receive(encode("/segue/outpaint", *OUTPAINT), DAW, NOW) == [Submit(REQUEST, DAW)]
    assert talk.receive(encode("/segue/cancel", ("s", "j1")), DAW, NOW) == [Cancel("j1", DAW)]


@pytest.mark.parametrize("tags", ["dddi", "ffff", "hddd", "fdfh", "dffi"])
def test_any_numeric_tag_serves(talk: Session, tags: str) -> None:
    """f, d, i and h are taken wherever a number is meant."""
    numbers = (1, 4.0, 6.0, 7)
    typed: list[tuple[str, Value]] = list(zip(tags, numbers, strict=True))
    region = Region(path="/m/loop.wav", start_seconds=1.0, length_seconds=4.0)
    wanted = REQUEST.model_copy(update={"region": region})
    data = encode("/segue/outpaint", *OUTPAINT[:2], *typed)
    assert talk.receive(data, DAW, NOW) == [Submit(wanted, DAW)]


@pytest.mark.parametrize("rest", [[], [("i", -1)], [("f", -1.0)], [("N", None)]])
def test_without_a_seed_the_server_draws(talk: Session, rest: list[tuple[str, Value]]) -> None:
    """No seed, -1 and nil all leave the choice to the server."""
    (command,) = talk.receive(encode("/segue/outpaint", *OUTPAINT[:5], *rest), DAW, NOW)
    assert command == Submit(REQUEST.model_copy(update={"seed": None}), DAW)


def test_a_preset_sets_controls_and_settings(talk: Session) -> None:
    """An optional argument names a shipped preset; what follows the last one is ignored."""
    last: tuple[tuple[str, Value], ...] = (("i", 0), ("s", "ignored"))
    (command,) = talk.receive(
        encode("/segue/outpaint", *OUTPAINT, ("s", "hold-on"), *last), DAW, NOW
    )
    preset = load_preset("hold-on")
    settings = preset.settings.model_copy(update={"overlay": True})
    wanted = {"controls": preset.controls, "settings": settings}
    assert command == Submit(REQUEST.model_copy(update=wanted), DAW)


def made(talk: Session, *rest: tuple[str, Value], preset: str = "continue") -> Request:
    """The request of a `/segue/make` with these arguments behind the preset."""
    (command,) = talk.receive(encode("/segue/make", *MAKE[:4], ("s", preset), *rest), DAW, NOW)
    assert isinstance(command, Submit)
    return command.request


@pytest.mark.parametrize(
    ("rest", "seconds", "bars"),
    [
        ([], 6.0, None),
        ([("d", 2.5)], 2.5, None),
        ([("i", 0), ("i", 0), ("d", 120)], 6.0, None),
        ([("d", -1.0), ("d", 3.0), ("d", 120.0)], None, 3.0),
        ([("N", None), ("d", 3.0), ("f", 120.0)], None, 3.0),
    ],
)
def test_a_length_of_nothing_is_the_presets(
    talk: Session, rest: list[tuple[str, Value]], seconds: float | None, bars: float | None
) -> None:
    """Seconds or bars above 0 are as asked; 0, less, nil and none leave it to the preset."""
    request = made(talk, *rest)
    assert (request.new_seconds, request.new_bars) == (seconds, bars)
    tempo = None if len(rest) < 3 else TempoMap.steady(120)
    assert (request.region, request.tempo) == (REGION, tempo)


def test_every_preset_can_be_had_by_its_name(talk: Session) -> None:
    """Whatever needs neither melody nor words needs nothing but its name and a tempo."""
    for name in preset_names():
        preset = load_preset(name)
        if not preset.needs:
            request = made(talk, ("d", 0), ("d", 0), ("d", 90), preset=name)
            settings = preset.settings.model_copy(update={"overlay": True})
            assert (request.place, request.settings) == (preset.place, settings)


def test_make_takes_seed_and_words(talk: Session) -> None:
    """The last two arguments; -1 draws the seed, empty words ask for nothing."""
    unsaid: list[tuple[str, Value]] = [("d", 4.0), ("d", 0.0), ("d", 0.0)]
    request = made(talk, *unsaid, ("i", 7), ("s", "warm slow strings"), preset="say-it-in-words")
    assert request.seed == 7
    assert request.controls == (Outpaint(), Text(text="warm slow strings"))
    request = made(talk, *unsaid, ("i", -1), ("s", ""))
    assert (request.seed, request.controls) == (None, (Outpaint(),))


@pytest.mark.parametrize(("number", "asked"), [(1, True), (-1, True), (0, False)])
def test_previews_are_asked_for_at_the_end(talk: Session, number: int, asked: bool) -> None:
    """With an empty preset or words before them, both of which ask for nothing."""
    outpaint = encode("/segue/outpaint", *OUTPAINT, ("s", ""), ("i", number))
    (command,) = talk.receive(outpaint, DAW, NOW)
    settings = Settings(previews=asked, overlay=True)
    assert command == Submit(REQUEST.model_copy(update={"settings": settings}), DAW)
    unsaid: list[tuple[str, Value]] = [("d", 4.0), ("d", 0.0), ("d", 0.0), ("i", -1), ("s", "")]
    request = made(talk, *unsaid, ("i", number))
    assert (request.settings.previews, request.controls) == (asked, (Outpaint(),))


def test_make_varies_what_is_there(talk: Session) -> None:
    """A preset that needs no length is asked for without one."""
    request = made(talk, preset="vary-a-little")
    assert request.place == Vary(amount=0.2)
    assert (request.new_seconds, request.new_bars) == (None, None)


def test_an_empty_path_is_no_region(talk: Session) -> None:
    """Music is made out of nothing, with the preset's curve; where it would begin is ignored."""
    arguments = [*MAKE[:1], ("s", ""), ("d", -1.0), ("d", 0.0), ("s", "rise")]
    (command,) = talk.receive(encode("/segue/make", *arguments), DAW, NOW)
    assert isinstance(command, Submit)
    assert (command.request.region, command.request.place) == (None, None)
    assert [type(control) for control in command.request.controls] == [Intensity]


@pytest.mark.parametrize(
    ("rest", "preset", "begins"),
    [
        ([], "loud", "preset: no preset 'loud'; there are: aabb, aba, "),
        ([], "/etc/x.toml", "preset: no preset "),
        ([], "four-bars", "the preset 'Four bars' makes 4 bars: say how fast"),
        ([], "follow-my-melody", "the preset 'Follow my melody' needs your melody"),
        ([("d", 181.0)], "continue", "new_seconds: "),
        ([("d", math.nan)], "continue", "new_seconds: send a finite number"),
        ([("d", 0.0), ("d", 4.0)], "continue", "bars and beats need a tempo map"),
        ([("d", 1.0), ("d", 4.0), ("d", 90.0)], "continue", "give new_seconds or new_bars"),
        ([("d", 0.0), ("d", 4000.0), ("d", 90.0)], "continue", "new_bars: "),
        ([("d", 0.0), ("d", 4.0), ("d", 5.0)], "continue", "bpm: "),
        ([("d", 1.0)], "vary-a-lot", "the region says how long it is"),
        ([("d", 1.0), ("d", 0.0), ("d", 0.0), ("i", -2)], "continue", "seed: "),
        (
            [("d", 1.0), ("d", 0.0), ("d", 0.0), ("i", 1), ("s", "x" * 301)],
            "continue",
            "text: ",
        ),
    ],
)
def test_what_make_refuses(
    talk: Session, rest: list[tuple[str, Value]], preset: str, begins: str
) -> None:
    """The text says what to send instead."""
    data = encode("/segue/make", *MAKE[:4], ("s", preset), *rest)
    job_id, code, text = the_error(talk, data)
    assert (job_id, code) == ("j1", "bad-request")
    assert str(text).startswith(begins)


def test_outpaint_refuses_presets_of_no_length(talk: Session) -> None:
    """Its new_seconds would mean nothing to them; the text names the address that would do."""
    data = encode("/segue/outpaint", *OUTPAINT, ("s", "bridge-the-gap"))
    _, _, text = the_error(talk, data)
    assert str(text).startswith("preset: ")
    assert "/segue/make" in str(text)


@pytest.mark.parametrize(
    ("place", "argument", "begins"),
    [
        (0, ("s", ""), "id: "),
        (0, ("s", "../x"), "id: "),
        (0, ("i", 1), "id: send a string"),
        (1, ("s", ""), "path: "),
        (1, ("s", "x" * 4097), "path: "),
        (1, ("T", True), "path: send a string"),
        (2, ("d", -0.5), "start_seconds: "),
        (2, ("d", math.nan), "start_seconds: send a finite number"),
        (2, ("s", "1"), "start_seconds: send a finite number"),
        (3, ("d", 0.0), "length_seconds: "),
        (3, ("f", math.inf), "length_seconds: send a finite number"),
        (3, ("T", True), "length_seconds: send a finite number"),
        (4, ("d", 10_000.0), "new_seconds: "),
        (4, ("d", -math.inf), "new_seconds: send a finite number"),
        (5, ("f", 1.5), "seed: send a whole number"),
        (5, ("i", -2), "seed: "),
        (5, ("h", 2**40), "seed: "),
        (6, ("s", "loud"), "preset: no preset 'loud'; there are: "),
        (6, ("s", "/etc/x.toml"), "preset: no preset "),
    ],
)
def test_a_bad_argument_is_named(
    talk: Session, place: int, argument: tuple[str, Value], begins: str
) -> None:
    """The error carries the sender's id, bad-request, and a text that starts with the name."""
    arguments = [*OUTPAINT, ("s", "continue")]
    arguments[place] = argument
    job_id, code, text = the_error(talk, encode("/segue/outpaint", *arguments))
    assert job_id == (arguments[0][1] if arguments[0][0] == "s" else "")
    assert code == "bad-request"
    assert str(text).startswith(begins)


def test_missing_arguments_are_named(talk: Session) -> None:
    """What is missing is said together with what the address takes."""
    assert the_error(talk, encode("/segue/outpaint", *OUTPAINT[:3])) == (
        "j1",
        "bad-request",
        "length_seconds: is missing; send /segue/outpaint s:id s:path d:start_seconds "
        "d:length_seconds d:new_seconds [i:seed] [s:preset] [i:previews]",
    )
    job_id, code, text = the_error(talk, encode("/segue/hello"))
    assert (job_id, code, str(text)[:8]) == ("", "bad-request", "client: ")


def test_an_id_that_cannot_exist_never_reaches_a_url(talk: Session) -> None:
    """Cancel takes only ids that a job can have."""
    job_id, code, text = the_error(talk, encode("/segue/cancel", ("s", "../health?")))
    assert (job_id, code, str(text)[:4]) == ("../health?", "bad-request", "id: ")


def test_unknown_addresses(talk: Session) -> None:
    """Ours get an error; those of others, and those only we send, are counted and left alone."""
    assert the_error(talk, encode("/segue/inpaint"))[:2] == ("", "bad-request")
    for address in ("/other/thing", "/segueX", *addresses.OUTGOING.keys() - {"/segue/hello"}):
        assert talk.receive(encode(address), DAW, NOW) == []
    assert talk.ignored == 2 + len(addresses.OUTGOING) - 1
    assert talk.receive(addresses.write(addresses.WELCOME, "0.1.0", "cpu"), DAW, NOW) == []
    assert talk.ignored == 2 + len(addresses.OUTGOING)
    more = encode("/segue/hello", ("s", "x"), ("i", 1))
    assert talk.receive(more, DAW, NOW) == [Hello("x", DAW)]


def test_garbage_gets_no_reply_and_is_logged_seldom(
    talk: Session, caplog: pytest.LogCaptureFixture
) -> None:
    """Malformed datagrams are all counted, logged once and then every thousandth."""
    with caplog.at_level(logging.WARNING):
        for n in range(2500):
            assert talk.receive(b"/segue/hello\0" + bytes([n % 255]), DAW, NOW) == []
    assert talk.malformed == 2500
    assert [each.message.split()[2] for each in caplog.records] == ["1", "1001", "2001"]


def test_nobody_is_answered_at_port_zero(talk: Session) -> None:
    """A datagram that cannot be answered asks for nothing."""
    assert talk.receive(encode("/segue/hello", ("s", "x")), Sender("127.0.0.1", 0), NOW) == []


def test_a_burst_is_counted_in_full(talk: Session) -> None:
    """Of 5,000 datagrams in a row none is lost: half are cancels, half are noise."""
    datagrams = [encode("/segue/cancel", ("s", f"j{n}")) for n in range(2500)]
    found = [talk.receive(data, DAW, NOW) for each in datagrams for data in (each, each[:-1])]
    assert sum(map(len, found)) == 2500
    assert talk.malformed == 2500


def test_the_table_is_whole() -> None:
    """Every row prints; addresses are literal, and what we may send is known by its address."""
    table = markdown_table()
    assert table.count("\n") == 2 + len(ROWS)
    assert "| to Segue | `/segue/cancel` | `s:id` | Stops a job. |\n" in table
    for row in ROWS:
        assert decode(encode(row.address)) == (Message(row.address),)


def test_optional_arguments_may_be_left_out() -> None:
    """Of what we write, those at the end; too few and too many values are refused."""
    needed = ("j1", "/m/loop.wav", 1.25, 4.0, 6.0)
    wanted = encode("/segue/outpaint", *OUTPAINT[:5])
    assert addresses.write(addresses.OUTPAINT, *needed) == wanted
    for values in (needed[:4], (*needed, 7, "continue", 0, "more")):
        with pytest.raises(ValueError, match="/segue/outpaint takes s:id s:path"):
            addresses.write(addresses.OUTPAINT, *values)
