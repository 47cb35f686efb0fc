"""Previews: heard at once, then now and then, and gone with their job."""

from __future__ import annotations

import shutil
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from segue.presets.controls import Outpaint
from segue.presets.vocabulary import Preview, Progress, Request, Settings
from segue.server import preview
from segue.server.audio_file import Waveform
from segue.server.ditto.weights import save_decoder, write_manifest
from segue.server.engine import Engine
from segue.server.preview import Previews
from segue.server.store import Store
from tests.test_engine import ignore, write_music
from tests.tiny import quick_request, random_decoder

RATE = 44100
WAVE = Waveform(np.zeros((RATE, 2)), RATE, "PCM_16")


class Clock:
    """Goes on when told to."""

    now = 100.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


@pytest.mark.parametrize(("taken", "pause"), [(0.0, 1.0), (0.1, 1.0), (0.5, 2.5)])
def test_the_first_at_once_then_on_a_cadence(tmp_path: Path, taken: float, pause: float) -> None:
    """Every second; where one takes long, it takes a fifth of the time."""
    clock, made = Clock(), list[float]()

    def make() -> Waveform:
        made.append(clock.now)
        clock.now += taken
        return WAVE

    previews = Previews(tmp_path / "a.wav", clock)
    first = previews.show(make, 1.5)
    assert first == Preview(
        number=1,
        path=str(tmp_path / "a~preview.wav"),
        start_seconds=1.5,
        length_samples=RATE,
        sample_rate=RATE,
    )
    clock.now = 100.0 + pause - 0.01
    assert previews.show(make, 1.5) == first
    clock.now = 100.0 + pause
    second = previews.show(make, 1.5)
    assert second is not None
    assert (second.number, second.path) == (2, first.path)
    assert made == pytest.approx([100.0, 100.0 + pause])
    assert soundfile.info(first.path).frames == RATE
    previews.close()
    assert list(tmp_path.iterdir()) == []
    previews.close()


def test_one_that_cannot_be_written_is_left_out(tmp_path: Path) -> None:
    """The job goes on, and tries again when the next one is due."""
    clock = Clock()
    previews, made = Previews(tmp_path / "none" / "a.wav", clock), list[float]()

    def make() -> Waveform:
        made.append(clock.now)
        return WAVE

    assert previews.show(make, 0.0) is previews.show(make, 0.0) is None
    (tmp_path / "none").mkdir()
    clock.now += preview.EVERY_SECONDS
    shown = previews.show(make, 0.0)
    assert shown is not None
    assert shown.number == 1
    assert made == [100.0, 101.0]


def test_a_file_that_is_held_on_to_does_not_spoil_the_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a player on Windows does; the next server to open the folder removes it."""
    with closing(Store(tmp_path)) as store:
        previews = Previews(store.result_path("a"), Clock())
        assert previews.show(lambda: WAVE, 0.0) is not None

        def refuse(path: Path, *, missing_ok: bool = False) -> None:
            raise PermissionError(path)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", refuse)
            previews.close()
    assert previews.path.is_file()
    with closing(Store(tmp_path)):
        assert not previews.path.exists()


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Engine:
    """A tiny model without a decoder in torch: previews come from the shipped one."""
    return Engine.load(str(tiny_model))


def wanted(path: Path, *, previews: bool) -> Request:
    """Two windows, three iterations each."""
    request = quick_request(path, 2.0, 7.0)
    return request.model_copy(update={"settings": Settings(iterations=3, previews=previews)})


def test_a_preview_is_the_clip_so_far(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heard from the first iteration on, as long as the clip; the clip itself does not change."""
    monkeypatch.setattr(preview, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(preview, "MOST_TIME", 1.0)
    source = write_music(tmp_path / "in.wav", RATE, 2, "PCM_16")
    own = soundfile.read(source, dtype="int16", always_2d=True)[0]
    heard: list[np.ndarray] = []
    numbers: list[int] = []

    def listen(progress: Progress) -> None:
        assert progress.preview is not None
        assert Path(progress.preview.path).is_file()
        if progress.stage == "optimizing":
            numbers.append(progress.preview.number)
            heard.append(soundfile.read(progress.preview.path, dtype="int16", always_2d=True)[0])

    shown = engine.run(wanted(source, previews=True), tmp_path / "a.wav", listen)
    engine.run(wanted(source, previews=False), tmp_path / "b.wav", ignore)
    assert numbers == [1, 2, 3, 4, 5, 6]
    assert all(len(audio) == shown.length_samples for audio in heard)
    untouched = 2 * RATE - round(0.2 * RATE)
    assert all(np.array_equal(audio[:untouched], own[:untouched]) for audio in heard)
    assert all(np.abs(audio[2 * RATE :]).max() > 0 for audio in heard)
    assert not any(np.array_equal(a, b) for a, b in pairwise(heard))
    a, b = (soundfile.read(tmp_path / f"{name}.wav")[0] for name in "ab")
    assert np.array_equal(a, b)
    assert not list(tmp_path.glob("*preview*"))


@pytest.mark.parametrize("side", ["right", "left"])
def test_what_is_not_made_yet_is_silent(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    """Of a clip of several windows, in every preview before the last window is begun."""
    monkeypatch.setattr(preview, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(preview, "MOST_TIME", 1.0)
    source = write_music(tmp_path / "in.wav", RATE, 2, "PCM_16")
    outward = slice(None) if side == "right" else slice(None, None, -1)
    levels: list[list[float]] = []

    def listen(progress: Progress) -> None:
        if progress.stage == "optimizing":
            assert progress.preview is not None
            audio = soundfile.read(progress.preview.path)[0][outward]
            levels.append([float(np.abs(audio[i * RATE :][:RATE]).max()) for i in (6, 8)])

    place = Outpaint.model_validate({"side": side})
    asked = wanted(source, previews=True).model_copy(update={"controls": (place,)})
    engine.run(asked, tmp_path / "a.wav", listen)
    made, behind = np.transpose(levels)
    assert made.min() > 0.01
    assert behind[:3].max() < 0.001
    assert behind[3:].min() > 0.01


def test_previews_are_decoded_roughly_where_the_model_has_it_in_torch(
    tiny_model: Path, tmp_path: Path
) -> None:
    """As many samples as the shipped decoder makes, without its iterations."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    save_decoder(folder / "decoder.safetensors", random_decoder(), {})
    write_manifest(folder)
    engine = Engine.load(str(folder))
    assert engine.sketch is not None
    mel = torch.randn(256, 40, generator=torch.Generator().manual_seed(0)) - 5
    rough, fine = engine.sketch(mel), engine.decode(mel)
    assert rough.shape == fine.shape
    assert np.abs(rough - fine).max() > 0
    rough_level, fine_level = ((x**2).reshape(40, -1).mean(1) for x in (rough, fine))
    assert np.corrcoef(rough_level, fine_level)[0, 1] > 0.9


def test_without_anything_to_search_for_there_is_none(engine: Engine, tmp_path: Path) -> None:
    """Plain samples come at once anyway."""
    asked = Request(
        id="x", new_seconds=1.0, seed=1, controls=(), settings=Settings(iterations=3, previews=True)
    )
    told: list[Progress] = []
    engine.run(asked, tmp_path / "a.wav", told.append)
    assert {each.preview for each in told} == {None}


def test_a_job_that_ends_early_leaves_no_preview(engine: Engine, tmp_path: Path) -> None:
    """Such as one that was cancelled."""
    source = write_music(tmp_path / "in.wav", RATE, 2, "PCM_16")

    def cancel(progress: Progress) -> None:
        assert progress.preview is not None
        assert Path(progress.preview.path).is_file()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.run(wanted(source, previews=True), tmp_path / "a.wav", cancel)
    assert [path.name for path in tmp_path.iterdir()] == ["in.wav"]
