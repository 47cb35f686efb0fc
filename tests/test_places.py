"""Every place and feature from audio file to audio file, with a tiny random model."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from segue.presets.vocabulary import Code, Progress, Request, Result, SegueError
from segue.server.audio_file import Waveform
from segue.server.clip_files import write_all
from segue.server.engine import Engine

RATE = 44100
FADE = round(0.2 * RATE)
TONE = np.sin(2 * np.pi * 220 * np.arange(4 * RATE) / RATE)[:, None] / 4
MUSIC = TONE + np.random.default_rng(0).standard_normal((4 * RATE, 2)) * 0.02


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Engine:
    """The engine as the server loads it, on a tiny model."""
    return Engine.load(str(tiny_model))


@pytest.fixture
def source(tmp_path: Path) -> dict[str, Any]:
    """Four seconds of music as a region."""
    soundfile.write(tmp_path / "in.wav", MUSIC, RATE, subtype="FLOAT")
    return {"path": str(tmp_path / "in.wav"), "start_seconds": 0.0, "length_seconds": 4.0}


def make(
    engine: Engine, folder: Path, *controls: dict[str, Any], **more: Any
) -> tuple[Result, np.ndarray]:
    """Run a request of two iterations; its result and clip."""
    settings = {"iterations": 2} | more.pop("settings", {})
    fields = {"id": "a", "seed": 1, "controls": controls, "settings": settings, **more}
    heard: list[Progress] = []
    result = engine.run(Request.model_validate(fields), folder / "out.wav", heard.append)
    fractions = [progress.fraction for progress in heard]
    assert fractions == sorted(fractions)
    clip = soundfile.read(folder / "out.wav")[0]
    assert np.isfinite(clip).all()
    assert len(clip) == result.length_samples
    return result, clip


def same(clip: np.ndarray, region: slice, at: int) -> bool:
    """Whether these of the music's samples stand in the clip from `at` on, unchanged."""
    music = MUSIC.astype(np.float32)[region]
    return np.array_equal(clip.astype(np.float32)[at : at + len(music)], music)


def test_before_the_region(engine: Engine, tmp_path: Path, source: dict[str, Any]) -> None:
    """The clip begins earlier; the region's own samples follow the fade."""
    result, clip = make(
        engine, tmp_path, {"kind": "outpaint", "side": "left"}, region=source, new_seconds=7.0
    )
    assert result.start_seconds == -7.0
    assert len(clip) == 11 * RATE
    assert same(clip, slice(FADE, None), 7 * RATE + FADE)
    assert np.abs(clip[: 7 * RATE]).max() > 0


def test_both_sides(engine: Engine, tmp_path: Path, source: dict[str, Any]) -> None:
    """As much on either side."""
    result, clip = make(
        engine, tmp_path, {"kind": "outpaint", "side": "both"}, region=source, new_seconds=1.5
    )
    assert (result.start_seconds, result.new_samples) == (-1.5, 3 * RATE)
    assert same(clip, slice(FADE, -FADE), round(1.5 * RATE) + FADE)


def test_gaps(engine: Engine, tmp_path: Path, source: dict[str, Any]) -> None:
    """As long as the region; everything that is no gap and no fade is its own samples."""
    gaps = [{"start": 1.0, "length": 0.5}, {"start": 2.5, "length": 0.75}]
    result, clip = make(engine, tmp_path, {"kind": "inpaint", "gaps": gaps}, region=source)
    assert len(clip) == 4 * RATE
    assert result.new_samples == round(1.25 * RATE)
    for start, stop in ((0, RATE - FADE), (round(1.5 * RATE) + FADE, round(2.5 * RATE) - FADE)):
        assert same(clip, slice(start, stop), start)
    assert not same(clip, slice(RATE, RATE + 100), RATE)


def test_a_loop(engine: Engine, tmp_path: Path, source: dict[str, Any]) -> None:
    """The new music ends where the region begins, so a fade lies at the clip's start too."""
    _, clip = make(engine, tmp_path, {"kind": "loop"}, region=source, new_seconds=1.0)
    assert len(clip) == 5 * RATE
    assert same(clip, slice(FADE, 4 * RATE - FADE), FADE)
    assert not same(clip, slice(0, 100), 0)


def test_a_variation(engine: Engine, tmp_path: Path, source: dict[str, Any]) -> None:
    """As long as the region, all of it new, and another one for another amount."""
    clips = [
        make(engine, tmp_path, {"kind": "vary", "amount": amount}, region=source)[1]
        for amount in (0.0, 0.5, 1.0)
    ]
    assert [len(clip) for clip in clips] == [4 * RATE] * 3
    assert not np.array_equal(clips[0], clips[1])
    assert not np.array_equal(clips[1], clips[2])


def test_out_of_nothing(engine: Engine, tmp_path: Path) -> None:
    """Stereo at the model's rate, of the length asked for, over several windows."""
    result, clip = make(engine, tmp_path, new_seconds=7.3)
    assert clip.shape == (round(7.3 * RATE), 2)
    assert result.start_seconds == 0


MELODY = {"kind": "melody", "notes": [{"start": 0.0, "length": 1.0, "pitch": 72}]}
RISE = {"kind": "intensity", "unit": "share", "points": [(0, 0), (1, 12)]}
ABA = {"kind": "structure", "sections": "ABA"}


WORDS = {"kind": "text", "text": "slow piano"}


@pytest.mark.parametrize(
    ("place", "features"),
    [
        *(("nothing", [feature]) for feature in (RISE, MELODY, ABA, WORDS)),
        *((place, [RISE, MELODY, ABA]) for place in ("outpaint", "left", "gap", "vary")),
    ],
)
def test_features_go_with_every_place(
    engine: Engine,
    tmp_path: Path,
    source: dict[str, Any],
    place: str,
    features: list[dict[str, Any]],
) -> None:
    """Each feature, and a sum anywhere, lowers a finite loss and changes the music."""
    gaps = [{"start": 1.0, "length": 2.0}]
    asked: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
        "outpaint": ([{"kind": "outpaint"}], {"region": source, "new_seconds": 2.0}),
        "left": (
            [{"kind": "outpaint", "side": "left"}],
            {"region": source, "new_seconds": 6.0},
        ),
        "gap": ([{"kind": "inpaint", "gaps": gaps}], {"region": source}),
        "nothing": ([], {"new_seconds": 6.5}),
        "vary": ([{"kind": "vary"}], {"region": source}),
    }
    where, more = asked[place]
    few = {"iterations": 4, "surrogate": "one"}
    result, clip = make(engine, tmp_path, *where, *features, settings=few, **more)
    _, plain = make(engine, tmp_path, *where, settings=few, **more)
    assert not np.array_equal(clip, plain)
    assert result.loss_last < result.loss_first


def test_the_best_that_differ(engine: Engine, tmp_path: Path) -> None:
    """Of four seeds the two best, the better one first; the first seed alone makes the same."""
    more = {"settings": {"seeds": 4, "keep": 2}}
    result, best = make(engine, tmp_path, RISE, new_seconds=2.0, **more)
    (other,) = result.variations
    assert other == str(tmp_path / "out~2.wav")
    assert not np.array_equal(soundfile.read(other)[0], best)
    singles = []
    for seed in range(1, 5):
        one, clip = make(engine, tmp_path, RISE, new_seconds=2.0, seed=seed)
        singles.append((one.loss_last, clip))
    singles.sort(key=lambda pair: pair[0])
    assert result.loss_last == pytest.approx(singles[0][0], rel=1e-4)
    np.testing.assert_allclose(best, singles[0][1], atol=1e-2)


@pytest.mark.parametrize(
    ("place", "new"), [({"kind": "outpaint", "side": "both"}, 1.5), ({"kind": "loop"}, 2.0)]
)
def test_an_overlay_completes_the_timeline(
    engine: Engine, tmp_path: Path, source: dict[str, Any], place: dict[str, Any], new: float
) -> None:
    """Laid over the untouched region it sounds as the clip does; so do the variations'."""
    settings = {"overlay": True, "seeds": 2, "keep": 2}
    result, clip = make(engine, tmp_path, place, region=source, new_seconds=new, settings=settings)
    assert result.overlay_path is not None
    assert result.overlay_start_seconds is not None
    offset = round(-result.start_seconds * RATE)
    first = round((result.overlay_start_seconds - result.start_seconds) * RATE)
    pairs = [(clip, result.overlay_path)]
    pairs += [
        (soundfile.read(path)[0], over)
        for path, over in zip(result.variations, result.variation_overlays, strict=True)
    ]
    assert len(pairs) == 2
    for whole, path in pairs:
        timeline = np.zeros_like(whole)
        timeline[offset : offset + len(MUSIC)] = MUSIC
        over = soundfile.read(path)[0]
        timeline[first : first + len(over)] += over
        np.testing.assert_allclose(timeline, whole, rtol=1e-6, atol=1e-6)
        assert np.abs(over[0]).max() > 0


def test_no_overlay_where_music_is_replaced(
    engine: Engine, tmp_path: Path, source: dict[str, Any]
) -> None:
    """Taking the old music away by its opposite would need a track without effects."""
    gaps = [{"start": 1.0, "length": 1.0}]
    result, _ = make(
        engine,
        tmp_path,
        {"kind": "inpaint", "gaps": gaps},
        region=source,
        settings={"overlay": True},
    )
    assert result.overlay_path is None
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["in.wav", "out.wav"]


def test_warming_up_leaves_nothing_behind(engine: Engine, tmp_path: Path) -> None:
    """Afterwards a clip is the same as without."""
    _, cold = make(engine, tmp_path, RISE, new_seconds=2.0)
    engine.warm()
    _, warm = make(engine, tmp_path, RISE, new_seconds=2.0)
    np.testing.assert_array_equal(cold, warm)
    assert not engine.slots


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_a_clip_is_no_louder_than_a_file_can_hold(
    engine: Engine, tmp_path: Path, source: dict[str, Any], subtype: str
) -> None:
    """An untrained model is far too loud; its peaks are turned down, and not cut."""
    soundfile.write(source["path"], MUSIC, RATE, subtype=subtype)
    _, clip = make(engine, tmp_path, {"kind": "outpaint"}, region=source, new_seconds=1.0)
    assert 0.999 < np.abs(clip).max() <= 1
    assert is_cut(np.clip(2 * clip, -1, 1))
    assert not is_cut(clip)


def is_cut(audio: np.ndarray) -> bool:
    """Whether a channel's peak is flat, by what 16 bits tell apart."""
    full = np.abs(audio) > np.abs(audio).max() - 2**-15
    return bool((full[1:] & full[:-1]).any())


SLOT = {"iterations": 12, "slot": "knob", "surrogate": "one"}


def test_a_slot_goes_on_from_where_it_was(engine: Engine, tmp_path: Path) -> None:
    """The second job of a slot starts at the loss the first one ended with."""
    more: dict[str, Any] = {"new_seconds": 2.0, "settings": SLOT}
    first, _ = make(engine, tmp_path, RISE, **more)
    second, _ = make(engine, tmp_path, RISE, **more)
    other, _ = make(engine, tmp_path, RISE, new_seconds=2.0, settings=SLOT | {"slot": "other"})
    assert second.loss_first == pytest.approx(first.loss_last, rel=1e-4)
    assert other.loss_first == pytest.approx(first.loss_first, rel=1e-4)


def test_a_slot_goes_on_from_a_job_that_was_stopped(engine: Engine, tmp_path: Path) -> None:
    """From the best of the window it was at, and from older noise behind that."""

    class StoppedError(Exception):
        """As a worker ends a job."""

    losses: list[float] = []

    def stop(progress: Progress) -> None:
        losses.append(progress.loss or 0.0)
        if len(losses) == 16:
            raise StoppedError

    more: dict[str, Any] = {"new_seconds": 8.0, "settings": SLOT | {"slot": "stopped"}}
    make(engine, tmp_path, RISE, **more)
    before = list(engine.slots["stopped"])
    fields = {"id": "b", "seed": 1, "controls": (RISE | {"start": 0.0},), **more}
    with pytest.raises(StoppedError):
        engine.run(Request.model_validate(fields), tmp_path / "b.wav", stop)
    after = engine.slots["stopped"]
    assert [a.equal(b) for a, b in zip(before, after, strict=True)] == [False, False]
    third, _ = make(engine, tmp_path, RISE, **more)
    assert third.loss_first < losses[0]


def test_a_folder_that_was_removed_meanwhile_is_made_again(
    engine: Engine, tmp_path: Path, source: dict[str, Any]
) -> None:
    """Such as that of the results, by somebody who tidies up: what was made is not lost."""
    fields = {"id": "a", "seed": 1, "new_seconds": 1.0, "region": source}
    asked = Request.model_validate(fields | {"settings": {"iterations": 2}})
    results = tmp_path / "results"
    results.mkdir()

    def tidy(progress: Progress) -> None:
        shutil.rmtree(results, ignore_errors=True)

    result = engine.run(asked, results / "a.wav", tidy)
    assert [path.name for path in results.iterdir()] == ["a.wav"]
    assert soundfile.info(result.path).frames == result.length_samples


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """Where a file has its name."""
    (tmp_path / "results").write_text("no folder")
    wave = Waveform(MUSIC, RATE, "PCM_16")
    with pytest.raises(SegueError, match=r"can't write .*results") as caught:
        write_all({tmp_path / "results" / "a.wav": wave})
    assert caught.value.code is Code.DISK


def test_a_time_limit_returns_the_best_so_far(engine: Engine, tmp_path: Path) -> None:
    """However many iterations were asked for."""
    more = {"settings": {"iterations": 1000, "within_seconds": 0.01}}
    result, clip = make(engine, tmp_path, RISE, new_seconds=2.0, **more)
    assert len(clip) == 2 * RATE
    assert result.taken_seconds < 20


def test_a_time_limit_is_shared_by_both_searches_of_a_variation(
    engine: Engine, tmp_path: Path, source: dict[str, Any]
) -> None:
    """The one for its noise and the one for what is asked of the varied: half each."""
    seconds: list[float] = []  # an iteration takes one
    controls = [{"kind": "vary"}, RISE]
    settings = {"iterations": 100, "within_seconds": 20.0}
    fields = {"id": "a", "seed": 1, "controls": controls, "settings": settings, "region": source}

    def listen(progress: Progress) -> None:
        if progress.stage == "optimizing":
            seconds.append(progress.fraction)

    timed = replace(engine, clock=lambda: float(len(seconds)))
    timed.run(Request.model_validate(fields), tmp_path / "out.wav", listen)
    iterations = [round(fraction / 0.9 * 200) for fraction in seconds]
    assert iterations == [1, 2, 3, 4, 5, 101, 102, 103, 104, 105]


@pytest.mark.parametrize("surrogate", ["one", "adaptive", "full"])
def test_other_surrogates(engine: Engine, tmp_path: Path, surrogate: str) -> None:
    """M = 1, 2, 4 and M = T end in a clip too."""
    settings = {"surrogate": surrogate, "iterations": 8, "decode_steps": 6}
    faster = {"space": "elements", "learning_rate": 0.03}
    result, _ = make(engine, tmp_path, RISE, new_seconds=2.0, settings=settings | faster)
    assert result.loss_last <= result.loss_first


def test_controls_that_clash_are_tried_and_said(engine: Engine, tmp_path: Path) -> None:
    """Up and down at once."""
    fall = RISE | {"points": [(0, 0), (1, -12)]}
    result, _ = make(engine, tmp_path, RISE, fall, new_seconds=2.0)
    said = "2 controls of kind intensity: where they overlap, the clip is a compromise"
    assert result.notes[0] == said


@pytest.mark.parametrize(
    ("control", "said"),
    [
        (RISE | {"unit": "seconds", "start": 3.0}, "there are only 2.00 s of new music"),
        (
            {"kind": "melody", "notes": [{"start": 9.0, "length": 1.0, "pitch": 60}]},
            "melody",
        ),
        ({"kind": "structure", "sections": "AAAA"}, "letter"),
        ({"kind": "text", "text": "xyzzy"}, "xyzzy"),
    ],
)
def test_targets_that_do_not_fit(
    engine: Engine, tmp_path: Path, control: dict[str, Any], said: str
) -> None:
    """An error that says so, and no file."""
    with pytest.raises(SegueError, match=said):
        make(engine, tmp_path, control, new_seconds=2.0)
    assert not (tmp_path / "out.wav").exists()


def test_words_for_a_part_of_a_long_clip(engine: Engine, tmp_path: Path) -> None:
    """The first window, which nothing is asked of, is made all the same."""
    make(engine, tmp_path, WORDS | {"start": 7.0}, new_seconds=8.0)


def test_a_plan_for_a_part(engine: Engine, tmp_path: Path, source: dict[str, Any]) -> None:
    """A region's plan holds for as long as is asked: for another stretch it is other music."""
    made = [
        make(engine, tmp_path, {"kind": "structure", "like": source, **part}, new_seconds=4.0)[1]
        for part in ({}, {"start": 0.0, "length": 4.0}, {"start": 2.0, "length": 1.5})
    ]
    np.testing.assert_array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


@pytest.mark.parametrize(
    ("level", "curve"),
    [
        (0.8, {"points": [(0, 1), (1, 1)], "scale": "share"}),
        (0.002, {"points": [(0, 0), (1, -60)]}),
    ],
)
def test_a_curve_beside_loud_or_soft_music(
    engine: Engine, tmp_path: Path, source: dict[str, Any], level: float, curve: dict[str, Any]
) -> None:
    """A knob all the way up after a loud master, a fader all the way down after a soft end."""
    soundfile.write(source["path"], np.sign(MUSIC) * level, RATE, subtype="FLOAT")
    asked = {"kind": "intensity", "unit": "share"} | curve
    make(engine, tmp_path, {"kind": "outpaint"}, asked, region=source, new_seconds=1.0)


def test_silence_and_features(engine: Engine, tmp_path: Path) -> None:
    """A silent region with a rise and a melody: finite samples."""
    soundfile.write(tmp_path / "in.wav", np.zeros((2 * RATE, 2)), RATE)
    region = {"path": str(tmp_path / "in.wav"), "start_seconds": 0.0, "length_seconds": 2.0}
    make(engine, tmp_path, {"kind": "outpaint"}, RISE, MELODY, region=region, new_seconds=1.0)
