"""Orders and answers as files: what a script writes reaches the bridge, and what it says comes
back."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from segue.bridge.daw import spool
from segue.bridge.daw.channels import join_channels
from segue.bridge.daw.spool import QUIET_SECONDS, RETRY_SECONDS, Answer, Send, Spool
from segue.bridge.daw.spool_folder import MAX_AGE_SECONDS, SpoolFolder
from segue.bridge.daw.spool_lines import decode_line, encode_line
from segue.bridge.osc import MAX_DATAGRAM_BYTES, Message, decode, encode
from segue.presets.vocabulary import Code, SegueError

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
        ("/spool/join\tsd\tx\t1", "takes a path, two finite numbers"),
        ("/spool/join\tsdds\tx\tnan\t1\ty", "takes a path, two finite numbers"),
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
    assert len(Spool().take("a", ORDER * spool.MAX_LINES, 0.0)) == spool.MAX_LINES
    assert isinstance(Spool().take("a", ORDER * (spool.MAX_LINES + 1), 0.0)[0], Answer)


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
    """Mono files become the channels of one; answers are added line by line; what the script
    takes away is cancelled and leaves nothing."""
    wave = np.random.default_rng(0).normal(0, 0.1, (4800, 2)).astype(np.float32)
    for channel in range(2):
        soundfile.write(tmp_path / f"{channel}.wav", wave[:, channel], 48000, subtype="FLOAT")
    orders = tmp_path / "orders"
    folder = SpoolFolder(orders, bridge.port)
    join = (
        f"/spool/join\tsddss\t{orders / 'a.wav'}\t0.025\t0.05\t{tmp_path}/0.wav\t{tmp_path}/1.wav"
    )
    (orders / "a.order").write_text(f"{join}\n{ORDER}")
    folder.turn(0.0, 0.0)
    assert [message.args[0] for message in bridge.hear()] == ["a"]
    np.testing.assert_array_equal(
        soundfile.read(orders / "a.wav", dtype="float32")[0], wave[1200:3600]
    )
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


def test_a_ping_is_taken_away(tmp_path: Path, bridge: Bridge) -> None:
    """Whatever order it asks for: so a script sees that the folder is looked after."""
    folder = SpoolFolder(tmp_path, bridge.port)
    (tmp_path / "a.ping").touch()
    folder.turn(0.0, 0.0)
    assert list(tmp_path.iterdir()) == []
    folder.close()


def test_files_that_do_not_join(tmp_path: Path, bridge: Bridge) -> None:
    """The script hears why; nothing is asked of the bridge."""
    folder = SpoolFolder(tmp_path, bridge.port)
    join = f"/spool/join\tsdds\t{tmp_path}/a.wav\t0\t1\t{tmp_path}/none.wav"
    (tmp_path / "a.order").write_text(f"{join}\n{ORDER}")
    folder.turn(0.0, 0.0)
    assert bridge.hear() == []
    assert "missing-file" in (tmp_path / "a.answers").read_text()
    folder.close()


@pytest.mark.parametrize(
    ("rates", "start", "length", "code"),
    [
        ((48000, 44100), 0.0, 0.01, Code.UNSUPPORTED),
        ((48000, 48000), 0.05, 0.06, Code.BAD_REGION),
        ((48000, 48000), 0.0, 0.0, Code.BAD_REGION),
    ],
)
def test_channels_that_differ(
    tmp_path: Path, rates: tuple[int, int], start: float, length: float, code: Code
) -> None:
    """Rates must agree, and the stretch must lie in both files."""
    paths = [tmp_path / "l.wav", tmp_path / "r.wav"]
    for path, rate in zip(paths, rates, strict=True):
        soundfile.write(path, np.zeros(rate // 10), rate)
    with pytest.raises(SegueError) as error:
        join_channels(paths, start, length, tmp_path / "out.wav")
    assert error.value.code is code
    assert not (tmp_path / "out.wav").exists()


def test_bit_depth_is_kept(tmp_path: Path) -> None:
    """16 bits stay 16 bits, sample for sample."""
    wave = np.random.default_rng(0).integers(-(2**15), 2**15, (480, 2), dtype=np.int16)
    paths = [tmp_path / "l.wav", tmp_path / "r.wav"]
    for channel, path in enumerate(paths):
        soundfile.write(path, wave[:, channel], 48000, subtype="PCM_16")
    join_channels(paths, 0.0, 0.01, tmp_path / "out.wav")
    assert soundfile.info(tmp_path / "out.wav").subtype == "PCM_16"
    np.testing.assert_array_equal(soundfile.read(tmp_path / "out.wav", dtype="int16")[0], wave)
