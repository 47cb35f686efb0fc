"""The figures of a model: closed forms for each, and the whole command on a tiny model."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from segue.export.dataset import Source
from segue.export.evaluation import coherence, decoder, length, requirements, sound_examples
from segue.export.evaluation.measure import Bench, nearest
from segue.export.evaluation.model import EvaluateConfig, Evaluation, Weights
from segue.export.evaluation.real_audio import Stretch, choose, halves, tracks
from segue.export.evaluation.sampling import KINDS, Sampler, overlap_errors
from segue.export.evaluation.tables import Table
from segue.export.packed import read_scale
from segue.presets.vocabulary import Request, Result, SegueError, Settings
from segue.server.ditto.mel import MelConfig, MelScale, log_mel
from segue.server.ditto.schedule import RectifiedFlow
from segue.server.ditto.weights import save_decoder, save_generator
from tests.music import pack_all, write_track
from tests.test_cli import invoke
from tests.tiny import SCALE, random_decoder, random_network

MEL = MelConfig()
WINDOW_SECONDS = 512 * 512 / 44100
SMALL = EvaluateConfig(
    n=2,
    reference=3,
    library=3,
    snapshot_n=2,
    overlaps=2,
    settings=Settings(iterations=2),
)


def drums(seconds_a_beat: float, frames: int = 512) -> torch.Tensor:
    """A log-mel whose bands all jump up every beat and die away: (1, 256, frames)."""
    since = torch.arange(frames) % MEL.frames(seconds_a_beat)
    return (-0.05 * since).expand(1, 256, frames).clone()


def test_a_beat_is_a_pulse() -> None:
    """A strict beat repeats itself exactly: 1 at its period. A held sound has no pulse: 0."""
    assert coherence.pulse(drums(0.5), MEL).item() == pytest.approx(1, abs=0.02)
    assert coherence.pulse(torch.zeros(1, 256, 512), MEL).item() == 0


def test_autocorrelation_of_a_sine() -> None:
    """Half a period later a sine is its own opposite; a whole one later itself."""
    sine = torch.sin(2 * math.pi * torch.arange(800) / 80)[None]
    assert coherence.autocorrelation(sine, 80).item() == pytest.approx(1, abs=1e-5)
    assert coherence.autocorrelation(sine, 40).item() == pytest.approx(-1, abs=1e-5)


def test_flicker_looks_at_partials_of_mid() -> None:
    """A partial that alternates by 0.3 flickers by 0.3, whatever its neighbours and side do."""
    mel = torch.randn(1, 256, 100, generator=torch.Generator().manual_seed(0)) - 20
    mel[0, 40] = 0.3 * (torch.arange(100) % 2)
    mel[0, :40], mel[0, 41:128] = -10, -10
    assert coherence.flicker(mel).item() == pytest.approx(0.3, abs=1e-6)


def test_a_copy_is_found_at_any_place() -> None:
    """A stretch cut from a training window is at distance 0, noise is far from everything."""
    generator = torch.Generator().manual_seed(0)
    library = torch.randn(5, 32, 64, generator=generator)
    copied = torch.zeros(1, 32, 64)
    copied[..., 16:48] = library[3:4, :, 7:39] * 2  # louder is the same music
    fresh = torch.randn(1, 32, 64, generator=generator)
    found = nearest(torch.cat((copied, fresh)), library.split(2))
    assert found[0].item() == pytest.approx(0, abs=1e-5)
    assert found[1].item() > 0.8


def test_griffin_lim_brings_a_tone_back() -> None:
    """Without a network a tone comes back with, mostly, nearly the mel it was asked for."""
    t = torch.arange(512 * 40) / 44100
    mel = log_mel(0.3 * torch.sin(2 * math.pi * 500 * t).expand(2, -1), MEL)
    audio = decoder.GriffinLim(MEL)(mel.numpy())
    assert audio.shape == (512 * 40, 2)
    loud = mel > -4
    again = log_mel(torch.from_numpy(audio.T.copy()), MEL)
    assert (again - mel)[loud].abs().median() < 0.1


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training data of two tracks to learn from and three held out."""
    folder = tmp_path_factory.mktemp("music")
    held = {"c.wav", "d.wav", "e.wav"}
    pack_all(
        [
            Source(
                path=write_track(folder / name, 6.2),
                licence="CC0",
                split="heldout" if name in held else "train",
            )
            for name in ("a.wav", "b.wav", *sorted(held))
        ],
        folder,
    )
    return folder


def bands(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """An embedding that needs no weights: levels of eight bands, in three parts of the clip."""
    thirds = np.array_split(audio.mean(1), 3)
    spectra = [np.array_split(np.abs(np.fft.rfft(part)), 8) for part in thirds]
    return np.log(np.array([[band.mean() for band in bands] for bands in spectra]) + 1e-6)


def test_stretches_lie_side_by_side(music: Path, tmp_path: Path) -> None:
    """Whole stretches of present tracks only; a stretch is read where it lies."""
    cut = tracks(music, "heldout", 100, MEL)
    assert [len(track) for track in cut] == [5, 5, 5]
    assert [stretch.start_seconds for stretch in cut[0]] == pytest.approx(
        [i * 51200 / 44100 for i in range(5)]
    )
    whole, _ = soundfile.read(cut[0][2].path, dtype="float32")
    assert (cut[0][2].read(MEL).T.numpy() == whole[102400:153600]).all()
    chosen = choose(cut, 9, torch.Generator().manual_seed(0))
    assert len(set(chosen)) == 9
    assert set(choose(cut, 99, torch.Generator().manual_seed(1))) == {
        s for track in cut for s in track
    }
    with pytest.raises(SegueError, match=r"names no heldout audio of 1161\.0 s"):
        tracks(music, "heldout", 100000, MEL)


def test_halves_share_no_track(music: Path) -> None:
    """Each track is in one half, and the halves differ by no more than a track."""
    cut = [[Stretch(Path(f"{i}"), 0.0, 1.0)] * size for i, size in enumerate((5, 4, 3, 2))]
    a, b = halves(cut, torch.Generator().manual_seed(0))
    assert sorted((sum(map(len, a)), sum(map(len, b)))) == [7, 7]
    assert {t[0].path for t in a} & {t[0].path for t in b} == set()
    with pytest.raises(SegueError, match="one held-out track only"):
        halves(cut[:1], torch.Generator())


def exact(scale: MelScale = SCALE) -> Sampler:
    """A sampler whose network knows that all data is one constant."""
    return Sampler(
        path=Path(__file__),
        kind=KINDS["base"],
        denoiser=lambda x_t, t: 0 * x_t + 0.5,
        scale=scale,
        schedule=RectifiedFlow(),
        shape=(256, 512),
        device=torch.device("cpu"),
        seed=0,
    )


def test_samples_are_restored() -> None:
    """A network that always says 0.5 makes mels of mean + 0.5 deviations, however many steps."""
    (one,) = exact().mels(1, 1)
    (two,) = exact().mels(2, 1)
    assert torch.allclose(one, torch.full((256, 512), -5 + 0.5 * 1.5))
    assert torch.allclose(one, two, atol=1e-5)


def test_overlap_error_of_a_constant() -> None:
    """Target 0, always 0.5 made: an error of a quarter, however x_T is optimized."""
    said: list[str] = []
    errors = overlap_errors(exact(), torch.zeros(2, 256, 86), Settings(iterations=2), said.append)
    assert errors == pytest.approx((0.25, 0.25))
    assert said == ["optimized 2 of 2 overlaps"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """A base, a CTM, and two snapshots of its distillation; no CM, and a decoder to be named."""
    folder = tmp_path_factory.mktemp("weights")
    (folder / "decoder.onnx").write_bytes(b"decodes")
    save_decoder(folder / "decoder.safetensors", random_decoder(), {})
    names = ("base", "ctm", "step-0010", "step-0005")
    for seed, name in enumerate(names):
        save_generator(folder / f"{name}.safetensors", random_network(seed), SCALE, {})
    return Weights(
        decoder_onnx=folder / "decoder.onnx",
        decoder=folder / "decoder.safetensors",
        generators={
            "base": folder / "base.safetensors",
            "cm": folder / "cm.safetensors",
            "ctm": folder / "ctm.safetensors",
        },
        snapshots=tuple(folder / f"{name}.safetensors" for name in names[2:]),
    )


def evaluation(weights: Weights, music: Path, out: Path, said: list[str]) -> Evaluation:
    """A small evaluation, its decoder a few sines instead of ONNX: fast, and never silent."""
    t = np.arange(512 * 512)[:, None] / 44100

    def decode(mel: np.ndarray) -> np.ndarray:
        level = np.exp(np.repeat(mel[::32].clip(-8, 0), 512, axis=1))[:, : len(t)].T
        hz = 200.0 * 2 ** np.arange(8)
        sound = (level * np.sin(2 * np.pi * hz * t)).sum(1, keepdims=True)
        return np.repeat(sound, 2, axis=1).astype(np.float32)

    bench = Bench(bands, "eight bands", read_scale(music), out / "cache", said.append)
    return Evaluation(weights, music, out, SMALL, decode, bench)


def test_the_whole_evaluation(
    weights: Weights, music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every table and picture is written; what is missing is said; again is the same, cached."""
    monkeypatch.setattr(decoder, "ITERATIONS", 2)
    monkeypatch.setattr(decoder, "PARITY_CLIPS", 1)
    said: list[str] = []
    done = {t.name: t for t in evaluation(weights, music, tmp_path, said).run()}
    assert list(done) == [
        *("floor", "decoder", "generators", "coherence", "neighbours"),
        *("errors", "length", "requirements"),
    ]
    assert f"left out: cm, there is no {weights.generators['cm']}" in said
    rows = [row[:2] for row in done["generators"].rows]
    base = [("base", t) for t in (1, 2, 4, 8, 20)]
    ctm = [("ctm", t) for t in (1, 2, 4, 8)]
    assert rows == [*base, *ctm, ("held-out music", "-"), ("training music", "-")]
    assert [row[0] for row in done["length"].rows] == [5, 10]
    pictures = {path.name for path in tmp_path.glob("*.png")}
    assert pictures == {"generators.png", "length-fad.png", "length-overlap.png"}
    for name in done:
        note, columns, *_ = (tmp_path / f"{name}.tsv").read_text("utf-8").splitlines()
        assert note.startswith("# ")
        assert "eight bands; n = 2 " in note
        assert "seed 0" in note
        assert columns.split("\t") == list(done[name].columns)
    said.clear()
    again = {t.name: t for t in evaluation(weights, music, tmp_path, said).run()}
    assert again == done
    assert [line for line in said if " of 2" in line and "overlaps" not in line] == []


def table(name: str, columns: tuple[str, ...], *rows: tuple[str | int | float, ...]) -> Table:
    """A table without title or note."""
    return Table(name=name, title="", note="", columns=columns, rows=rows)


def test_requirements_are_ratios() -> None:
    """Met, missed and not measured, from tables made up."""
    columns = ("generator", "T", "FAD to held-out", "FAD to training")
    made = table(
        "generators",
        columns,
        ("base", 1, 40.0, 40.0),
        ("base", 20, 10.0, 10.0),
        ("ctm", 1, 20.0, 21.0),
        ("ctm", 2, 11.0, 12.0),
    )
    decoder = table(
        "decoder",
        ("way", "FAD to the original", "torch - ONNX, max"),
        ("decoder", 1.0, "-"),
        ("GL", 4.0, "-"),
    )
    rows = {row[0]: row[1:] for row in requirements.requirement_table([made, decoder], "").rows}
    assert rows["decoder: FAD / Griffin-Lim's"] == (0.25, 0.2, "missed")
    assert rows["decoder: torch - ONNX, max"] == ("-", 1e-3, "not measured")
    assert rows["FAD to held-out: CTM T = 2 / base T = 20"] == (1.1, 1.15, "met")
    assert rows["FAD to training: CTM T = 2 / base T = 20"] == (1.2, 1.15, "missed")
    assert rows["FAD to held-out: CTM T = 1 / base T = 1"] == (0.5, 0.5, "met")
    assert rows["FAD to training: CTM T = 2 / CTM T = 1"][2] == "met"
    assert rows["flicker of ctm T=1 / held-out music"] == ("-", 1.2, "not measured")


def test_a_snapshot_tells_its_iteration() -> None:
    """The last number of its name."""
    assert length.iteration_of(Path("v2/ctm3-step-0100.safetensors")) == 100
    assert length.iteration_of(Path("generator.safetensors")) == 0


def test_examples_are_the_extremes(music: Path, tmp_path: Path) -> None:
    """Of five regions the two of least and the two of most error stay; the table says the size."""
    errors = iter((0.3, 0.1, 0.5, 0.2, 0.4))

    def run(request: Request, path: Path) -> Result:
        assert request.region is not None
        region, rate = soundfile.read(request.region.path, dtype="int16")
        assert len(region) / rate == pytest.approx(3.0, abs=0.01)
        soundfile.write(path, region, rate)
        assert request.seed is not None
        return Result(
            id=request.id,
            path=str(path),
            start_seconds=0.0,
            length_samples=len(region),
            new_samples=1,
            sample_rate=rate,
            channels=2,
            seed=request.seed,
            loss_first=1.0,
            loss_last=next(errors),
            taken_seconds=0.0,
            device="cpu",
        )

    chosen = sound_examples.regions(music, 5, 0, MEL)
    made = sound_examples.continue_all(chosen, run, tmp_path, 7, MEL)
    kept = sound_examples.keep_extremes(made, 4)
    assert [example.error for example in kept] == [0.1, 0.2, 0.4, 0.5]
    names = [example.path.name for example in kept]
    assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())
    assert {soundfile.info(example.path).subtype for example in kept} == {"PCM_16"}
    told = sound_examples.example_table(kept, len(made), 7)
    assert "of 5 held-out regions of 3 s; seed 7; 2.0 MiB in all" in told.note
    assert [row[0] for row in told.rows] == names


def test_the_command_makes_examples(music: Path, tmp_path: Path, tiny_model: Path) -> None:
    """From the command line to WAV, picture and table, by the engine itself."""
    code, shown, said = invoke(
        *("evaluate", "model", "--model", str(tiny_model), "--data", str(music)),
        *("--only-examples", "--examples", "1", "--regions", "1", "--out", str(tmp_path / "e")),
    )
    assert (code, said) == (0, "")
    assert "region-00 of 1: overlap error" in shown
    files = sorted(path.name for path in (tmp_path / "e" / "examples").iterdir())
    assert files == ["examples.tsv", "region-00.png", "region-00.wav"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--model", "none"), "no model 'none'"),
        (("--only-examples",), "--only-examples needs --examples"),
        (("--snapshots", "gone-*"), "no file fits --snapshots gone-*"),
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
    code, _, said = invoke("evaluate", "model", "--model", str(tiny_model), *arguments)
    assert code == 1
    assert said.startswith("segue: ")
    assert said.count("\n") == 1
    assert sentence in said


def test_help_names_the_command() -> None:
    """`segue evaluate` leads to `model`."""
    assert "Measure a model." in invoke("--help")[1]
    assert "model" in invoke("evaluate", "--help")[1]
