"""The script's own OSC against two others, and what comes at its socket."""

from __future__ import annotations

import errno
import random
import socket
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder

from segue.bridge.daw.ableton.Segue import osc
from segue.bridge.daw.ableton.Segue.port import HOST, Port, PortFile, bridge_ports
from segue.bridge.daw.ableton.Segue.wish import FILLS_GAPS, VERBS, Wish, in_message, in_name
from segue.bridge.osc import codec as bridge_osc
from segue.presets.controls import Inpaint
from segue.presets.library import load_preset, preset_names

VALUES = [("s", "Übung \"a\" 'b'"), ("i", -3), ("h", 2**40), ("d", 3601.123456789), ("f", 0.5)]
HEARD = [*VALUES, ("b", b"12345"), ("T", True), ("F", False), ("N", None)]


def test_what_it_writes_others_read() -> None:
    """python-osc and the bridge read the same values that were written."""
    tags, values = zip(*VALUES, strict=True)
    packet = osc.encode("/segue/make", "".join(tags), *values)
    assert bridge_osc.decode(packet) == (bridge_osc.Message("/segue/make", values),)
    read = OscMessage(packet)
    assert (read.address, tuple(read.params)) == ("/segue/make", values)


@pytest.mark.parametrize(("tag", "value"), HEARD)
def test_what_others_write_it_reads(tag: str, value: Any) -> None:
    """Every tag on its own, between two strings, as python-osc and the bridge write it."""
    builder = OscMessageBuilder("/segue/job/done")
    for each in (("a", "s"), (value, tag), ("", "s")):
        builder.add_arg(*each)
    for packet in (
        bytes(builder.build().dgram),
        bridge_osc.encode("/segue/job/done", ("s", "a"), (tag, value), ("s", "")),
    ):
        (message,) = osc.decode(packet)
        assert message == ("/segue/job/done", ("a", value, ""))


def test_bundles_are_flattened() -> None:
    """Touch controllers send bundles; their timetags mean now."""
    one = osc.encode("/a", "i", 1)
    inner = b"#bundle\0" + bytes(8) + struct.pack(">i", len(one)) + one
    outer = b"#bundle\0" + b"\xff" * 8 + struct.pack(">i", len(inner)) + inner
    assert osc.decode(outer + struct.pack(">i", len(one)) + one) == [("/a", (1,))] * 2


def test_a_message_without_type_tags() -> None:
    """Old senders leave them out."""
    assert osc.decode(b"/a\0\0") == [("/a", ())]


def test_only_its_own_error_comes_out_of_it() -> None:
    """Good packets cut, and with bytes changed, are read or refused; nothing else happens."""
    dice = random.Random(7)
    good = osc.encode("/segue/live/continue", "sdihf", "é", 1.0, 2, 3, 4.0)
    good = b"#bundle\0" + bytes(8) + struct.pack(">i", len(good)) + good
    refused = 0
    for _ in range(5000):
        packet = bytearray(good[: dice.randrange(len(good) + 1)])
        for _ in range(dice.randrange(4)):
            if packet:
                packet[dice.randrange(len(packet))] = dice.randrange(256)
        try:
            osc.decode(bytes(packet))
        except osc.OscError:
            refused += 1
    assert refused > 2500
    for bad in (
        bytes(4),
        b"#bundle\0",
        b"/a\0\0,x\0\0",
        b"/a\0\0,b\0\0\xff\xff\xff\xff",
        b"/a\0\0i",
    ):
        with pytest.raises(osc.OscError):
            osc.decode(bad)


def test_limits_of_a_datagram() -> None:
    """Its size, its messages and the depth of its bundles have an end."""
    one = osc.encode("/a", "")
    part = struct.pack(">i", len(one)) + one
    head = b"#bundle\0" + bytes(8)
    assert len(osc.decode(head + part * osc.MAX_MESSAGES)) == osc.MAX_MESSAGES
    deep = one
    for _ in range(osc.MAX_DEPTH):
        deep = head + struct.pack(">i", len(deep)) + deep
    assert osc.decode(deep) == [("/a", ())]
    for bad in (
        head + part * (osc.MAX_MESSAGES + 1),
        head + struct.pack(">i", len(deep)) + deep,
        bytes(osc.MAX_DATAGRAM_BYTES + 1),
    ):
        with pytest.raises(osc.OscError):
            osc.decode(bad)


def test_text_that_cannot_be_sent() -> None:
    """A NUL ends no string early, and half a character does not stop the script."""
    assert osc.decode(osc.encode("/a", "s", "a\0b\ud800")) == [("/a", ("ab?",))]


def test_a_burst_is_read_over_several_ticks() -> None:
    """A tick takes as many datagrams as it is told to, the rest wait; then it returns at once."""
    with (
        closing(Port(0)) as port,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        for number in range(5):
            sender.sendto(bytes([number]), (HOST, port.number))
        first = [data[0] for data, _ in port.receive(3)]
        assert (first, [data[0] for data, _ in port.receive(3)]) == ([0, 1, 2], [3, 4])
        assert list(port.receive(3)) == []


class Resetting:
    """A socket as on Windows, where it is told that an earlier packet found nobody."""

    def __init__(self, answers: list[Any]) -> None:
        self._answers = iter(answers)

    def recvfrom(self, size: int) -> Any:
        """The next answer, or the next error."""
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize("end", [BlockingIOError(), TimeoutError(), OSError(errno.EBADF, "gone")])
def test_a_reset_is_no_end(monkeypatch: pytest.MonkeyPatch, end: Exception) -> None:
    """What waits behind a ECONNRESET is read; an empty, slow or closed socket ends the tick."""
    with closing(Port(0)) as port:
        there = (b"x", (HOST, 1))
        reset = ConnectionResetError(errno.ECONNRESET, "nobody there")
        port._socket.close()
        monkeypatch.setattr(port, "_socket", Resetting([there, reset, there, end, there]))
        assert list(port.receive(9)) == [there, there]


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((HOST, 0))
        yield other.getsockname()[1]


def test_a_port_that_is_taken(taken: int) -> None:
    """Another one is found, so that two Lives can run."""
    with closing(Port(taken)) as port:
        assert port.number not in (0, taken)


def test_files_of_ports(tmp_path: Path) -> None:
    """The bridge's is read, whatever is in it; ours is removed, but not another script's."""
    told = tmp_path / "bridge.json"
    assert bridge_ports(str(tmp_path)) == [9137]
    for text in (
        "",
        "[]",
        '{"osc_port": "x"}',
        '{"osc_port": 70000}',
        '{"osc_port": 9137}',
        "\xff",
    ):
        told.write_text(text, encoding="latin-1")
        assert bridge_ports(str(tmp_path)) == [9137]
    told.write_text('{"osc_port": 5000, "http_port": 1, "pid": 2}')
    assert bridge_ports(str(tmp_path)) == [9137, 5000]
    own = PortFile(str(tmp_path / "new"), 1)
    other = PortFile(str(tmp_path / "new"), 2)
    own.remove()
    assert (tmp_path / "new" / "live.json").exists()
    other.remove()
    assert not (tmp_path / "new" / "live.json").exists()


@pytest.mark.parametrize(
    ("name", "left", "wish"),
    [
        ("Guitar >segue continue 4", "Guitar", Wish("continue", "continue", 4.0, "")),
        (">segue continue", "", Wish("continue", "continue", 4.0, "")),
        ("a >segue Rise 8.5 warm strings", "a", Wish("rise", "rise", 8.5, "warm strings")),
        ("a>segue vary slow", "a", Wish("vary", "vary-a-little", 0.0, "slow")),
        ("a >segue inpaint", "a", Wish("inpaint", "bridge-the-gap", 0.0, "")),
        ("a >segue b >segue cancel", "a >segue b", Wish("cancel", "cancel", 0.0, "")),
        ("a >segue continue nan", "a", Wish("continue", "continue", 4.0, "nan")),
        ("a >segue continue -1", "a", Wish("continue", "continue", 4.0, "")),
    ],
)
def test_wishes_in_names(name: str, left: str, wish: Wish) -> None:
    """A verb or a preset's name, bars, words; what is before the mark stays."""
    assert in_name(name) == (left, wish)


@pytest.mark.parametrize(
    "name", ["", "Guitar", "Guitar >segue", "segue continue 4", "Guitar >segue "]
)
def test_names_without_a_wish(name: str) -> None:
    """The mark needs a word after it."""
    assert in_name(name) is None


def test_verbs_are_presets() -> None:
    """Each is shipped; whichever makes the middle anew takes the loop brace for what is made."""
    presets = {name: load_preset(name) for name in preset_names()}
    assert {preset for preset, _ in VERBS.values()} <= presets.keys()
    inside = [name for name, preset in presets.items() if isinstance(preset.place, Inpaint)]
    assert tuple(inside) == FILLS_GAPS


def test_wishes_in_messages() -> None:
    """Any number is bars, a string is words; a button that is let go asks for nothing."""
    assert in_message("/segue/live/continue", ()) == Wish("continue", "continue", 4.0, "")
    assert in_message("/segue/live/continue", (8.0, "calm")) == Wish(
        "continue", "continue", 8.0, "calm"
    )
    assert in_message("/segue/live/vary", (True,)) == Wish("vary", "vary-a-little", 0.0, "")
    assert in_message("/segue/live/continue", (0.0,)) is None
    assert in_message("/segue/live/continue", (False,)) is None
