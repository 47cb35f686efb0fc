"""The evaluation of the controls, all of it, on a tiny model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from segue.export.dataset import Source
from segue.export.evaluation import baselines, control_clips, control_table
from segue.export.evaluation import control_targets as targets
from segue.export.evaluation.control_clips import Studio
from segue.export.evaluation.control_figures import Ears
from segue.export.evaluation.control_sheet import Sheet
from segue.export.evaluation.control_targets import TASKS, Material, Target
from segue.export.evaluation.controls import ControlsConfig, ControlsEvaluation
from segue.export.evaluation.measure import Bench
from segue.export.evaluation.tables import Table
from segue.export.packed import read_scale
from segue.presets.vocabulary import SegueError, Settings
from segue.server.ditto.weights import load_generator, save_generator, write_manifest
from segue.server.engine import Engine
from tests.music import pack_all, write_track
from tests.test_cli import invoke
from tests.test_evaluate_model import bands
from tests.tiny import NETWORK, SCALE, random_decoder, random_network

RATE = 44100


def test_requirements_are_drawn_from_rows() -> None:
    """Met, missed and not measured; a rise is counted from the uncontrolled clips."""

    def row(task: str, method: str, figure: str, mean: float, passes: float) -> tuple[object, ...]:
        start = (task, method, 70, 4, figure, mean, 0.1, "-", passes, 0.5)
        return (*start, *["-"] * (len(control_table.COLUMNS) - len(start)))

    table = Table(
        name="controls",
        title="",
        note="",
        columns=control_table.COLUMNS,
        rows=(
            row("intensity", "ours", "intensity MSE, dB^2", 3.0, 0),
            row("melody", "ours", "melody accuracy, %", 50.0, 0),
            row("text", "uncontrolled", "text, our score", 0.1, 0),
            row("text", "ours", "text, our score", 0.3, 0),
            row("outpaint", "ours", "overlap error", 0.1, 90.0),
        ),  # type: ignore[arg-type]
    )
    said = {str(r[0]): (r[1], r[4]) for r in control_table.required(table).rows}
    assert said["intensity: intensity MSE, dB^2"] == (3.0, "met")
    assert said["melody: melody accuracy, %"] == (50.0, "missed")
    assert said["structure: structure MSE"] == ("-", "not measured")
    rise, met = said["text: text, our score, above uncontrolled"]
    assert rise == pytest.approx(0.2)
    assert met == "met"
    assert said["text: text, another judge, above uncontrolled"] == ("-", "not measured")
    assert said["outpaint: flux passes, %"] == (90.0, "missed")
    assert said["outpaint: level step, LU"] == (0.5, "met")


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training data of one track to learn from and two held out, one of them silent."""
    folder = tmp_path_factory.mktemp("music")
    soundfile.write(folder / "s.wav", np.zeros((round(9.5 * RATE), 2)), RATE)
    held = write_track(folder / "c.wav", 9.5)
    known = write_track(folder / "a.wav", 9.5)
    splits = {known: "train", held: "heldout", folder / "s.wav": "heldout"}
    sources = [Source(path=path, licence="CC0", split=split) for path, split in splits.items()]
    pack_all(sources, folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model whose decoder is not exported, which would take seconds."""
    folder = tmp_path_factory.mktemp("model")
    save_generator(folder / "generator.safetensors", random_network(), SCALE, {})
    (folder / "decoder.onnx").write_bytes(b"only its digest is asked for")
    write_manifest(folder)
    return folder


def engine_of(model: Path) -> Engine:
    """The network of a folder, with a decoder that runs in torch."""
    network, scale = load_generator(model / "generator.safetensors")
    decoder = random_decoder()

    @torch.no_grad()
    def decode(mel: torch.Tensor) -> np.ndarray:
        return np.ascontiguousarray(decoder(mel[None])[0].T.numpy())

    return Engine(
        model=str(model),
        device="cpu",
        torch_device=torch.device("cpu"),
        network=network,
        scale=scale,
        decode=decode,
    )


def evaluation(
    model: Path, music: Path, out: Path, said: list[str], config: ControlsConfig
) -> ControlsEvaluation:
    """A small evaluation with a base model, and a judge that always says 1."""
    base = out / "base.safetensors"
    save_generator(base, random_network(1, NETWORK), SCALE, {})
    studio = Studio.of(engine_of(model), model, base, out / "clips", config.seed)
    bench = Bench(bands, "eight bands", read_scale(music), out / "cache", said.append)
    ears = Ears(judge=lambda text, audio, rate: 1.0)
    return ControlsEvaluation(studio, bench, music, out, config, ears)


def test_the_whole_evaluation(
    model: Path, music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row a method, made once: a second run finds every clip and tells the same."""
    monkeypatch.setattr(control_clips, "DITTO_STEPS", 2)
    monkeypatch.setattr(baselines, "RENOISING_STEPS", 2)
    tasks = ("inpaint", "intensity+outpaint")
    config = ControlsConfig(n=2, ditto_n=1, tasks=tasks, reference=3, iterations=2)
    said: list[str] = []
    whole = evaluation(model, music, tmp_path, said, config)
    whole.make()
    table, required = whole.run()
    assert "inpaint, original: 2 clips are there" in said
    uncontrolled = (
        *("intensity MSE, dB^2", "melody accuracy, %", "structure MSE"),
        "text, another judge",
    )
    found = [row[1:5] for row in table.rows]
    assert found == [
        ("uncontrolled", "-", 2, "-"),
        ("as shipped", "-", 2, "-"),
        *(("uncontrolled", "-", 2, figure) for figure in uncontrolled),
        ("crossfade", "-", 2, "overlap error"),
        ("re-noising", "-", 2, "overlap error"),
        ("ours", 2, 2, "overlap error"),
        ("as shipped", 70, 2, "overlap error"),
        ("DITTO", 2, 1, "overlap error"),
        ("original", "-", 2, "-"),
        *(
            (method, K, n, figure)
            for method, K, n in (
                ("crossfade", "-", 2),
                ("ours", 2, 2),
                ("as shipped", 70, 2),
                ("DITTO", 2, 1),
            )
            for figure in ("intensity MSE, dB^2", "overlap error")
        ),
    ]
    tasks_shown = list(dict.fromkeys(row[0] for row in table.rows))
    assert tasks_shown == [t for t in TASKS if t not in ("outpaint", "loop")]
    assert len(required.rows) == len(control_table.MUST)
    note, columns, *_ = (tmp_path / "controls.tsv").read_text("utf-8").splitlines()
    assert "eight bands; seed 0" in note
    assert "1 held-out regions" in note
    assert columns.split("\t") == list(control_table.COLUMNS)
    assert control_table.brief(table).columns == control_table.BRIEFLY
    assert (tmp_path / "controls.png").stat().st_size > 10_000
    again = evaluation(model, music, tmp_path, said, config)

    def fail(mel: torch.Tensor) -> np.ndarray:
        raise AssertionError("a clip that is there is made again")

    deaf = replace(again.studio.ours, engine=replace(again.studio.ours.engine, decode=fail))
    again.studio = replace(again.studio, ours=deaf)
    again.make()
    assert again.table() == table
    assert control_table.required(table) == required
    wav = again.studio.wav("inpaint", "crossfade", 0)
    audio, rate = soundfile.read(wav, always_2d=True)
    soundfile.write(wav, audio[::-1], rate, subtype=soundfile.info(wav).subtype)
    anew = evaluation(model, music, tmp_path, said, config).table()
    distance = control_table.COLUMNS.index("FAD to held-out")
    pairs = zip(anew.rows, table.rows, strict=True)
    assert {a[:2] for a, b in pairs if a[distance] != b[distance]} == {("inpaint", "crossfade")}


def test_another_target_is_made_anew(model: Path, music: Path, tmp_path: Path) -> None:
    """A clip of other settings, or without its sheet, is not taken for the one asked for."""
    config = ControlsConfig(n=2, ditto_n=0, tasks=("uncontrolled",), reference=2)
    studio = evaluation(model, music, tmp_path, [], config).studio
    target, settings = targets.nothing(0), control_clips.UNCONTROLLED
    made = studio.make("uncontrolled", "uncontrolled", target, settings)
    assert studio.found("uncontrolled", "uncontrolled", target, settings) == made
    other = settings.model_copy(update={"decode_steps": 3})
    assert studio.found("uncontrolled", "uncontrolled", target, other) is None
    studio.wav("uncontrolled", "uncontrolled", 0).with_suffix(".json").write_text("{}")
    assert studio.found("uncontrolled", "uncontrolled", target, settings) is None


@pytest.mark.parametrize(
    ("method", "number", "tags", "iterations"),
    [
        ("tags", 15, ("calm", "piano"), 1),
        ("ours and tags", 15, ("calm", "piano"), 2),
        ("tags", 8, (), 1),
    ],
)
def test_a_text_is_also_asked_for_by_the_tags_it_names(
    model: Path,
    music: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    number: int,
    tags: tuple[str, ...],
    iterations: int,
) -> None:
    """Of "gentle piano without drums" the two that the model knows, and not the drums."""
    config = ControlsConfig(n=2, ditto_n=0, tasks=("text",), reference=2, iterations=2)
    studio = evaluation(model, music, tmp_path, [], config).studio
    asked: list[Settings] = []

    def ours(studio: Studio, target: Target, settings: Settings, path: Path) -> Sheet:
        asked.append(settings)
        return Sheet(key="", first=0, last=1, seams=(), seconds=1.0, machine="none")

    monkeypatch.setattr(control_clips, "ours", ours)
    nothing = Material(seed=0, level_db=-20.0, stretches=(), levels_db=())
    target = TASKS["text"].target(nothing, number)
    control_clips.METHODS[method](studio, target, config.settings("text"), tmp_path / "x.wav")
    (settings,) = asked
    assert (settings.tags, settings.iterations) == (tags, iterations)
    assert settings.guidance == control_clips.TAGS_GUIDANCE


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--tasks", "intensity,rhythm"), "no task 'rhythm'; there are: uncontrolled, intensity"),
        (("--model", "none"), "no model 'none'"),
        (("--musicnn", "."), "pip install --no-deps musicnn==0.1.0"),
    ],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    sentence: str,
) -> None:
    """What the user can act on, on one line."""
    monkeypatch.chdir(tmp_path)
    code, _, said = invoke("evaluate", "controls", "--model", str(model), *arguments)
    assert code == 1
    assert said.startswith("segue: ")
    assert said.count("\n") == 1
    assert sentence in said


def test_an_interval_needs_a_spread() -> None:
    """One target a task is refused."""
    with pytest.raises(SegueError, match="n must be at least 2"):
        ControlsConfig(n=1)
