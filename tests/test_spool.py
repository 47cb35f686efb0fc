"""Orders and answers as files: what a script writes reaches the bridge, and what it says comes
back."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from segue.bridge.daw import spool
from segue.bridge.daw.spool import QUIET_SECONDS, RETRY_SECONDS, Answer, Send, Spool
from segue.bridge.daw.spool_folder import MAX_AGE_SECONDS, SpoolFolder
from segue.bridge.osc.codec import MAX_DATAGRAM_BYTES, Message, decode, encode
from segue.bridge.osc.lines import MAX_LINES, decode_line, encode_line

ORDER = "/segue/outpaint\tssddd\ta\t/take.wav\t1.5\t4\t6\n"
SENT = Send(
    encode(
        "/segue/outpaint",
        *[("s", v) for v in ("a", "/take.wav")],
        *[("d", v) for v in (1.5, 4.0, 6.0)],
    )
)
ACCEPTED = encode("/segue/job/accepted", ("s", "a"))
DONE = encode("/segue/job/done", ("s", "a"), ("s", "/clip.wav"))


def progress(fraction: float, stage: str = "optimizing") -> bytes:
    """What the bridge says again and again."""
    return encode("/segue/job/progress", ("s", "a"), ("d", fraction), ("s", stage))


def waiting(text: str) -> Answer:
    """What a script is told while nothing happens."""
    return Answer("a", f"/spool/waiting\tss\ta\t{text}")


@pytest.mark.parametrize(
    "text", ["a\tb", "a\nb\r", "\\t is a \\", "Übung 'x' \"y\"", "line\u2028end", "\\\\n"]
)
def test_any_text_survives_a_line(text: str) -> None:
    """Tabs, ends of lines and backslashes are escaped; a line stays one line."""
    line = encode_line(Message("/a", (text, 0.1, 2**40)))
    assert "\n" not in line
    assert decode_line(line) == ("/a", [("s", text), ("d", 0.1), ("h", 2**40)])


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("/segue/a\tss\tone", "2 type tags for 1 arguments"),
        ("/segue/a\td\tten", "could not convert"),
        ("/segue/a\tb\tx", "type tag b"),
        ("/other\ts\tx", "only what begins with /segue/ is sent"),
        ("", "an order has 1 to"),
    ],
)
def test_an_order_that_makes_no_sense(line: str, problem: str) -> None:
    """The script is told at once; nothing is sent."""
    (answer,) = Spool().take("a", f"{line}\n", 0.0)
    assert isinstance(answer, Answer)
    assert answer.line.startswith("/segue/error\tsss\ta\tbad-request\t")
    assert problem in answer.line


def test_an_order_and_its_answers() -> None:
    """Sent once; told what is news; after the end nothing more."""
    orders = Spool()
    assert orders.take("a", ORDER, 0.0) == [SENT]
    assert orders.hear(ACCEPTED, 0.1) == [Answer("a", "/segue/job/accepted\ts\ta")]
    assert orders.hear(ACCEPTED, 0.2) == []
    (told,) = orders.hear(progress(0.5), 0.3)
    assert told == Answer("a", "/segue/job/progress\tsds\ta\t0.5\toptimizing")
    assert orders.hear(progress(0.505), 0.4) == []
    assert len(orders.hear(progress(0.505, "decoding"), 0.5)) == 1
    assert orders.hear(encode("/segue/job/done", ("s", "b"), ("s", "/c.wav")), 0.6) == []
    assert orders.hear(DONE, 0.7) == [Answer("a", "/segue/job/done\tss\ta\t/clip.wav")]
    assert orders.hear(DONE, 0.8) == []
    assert orders.due(1e6) == []
    assert orders.forget("a") == []


def test_asks_again_until_somebody_answers() -> None:
    """Every two seconds, and the script is told once; every thirty while a job is silent."""
    orders = Spool()
    orders.take("a", ORDER, 0.0)
    assert orders.due(RETRY_SECONDS - 0.1) == []
    assert orders.due(RETRY_SECONDS) == [SENT, waiting(spool.UNANSWERED)]
    assert orders.due(2 * RETRY_SECONDS) == [SENT]
    orders.hear(ACCEPTED, 5.0)
    assert orders.due(5.0 + QUIET_SECONDS - 0.1) == []
    assert orders.due(5.0 + QUIET_SECONDS) == [SENT]


def test_what_may_pass_is_no_end() -> None:
    """A server that starts anew or is full is waited for; any other error ends the order."""
    orders = Spool()
    orders.take("a", ORDER, 0.0)
    for code, text in (("server-unreachable", "no server"), ("bad-region", "silence")):
        error = encode("/segue/error", ("s", "a"), ("s", code), ("s", text))
        told = orders.hear(error, 1.0)
        if code == "server-unreachable":
            assert told == [waiting(text)]
            assert orders.hear(error, 1.0) == []
            assert orders.due(RETRY_SECONDS) == [SENT]
    assert told == [Answer("a", "/segue/error\tsss\ta\tbad-region\tsilence")]
    assert orders.due(1e6) == []


def test_missing_rows_are_sent_again_soon() -> None:
    """The whole order, once however often they are asked for; that it was refused without them
    is no end."""
    orders = Spool()
    orders.take("a", ORDER, 0.0)
    refused = encode("/segue/error", ("s", "a"), ("s", "bad-request"), ("s", "rows are missing"))
    for _ in range(3):
        assert orders.hear(encode("/segue/rows/missing", ("s", "a"), ("s", "tempo")), 0.1) == []
    assert orders.hear(refused, 0.1) == []
    assert orders.due(0.1 + spool.MISSING_SECONDS) == [SENT]
    assert orders.due(0.2 + spool.MISSING_SECONDS) == []
    assert len(orders.hear(refused, 0.3)) == 1


def test_an_order_taken_away_is_cancelled() -> None:
    """Unless it had ended."""
    orders = Spool()
    orders.take("a", ORDER, 0.0)
    assert orders.forget("a") == [Send(encode("/segue/cancel", ("s", "a")))]
    assert orders.due(1e6) == []


def test_a_limit_of_orders_and_lines() -> None:
    """One more than fits is refused."""
    orders = Spool()
    for number in range(spool.MAX_ORDERS):
        assert orders.take(f"a{number}", ORDER, 0.0) == [SENT]
    (answer,) = orders.take("one-more", ORDER, 0.0)
    assert isinstance(answer, Answer)
    assert "64 orders are under way" in answer.line
    assert len(Spool().take("a", ORDER * MAX_LINES, 0.0)) == MAX_LINES
    assert isinstance(Spool().take("a", ORDER * (MAX_LINES + 1), 0.0)[0], Answer)


class Bridge:
    """A socket where the bridge would be."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.port = self.socket.getsockname()[1]

    def hear(self) -> list[Message]:
        """Everything that has come."""
        heard: list[Message] = []
        while True:
            try:
                data, self.sender = self.socket.recvfrom(MAX_DATAGRAM_BYTES)
            except BlockingIOError:
                return heard
            heard += decode(data)

    def say(self, data: bytes) -> None:
        """To whoever spoke last."""
        self.socket.sendto(data, self.sender)


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    """One for each test."""
    made = Bridge()
    yield made
    made.socket.close()


def test_files_and_datagrams(tmp_path: Path, bridge: Bridge) -> None:
    """Answers are added line by line; what the script takes away is cancelled and leaves nothing,
    the audio that it wrote included."""
    orders = tmp_path / "orders"
    folder = SpoolFolder(orders, bridge.port)
    (orders / "a.wav").touch()
    (orders / "a.order").write_text(ORDER)
    folder.turn(0.0, 0.0)
    assert [message.args[0] for message in bridge.hear()] == ["a"]
    for data in (ACCEPTED, b"garbage", progress(0.5)):
        bridge.say(data)
        folder.turn(0.1, 0.1)
    text = "/segue/job/accepted\ts\ta\n/segue/job/progress\tsds\ta\t0.5\toptimizing\n"
    assert (orders / "a.answers").read_text() == text
    (orders / "a.order").unlink()
    folder.turn(0.2, 0.2)
    assert bridge.hear() == [Message("/segue/cancel", ("a",))]
    assert list(orders.iterdir()) == []
    folder.close()


def test_taken_up_again_after_a_restart(tmp_path: Path, bridge: Bridge) -> None:
    """What was under way is asked again, what had ended is not; what is a day old is removed."""
    for name in ("open", "ended", "old"):
        (tmp_path / f"{name}.order").write_text(ORDER.replace("\ta\t", f"\t{name}\t"))
    (tmp_path / "ended.answers").write_text("/segue/job/done\tss\tended\t/clip.wav\n")
    (tmp_path / "old.answers").write_text("/segue/job/accepted\ts\told\n")
    wall = (tmp_path / "old.order").stat().st_mtime + MAX_AGE_SECONDS + 1
    for path in (tmp_path / "open.order", tmp_path / "ended.order"):
        os.utime(path, (wall, wall))
    folder = SpoolFolder(tmp_path, bridge.port)
    folder.turn(0.0, wall)
    assert [message.args[0] for message in bridge.hear()] == ["open"]
    folder.turn(0.0, wall)
    assert {path.stem for path in tmp_path.iterdir()} == {"open", "ended"}
    folder.close()


def test_the_sound_of_an_order_that_never_came(tmp_path: Path, bridge: Bridge) -> None:
    """Of a script that was stopped while it wrote it: removed after a day, and no other file."""
    folder = SpoolFolder(tmp_path, bridge.port)
    kept = {"ardour-65a1-7f0c-1b.wav", "my song.wav", "ardour-mix.wav"}
    for name in (*kept, "ardour-659f-7f0c-2a.wav"):
        (tmp_path / name).touch()
    wall = (tmp_path / "my song.wav").stat().st_mtime + MAX_AGE_SECONDS + 1
    os.utime(tmp_path / "ardour-65a1-7f0c-1b.wav", (wall, wall))
    folder.turn(0.0, wall)
    assert {path.name for path in tmp_path.iterdir()} == kept
    folder.close()


def test_a_ping_is_taken_away(tmp_path: Path, bridge: Bridge) -> None:
    """Whatever order it asks for: so a script sees that the folder is looked after."""
    folder = SpoolFolder(tmp_path, bridge.port)
    (tmp_path / "a.ping").touch()
    folder.turn(0.0, 0.0)
    assert list(tmp_path.iterdir()) == []
    folder.close()
