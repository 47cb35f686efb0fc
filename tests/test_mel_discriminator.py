"""Adversarial distillation: what tells a student's mels from music, and what it makes of that."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from segue.export import distill as distilling
from segue.export import loop
from segue.export.distill import DistillConfig, adversarial_loss, distill, one_and_two_steps
from segue.export.mel_discriminator import MADE_KEPT, REAL_KEPT, Features, MelJury, Memory
from segue.export.train import TrainConfig, train
from segue.presets.vocabulary import SegueError
from segue.server.ditto.network import NetworkConfig, SegueSmall
from segue.server.ditto.schedule import RectifiedFlow
from tests.music import write_data

FLOW, CPU = RectifiedFlow(), torch.device("cpu")
NETWORK = NetworkConfig(frames=16, width=32, depth=3, heads=2, conv_width=16, conv_blocks=1)
RECIPE = DistillConfig(steps=6, batch=2, warmup=2, adversarial_from=0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few seconds of training data."""
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def teacher(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model of two steps."""
    recipe = TrainConfig(steps=2, batch=2, warmup=1, network=NETWORK)
    return train(data, tmp_path_factory.mktemp("teacher"), recipe, "cpu")


def jury(config: NetworkConfig = NETWORK) -> MelJury:
    """One whose weights, and whose base's, are the same every time."""
    torch.manual_seed(0)
    return MelJury(SegueSmall(config), CPU)


def steady_and_changing(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(8, 256, 16) whose frames are all alike, and ones whose frames are not."""
    steady = 3 * torch.randn(8, 256, 1, generator=generator).expand(-1, -1, 16)
    return steady.contiguous(), 3 * torch.randn(8, 256, 16, generator=generator)


def test_jury_learns_to_tell_a_steady_sound_from_a_changing_one() -> None:
    """From undecided, a hinge loss of 2, to half of it in thirty calls; the base stays as it is."""
    judges, generator = jury(), torch.Generator().manual_seed(0)
    base = judges.ears.base[0]
    before = {name: value.clone() for name, value in base.state_dict().items()}
    losses = []
    for _ in range(30):
        steady, changing = steady_and_changing(generator)
        losses.append(float(judges.judge(steady, changing, 1.0)[1]))
    assert losses[0] == pytest.approx(2, abs=0.2)
    assert sum(losses[-5:]) / 5 < 1
    assert all(torch.equal(value, before[name]) for name, value in base.state_dict().items())


def test_what_follows_the_pull_passes_for_music() -> None:
    """A step against the gradient raises the scores under the same noise."""
    judges, generator = jury(), torch.Generator().manual_seed(0)
    for _ in range(10):
        judges.judge(*steady_and_changing(generator), 1.0)
    made, real = steady_and_changing(generator)
    seed = judges.memory.calls
    pull, _ = judges.judge(made, real, 0.0)  # at a rate of nought the jury stays as it is
    scores = []
    for moved in (made, made - pull / pull.norm()):
        features = judges.ears.features(moved, torch.Generator().manual_seed(seed))
        scores.append(sum(each.mean().item() for each in judges.ears(features)))
    assert scores[1] > scores[0]


def call(number: int) -> Features:
    """What a call of two rows might have seen: its own number."""
    return [torch.full((2, 3, 4), float(number)), torch.full((2, 5, 1), float(number))]


def test_memory_forgets_the_oldest_and_draws_the_latest_of_what_is_made() -> None:
    """After a hundred calls what is drawn is of the last twelve, and of the last sixty."""
    memory, generator = Memory(), torch.Generator().manual_seed(0)
    for number in range(100):
        memory.add(call(number), call(-number))
    drawn = [memory.draw(generator) for _ in range(200)]
    assert {tuple(each.shape) for made, _ in drawn for each in made} == {(8, 3, 4), (8, 5, 1)}
    assert all(float(made[0][-1, 0, 0]) == 99 for made, _ in drawn)
    made, real = ({float(x) for pair in drawn for x in pair[k][1].flatten()} for k in (0, 1))
    assert made == set(range(100 - MADE_KEPT, 100))
    assert real == {-number for number in range(100 - REAL_KEPT, 100)}


def test_memory_from_a_checkpoint_is_drawn_onto_the_device_of_what_is_made() -> None:
    """A checkpoint is read to the CPU; `meta` stands for another device."""
    before, memory = Memory(), Memory()
    before.add(call(0), call(0))
    memory.load_state_dict(before.state_dict())
    made, real = ([each.to("meta") for each in call(1)] for _ in range(2))
    memory.add(made, real)
    drawn = memory.draw(torch.Generator().manual_seed(0))
    assert {each.device.type for features in drawn for each in features} == {"meta"}
    assert memory.calls == 2


def test_both_steps_of_an_exact_student_are_its_data() -> None:
    """For data that is one point c the estimate is c wherever it starts."""
    c = torch.randn(1, 3, 4)
    x_T = torch.randn(2, 3, 4)
    made = one_and_two_steps(lambda x, t: c.expand_as(x), FLOW, x_T, torch.Generator())
    assert torch.equal(made, c.expand(4, -1, -1))


def test_each_step_learns_by_itself() -> None:
    """The second step's start is given: D = a x has the slope x_T + x_t, not that of x_t in a."""
    starts = []
    a = torch.tensor(0.5, requires_grad=True)

    def student(x: Tensor, t: Tensor) -> Tensor:
        starts.append(x)
        return a * x

    made = one_and_two_steps(student, FLOW, torch.randn(2, 3, 4), torch.Generator().manual_seed(0))
    made.sum().backward()
    torch.testing.assert_close(a.grad, torch.stack(starts).sum())


def test_pull_is_as_strong_as_an_error_of_its_size() -> None:
    """Its slope has the root mean square of a mean squared error's, whatever the jury feels."""
    made, real = steady_and_changing(torch.Generator().manual_seed(0))
    made.requires_grad_()
    for scale in (1.0, 1000.0):
        judges = jury()
        for name, weights in judges.ears.heads.named_parameters():
            if name.endswith("4.weight"):
                weights.data *= scale
        loss = adversarial_loss(judges, made, real, torch.tensor(0.25))
        (slope,) = torch.autograd.grad(loss, made)
        error = torch.full_like(made, 0.25, requires_grad=True)
        (expected,) = torch.autograd.grad(error.square().mean(), error)
        assert float(slope.square().mean().sqrt()) == pytest.approx(
            float(expected.mean()), rel=1e-4
        )


def test_pull_grows_from_the_step_on_that_it_is_given() -> None:
    """Nothing until then, half of it twenty steps on, all of it in forty and from there on."""
    recipe = DistillConfig(adversarial_from=40)
    assert [recipe.heed(step) for step in (0, 40, 60, 80, 1000)] == [0, 0, 0.5, 1, 1]


def test_killed_adversarial_distillation_goes_on_to_the_same_weights(
    data: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Discriminators, their optimizer and their memory are in the checkpoint: the same bits."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "LOG_STEPS", 2)
    whole = load_file(distill(data, teacher, tmp_path / "whole", RECIPE, "cpu"))
    judge, calls = MelJury.judge, iter(range(1, 100))

    def deadly(self: MelJury, *arguments: object) -> object:
        if next(calls) == 5:
            raise KeyboardInterrupt
        return judge(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(MelJury, "judge", deadly)
    with pytest.raises(KeyboardInterrupt):
        distill(data, teacher, tmp_path / "killed", RECIPE, "cpu")
    assert torch.load(tmp_path / "killed" / "checkpoint.pt", weights_only=True)["step"] == 4
    gone_on = load_file(distill(data, teacher, tmp_path / "killed", RECIPE, "cpu"))
    assert [name for name in whole if not torch.equal(whole[name], gone_on[name])] == []
    unheeded = replace(RECIPE, adversarial_from=RECIPE.steps)
    plain = load_file(distill(data, teacher, tmp_path / "unheeded", unheeded, "cpu"))
    assert any(not torch.equal(whole[name], plain[name]) for name in whole)


def test_half_the_windows_start_from_pure_noise_when_they_are_judged(
    data: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a jury none is set aside."""
    started = list[Tensor]()
    loss = distilling.consistency_loss

    def watched(*arguments: object) -> Tensor:
        started.append(arguments[5])  # type: ignore[arg-type]
        return loss(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(distilling, "consistency_loss", watched)
    recipe = DistillConfig(steps=4, batch=6, warmup=2, adversarial_from=0)
    distill(data, teacher, tmp_path / "judged", recipe, "cpu")
    distill(data, teacher, tmp_path / "plain", replace(recipe, adversarial_from=None), "cpu")
    at_t_max = [int((t[:3] > 0.9989).sum()) for t in started]
    assert at_t_max[:4] == [3] * 4
    assert sum(at_t_max[4:]) < 12


def test_a_batch_of_one_has_no_half() -> None:
    """What to do is said before anything is read."""
    with pytest.raises(SegueError, match=r"discriminators need a --batch of 2"):
        DistillConfig(batch=1, adversarial_from=0)


def test_nan_stops_the_run_before_any_step() -> None:
    """The jury has not learned from it."""
    judges = jury()
    before = [p.clone() for p in judges.discriminators.parameters()]
    real = torch.zeros(2, 256, 16)
    with pytest.raises(SegueError, match=r"discriminators' loss is nan.*lower --rate"):
        judges.judge(real * math.nan, real, 1.0)
    after = judges.discriminators.parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_discriminators_are_small() -> None:
    """Next to the base that they look through, which is not kept with them."""
    ears = jury(NetworkConfig()).ears
    assert sum(p.numel() for p in ears.parameters()) < 400_000
    assert {name.split(".")[0] for name in ears.state_dict()} == {"heads"}
