"""Clips that go round, sample by sample, and through a real JACK and back."""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from segue.bridge.midi.audition import Audition, read_clip
from segue.bridge.midi.looping import Looping
from segue.presets.vocabulary import SegueError
from tests.jack import MISSING, PERIOD, RATE, connect, disconnect, jack_server, ports, until

Samples = NDArray[np.float32]

TRIES = 8


def ramp(length: int, start: int = 1) -> Samples:
    """A clip whose every sample is another number."""
    return np.arange(start, start + length, dtype=np.float32)[:, None]


def filled(looping: Looping, *sizes: int) -> list[float]:
    """What comes out in blocks of these sizes."""
    blocks = [np.full((size, 1), np.nan, np.float32) for size in sizes]
    for block in blocks:
        looping.fill(block)
    return [float(x) for x in np.concatenate(blocks)[:, 0]]


def filled_at(looping: Looping, song: int, size: int) -> list[float]:
    """What comes out in one block while a song is at a frame."""
    block = np.full((size, 1), np.nan, np.float32)
    looping.fill(block, song)
    return [float(x) for x in block[:, 0]]


def test_silence_until_there_is_a_clip() -> None:
    """Nothing to play is zeros; so is a clip without samples."""
    looping = Looping()
    assert filled(looping, 3) == [0, 0, 0]
    looping.offer(ramp(0))
    assert filled(looping, 2) == [0, 0]
    assert looping.rounds == 0


@pytest.mark.parametrize("sizes", [(10,), (1,) * 10, (3, 4, 3), (4, 6)])
def test_a_clip_goes_round(sizes: tuple[int, ...]) -> None:
    """Without a gap or a sample twice, whatever the blocks."""
    looping = Looping()
    looping.offer(ramp(4))
    assert filled(looping, *sizes) == [1, 2, 3, 4, 1, 2, 3, 4, 1, 2]
    assert looping.rounds == 3


def test_a_newer_clip_comes_at_the_boundary() -> None:
    """The one that plays is played to its end; of two that wait the newer one is taken."""
    looping = Looping()
    looping.offer(ramp(4))
    assert filled(looping, 2) == [1, 2]
    looping.offer(ramp(3, 10))
    looping.offer(ramp(3, 20))
    assert filled(looping, 6) == [3, 4, 20, 21, 22, 20]


def test_a_clip_begins_where_the_song_is() -> None:
    """And goes on in phase, whatever the blocks; one of another length has its own phase."""
    looping = Looping(rate=100)  # 2 frames are near, more than 10 are far
    looping.offer(ramp(40))
    assert filled_at(looping, 87, 5) == [8, 9, 10, 11, 12]
    looping.offer(ramp(30, 101))
    assert filled_at(looping, 92, 30) == [*range(13, 41), 101, 102]  # the song is at 120


def test_a_clip_that_is_near_the_song_plays_on() -> None:
    """Up to 2 frames beside it nothing is done; up to 10, at the next round; beyond, at once."""
    for off, after in ((2, 1), (-2, 1), (7, 8), (-7, 34), (11, 12), (-11, 30)):
        looping = Looping(rate=100)
        looping.offer(ramp(40))
        filled_at(looping, 0, 40)
        assert filled_at(looping, 40 + off, 1) == [after]


def test_a_song_that_starts_anew_takes_the_loop_along() -> None:
    """In the middle of a round."""
    looping = Looping(rate=100)
    looping.offer(ramp(40))
    assert filled_at(looping, 0, 20) == [*range(1, 21)]
    assert filled_at(looping, 25, 5) == [*range(21, 26)]  # 5 frames late: until the round is over
    assert filled_at(looping, 0, 3) == [1, 2, 3]


def called(function: Callable[[], object]) -> set[str]:
    """What a function calls that is written in C, by name."""
    names: set[str] = set()

    def watch(frame: FrameType, event: str, what: Any) -> None:
        if event == "c_call":
            names.add(what.__qualname__)

    sys.setprofile(watch)
    try:
        function()
    finally:
        sys.setprofile(None)
    return names - {"setprofile"}


def test_the_callback_neither_locks_nor_waits() -> None:
    """Silent, in a round, at a newer clip, in a song: it counts, copies, and looks at a queue."""
    looping, audition = Looping(rate=100), Audition.__new__(Audition)
    block = np.zeros((25, 1), np.float32)
    looping.fill(block)
    looping.offer(ramp(40))

    def played() -> None:
        for song in (None, None, 0, 35, 70, -20):
            looping.fill(block, song)

    audition.looping, audition.rate, audition._song = looping, 100, (1.0, 2.0)
    audition._stream = SimpleNamespace(latency=0.01)
    counting = {"len", "min", "abs"}
    found = called(lambda: looping.fill(block)) | called(played)
    looping.offer(ramp(30))
    found |= called(played)
    assert found <= counting | {"SimpleQueue.get_nowait"}
    assert "SimpleQueue.get_nowait" in found
    assert called(lambda: audition._fill(block, 25, None, None)) <= found | {"round", "monotonic"}
    for source in (inspect.getsource(Looping), inspect.getsource(Audition._fill)):
        tree = ast.parse(textwrap.dedent(source))
        assert not any(isinstance(node, ast.With) for node in ast.walk(tree))  # nor a `with lock`


def test_the_callback_is_in_time_while_a_clip_is_offered() -> None:
    """A thousand periods beside a thread that offers clip after clip: all are filled."""
    looping, stop = Looping(), threading.Event()
    clips = [ramp(1000, 1 + 1000 * i) for i in range(3)]

    def offer() -> None:
        while not stop.is_set():
            looping.offer(clips[looping.rounds % 3])

    thread = threading.Thread(target=offer)
    thread.start()
    try:
        until(lambda: looping._newest.qsize() > 0, "no clip was offered")
        heard = filled(looping, *[PERIOD] * 1000)
    finally:
        stop.set()
        thread.join()
    assert len(heard) == 1000 * PERIOD
    for start in range(0, len(heard) - 999, 1000):  # whole clips, one after the other
        assert heard[start : start + 1000] == [heard[start] + i for i in range(1000)]


def test_a_clip_fits_the_device(tmp_path: Path) -> None:
    """Mono on both sides, stereo as it is, more channels mixed; the rate is the device's."""
    mono, stereo = tmp_path / "mono.wav", tmp_path / "stereo.wav"
    tone = np.sin(np.arange(22050) * 2 * np.pi * 441 / 22050).astype(np.float32)
    soundfile.write(mono, tone, 22050, subtype="FLOAT")
    soundfile.write(stereo, np.stack([tone, -tone], 1), 22050, subtype="FLOAT")
    same = read_clip(stereo, 22050, 2)
    assert np.array_equal(same, np.stack([tone, -tone], 1))
    both = read_clip(mono, 44100, 2)
    assert both.shape == (44100, 2)
    assert np.array_equal(both[:, 0], both[:, 1])
    wanted = np.sin(np.arange(44100) * 2 * np.pi * 441 / 44100)
    assert np.abs(both[1000:-1000, 0] - wanted[1000:-1000]).max() < 1e-4
    assert np.array_equal(read_clip(stereo, 22050, 1), np.zeros((22050, 1), np.float32))


def test_what_is_no_clip(tmp_path: Path) -> None:
    """A file that is missing or no audio is named."""
    (tmp_path / "text.wav").write_text("no")
    for name in ("none.wav", "text.wav"):
        with pytest.raises(SegueError, match=f"{name} cannot be listened to"):
            read_clip(tmp_path / name, RATE, 2)


@pytest.mark.parametrize("error", [ImportError("no module"), OSError("PortAudio not found")])
def test_without_sounddevice_or_portaudio(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The error names the extra, and what the system must bring."""
    real = builtins.__import__

    def missing(name: str, *arguments: Any, **more: Any) -> Any:
        if name == "sounddevice":
            raise error
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(SegueError, match=r"pip install 'segue\[audio\]'.*libportaudio2"):
        Audition()


@pytest.fixture(scope="module")
def sounddevice() -> Iterator[Any]:
    """PortAudio with a JACK server to see."""
    try:
        import sounddevice
    except (ImportError, OSError) as error:
        pytest.skip(f"{error}: pip install 'segue[audio]'; apt-get install libportaudio2")
    sounddevice._terminate()
    try:
        with jack_server():
            sounddevice._initialize()
            try:
                if not any("JACK" in api["name"] for api in sounddevice.query_hostapis()):
                    pytest.skip(f"PortAudio does not see JACK; {MISSING}")
                yield sounddevice
            finally:
                sounddevice._terminate()  # while the server is there: PortAudio insists
    finally:
        sounddevice._initialize()


class Listener:
    """Records what arrives at an input of JACK that our own output is connected to."""

    def __init__(self, sounddevice: Any) -> None:
        self.blocks: list[Samples] = []
        self._stream = sounddevice.InputStream(
            device="system", channels=2, samplerate=RATE, dtype="float32", callback=self._take
        )

    def _take(self, data: Samples, frames: int, when: Any, status: Any) -> None:
        self.blocks.append(data.copy())

    def __enter__(self) -> Listener:
        self._stream.start()
        until(lambda: len(ports("PortAudio:")) == 4, "PortAudio has not opened its ports")
        inputs, outputs = ports("PortAudio:in"), ports("PortAudio:out")
        for ours, source, capture in zip(inputs, outputs, ports("system:capture"), strict=True):
            disconnect(capture, ours)
            connect(source, ours)
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.close()

    def record(self, frames: int) -> Samples:
        """The next `frames` frames or a few more."""
        self.blocks = []
        until(lambda: sum(map(len, self.blocks)) >= frames, "nothing comes back")
        return np.concatenate(self.blocks)


def holds(recorded: Samples, wanted: Samples) -> bool:
    """Whether the samples stand in a recording somewhere, bit for bit."""
    starts = np.flatnonzero(recorded[: len(recorded) - len(wanted) + 1, 0] == wanted[0, 0])
    return any(np.array_equal(recorded[i : i + len(wanted)], wanted) for i in starts)


def test_what_is_played_comes_back_through_jack(sounddevice: Any, tmp_path: Path) -> None:
    """Noise loops through JACK and is heard bit for bit, seam included; then a newer clip.

    JACK on a busy machine drops a period now and then, so each is waited for a few times.
    """
    dice = np.random.default_rng(5)
    length = RATE // 4 + 1
    first, second = (dice.uniform(-0.9, 0.9, (length, 2)).astype(np.float32) for _ in "ab")
    for name, clip in (("first.wav", first), ("second.wav", second)):
        soundfile.write(tmp_path / name, clip, RATE, subtype="FLOAT")
    assert length % PERIOD != 0
    with Audition("system") as audition, Listener(sounddevice) as listener:
        assert audition.describe().startswith("system, 48000 Hz, ")
        assert 0 < audition.latency_seconds < 1
        round_and_round = np.concatenate([first, first[:500]])
        swapped = np.concatenate([first[-500:], second])
        for _ in range(TRIES):
            audition.play(tmp_path / "first.wav")
            if holds(listener.record(4 * length), round_and_round):
                break
        else:
            pytest.fail("a clip did not come back whole")
        for _ in range(TRIES):
            audition.play(tmp_path / "second.wav")
            if holds(listener.record(4 * length), swapped):
                break
            audition.play(tmp_path / "first.wav")
            listener.record(3 * length)
        else:
            pytest.fail("the newer clip did not come at the seam")


def test_a_clip_of_another_rate_comes_back_at_the_devices(sounddevice: Any, tmp_path: Path) -> None:
    """What is resampled on the way in is what comes out of JACK."""
    path = tmp_path / "tone.wav"
    tone = 0.5 * np.sin(np.arange(11025) * 2 * np.pi * 440 / 44100)
    soundfile.write(path, tone.astype(np.float32), 44100, subtype="FLOAT")
    wanted = read_clip(path, RATE, 2)
    with Audition("system") as audition, Listener(sounddevice) as listener:
        audition.play(path)
        assert any(holds(listener.record(4 * len(wanted)), wanted) for _ in range(TRIES))


def test_a_device_that_is_not_there(sounddevice: Any) -> None:
    """The error names the outputs there are."""
    with pytest.raises(SegueError, match=r"--device: no output 'Moon'.*there are: system"):
        Audition("Moon")
