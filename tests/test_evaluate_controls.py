"""The evaluation of the controls: exact targets and figures, and all of it on a tiny model."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from segue.export.dataset import Source
from segue.export.evaluation import control_clips, control_figures, controls
from segue.export.evaluation import control_targets as targets
from segue.export.evaluation.control_clips import Laid, Sheet, Studio, renoised
from segue.export.evaluation.control_figures import Clip, Ears
from segue.export.evaluation.control_targets import TASKS, Material, Target
from segue.export.evaluation.controls import ControlsConfig, ControlsEvaluation
from segue.export.evaluation.measure import Bench
from segue.export.evaluation.tables import Table
from segue.export.packed import read_scale
from segue.presets.controls import Intensity, Melody, Note
from segue.presets.vocabulary import SegueError
from segue.server.audio_file import Waveform
from segue.server.clip import Clip as Known
from segue.server.clip import Gap
from segue.server.ditto.canvas import Canvas
from segue.server.ditto.schedule import RectifiedFlow, grid
from segue.server.ditto.weights import save_generator
from segue.server.engine import Engine
from segue.server.framing import Frames
from tests.music import pack_all, write_track
from tests.test_cli import invoke
from tests.test_evaluate_model import bands
from tests.tiny import NETWORK, SCALE, random_network

RATE = 44100
RNG = np.random.default_rng(0)
MATERIAL = Material(seed=0, level_db=-20.0, stretches=(), levels_db=())


def points(number: int) -> tuple[tuple[float, float], ...]:
    """The curve of a target."""
    (wanted,) = targets.intensity(MATERIAL, number).controls
    assert isinstance(wanted, Intensity)
    return wanted.points


def test_twenty_four_curves() -> None:
    """Each of three shapes, up and down, by 6, 9, 12 and 15 dB around the level; then again."""
    ends = [(round(p[0][1], 9), round(p[-1][1], 9)) for p in map(points, range(24))]
    expected = [(-20 - d, -20 + d) for d in (6, 9, 12, 15)]
    assert sorted(ends) == sorted(3 * [*expected, *((b, a) for a, b in expected)])
    assert len({points(i) for i in range(24)}) == 24
    assert points(24) == points(0)
    for p in map(points, range(24)):
        assert np.mean([db for _, db in p]) == pytest.approx(-20)
        assert p[-1][0] == pytest.approx(targets.NEW_SECONDS)


@pytest.mark.parametrize("number", range(8))
def test_melodies_fill_the_clip(number: int) -> None:
    """Without a rest, in two octaves, and the same again for the same seed."""
    (wanted,) = targets.melody(MATERIAL, number).controls
    assert isinstance(wanted, Melody)
    notes = wanted.notes
    assert notes[0].start == 0
    for note, following in pairwise(notes):
        assert note.start + note.length == pytest.approx(following.start)
    assert notes[-1].start + notes[-1].length == pytest.approx(targets.NEW_SECONDS)
    assert all(60 <= note.pitch <= 83 for note in notes)
    assert targets.melody(MATERIAL, number).controls == (wanted,)


def test_classes_of_notes() -> None:
    """C, a rest, then A under a higher B: of two at a time the highest."""
    notes = (
        Note(start=0, length=2, pitch=60),
        Note(start=3, length=2, pitch=71),
        Note(start=3, length=3, pitch=69),
    )
    assert targets.classes(notes, 7, 1.0).tolist() == [0, 0, -1, 11, 11, 9, -1]


def test_intervals() -> None:
    """Student's t of 1, 2, 3: 4.3027 / sqrt(3) on either side of 2; one value has no spread."""
    assert control_figures.interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 4.30265 / 3**0.5))
    mean, half = control_figures.interval([5.0])
    assert mean == 5
    assert np.isnan(half)
    with pytest.raises(ValueError, match="nothing to take the mean of"):
        control_figures.interval([])


def test_renoising_keeps_known_frames() -> None:
    """Known frames come back to the bit; a network that always says 0.5 makes 0.5 of the rest."""
    known = torch.randn(1, 4, 32, generator=torch.Generator().manual_seed(1))
    pinned = torch.arange(32) < 10
    schedule = RectifiedFlow()
    made = renoised(
        lambda x_t, t: 0 * x_t + 0.5,
        schedule,
        known,
        pinned,
        grid(schedule, 5),
        torch.Generator().manual_seed(0),
    )
    assert torch.equal(made[..., pinned], known[..., pinned])
    assert torch.allclose(made[..., ~pinned], torch.tensor(0.5), atol=1e-6)


def laid(gap: Gap, samples: np.ndarray, head: int) -> Laid:
    """A clip at 44.1 kHz whose frames are of 512 samples."""
    nothing = torch.zeros(0)
    return Laid(
        clip=Known(wave=Waveform(samples, RATE, "FLOAT"), gaps=(gap,)),
        gap=gap,
        frames=Frames(left=head, new=0, right=0, samples=512.0),
        canvas=Canvas(mel=nothing, head=head, new=0, pinned=nothing, kept=nothing),
    )


def test_the_crossfade_has_equal_power() -> None:
    """Known music is untouched before the fade; there the squares of both factors sum to 1."""
    ones, fade = np.ones((4 * RATE, 1)), round(0.2 * RATE)
    ones[2 * RATE :] = 0
    gap = Gap(start=2 * RATE, stop=4 * RATE, left=2 * RATE)
    out, into = (
        control_clips.crossfade(laid(gap, ones * known, 86), np.full((5 * RATE, 1), sample))
        for known, sample in ((1, 0.0), (0, 1.0))
    )
    zone = slice(2 * RATE - fade, 2 * RATE)
    assert (out.samples[: zone.start] == 1).all()
    assert np.allclose(out.samples[zone] ** 2 + into.samples[zone] ** 2, 1)
    assert (into.samples[zone.stop :] == 1).all()


def test_a_crossfaded_loop_ends_in_its_start() -> None:
    """The fade at a loop's end lies on the first samples of the clip."""
    known, fade = np.ones((3 * RATE, 1)), round(0.2 * RATE)
    known[2 * RATE :] = 0
    gap = Gap(start=2 * RATE, stop=3 * RATE, left=2 * RATE, right=2 * RATE)
    made = control_clips.crossfade(laid(gap, known, 86), np.zeros((5 * RATE, 1))).samples
    assert (made[2 * RATE :] == 0).all()
    assert made[0] == pytest.approx(0, abs=1e-3)
    assert (np.diff(made[:fade, 0]) > 0).all()
    assert (made[fade : 2 * RATE - fade] == 1).all()


def clip(audio: np.ndarray, seams: tuple[int, ...], first: int, last: int) -> Clip:
    """A finished clip of which nothing was asked."""
    sheet = Sheet(key="", first=first, last=last, seams=seams, seconds=0, machine="")
    return Clip(target=Target(number=0, controls=()), sheet=sheet, audio=audio, rate=RATE)


def test_a_click_is_heard_at_the_seam() -> None:
    """Noise that goes on passes on both sides of a gap; an impulse at one of them does not."""
    noise = RNG.standard_normal((8 * RATE, 2)) * 0.05
    seams = (3 * RATE, 5 * RATE)
    quiet = control_figures.flux_at_seams(clip(noise, seams, *seams))
    assert max(quiet) < 1.1
    noise[5 * RATE + 100] = 1
    first, second = control_figures.flux_at_seams(clip(noise, seams, *seams))
    assert first == pytest.approx(quiet[0])
    assert second > 1.2


def test_level_steps_in_loudness_units() -> None:
    """New music at half the amplitude is a step of 6.02 LU; out of nothing there is no seam."""
    audio = np.sin(np.arange(6 * RATE) / 20)[:, None]
    audio[3 * RATE :] /= 2
    steps = control_figures.level_steps(clip(audio, (3 * RATE,), 3 * RATE, 6 * RATE))
    assert steps == pytest.approx([6.02], abs=0.05)
    looped = clip(audio, (3 * RATE, 6 * RATE), 3 * RATE, 6 * RATE)
    assert control_figures.level_steps(looped) == pytest.approx([6.02, 6.02], abs=0.05)
    assert control_figures.level_steps(clip(audio, (), 0, 6 * RATE)) == []


def test_requirements_are_drawn_from_rows() -> None:
    """Met, missed and not measured; a rise is counted from the uncontrolled clips."""

    def row(task: str, method: str, figure: str, mean: float, passes: float) -> tuple[object, ...]:
        start = (task, method, 70, 4, figure, mean, 0.1, "-", passes, 0.5)
        return (*start, *["-"] * (len(controls.COLUMNS) - len(start)))

    table = Table(
        name="controls",
        title="",
        note="",
        columns=controls.COLUMNS,
        rows=(
            row("intensity", "ours", "intensity MSE, dB^2", 3.0, 0),
            row("melody", "ours", "melody accuracy, %", 50.0, 0),
            row("text", "uncontrolled", "text, our score", 0.1, 0),
            row("text", "ours", "text, our score", 0.3, 0),
            row("outpaint", "ours", "overlap error", 0.1, 90.0),
        ),  # type: ignore[arg-type]
    )
    said = {str(r[0]): (r[1], r[4]) for r in controls.required(table).rows}
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


def evaluation(
    model: Path, music: Path, out: Path, said: list[str], config: ControlsConfig
) -> ControlsEvaluation:
    """A small evaluation with a base model, and a judge that always says 1."""
    base = out / "base.safetensors"
    save_generator(base, random_network(1, NETWORK), SCALE, {})
    studio = Studio.of(Engine.load(str(model)), model, base, out / "clips", config.seed)
    bench = Bench(bands, "eight bands", read_scale(music), out / "cache", said.append)
    ears = Ears(judge=lambda text, audio, rate: 1.0)
    return ControlsEvaluation(studio, bench, music, out, config, ears)


def test_the_whole_evaluation(
    tiny_model: Path, music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row a method, made once: a second run finds every clip and tells the same."""
    monkeypatch.setattr(control_clips, "DITTO_STEPS", 2)
    monkeypatch.setattr(control_clips, "RENOISING_STEPS", 2)
    tasks = ("inpaint", "intensity+outpaint")
    config = ControlsConfig(n=2, ditto_n=1, tasks=tasks, reference=3, iterations=2)
    said: list[str] = []
    whole = evaluation(tiny_model, music, tmp_path, said, config)
    whole.make()
    table, required = whole.run()
    assert "inpaint, original: 2 clips are there" in said
    uncontrolled = (
        *("-", "intensity MSE, dB^2", "melody accuracy, %", "structure MSE"),
        "text, another judge",
    )
    found = [row[1:5] for row in table.rows]
    assert found == [
        *(("uncontrolled", "-", 2, figure) for figure in uncontrolled),
        ("crossfade", "-", 2, "overlap error"),
        ("re-noising", "-", 2, "overlap error"),
        ("ours", 2, 2, "overlap error"),
        ("DITTO", 2, 1, "overlap error"),
        ("original", "-", 2, "-"),
        *(
            (method, K, n, figure)
            for method, K, n in (("crossfade", "-", 2), ("ours", 2, 2), ("DITTO", 2, 1))
            for figure in ("intensity MSE, dB^2", "overlap error")
        ),
    ]
    tasks_shown = list(dict.fromkeys(row[0] for row in table.rows))
    assert tasks_shown == [t for t in TASKS if t not in ("outpaint", "loop")]
    assert len(required.rows) == len(controls.MUST)
    note, columns, *_ = (tmp_path / "controls.tsv").read_text("utf-8").splitlines()
    assert "eight bands; seed 0" in note
    assert "1 held-out regions" in note
    assert columns.split("\t") == list(controls.COLUMNS)
    assert controls.brief(table).columns == controls.BRIEFLY
    assert (tmp_path / "controls.png").stat().st_size > 10_000
    again = evaluation(tiny_model, music, tmp_path, said, config)

    def fail(mel: torch.Tensor) -> np.ndarray:
        raise AssertionError("a clip that is there is made again")

    deaf = replace(again.studio.ours, engine=replace(again.studio.ours.engine, decode=fail))
    again.studio = replace(again.studio, ours=deaf)
    again.make()
    assert again.table() == table
    assert controls.required(table) == required


def test_another_target_is_made_anew(tiny_model: Path, music: Path, tmp_path: Path) -> None:
    """A clip of other settings, or without its sheet, is not taken for the one asked for."""
    config = ControlsConfig(n=2, ditto_n=0, tasks=("uncontrolled",), reference=2)
    studio = evaluation(tiny_model, music, tmp_path, [], config).studio
    target, settings = targets.nothing(0), control_clips.UNCONTROLLED
    made = studio.make("uncontrolled", "uncontrolled", target, settings)
    assert studio.found("uncontrolled", "uncontrolled", target, settings) == made
    other = settings.model_copy(update={"decode_steps": 3})
    assert studio.found("uncontrolled", "uncontrolled", target, other) is None
    studio.wav("uncontrolled", "uncontrolled", 0).with_suffix(".json").write_text("{}")
    assert studio.found("uncontrolled", "uncontrolled", target, settings) is None


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
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    sentence: str,
) -> None:
    """What the user can act on, on one line."""
    monkeypatch.chdir(tmp_path)
    code, _, said = invoke("evaluate", "controls", "--model", str(tiny_model), *arguments)
    assert code == 1
    assert said.startswith("segue: ")
    assert said.count("\n") == 1
    assert sentence in said


def test_an_interval_needs_a_spread() -> None:
    """One target a task is refused."""
    with pytest.raises(SegueError, match="n must be at least 2"):
        ControlsConfig(n=1)
