"""What the bridge makes of datagrams: commands, errors that name the argument, or nothing."""

import logging
import math

import pytest

from segue.bridge import addresses
from segue.bridge.addresses import ROWS, markdown_table
from segue.bridge.commands import Cancel, Hello, Sender, Submit
from segue.bridge.osc import Message, Value, decode, encode
from segue.bridge.session import Reply, Session
from segue.presets.library import load_preset, preset_names
from segue.presets.vocabulary import Region, Request

DAW: Sender = ("127.0.0.1", 50001)
REGION = Region(path="/m/loop.wav", start_seconds=1.25, length_seconds=4.0)
REQUEST = Request(id="j1", region=REGION, new_seconds=6.0, seed=7)
OUTPAINT: list[tuple[str, Value]] = [
    ("s", "j1"),
    ("s", "/m/loop.wav"),
    ("d", 1.25),
    ("d", 4.0),
    ("d", 6.0),
    ("i", 7),
]


@pytest.fixture
def talk() -> Session:
    """A session that knows the shipped presets."""
    return Session({name: load_preset(name) for name in preset_names()})


def the_error(talk: Session, data: bytes) -> tuple[Value, ...]:
    """The arguments of the one `/segue/error` that a datagram gets."""
    (reply,) = talk.receive(data, DAW)
    assert isinstance(reply, Reply)
    (message,) = decode(reply.data)
    assert (message.address, reply.to) == ("/segue/error", DAW)
    return message.args


def test_the_three_requests_are_understood(talk: Session) -> None:
    """Each incoming address becomes its command, with the sender to answer."""
    assert talk.receive(encode("/segue/hello", ("s", "REAPER")), DAW) == [Hello("REAPER", DAW)]
    assert talk.receive(encode("/segue/outpaint", *OUTPAINT), DAW) == [Submit(REQUEST, DAW)]
    assert talk.receive(encode("/segue/cancel", ("s", "j1")), DAW) == [Cancel("j1", DAW)]


@pytest.mark.parametrize("tags", ["dddi", "ffff", "hddd", "fdfh", "dffi"])
def test_any_numeric_tag_serves(talk: Session, tags: str) -> None:
    """f, d, i and h are taken wherever a number is meant."""
    numbers = (1, 4.0, 6.0, 7)
    typed: list[tuple[str, Value]] = list(zip(tags, numbers, strict=True))
    region = Region(path="/m/loop.wav", start_seconds=1.0, length_seconds=4.0)
    wanted = Request(id="j1", region=region, new_seconds=6.0, seed=7)
    data = encode("/segue/outpaint", *OUTPAINT[:2], *typed)
    assert talk.receive(data, DAW) == [Submit(wanted, DAW)]


@pytest.mark.parametrize("rest", [[], [("i", -1)], [("f", -1.0)], [("N", None)]])
def test_without_a_seed_the_server_draws(talk: Session, rest: list[tuple[str, Value]]) -> None:
    """No seed, -1 and nil all leave the choice to the server."""
    (command,) = talk.receive(encode("/segue/outpaint", *OUTPAINT[:5], *rest), DAW)
    assert command == Submit(REQUEST.model_copy(update={"seed": None}), DAW)


def test_a_preset_sets_controls_and_settings(talk: Session) -> None:
    """The optional last argument names a shipped preset; what follows it is ignored."""
    (command,) = talk.receive(
        encode("/segue/outpaint", *OUTPAINT, ("s", "hold-on"), ("s", "ignored")), DAW
    )
    preset = load_preset("hold-on")
    wanted = {"controls": preset.controls, "settings": preset.settings}
    assert command == Submit(REQUEST.model_copy(update=wanted), DAW)


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
        "d:length_seconds d:new_seconds [i:seed] [s:preset]",
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
        assert talk.receive(encode(address), DAW) == []
    assert talk.ignored == 2 + 5


def test_garbage_gets_no_reply_and_is_logged_seldom(
    talk: Session, caplog: pytest.LogCaptureFixture
) -> None:
    """Malformed datagrams are all counted, logged once and then every thousandth."""
    with caplog.at_level(logging.WARNING):
        for n in range(2500):
            assert talk.receive(b"/segue/hello\0" + bytes([n % 255]), DAW) == []
    assert talk.malformed == 2500
    assert [each.message.split()[2] for each in caplog.records] == ["1", "1001", "2001"]


def test_nobody_is_answered_at_port_zero(talk: Session) -> None:
    """A datagram that cannot be answered asks for nothing."""
    assert talk.receive(encode("/segue/hello", ("s", "x")), ("127.0.0.1", 0)) == []


def test_a_burst_is_counted_in_full(talk: Session) -> None:
    """Of 5,000 datagrams in a row none is lost: half are cancels, half are noise."""
    datagrams = [encode("/segue/cancel", ("s", f"j{n}")) for n in range(2500)]
    found = [talk.receive(data, DAW) for each in datagrams for data in (each, each[:-1])]
    assert sum(map(len, found)) == 2500
    assert talk.malformed == 2500


def test_the_table_is_whole() -> None:
    """Every row prints; addresses are literal, and what we may send is known by its address."""
    table = markdown_table()
    assert table.count("\n") == 2 + len(ROWS)
    assert "| to Segue | `/segue/cancel` | `s:id` | Stops a job. |\n" in table
    for row in ROWS:
        assert decode(encode(row.address)) == (Message(row.address),)
