"""The benchmark: what it counts, what it makes of it, and all of it on a tiny model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch.nn import functional as F

from segue.bridge.cli.bench_transport import Answer, Served
from segue.export.bench import floor, machine, tables, tasks
from segue.export.bench.paper import PAPER_SECONDS, NetworkCost
from segue.export.bench.runs import Job, repeated
from segue.export.bench.suite import Bench, BenchConfig
from segue.export.bench.tasks import CM, CONTINUED, DITTO, OURS, SHIPPED, TASKS
from segue.export.bench.timing import (
    DECODE,
    ONNX,
    OPTIMIZE,
    PARTS,
    READ,
    SEAM,
    WRITE,
    Cost,
    Recorder,
    measure,
)
from segue.export.evaluation.tables import Table
from segue.presets.vocabulary import Progress, Request, SegueError, State
from segue.server.ditto.ctm import decode_multistep
from segue.server.ditto.schedule import RectifiedFlow, even_grid
from segue.server.engine import DECODED_SHARE, Engine
from segue.server.search import OPTIMIZING_SHARE
from tests.test_cli import invoke
from tests.test_evaluate_controls import engine_of
from tests.test_evaluate_controls import model as model  # a fixture of its own module
from tests.tiny import STUDENT, random_network

RATE = 44100
PICTURES = {f"{name}.png" for name in ("bench", "bench-seeds", "bench-length")}
FLOW = RectifiedFlow()


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight seconds of a chord in noise, as long as the demo's recording."""
    path = tmp_path_factory.mktemp("region") / "region.wav"
    t = np.arange(8 * RATE) / RATE
    chord = np.sin(2 * np.pi * np.outer(t, (220.0, 277.2))).sum(axis=1) / 10
    noise = np.random.default_rng(0).standard_normal((len(t), 2)) * 0.02
    soundfile.write(path, chord[:, None] + noise, RATE)
    return path


@pytest.fixture(scope="module")
def engine(model: Path) -> Engine:
    """A tiny random model whose decoder runs in torch."""
    return engine_of(model)


def asked(task: str, method: str, region: Path, **changes: object) -> Request:
    """A task by a method, three iterations."""
    settings = tasks.settings(method, **{"iterations": 3, **changes})
    return tasks.request(TASKS[task], region, settings)


def heard(stage: State, fraction: float) -> Progress:
    """A report of the engine."""
    return Progress(id="x", fraction=fraction, stage=stage)


def test_parts_are_cut_where_they_begin() -> None:
    """Two windows by a clock that is read once a mark: each moment belongs to one part."""
    times: Iterator[float] = iter((0.0, 1.0, 4.0, 6.0, 7.0, 17.0, 18.0, 38.0, 50.0, 51.0, 53.0, 60))
    recorder = Recorder(lambda: next(times))
    recorder.begin(READ)  # 0
    recorder.begin(OPTIMIZE)  # 1
    recorder.begin(OPTIMIZE)  # the second call of a network reads no clock
    recorder.hear(heard(State.OPTIMIZING, 0.1))  # 4
    recorder.hear(heard(State.OPTIMIZING, 0.2))  # 6
    recorder.begin(DECODE)  # 7
    recorder.hear(heard(State.OPTIMIZING, 0.2))  # told again, by the polish
    recorder.begin(OPTIMIZE)  # 17
    recorder.hear(heard(State.OPTIMIZING, 0.3))  # 18
    recorder.begin(DECODE)  # 38
    recorder.hear(heard(State.DECODING, OPTIMIZING_SHARE))  # 50
    recorder.begin(ONNX)  # 51
    recorder.hear(heard(State.DECODING, DECODED_SHARE))  # 53
    cost = recorder.cost(2.0)  # 60
    optimize, decode = 6 + 21, 10 + 12
    assert cost.parts == {
        **{READ: 1, OPTIMIZE: optimize, DECODE: decode},
        **{SEAM: 1, ONNX: 2, WRITE: 7},
    }
    assert cost.iterations == (3.0, 2.0, 1.0)
    assert cost.whole == 60.0


def test_a_short_run_is_extrapolated_by_its_median() -> None:
    """K medians in place of what was optimized; the rest stays as measured."""
    parts = {READ: 1.0, OPTIMIZE: 17.0, DECODE: 3.0}
    whole = Cost(parts=parts, iterations=(10.0, 2.0, 4.0), music_seconds=6.0).over(70)
    assert whole.parts == {READ: 1.0, OPTIMIZE: 280.0, DECODE: 3.0}
    assert whole.whole == 284.0
    assert whole.iterations == (4.0,) * 70
    assert whole.music_seconds == 6.0


def test_the_papers_network_is_extrapolated_by_its_passes() -> None:
    """K M passes there and back, T forwards; a checkpoint is one more forwards."""
    cost = NetworkCost(weights=0, forward=1.0, both=3.0, both_flops=0.0)
    assert cost.clip(70, 1, 2, checkpointed=False) == 212.0
    assert cost.clip(70, 20, 20, checkpointed=True) == 5620.0


def test_flops_of_a_linear_layer() -> None:
    """2 m n k forwards, as much again for the way back to the input, twice with its weights."""
    weight = torch.ones(5, 7)
    x = torch.ones(3, 7, requires_grad=True)
    with floor.Flops() as flops:
        y = F.linear(x, weight)
        assert flops.total == 2 * 3 * 7 * 5
        torch.autograd.grad(y.sum(), x)
    assert flops.total == 2 * (2 * 3 * 7 * 5)
    weight.requires_grad_()
    with floor.Flops() as flops:
        F.linear(x, weight).sum().backward()
    assert flops.total == 3 * (2 * 3 * 7 * 5)


def test_flops_of_a_convolution_there_and_back() -> None:
    """Two a weight and output position forwards; backwards the same to the input."""
    x, weight = torch.ones(1, 4, 10, requires_grad=True), torch.ones(6, 4, 3)
    with floor.Flops() as flops:
        torch.autograd.grad(F.conv1d(x, weight, padding=1).sum(), x)
    forward = 2 * 6 * 4 * 3 * 10
    assert forward < flops.total <= 2 * forward


def test_shares_are_those_of_the_machine() -> None:
    """FLOPs over median seconds over the rate; two rows where iterations differ in cost."""
    alike = Cost(parts={}, iterations=(6.0,))
    runs = [Cost(parts={}, iterations=(1.0, 2.0, 3.0)), Cost(parts={}, iterations=(2.0,) * 3)]
    (share,) = floor.shares(alike, runs, rate=12.0)
    assert (share.which, share.seconds, share.of_rate) == ("all", 2.0, 0.25)
    rising = Cost(parts={}, iterations=(5.0, 6.0, 12.0))
    first, last = floor.shares(rising, runs[:1], rate=12.0)
    assert (first.seconds, first.of_rate) == (1.0, 0.5)
    assert (last.seconds, last.of_rate) == (3.0, 1 / 3)


def test_flops_of_a_run_follow_its_passes(engine: Engine, region: Path, tmp_path: Path) -> None:
    """Nothing is read off the clock: iterations cost the same, a decoding step a pass forwards."""
    cost = floor.count(engine, asked(CONTINUED, CM, region), tmp_path / "out.wav")
    assert len(cost.iterations) == floor.ONE_OF_EACH
    assert len(set(cost.iterations[1:])) == 1
    assert 0 < cost.parts[DECODE] < cost.iterations[0]
    two, three = (
        floor.count(engine, asked(CONTINUED, OURS, region, decode_steps=T), tmp_path / "out.wav")
        for T in (2, 3)
    )
    step = two.parts[DECODE] - cost.parts[DECODE]
    assert three.parts[DECODE] - two.parts[DECODE] == step > 0.9 * cost.parts[DECODE]
    assert two.iterations[0] < two.iterations[-1]


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_timed_without_training_data(
    engine: Engine, region: Path, tmp_path: Path, task: str
) -> None:
    """Every part is there, they add up to the whole, and one window is enough."""
    ticks = count()
    cost = measure(engine, asked(task, OURS, region), tmp_path / "x.wav", lambda: next(ticks))
    assert tuple(cost.parts) == PARTS
    assert min(cost.parts.values()) >= 1
    assert cost.whole == next(ticks) - 1
    assert len(cost.iterations) == 3
    assert cost.music_seconds == pytest.approx(TASKS[task].new_seconds or 4.0, abs=1 / RATE)


def test_ditto_is_timed_in_part(engine: Engine, region: Path, tmp_path: Path) -> None:
    """Two of nine iterations are run; the table says what that makes of the total."""
    request = asked(CONTINUED, DITTO, region, iterations=9, decode_steps=5)
    job = Job(task=CONTINUED, method=DITTO, engine=engine, request=request, timed=2)
    measured = repeated(job, 1, tmp_path / "x.wav", machine.clock(torch.device("cpu")))
    assert [len(run.iterations) for run in measured.raw] == [2]
    assert [len(run.iterations) for run in measured.runs] == [9]
    table = tables.task_table([measured], {(CONTINUED, DITTO): 0.5}, "note")
    (row,) = table.rows
    said = dict(zip(table.columns, row, strict=True))
    assert (said["K"], said["total is"]) == (9, "extrapolated from 2 of 9 iterations")
    assert said["transport"] == 0.5
    assert said["s a clip"] == pytest.approx(sum(float(said[part]) for part in PARTS))
    assert "extrapolated" in table.note


def test_the_fastest_product_is_the_rate() -> None:
    """2 n^3 FLOPs in the least time of a size."""
    ticks = iter(np.cumsum([0, 9, 0, 2, 0, 1, 0, 4, 0, 9, 0, 1, 0, 1, 0, 1]).tolist())
    rate, size = machine.matmul_rate(torch.device("cpu"), (2, 4), lambda: next(ticks))
    assert (rate, size) == (2 * 4**3 / 1, 4)


def test_memory_is_said_in_mebibytes() -> None:
    """With 64 MiB in use, more than that is held, and the peak is not less by a tenth."""
    if machine.resident_mib() is None:
        pytest.skip("this system does not say what a process holds")
    machine.reset_peak(torch.device("cpu"))
    in_use = torch.ones(16 * 2**20)
    held, peak = machine.resident_mib(), machine.peak_mib(torch.device("cpu"))
    assert held is not None
    assert peak is not None
    assert in_use.nbytes / machine.MIB < held < 64 * 1024
    assert peak > 0.9 * held  # the kernel counts each in lots of pages


def test_transport_is_what_the_engine_did_not_take() -> None:
    """The first answer is apart; the rest is steady."""
    answers = tuple(Answer(waited=w, engine=e) for w, e in ((9.0, 8.0), (5.0, 4.5), (5.0, 4.75)))
    served = Served(start=1.0, load=2.0, idle_mib=None, answers=answers)
    assert served.first_sound == 12.0
    assert served.transport == 0.375
    assert len(served.steady) == 2


@pytest.mark.parametrize(
    "wrong", [{"tasks": ("dance",)}, {"seeds": (0,)}, {"lengths": (0.0,)}, {"repeat": 0}]
)
def test_what_cannot_be_timed_is_refused(wrong: dict[str, object]) -> None:
    """One sentence, before anything runs."""
    with pytest.raises(SegueError):
        BenchConfig(**wrong)  # type: ignore[arg-type]


def rows(table: Table) -> list[dict[str, object]]:
    """The rows by column."""
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def test_a_quick_run_leaves_every_table(engine: Engine, region: Path, tmp_path: Path) -> None:
    """All of it on a tiny model: tables and pictures, DITTO extrapolated and said to be."""
    said: list[str] = []
    suite = Bench(
        engine=replace(engine, base=engine.network),
        base=engine,
        region=region,
        out=tmp_path,
        config=BenchConfig().quick(),
        say=said.append,
    )
    found = {table.name: table for table in suite.run()}
    assert [row["method"] for row in rows(found["bench"])] == [OURS, SHIPPED, CM, DITTO]
    assert rows(found["bench"])[3]["total is"] == "extrapolated from 1 of 3 iterations"
    assert {row["seeds"] for row in rows(found["bench-seeds"])} == {1, 2}
    assert [row["s of music"] for row in rows(found["bench-length"])] == [1.0, 2.0] * 2
    assert all(row["% of the machine's rate"] > 0 for row in rows(found["bench-floor"]))  # type: ignore[operator]
    assert len(found["bench-paper"].rows) == 3 * len(PAPER_SECONDS)
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {f"{name}.tsv" for name in found} | PICTURES
    assert len(said) == 4 + 2 + 4


NTH = ("first", "second")


@pytest.mark.slow
def test_the_command_asks_a_real_server(tiny_model: Path, tmp_path: Path) -> None:
    """`segue bench --quick`: processes, OSC, and the time between the two."""
    code, shown, said = invoke(
        "bench", "--quick", "--model", str(tiny_model), "--out", str(tmp_path / "out")
    )
    assert (code, said) == (0, "")
    assert "left out: DITTO" in shown
    lines = (tmp_path / "out" / "bench-start.tsv").read_text().splitlines()[2:]
    figures = {name: float(value) for name, value in (line.split("\t") for line in lines)}
    assert figures["server: first clip, OSC to OSC, s"] > 0
    assert figures["server: later clips, without the engine, median s"] > 0
    halves = [figures[f"server: queue of 3 short clips, median s of its {n} half"] for n in NTH]
    assert 0 < sum(halves) <= figures["server: queue of 3 short clips, s in all"]
    header, ours = (tmp_path / "out" / "bench.tsv").read_text().splitlines()[1:3]
    said_of_ours = dict(zip(header.split("\t"), ours.split("\t"), strict=True))
    assert float(said_of_ours["transport"]) > 0
    assert (tmp_path / "out" / "bench-queue.png").stat().st_size > 0


def test_a_wrong_list_is_one_sentence(tmp_path: Path) -> None:
    """Numbers are numbers."""
    code, _, said = invoke("bench", "--lengths", "6,long", "--out", str(tmp_path))
    assert code == 1
    assert "is no list of numbers" in said


def test_a_pass_of_the_student_is_counted_whole() -> None:
    """Attention counts too: more than its linear layers, and twice as much for twice the steps."""
    network = random_network(config=STUDENT)
    x = torch.zeros(1, STUDENT.channels, STUDENT.frames)
    totals = []
    for steps in (1, 2):
        with torch.no_grad(), floor.Flops() as flops:
            decode_multistep(lambda x_t, t: network(x_t, t), FLOW, x, even_grid(FLOW, steps))
        totals.append(flops.total)
    assert totals[1] == 2 * totals[0] > 0
