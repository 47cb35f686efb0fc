"""Training: it learns, stops and goes on bit for bit, and refuses what cannot work."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from segue.export import distill as distilling
from segue.export import loop, train_decoder
from segue.export import sharpen as sharpening
from segue.export import train as training
from segue.export.curve import Curve
from segue.export.dataset import read_scale
from segue.export.distill import DistillConfig, distill
from segue.export.packed import read_index, write_index
from segue.export.sharpen import SharpenConfig, sharpen
from segue.export.train import TrainConfig, draw_levels, train
from segue.export.train_decoder import DecoderTraining
from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.ctm import Denoiser
from segue.server.ditto.decoder import DecoderConfig
from segue.server.ditto.mel import MelConfig, MelScale
from segue.server.ditto.network import NetworkConfig, SegueSmall
from segue.server.ditto.schedule import RectifiedFlow, Schedule
from segue.server.ditto.weights import (
    check_teacher,
    load_decoder,
    load_generator,
    read_notes,
    save_generator,
    start_from,
)
from tests.music import write_data

FLOW = RectifiedFlow()
NETWORK = NetworkConfig(frames=16, width=32, depth=1, heads=2, conv_width=16, conv_blocks=1)
RECIPE = TrainConfig(steps=10, batch=2, warmup=2, network=NETWORK)
Kill = Callable[[object, str, int], None]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few seconds of training data."""
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def teacher(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model of ten steps."""
    return train(data, tmp_path_factory.mktemp("teacher"), RECIPE, "cpu")


def test_held_out_error_is_in_the_units_of_the_weights(data: Path) -> None:
    """Fresh weights say 0, so twice the deviation in their statistics is a quarter of the error."""
    net, own, cpu = SegueSmall(NETWORK), read_scale(data), torch.device("cpu")
    wider = MelScale(own.mean, 2 * own.std)
    first, second = (training.held_out_measure(net, s, data, cpu) for s in (own, wider))
    assert first is not None
    assert second is not None
    expected = {name: error / 4 for name, error in first().items()}
    assert second() == pytest.approx(expected, rel=1e-4)


@pytest.fixture(scope="module")
def tagged(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A base model of thirty steps that knows two tags, and its state after ten of them."""
    folder = tmp_path_factory.mktemp("tagged")
    recipe = TrainConfig(steps=30, batch=4, warmup=2, rate=1e-2, network=NETWORK, snapshots=(10,))
    base = train(data, folder, recipe, "cpu")
    for path in (base, folder / "step-00010.safetensors"):
        _, scale = load_generator(path)
        network = start_from(path, replace(NETWORK, tags=("calm", "drums")))
        save_generator(path, network, scale, read_notes(path))
    return base, folder / "step-00010.safetensors"


@pytest.fixture
def line_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of the curve every two steps."""
    monkeypatch.setattr(loop, "LOG_STEPS", 2)


@pytest.fixture
def checkpoint_often(line_often: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint with each line, and no picture with each checkpoint: they take a second."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(Curve, "draw", lambda curve: None)


@pytest.fixture
def kill(monkeypatch: pytest.MonkeyPatch) -> Kill:
    """`kill(module, loss, n)`: the run dies as that module's loss is asked for the n-th time."""

    def arm(module: object, name: str, call: int) -> None:
        loss, calls = getattr(module, name), iter(range(1, 1000))

        def deadly(*arguments: object) -> object:
            if next(calls) == call:
                raise KeyboardInterrupt
            return loss(*arguments)

        monkeypatch.setattr(module, name, deadly)

    return arm


def curve(folder: Path) -> list[tuple[str, str]]:
    """Step and loss of each line; the third column is wall-clock time."""
    lines = (folder / "curve.tsv").read_text().splitlines()
    return [(step, loss) for step, loss, _ in (line.split("\t") for line in lines)]


def checkpoint_step(folder: Path) -> int:
    """The step a run would go on from."""
    return int(torch.load(folder / "checkpoint.pt", weights_only=True)["step"])


def assert_same_run(a: Path, b: Path) -> None:
    """Two weights files hold the same bits, and their folders the same curve."""
    one, other = load_file(a), load_file(b)
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    assert curve(a.parent) == curve(b.parent)


def test_training_lowers_the_loss(
    data: Path, tmp_path: Path, line_often: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sixty steps on a few seconds of music are enough to see it."""
    recipe = TrainConfig(steps=60, batch=4, warmup=2, rate=1e-2, network=NETWORK)
    path = train(data, tmp_path, recipe, "cpu")
    losses = [float(loss) for _, loss in curve(tmp_path)]
    assert len(losses) == 30
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    assert load_generator(path)[0].config == NETWORK
    assert "steps=60" in read_notes(path)["train"]
    held_out = (tmp_path / "heldout.tsv").read_text().splitlines()[-1].split("\t")
    name = f"x0 error at t = {training.HELD_OUT_LEVELS[-1]}"
    assert held_out[:2] == ["60", name]
    assert f"{name}: {held_out[2]}" in capsys.readouterr().out
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_killed_training_goes_on_to_the_same_weights(
    data: Path, tmp_path: Path, checkpoint_often: None, kill: Kill
) -> None:
    """Stopped between two checkpoints, it ends with the bits and the curve of an unbroken run."""
    whole = train(data, tmp_path / "whole", RECIPE, "cpu")
    kill(training, "base_loss", 8)
    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path / "killed", RECIPE, "cpu")
    assert checkpoint_step(tmp_path / "killed") == 6
    with (tmp_path / "killed" / "curve.tsv").open("a") as file:
        file.write("8\t0.1\t1\n")  # the checkpoint that should follow never came
    assert_same_run(train(data, tmp_path / "killed", RECIPE, "cpu"), whole)


def test_killed_sharpening_goes_on_to_the_same_weights(
    data: Path, tagged: tuple[Path, Path], tmp_path: Path, checkpoint_often: None, kill: Kill
) -> None:
    """The same for a base model that is sharpened."""
    recipe = SharpenConfig(steps=8, batch=2, warmup=2)
    whole = sharpen(data, *tagged, tmp_path / "whole", recipe, "cpu")
    kill(sharpening, "sharpening_loss", 6)
    with pytest.raises(KeyboardInterrupt):
        sharpen(data, *tagged, tmp_path / "killed", recipe, "cpu")
    assert checkpoint_step(tmp_path / "killed") == 4
    assert_same_run(sharpen(data, *tagged, tmp_path / "killed", recipe, "cpu"), whole)


def test_killed_distillation_goes_on_to_the_same_weights(
    data: Path, teacher: Path, tmp_path: Path, checkpoint_often: None, kill: Kill
) -> None:
    """The same for the student."""
    recipe = DistillConfig(steps=8, batch=2, warmup=2)
    whole = distill(data, teacher, tmp_path / "whole", recipe, "cpu")
    kill(distilling, "consistency_loss", 6)
    with pytest.raises(KeyboardInterrupt):
        distill(data, teacher, tmp_path / "killed", recipe, "cpu")
    assert checkpoint_step(tmp_path / "killed") == 4
    assert_same_run(distill(data, teacher, tmp_path / "killed", recipe, "cpu"), whole)
    assert set(read_notes(whole)) == {"data", "train", "distill"}


def test_killed_decoder_goes_on_to_the_same_weights(
    data: Path, tmp_path: Path, checkpoint_often: None, kill: Kill
) -> None:
    """The same for the decoder."""
    network = DecoderConfig(width=16, depth=1, griffin_lim=1)
    recipe = DecoderTraining(steps=6, batch=1, frames=16, warmup=2, network=network)

    def run(name: str) -> Path:
        return train_decoder.train_decoder(data, tmp_path / name, recipe, "cpu")

    whole = run("whole")
    kill(train_decoder, "decoder_loss", 6)
    with pytest.raises(KeyboardInterrupt):
        run("killed")
    assert checkpoint_step(tmp_path / "killed") == 4
    assert_same_run(run("killed"), whole)
    assert load_decoder(whole).config == network


def test_finished_training_does_nothing_more(data: Path, teacher: Path) -> None:
    """Asked again, it writes the same weights without a step."""
    before = load_file(teacher)
    after = load_file(train(data, teacher.parent, RECIPE, "cpu"))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_loss_that_is_not_finite_stops_the_run(
    data: Path, tmp_path: Path, checkpoint_often: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence says what to do, and the last good checkpoint is the one that stays."""
    loss, calls = training.base_loss, iter(range(1, 1000))
    monkeypatch.setattr(
        training, "base_loss", lambda *a: loss(*a) * (math.nan if next(calls) == 6 else 1)
    )
    with pytest.raises(SegueError, match=r"at step 5.*lower --rate"):
        train(data, tmp_path, RECIPE, "cpu")
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["step"] == 4
    assert all(weight.isfinite().all() for weight in state["model"].values())


def test_gradient_that_is_not_finite_stops_the_run(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finite loss may have an infinite slope; no weight takes it."""

    def root_at_zero(denoise: Denoiser, _: Schedule, x_0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        return (0 * denoise(x_0, t)).square().sum().sqrt()

    monkeypatch.setattr(training, "base_loss", root_at_zero)
    with pytest.raises(SegueError, match="gradient nan at step 0"):
        train(data, tmp_path, RECIPE, "cpu")


def test_checkpoint_of_another_model_is_refused(data: Path, tmp_path: Path) -> None:
    """So is a file that is no checkpoint; neither is overwritten."""
    (tmp_path / "checkpoint.pt").write_bytes(b"nothing of the kind")
    with pytest.raises(SegueError, match="give --out another folder"):
        train(data, tmp_path, RECIPE, "cpu")
    assert (tmp_path / "checkpoint.pt").read_bytes() == b"nothing of the kind"
    wide = NetworkConfig(frames=16, width=64, depth=1, heads=2, conv_width=16, conv_blocks=1)
    train(data, tmp_path / "a", TrainConfig(steps=1, batch=1, network=NETWORK), "cpu")
    with pytest.raises(SegueError, match="give --out another folder"):
        train(data, tmp_path / "a", TrainConfig(steps=1, batch=1, network=wide), "cpu")


def test_a_run_keeps_its_mels_when_the_music_changes(data: Path, tmp_path: Path) -> None:
    """Its weights are used to the statistics it began with."""
    path = train(data, tmp_path / "base", replace(RECIPE, steps=1), "cpu")
    _, first = load_generator(path)
    more = copytree(data, tmp_path / "more")
    np.save(more / "scale.npy", np.load(data / "scale.npy") * 2)
    for steps in (1, 2):
        _, scale = load_generator(train(more, path.parent, replace(RECIPE, steps=steps), "cpu"))
        assert torch.equal(scale.mean, first.mean)
        assert torch.equal(scale.std, first.std)


def test_a_run_whose_tags_changed_is_refused(data: Path, tmp_path: Path) -> None:
    """As many of other names would fit the weights, and each would mean another's."""
    tagged, recipe = copytree(data, tmp_path / "tagged"), replace(RECIPE, steps=1)
    rows = read_index(data)
    write_index([replace(row, tags=("calm", "house")) for row in rows], tagged)
    path = train(tagged, tmp_path / "base", recipe, "cpu")
    before = path.read_bytes()
    write_index([replace(row, tags=("acid", "calm")) for row in rows], tagged)
    with pytest.raises(SegueError, match=r"another list of tags; .* give --out another folder"):
        train(tagged, path.parent, recipe, "cpu")
    assert path.read_bytes() == before


def test_missing_audio_is_said_before_training(data: Path, tmp_path: Path) -> None:
    """The decoder reads the sources themselves; one that is gone is named at once."""
    moved = write_data(tmp_path / "moved")
    (moved / "a.wav").unlink()
    with pytest.raises(SegueError, match=r"a\.wav is gone") as caught:
        train_decoder.train_decoder(moved, tmp_path / "out", DecoderTraining(), "cpu")
    assert caught.value.code == Code.MISSING_FILE


@pytest.mark.parametrize("content", [None, b"RIFF"])
def test_audio_that_goes_while_the_decoder_learns_is_named(
    tmp_path: Path, content: bytes | None
) -> None:
    """A loop moved or saved anew during a long training: one sentence that says what to do."""
    moved = write_data(tmp_path / "moved")
    windows = train_decoder.AudioWindows(moved, "train", MelConfig())
    for name in ("a.wav", "b.wav"):
        (moved / name).unlink()
        if content is not None:
            (moved / name).write_bytes(content)
    with pytest.raises(SegueError, match=r"can't read .*\.wav: .*; run `segue data` again"):
        windows.draw(1, 64, torch.Generator())


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"batch": 0}, {"rate": 0.0}, {"rate": math.nan}, {"rate": math.inf}]
)
def test_pace_that_cannot_work_is_refused(wrong: dict[str, float]) -> None:
    """Counts from 1, a rate between 0 and 1."""
    with pytest.raises(SegueError, match="at least 1"):
        TrainConfig(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("frames", [1, 16])
def test_audio_windows_are_the_sources_own_samples(data: Path, frames: int) -> None:
    """Stereo of exactly frames x hop samples, the same for the same generator."""
    audio = train_decoder.AudioWindows(data, "train", MelConfig())
    a, b = (audio.draw(3, frames, torch.Generator().manual_seed(0)) for _ in range(2))
    assert a.shape == (3, 2, frames * 512)
    assert torch.equal(a, b)
    assert float(a.abs().max()) > 0.1


def test_levels_lean_to_the_noisy_end_and_keep_their_limits() -> None:
    """Never below the lowest level, where 1/t would blow up, never above t_max."""
    t = draw_levels(10000, torch.Generator().manual_seed(0), FLOW)
    assert float(t.min()) >= training.LOWEST_T
    assert float(t.max()) <= FLOW.t_max
    assert float(t.median()) > 0.5


def test_weights_on_the_way_are_kept(data: Path, teacher: Path, tmp_path: Path) -> None:
    """A file for each snapshot, of the last step the same bytes as what the run ends with."""
    base = train(data, tmp_path / "base", replace(RECIPE, snapshots=(4, 10)), "cpu")
    pace = DistillConfig(steps=2, batch=1, snapshots=(1, 2))
    student = distill(data, teacher, tmp_path / "ctm", pace, "cpu")
    for path, early, last in ((base, 4, 10), (student, 1, 2)):
        kept = sorted(each.name for each in path.parent.glob("step-*"))
        assert kept == [f"step-{step:05d}.safetensors" for step in (early, last)]
        early_bytes, last_bytes = ((path.parent / name).read_bytes() for name in kept)
        assert early_bytes != last_bytes == path.read_bytes()
        assert read_notes(path.parent / kept[0]) == read_notes(path)


def test_snapshots_asked_for_too_late_are_told(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run goes on and keeps those that are still to come; one that is there isn't missed."""
    train(data, tmp_path, replace(RECIPE, steps=4, snapshots=(4,)), "cpu")
    capsys.readouterr()
    train(data, tmp_path, replace(RECIPE, steps=6, snapshots=(2, 3, 4, 6)), "cpu")
    told = capsys.readouterr().out
    assert f"{tmp_path} is past step 2, 3, and what it was then was not kept" in told
    assert "give --out another folder to have that snapshot" in told
    kept = sorted(each.name for each in tmp_path.glob("step-*"))
    assert kept == ["step-00004.safetensors", "step-00006.safetensors"]


def test_sharpening_lowers_the_loss(
    data: Path, tagged: tuple[Path, Path], tmp_path: Path, line_often: None
) -> None:
    """The base comes nearer to what the two say, and keeps sizes, tags, mels and notes."""
    before = [path.read_bytes() for path in tagged]
    recipe = SharpenConfig(steps=60, batch=4, rate=1e-2, warmup=2)
    path = sharpen(data, *tagged, tmp_path, recipe, "cpu")
    losses = [float(loss) for _, loss in curve(tmp_path)]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    (base, scale), (sharp, its_scale) = load_generator(tagged[0]), load_generator(path)
    assert sharp.config == base.config == replace(NETWORK, tags=("calm", "drums"))
    assert torch.equal(its_scale.mean, scale.mean)
    assert torch.equal(its_scale.std, scale.std)
    notes, old = read_notes(path), read_notes(tagged[0])
    assert notes.keys() == {"data", "train", "sharpen"}
    assert notes["train"] == old["train"]
    assert "amount=2.0, lowest_t=0.5" in notes["sharpen"]
    assert (tmp_path / "heldout.tsv").read_text().splitlines()[-1].startswith("60\t")
    assert [path.read_bytes() for path in tagged] == before


def test_sharpening_starts_from_the_base_and_goes_as_far_as_asked(
    data: Path, tagged: tuple[Path, Path], tmp_path: Path
) -> None:
    """At a rate of next to nothing: the further the more loss, within what no frame may exceed
    (without that, four times as much at twice the amount); no level, no loss."""
    losses, first = list[float](), load_file(tagged[0])
    still = SharpenConfig(steps=1, batch=4, rate=1e-12, amount=2.0)
    for recipe in (still, replace(still, amount=4.0), replace(still, lowest_t=0.9995)):
        path = sharpen(data, *tagged, tmp_path / str(len(losses)), recipe, "cpu")
        made = load_file(path)
        assert all(torch.allclose(made[name], first[name], atol=1e-6, rtol=0) for name in first)
        losses.append(float(curve(path.parent)[0][1]))
    near, far, none = losses
    assert 0 == none < near < far < 4 * near


def test_a_sharpened_model_is_a_teacher(
    data: Path, tagged: tuple[Path, Path], tmp_path: Path
) -> None:
    """It is distilled like any base model, and ships with a student of the base it comes from."""
    recipe, pace = SharpenConfig(steps=1, batch=1), DistillConfig(steps=1, batch=1)
    sharp = sharpen(data, *tagged, tmp_path / "sharp", recipe, "cpu")
    old = distill(data, tagged[0], tmp_path / "old", pace, "cpu")
    new = distill(data, sharp, tmp_path / "new", pace, "cpu")
    assert "sharpen" in read_notes(new)
    for student in (old, new):
        check_teacher(sharp, *load_generator(sharp), *load_generator(student))


def test_a_model_that_is_no_earlier_state_is_refused(
    data: Path, tagged: tuple[Path, Path], tmp_path: Path
) -> None:
    """Other mels (mean or deviation), tags or sizes: said with what to give, nothing written."""
    base, weaker = tagged
    net, scale = load_generator(weaker)
    other, out = tmp_path / "other.safetensors", tmp_path / "sharp"
    for model, its_scale in (
        (net, MelScale(scale.mean + 1, scale.std)),
        (net, MelScale(scale.mean, 2 * scale.std)),
        (start_from(weaker, replace(net.config, tags=("calm",))), scale),
        (start_from(weaker, replace(net.config, tags=("drums", "calm"))), scale),
        (SegueSmall(replace(NETWORK, tags=net.config.tags, depth=2)), scale),
    ):
        save_generator(other, model, its_scale, {})
        with pytest.raises(
            SegueError, match=r"other\.safetensors is not an earlier state.*`segue train --snap"
        ):
            sharpen(data, base, other, out, SharpenConfig(steps=1), "cpu")
    assert not out.exists()


@pytest.mark.parametrize("place", [0, 1])
def test_a_distilled_model_is_not_sharpened(
    data: Path, tagged: tuple[Path, Path], tmp_path: Path, place: int
) -> None:
    """Nor is it a weaker one: the file at fault is named."""
    out = tmp_path / "sharp"
    student = distill(data, tagged[0], tmp_path, DistillConfig(steps=1, batch=1), "cpu")
    pair = ((student, tagged[1]), (tagged[0], student))[place]
    with pytest.raises(SegueError, match=r"generator\.safetensors is distilled; give the base"):
        sharpen(data, *pair, out, SharpenConfig(steps=1), "cpu")
    assert not out.exists()


def test_neither_model_is_sharpened_in_its_own_folder(
    data: Path, tagged: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint there would be gone on from, and the base be written over."""
    base, weaker = tagged
    (tmp_path / weaker.name).write_bytes(weaker.read_bytes())
    monkeypatch.chdir(tmp_path)
    before = base.read_bytes()
    for out in (base.parent, tmp_path):
        with pytest.raises(SegueError, match="holds the base model or the weaker one; give --out"):
            sharpen(data, base, Path(weaker.name), out, SharpenConfig(steps=1), "cpu")
    assert base.read_bytes() == before


def test_both_methods_are_distilled(data: Path, teacher: Path, tmp_path: Path) -> None:
    """Both make a student of the teacher's shape; a third method is an error that lists them."""
    for method in ("ctm", "cm"):
        recipe = DistillConfig(method=method, steps=2, batch=1)
        path = distill(data, teacher, tmp_path / method, recipe, "cpu")
        assert load_generator(path)[0].config == replace(NETWORK, guided=True)
    with pytest.raises(SegueError, match="no method 'lcm'; there are: ctm, cm"):
        DistillConfig(method="lcm")


def test_a_distillation_of_another_teacher_or_method_is_refused(
    data: Path, teacher: Path, tmp_path: Path
) -> None:
    """Its student would be passed off as one of those; the weights that are there stay."""
    recipe = DistillConfig(method="cm", steps=1, batch=1)
    path = distill(data, teacher, tmp_path / "cm", recipe, "cpu")
    other = train(data, tmp_path / "other", replace(RECIPE, seed=1), "cpu")
    before = path.read_bytes()
    for asked, method, wrong in ((other, "cm", "teacher"), (teacher, "ctm", "method")):
        with pytest.raises(SegueError, match=f"of a run with another {wrong}; .*give --out"):
            distill(data, asked, path.parent, replace(recipe, method=method), "cpu")
    assert path.read_bytes() == before
    said_anew = tmp_path / "base.safetensors"
    save_generator(said_anew, *load_generator(teacher), {"data": "measured again"})
    distill(data, said_anew, path.parent, recipe, "cpu")
    assert load_generator(path)[0].config.guided


def test_a_sharpening_of_other_models_or_another_amount_is_refused(
    data: Path, tagged: tuple[Path, Path], tmp_path: Path
) -> None:
    """Trying amounts in one folder would give the first one's weights each time."""
    recipe, (base, weaker) = SharpenConfig(steps=1, batch=1), tagged
    path = sharpen(data, base, weaker, tmp_path / "sharp", recipe, "cpu")
    before = path.read_bytes()
    for pair, amount, wrong in (
        ((base, weaker), 3.0, "amount"),
        ((base, base), 2.0, "weaker model"),
        ((weaker, weaker), 2.0, "base model"),
    ):
        with pytest.raises(SegueError, match=f"of a run with another {wrong}; .*give --out"):
            sharpen(data, *pair, path.parent, replace(recipe, amount=amount), "cpu")
    with pytest.raises(SegueError, match="of a run with another "):
        train(data, path.parent, RECIPE, "cpu")
    assert path.read_bytes() == before


def test_distillation_can_start_from_another_student(
    data: Path, teacher: Path, tmp_path: Path
) -> None:
    """At a rate of next to nothing the weights are the start's, not the teacher's."""
    recipe = DistillConfig(method="cm", steps=8, batch=1, rate=0.05, warmup=1)
    cm = distill(data, teacher, tmp_path / "cm", recipe, "cpu")
    still = DistillConfig(steps=1, batch=1, rate=1e-12)
    ctm = distill(data, teacher, tmp_path / "ctm", still, "cpu", start=cm)
    ours, theirs, first = (load_file(path) for path in (ctm, cm, teacher))
    name = next(name for name in theirs if name.endswith("qkv.weight") or "blocks" in name)
    torch.testing.assert_close(ours[name], theirs[name], atol=1e-6, rtol=0)
    assert not torch.allclose(ours[name], first[name], atol=1e-6, rtol=0)


def test_a_student_is_no_teacher(data: Path, teacher: Path, tmp_path: Path) -> None:
    """It was not trained to be followed in twenty steps; what to give instead is said."""
    cm = distill(data, teacher, tmp_path / "cm", DistillConfig(steps=1, batch=1), "cpu")
    with pytest.raises(SegueError, match=r"generator\.safetensors is distilled; give --teacher"):
        distill(data, cm, tmp_path / "ctm", DistillConfig(steps=1, batch=1), "cpu")
    assert not (tmp_path / "ctm").exists()


def test_a_student_of_other_mels_is_refused(data: Path, teacher: Path, tmp_path: Path) -> None:
    """Two weights that normalise mels differently do not fit together, and that is said."""
    net, scale = load_generator(teacher)
    other = tmp_path / "other.safetensors"
    save_generator(other, net, MelScale(scale.mean + 1, scale.std), {})
    with pytest.raises(SegueError, match="was trained on other mels"):
        distill(data, teacher, tmp_path / "ctm", DistillConfig(steps=1), "cpu", start=other)
