"""`segue demo` for real: processes, OSC, the shipped model, and what it leaves behind."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import soundfile

from segue.bridge.cli import demo
from segue.bridge.osc import addresses
from segue.presets.library import SHIPPED, load_preset
from segue.presets.vocabulary import Code, Outpaint, SegueError

PATIENCE_SECONDS = 600.0
PNG_HEADER = b"\x89PNG\r\n\x1a\n"


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE_SECONDS)
def test_demo_leaves_clip_picture_and_figures(tmp_path: Path) -> None:
    """The shipped excerpt comes back continued: exact length, own samples untouched, figures."""
    program = Path(sys.executable).with_name("segue")
    done = subprocess.run(
        [program, "demo", "--out", "out"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    for figure in ("continued.wav", "× real time", " first, ", " last", "device", "seed"):
        assert figure in done.stdout
    region, rate = soundfile.read(tmp_path / "out" / "region.wav", dtype="float64", always_2d=True)
    clip, clip_rate = soundfile.read(
        tmp_path / "out" / "continued.wav", dtype="float64", always_2d=True
    )
    new_samples = round(demo.NEW_SECONDS * rate)
    assert clip_rate == rate
    assert clip.shape == (len(region) + new_samples, region.shape[1])
    (control,) = load_preset(demo.PRESET).controls
    assert isinstance(control, Outpaint)
    assert control.overlap_seconds == demo.OVERLAP_SECONDS
    untouched = len(region) - round(demo.OVERLAP_SECONDS * rate)
    np.testing.assert_array_equal(clip[:untouched], region[:untouched])
    assert np.abs(clip[len(region) :]).max() > 1e-3
    assert (tmp_path / "out" / "continued.png").read_bytes().startswith(PNG_HEADER)


def test_the_excerpt_is_real_audio_with_a_licence(tmp_path: Path) -> None:
    """What the demo continues is recorded music, long enough to continue, and free to ship."""
    region = demo.prepare_region(tmp_path)
    info = soundfile.info(str(region))
    assert info.duration >= 5.0
    beside = [each.name for each in (SHIPPED / "excerpts").iterdir()]
    assert [name for name in beside if "LICENSE" in name.upper() or name.endswith(".md")] != []


@contextmanager
def scripted_bridge(*replies: tuple[bytes, ...]) -> Iterator[int]:
    """The port of an endpoint that answers each datagram with the next packets of its script."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
        endpoint.bind(("127.0.0.1", 0))
        endpoint.settimeout(10.0)

        def answer() -> None:
            for packets in replies:
                _, sender = endpoint.recvfrom(65535)
                for packet in packets:
                    endpoint.sendto(packet, sender)

        answering = Thread(target=answer)
        answering.start()
        yield endpoint.getsockname()[1]
        answering.join()


def test_a_lost_datagram_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hello is repeated after a silence, and while the model is loading."""
    monkeypatch.setattr(demo, "SILENCE_SECONDS", 0.02)
    silences: list[None] = []
    loading, ready = (addresses.write(addresses.WELCOME, "0", on) for on in ("loading", "cpu"))
    with scripted_bridge((), (loading,), (ready,)) as port:
        daw = demo.Daw(port, lambda: silences.append(None))
        daw.wait_until_loaded()
        daw.close()
    assert len(silences) >= 2


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (addresses.write(addresses.WELCOME, "0", "failed"), Code.NO_MODEL),
        (addresses.write_error("", Code.SERVER_UNREACHABLE, "gone"), Code.SERVER_UNREACHABLE),
    ],
)
def test_an_error_ends_the_demo(packet: bytes, code: Code) -> None:
    """What the bridge reports as wrong is what the demo fails with."""
    with scripted_bridge((packet,)) as port:
        daw = demo.Daw(port, lambda: None)
        with pytest.raises(SegueError) as caught:
            daw.wait_until_loaded()
        daw.close()
    assert caught.value.code is code


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bridge that never answers is given up after the time allowed."""
    monkeypatch.setattr(demo, "SILENCE_SECONDS", 0.01)
    ticks = iter((0.0, 1.0, demo.LOAD_SECONDS))
    with scripted_bridge((), ()) as port:
        daw = demo.Daw(port, lambda: None, clock=lambda: next(ticks))
        with pytest.raises(SegueError, match="no end after 300 s"):
            daw.wait_until_loaded()
        daw.close()


def test_progress_is_shown_until_done(tmp_path: Path) -> None:
    """The demo follows fraction and stage, and takes the path from the last answer."""
    soundfile.write(tmp_path / "region.wav", np.zeros((8000, 1)), 8000)
    shown: list[tuple[str, float]] = []
    packets = (
        addresses.write(addresses.ACCEPTED, "demo"),
        addresses.write(addresses.PROGRESS, "demo", 0.25, "optimizing"),
        addresses.write(addresses.PROGRESS, "demo", 0.75, "decoding"),
        addresses.write(addresses.DONE, "demo", "/clip.wav", 0.0, 56000, 8000, 7, "", 0.0),
    )
    ticks = iter((10.0, *[11.0] * 3, 14.5))
    with scripted_bridge(packets) as port:
        daw = demo.Daw(port, lambda: None, clock=lambda: next(ticks, 14.5))
        clip, taken_seconds = daw.outpaint(
            tmp_path / "region.wav", lambda stage, fraction: shown.append((stage, fraction))
        )
        daw.close()
    assert (clip, taken_seconds) == (Path("/clip.wav"), 4.5)
    assert shown == [("optimizing", 0.25), ("decoding", 0.75)]
