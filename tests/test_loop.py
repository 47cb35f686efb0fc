"""The training loop: what it keeps, what it draws, and several processes that are one training."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn

from segue.export import loop
from segue.export.curve import Curve
from segue.export.loop import Learner, Pace, learn
from segue.presets.vocabulary import Code, SegueError
from tests import toy_training
from tests.compiler import needs_compiler
from tests.toy_training import PACE, Toy, toy_learner, toy_loss, toy_run, without_end


@pytest.fixture(autouse=True)
def line_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of the curve every two steps."""
    monkeypatch.setattr(loop, "LOG_STEPS", 2)


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """The system lets no file grow beyond `size` bytes, as if the disk were full there."""
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))


def losses(folder: Path) -> list[list[str]]:
    """Step and loss of each line; the third column is wall-clock time."""
    return [line.split("\t")[:2] for line in (folder / "curve.tsv").read_text().splitlines()]


def test_companions_go_on_too(tmp_path: Path) -> None:
    """A second network and its optimizer come back from the checkpoint; an unknown one may join."""
    judge = nn.Linear(3, 1)
    sgd = torch.optim.SGD(judge.parameters(), lr=0.5, momentum=0.5)
    judge(torch.ones(1, 3)).sum().backward()
    sgd.step()
    toy_learner(tmp_path, judge=judge, sgd=sgd).save()
    other = nn.Linear(3, 1)
    other_sgd = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.5)
    third = nn.Linear(2, 2)
    before = third.weight.clone()
    toy_learner(tmp_path, judge=other, sgd=other_sgd, third=third)
    assert torch.equal(other.weight, judge.weight)
    assert other_sgd.state_dict()["param_groups"] == sgd.state_dict()["param_groups"]
    momentum = other_sgd.state[other.weight]["momentum_buffer"]
    assert torch.equal(momentum, sgd.state[judge.weight]["momentum_buffer"])
    assert torch.equal(third.weight, before)


def test_lost_companion_is_refused(tmp_path: Path) -> None:
    """A checkpoint with a discriminator is not gone on from without one: it would be lost."""
    toy_learner(tmp_path, judge=nn.Linear(3, 1)).save()
    with pytest.raises(SegueError, match="not of this training"):
        toy_learner(tmp_path)


def test_a_finished_run_says_that_nothing_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what to give; also when it is asked for fewer steps than it has had."""
    toy_run(toy_learner(tmp_path))
    for steps in (8, 5):
        capsys.readouterr()
        toy_run(toy_learner(tmp_path, Pace(steps=steps, batch=4, rate=0.01, ema_rate=0.9)))
        said = f"{tmp_path} has had 8 steps, and nothing is left to do; give more --steps, or --out"
        assert capsys.readouterr().out == f"{said} another folder to begin anew\n"


def test_killed_run_ends_with_the_same_tables_and_snapshots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Loss, held-out values and the averages at steps 3 and 8 are those of an unbroken run."""
    whole = toy_run(toy_learner(tmp_path / "whole"))
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    without_end(lambda: toy_run(toy_learner(tmp_path / "killed"), 7))
    with (tmp_path / "killed" / "heldout.tsv").open("a") as file:
        file.write("8\tsum\t1.0\n")  # of a step after the last checkpoint, which was at 6
    with (tmp_path / "killed" / "curve.tsv").open("a") as file:
        file.write("6\t0.1")  # cut short by a full disk
    killed = toy_run(toy_learner(tmp_path / "killed"))
    assert f"going on from step 6 in {tmp_path / 'killed'}\n" in capsys.readouterr().out
    assert list(whole) == [3, 8]
    assert list(killed) == [8]
    assert torch.equal(killed[8], whole[8])
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    heldout = (tmp_path / "whole" / "heldout.tsv").read_text()
    assert (tmp_path / "killed" / "heldout.tsv").read_text() == heldout
    steps = [line.split("\t")[:2] for line in heldout.splitlines()]
    assert steps == [[str(step), name] for step in (3, 6, 8) for name in ("sum", "size")]


def test_snapshot_is_the_average_of_its_step(tmp_path: Path) -> None:
    """The average a run of three steps ends with, at the same rate of learning."""
    flat = Pace(steps=8, batch=4, rate=0.01, ema_rate=0.9, warmup=99, snapshots=(3,))
    short = Pace(steps=3, batch=4, rate=0.01, ema_rate=0.9, warmup=99)
    snapshot = toy_run(toy_learner(tmp_path / "a", flat))[3]
    learner = toy_learner(tmp_path / "b", short)
    toy_run(learner)
    assert torch.equal(learner.ema.blocks.weight, snapshot)


@pytest.mark.parametrize("step", [0, 9])
def test_snapshot_that_never_comes_is_refused(step: int) -> None:
    """Steps count from 1 to the last."""
    with pytest.raises(SegueError, match="steps from 1 to 8"):
        Pace(steps=8, batch=1, rate=0.01, ema_rate=0.9, snapshots=(4, step))


def test_picture_has_a_panel_for_each_table(tmp_path: Path) -> None:
    """With held-out values it is twice as high as without."""
    from matplotlib.image import imread

    curve = Curve(tmp_path)
    assert curve.add(20, 1.5, 3.2) == "20\t1.50000\t3"
    assert curve.draw() is None
    small = imread(tmp_path / "curve.png")
    curve.add_held_out(20, {"t = 0.2": 0.5, "t = 0.8": -0.1})
    assert curve.draw() is None
    large = imread(tmp_path / "curve.png")
    assert large.shape == (2 * small.shape[0], *small.shape[1:])
    assert large.min() < large.max()


def test_training_goes_on_without_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is no picture, and a line says why."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    learner = toy_learner(tmp_path)
    toy_run(learner)
    assert learner.step == 8
    assert f"no {tmp_path / 'curve.png'}: " in capsys.readouterr().out
    assert not (tmp_path / "curve.png").exists()


def test_full_disk_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    """The sentence says so, the checkpoint can be gone on from, and no half file fills the disk."""
    learner = toy_learner(tmp_path)
    learner.step = 1
    learner.save()
    good = (tmp_path / "checkpoint.pt").read_bytes()
    learner.step = 2
    with room_for(len(good) // 2), pytest.raises(SegueError, match="before it is whole") as caught:
        learner.save()
    assert caught.value.code == Code.DISK
    assert (tmp_path / "checkpoint.pt").read_bytes() == good
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert toy_learner(tmp_path).step == 1


def test_full_disk_during_a_run_is_said(tmp_path: Path) -> None:
    """The table that could not grow is named; the run goes on from the checkpoint before."""
    first = toy_learner(tmp_path)
    first.save()
    (tmp_path / "curve.tsv").write_text("0\t1.0\t0\n")
    with room_for(10), pytest.raises(SegueError, match=r"curve\.tsv: .*checkpoint is whole"):
        toy_run(toy_learner(tmp_path))
    again = toy_learner(tmp_path)
    toy_run(again)
    assert [step for step, _ in losses(tmp_path)] == ["0", "2", "4", "6", "8"]


def test_throughput_counts_the_windows_since_the_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two steps of four windows, a quarter of a second each, are 16 windows a second."""
    ticks = iter(range(1000))
    monkeypatch.setattr(time, "monotonic", lambda: next(ticks) / 4)
    toy_run(toy_learner(tmp_path))
    printed = capsys.readouterr().out.splitlines()
    lines = [line.split("\t")[2:] for line in printed if "\t" in line]
    assert lines == [[f"{round(step / 4)} s", "16.0 windows/s"] for step in (2, 4, 6, 8)]


@pytest.mark.slow
def test_two_processes_are_one_training(tmp_path: Path) -> None:
    """Both end with the same bits, those of one process that takes the mean of both losses."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node"]
    script = Path(toy_training.__file__)
    subprocess.run([*command, "2", script, tmp_path], check=True, timeout=120, capture_output=True)
    states = [torch.load(tmp_path / f"rank-{n}.pt", weights_only=True) for n in (0, 1)]
    expected = mean_of_two(tmp_path / "single", [state["generator"] for state in states])
    for state in states:
        for name, weight in expected.state_dict().items():
            assert torch.equal(state["whole"][name], weight)
            assert torch.equal(state["again"][name], weight)
        assert state["gone_on_from"] == 4
    assert [state["snapshots"] for state in states] == [[3, 8], []]
    assert losses(tmp_path / "whole") == losses(tmp_path / "killed") == losses(tmp_path / "single")
    with pytest.raises(SegueError, match="is of 2 processes, and now there are 1"):
        toy_learner(tmp_path / "whole")


def mean_of_two(folder: Path, ends: list[torch.Tensor]) -> Toy:
    """Train one process on the batches of two; each generator must end in the state given."""
    generators = [torch.Generator().manual_seed(1 + 1_000_003 * rank) for rank in (0, 1)]
    learner: Learner[Toy] = toy_learner(folder)

    def loss() -> torch.Tensor:
        one, two = (toy_loss(learner.model, g, rank) for rank, g in enumerate(generators))
        return (one + two) / 2

    learn(learner, loss)
    assert PACE.seed == 0
    assert [g.get_state().tolist() for g in generators] == [end.tolist() for end in ends]
    return learner.model


@needs_compiler
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # of what the compiler imports
def test_compiled_a_loss_trains_the_same_weights() -> None:
    """It is the network as it stands, before a step and after."""
    layer = nn.Linear(3, 3)
    network = nn.Sequential(layer, nn.Tanh())
    assert loop.in_the_loss(network, False) is network
    compiled, x = loop.in_the_loss(network, True), torch.ones(2, 3)
    for _ in range(2):
        (expected,) = torch.autograd.grad(network(x).sum(), layer.bias)
        compiled(x).sum().backward()
        assert layer.bias.grad is not None
        assert torch.allclose(layer.bias.grad, expected)
        with torch.no_grad():
            layer.bias.add_(1)
        network.zero_grad()


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a step is taken."""

    def no_compiler(network: object) -> None:
        raise RuntimeError("no g++")

    monkeypatch.setattr(torch, "compile", no_compiler)
    with pytest.raises(SegueError, match=r"leave out --compiled.*no g"):
        loop.in_the_loss(nn.Linear(1, 1), True)
