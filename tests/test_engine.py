"""The engine from audio file to audio file, with a tiny random model: real files, real ONNX."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from torch import Tensor

from segue.presets.vocabulary import Code, Progress, Request, SegueError, State
from segue.server.ditto.mel import MelScale
from segue.server.ditto.network import NetworkConfig
from segue.server.ditto.weights import save_generator, write_manifest
from segue.server.engine import Engine
from tests.tiny import NETWORK, SCALE, STUDENT, quick_request, random_network

FADE_SECONDS = 0.2
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Engine:
    """The engine as the server loads it, on a tiny model."""
    return Engine.load(str(tiny_model))


def write_music(path: Path, rate: int, channels: int, subtype: str, seconds: float = 2.0) -> Path:
    """A chord with noise over it, at a moderate level."""
    t = np.arange(round(seconds * rate)) / rate
    chord = np.sin(2 * np.pi * np.outer(t, (220.0, 277.2, 329.6))).sum(axis=1) / 10
    noise = RNG.standard_normal((len(t), channels)) * 0.02
    soundfile.write(path, chord[:, None] + noise, rate, subtype=subtype)
    return path


def ignore(progress: Progress) -> None:
    """Nobody listens."""


@pytest.mark.parametrize(
    ("rate", "channels", "subtype", "new_seconds"),
    [
        (44100, 2, "PCM_16", 3.0),
        (44100, 1, "PCM_24", 1.23456),
        (48000, 2, "PCM_24", 6.0),
        (48000, 1, "FLOAT", 0.5),
        (96000, 2, "PCM_32", 2.0),
        (96000, 1, "PCM_16", 1.0),
        (8000, 2, "DOUBLE", 0.01),
    ],
)
def test_every_format_comes_back_as_it_went_in(
    engine: Engine, tmp_path: Path, rate: int, channels: int, subtype: str, new_seconds: float
) -> None:
    """Same rate, channels and subtype; the exact length; the region's bits before the fade."""
    source = write_music(tmp_path / "in.wav", rate, channels, subtype)
    result = engine.run(quick_request(source, 2.0, new_seconds), tmp_path / "out.wav", ignore)
    info = soundfile.info(tmp_path / "out.wav")
    assert (info.samplerate, info.channels, info.subtype) == (rate, channels, subtype)
    assert result.new_samples == round(new_seconds * rate)
    assert info.frames == result.length_samples == 2 * rate + result.new_samples
    kind = "int32" if subtype.startswith("PCM") else "float64"
    before = soundfile.read(source, dtype=kind, always_2d=True)[0]
    after = soundfile.read(tmp_path / "out.wav", dtype=kind, always_2d=True)[0]
    own = 2 * rate - round(FADE_SECONDS * rate)
    assert np.array_equal(after[:own], before[:own])
    assert np.isfinite(after).all()
    assert np.abs(after[2 * rate :]).max() > 0


def test_same_request_same_samples(engine: Engine, tmp_path: Path) -> None:
    """Twice the same request is bit for bit the same; another seed is other music."""
    source = write_music(tmp_path / "in.wav", 44100, 2, "PCM_16")
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        request = quick_request(source, 2.0, 2.0, seed)
        engine.run(request, tmp_path / f"{name}.wav", ignore)
    a, b, c = (soundfile.read(tmp_path / f"{n}.wav")[0] for n in "abc")
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_tags_ask_for_other_music(engine: Engine, tmp_path: Path) -> None:
    """A tag changes the music, and so does how strictly it is meant."""
    source = write_music(tmp_path / "in.wav", 44100, 2, "PCM_16")
    made = []
    styles: list[dict[str, Any]] = [{}, {"tags": ("drums",)}]
    for i, style in enumerate([*styles, {"tags": ("drums",), "guidance": 4.0}]):
        plain = quick_request(source, 2.0, 2.0)
        settings = plain.settings.model_copy(update=style)
        request = plain.model_copy(update={"settings": settings})
        engine.run(request, tmp_path / f"{i}.wav", ignore)
        made.append(soundfile.read(tmp_path / f"{i}.wav")[0])
    assert not np.array_equal(made[0], made[1])
    assert not np.array_equal(made[1], made[2])


def test_an_unknown_tag_names_those_there_are(engine: Engine, tmp_path: Path) -> None:
    """A model knows the tags it was trained with, and says them."""
    source = write_music(tmp_path / "in.wav", 44100, 2, "PCM_16")
    plain = quick_request(source, 2.0, 2.0)
    settings = plain.settings.model_copy(update={"tags": ("kazoo",)})
    with pytest.raises(SegueError, match=r"knows no tag 'kazoo'; it knows: calm, drums, piano"):
        engine.run(plain.model_copy(update={"settings": settings}), tmp_path / "out.wav", ignore)
    assert not (tmp_path / "out.wav").exists()


def polished(request: Request, steps: int | None) -> Request:
    """The same with that much polish."""
    settings = request.settings.model_copy(update={"polish": steps})
    return request.model_copy(update={"settings": settings})


def test_the_base_model_polishes(engine: Engine, tiny_model: Path, tmp_path: Path) -> None:
    """A continuation is another with it, the same one each time; without it none can be asked."""
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    teacher = random_network(1, replace(STUDENT, guided=False))
    save_generator(folder / "base.safetensors", teacher, SCALE, {})
    write_manifest(folder)
    request = quick_request(write_music(tmp_path / "in.wav", 44100, 2, "PCM_16"), 2.0, 2.0)
    made = []
    for i, steps in enumerate((None, 10, 0)):
        Engine.load(str(folder)).run(polished(request, steps), tmp_path / f"{i}.wav", ignore)
        made.append(soundfile.read(tmp_path / f"{i}.wav")[0])
    assert np.array_equal(made[0], made[1])
    assert not np.array_equal(made[1], made[2])
    with pytest.raises(SegueError, match=r"base\.safetensors, which is not there: leave"):
        engine.run(polished(request, 10), tmp_path / "out.wav", ignore)
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        (NETWORK, SCALE),
        (replace(STUDENT, guided=False), MelScale(SCALE.mean + 1, SCALE.std)),
        (STUDENT, SCALE),
    ],
)
def test_another_models_base_is_refused(
    tiny_model: Path, tmp_path: Path, config: NetworkConfig, scale: MelScale
) -> None:
    """One that knows other tags or other mels, or is a student itself."""
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    save_generator(folder / "base.safetensors", random_network(1, config), scale, {})
    write_manifest(folder)
    with pytest.raises(
        SegueError, match=r"not what the generator was distilled from: export with its"
    ):
        Engine.load(str(folder))


def test_other_jobs_in_between_change_nothing(engine: Engine, tmp_path: Path) -> None:
    """No state leaks from one job into the next."""
    source = write_music(tmp_path / "in.wav", 44100, 2, "FLOAT")
    engine.run(quick_request(source, 2.0, 1.0), tmp_path / "a.wav", ignore)
    engine.run(quick_request(source, 1.0, 7.0, seed=5), tmp_path / "x.wav", ignore)
    engine.run(quick_request(source, 2.0, 1.0), tmp_path / "b.wav", ignore)
    a, b = (soundfile.read(tmp_path / f"{n}.wav")[0] for n in "ab")
    assert np.array_equal(a, b)


def test_progress_rises_through_its_stages(engine: Engine, tmp_path: Path) -> None:
    """Every iteration is heard of, the fraction never falls, decoding comes last."""
    source = write_music(tmp_path / "in.wav", 44100, 2, "PCM_16")
    heard: list[Progress] = []
    result = engine.run(quick_request(source, 2.0, 8.0), tmp_path / "out.wav", heard.append)
    fractions = [p.fraction for p in heard]
    assert fractions == sorted(fractions)
    assert [p.stage for p in heard] == [State.OPTIMIZING] * 6 + [State.DECODING] * 2
    losses = [p.loss for p in heard if p.loss is not None]
    assert result.loss_first == pytest.approx((losses[0] + losses[3]) / 2)
    last = (losses[2] + losses[5]) / 2  # the only iteration through as many steps as are decoded
    assert result.loss_last == pytest.approx(last)


@pytest.mark.parametrize("stage", [State.OPTIMIZING, State.DECODING])
def test_cancelling_leaves_nothing(engine: Engine, tmp_path: Path, stage: State) -> None:
    """What the listener raises ends the run at once, and no file appears."""

    def stop(progress: Progress) -> None:
        if progress.stage == stage:
            raise KeyboardInterrupt

    source = write_music(tmp_path / "in.wav", 44100, 2, "PCM_16")
    with pytest.raises(KeyboardInterrupt):
        engine.run(quick_request(source, 2.0, 2.0), tmp_path / "out.wav", stop)
    assert [p.name for p in tmp_path.iterdir()] == ["in.wav"]


def test_a_stop_is_heard_between_the_clips_that_are_decoded(engine: Engine, tmp_path: Path) -> None:
    """Of two that are kept the second is not decoded any more."""
    heard: list[Progress] = []

    def stop(progress: Progress) -> None:
        heard.append(progress)
        if [p.stage for p in heard[-2:]] == [State.DECODING] * 2:
            raise KeyboardInterrupt

    decoded: list[Tensor] = []

    def decode(mel: Tensor) -> np.ndarray:
        decoded.append(mel)
        return engine.decode(mel)

    source = write_music(tmp_path / "in.wav", 44100, 2, "PCM_16")
    request = quick_request(source, 2.0, 2.0)
    settings = request.settings.model_copy(update={"seeds": 2, "keep": 2})
    with pytest.raises(KeyboardInterrupt):
        replace(engine, decode=decode).run(
            request.model_copy(update={"settings": settings}), tmp_path / "out.wav", stop
        )
    assert len(decoded) == 1


def test_silence_is_continued_without_a_fault(engine: Engine, tmp_path: Path) -> None:
    """A silent region is music too: finite samples of the right length."""
    soundfile.write(tmp_path / "in.wav", np.zeros((44100, 2)), 44100)
    engine.run(quick_request(tmp_path / "in.wav", 1.0, 1.0), tmp_path / "out.wav", ignore)
    made = soundfile.read(tmp_path / "out.wav")[0]
    assert made.shape == (88200, 2)
    assert np.isfinite(made).all()


def test_a_region_shorter_than_the_overlap_is_all_overlap(engine: Engine, tmp_path: Path) -> None:
    """Half a second is enough to go on from."""
    source = write_music(tmp_path / "in.wav", 44100, 2, "PCM_16", 0.5)
    result = engine.run(quick_request(source, 0.5, 1.0), tmp_path / "out.wav", ignore)
    assert result.length_samples == 22050 + 44100


def test_missing_model_names_those_there_are(tmp_path: Path) -> None:
    """A wrong name is an error that says what to use."""
    with pytest.raises(SegueError) as caught:
        Engine.load("no-such-model")
    assert caught.value.code == Code.NO_MODEL
    assert "no-such-model" in caught.value.text
