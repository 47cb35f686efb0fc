"""The text score: words and their factors, the cosine, the tower, and the independent judge."""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from segue.export.evaluation import heard_text
from segue.export.sources import Source
from segue.export.train_text import TextTraining, area, average_precision, train
from segue.presets.library import SHIPPED
from segue.presets.vocabulary import SegueError
from segue.server.ditto.controls import text
from segue.server.ditto.mel import PAPER, MelConfig, log_mel
from segue.server.ditto.text_model import MEASURES, TextModel, TowerConfig, load, measures, save
from segue.server.ditto.weights_file import describe
from tests.music import pack_all, write_track

MEL = MelConfig()
EXCERPT = Path(str(SHIPPED / "excerpts" / "feelings.flac"))


class OnePoint:
    """A backend whose music is always at one place."""

    def embed_text(self, text: str) -> Tensor:
        """East, north or west."""
        return torch.tensor({"east": [1.0, 0.0], "north": [0.0, 1.0], "west": [-1.0, 0.0]}[text])

    def embed_mel(self, mel: Tensor, config: MelConfig) -> Tensor:
        """East."""
        return torch.tensor([1.0, 0.0]).expand(len(mel), 2)


def noise(frames: int = 300, batch: int = 2, seed: int = 0) -> Tensor:
    """A mel of about the level of music."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, MEL.channels, frames, generator=generator) - 5


@pytest.fixture(scope="module")
def music() -> Tensor:
    """(1, channels, frames) of the excerpt that ships."""
    import soundfile

    audio, rate = soundfile.read(EXCERPT, dtype="float32", always_2d=True, frames=20 * 44100)
    assert rate == MEL.sample_rate
    return log_mel(torch.from_numpy(audio.T.copy()), MEL)[None]


@pytest.mark.parametrize(("words", "expected"), [("east", 0.0), ("north", 1.0), ("west", 2.0)])
def test_loss_is_one_minus_the_cosine(words: str, expected: float) -> None:
    """0 for the same direction, 1 across, 2 for the opposite; one value a clip."""
    place = OnePoint()
    made = text.loss(noise(8, batch=3), text.target(words, place), MEL, place)
    assert made.tolist() == [expected] * 3


def test_words_are_read_in_any_spelling() -> None:
    """Capitals, hyphens, marks and plurals don't matter; nor does the order."""
    plain = text.target("warm slow strings")
    assert torch.equal(text.target("Strings, SLOW & warm!"), plain)
    assert text.weights("lo-fi beats") == text.weights("Lofi beat")
    assert text.weights("electric guitars") == text.weights("electric guitar")


@pytest.mark.parametrize(
    ("said", "known"),
    [
        ("no drums", [("drums", -1.0)]),
        ("no drums or guitar", [("drums", -1.0), ("guitar", -1.0)]),
        ("no drums, guitar", [("drums", -1.0), ("guitar", 1.0)]),
        ("very warm and slightly dark", [("warm", 1.5), ("dark", 0.5)]),
        ("less bright", [("bright", -0.5)]),
        ("without any heavy metal", [("heavy metal", -1.0)]),
        ("drum and bass with a beat", [("drum and bass", 1.0), ("beat", 1.0)]),
        ("not frobnicated strings", [("strings", 1.0)]),
    ],
)
def test_phrases_and_their_factors(said: str, known: list[tuple[str, float]]) -> None:
    """The longest phrase counts; a factor goes to the next thing said and no further."""
    assert list(text.read(said).known) == known


def test_unknown_words_are_told() -> None:
    """Each once and in order; words that carry no meaning are not among them."""
    assert text.read("the frobnicated strings of a zyx zyx").unknown == ("frobnicated", "zyx")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("frobnicated", "no word of 'frobnicated' is known"),
        ("strinks", "did you mean strings"),
        ("", "says nothing about the music"),
        ("make a song", "says nothing about the music"),
        ("warm, no warm", "cancel each other out"),
        ("warm " * 300, "1000 are allowed"),
    ],
)
def test_texts_that_ask_for_nothing_are_refused(said: str, told: str) -> None:
    """The error says what is wrong and names words that are known."""
    with pytest.raises(SegueError, match=told):
        text.target(said)


def test_every_meaning_is_of_an_axis_there_is() -> None:
    """The table of words fits the weights, and every tag can be asked for by its own name."""
    model = text.shipped().model
    assert {axis for meaning in text.lexicon().values() for axis in meaning} <= set(model.axes)
    assert [tag for tag in model.tower.config.tags if tag not in text.lexicon()] == []


@pytest.mark.parametrize("frames", [2, 100, 512, 513, 1300])
def test_gradients_reach_the_mel(frames: int) -> None:
    """Finite and not zero for every clip, however short or long; clips don't touch each other."""
    mel = noise(frames).requires_grad_()
    made = text.loss(mel, text.target("warm slow strings"), MEL)
    assert made.shape == (2,)
    (gradient,) = torch.autograd.grad(made[0], mel)
    assert gradient.isfinite().all()
    assert gradient[0].abs().max() > 0
    assert gradient[1].abs().max() == 0


def test_silence_has_a_score() -> None:
    """A mel at the floor gives a finite loss and gradient."""
    mel = torch.full((1, MEL.channels, 200), math.log(MEL.floor)).requires_grad_()
    made = text.loss(mel, text.target("loud drums"), MEL)
    (gradient,) = torch.autograd.grad(made.sum(), mel)
    assert made.isfinite().all()
    assert gradient.isfinite().all()


def test_another_mel_is_refused() -> None:
    """The tower can't hear the paper's mel, and says so."""
    with pytest.raises(SegueError, match="hears the mel of segue-small"):
        text.loss(noise(), text.target("warm"), PAPER)


def test_long_clips_are_the_mean_of_their_windows() -> None:
    """Of the axes, before the cosine: windows side by side average exactly."""
    model = text.shipped().model
    mel = noise(1024, batch=1)
    halves = torch.cat(mel.split(512, dim=-1))
    assert torch.allclose(model.describe(mel)[0], model.describe(halves).mean(0), atol=1e-4)


def test_measures_have_closed_forms() -> None:
    """Gain moves the level alone; one band is the centre; a still mel has no dynamics."""
    still = torch.full((1, MEL.channels, 40), -9.0)
    still[:, 40] = 0.0
    told = dict(zip(MEASURES, measures(still, MEL)[0].tolist(), strict=True))
    assert told["loudness"] == pytest.approx(0, abs=1e-5)
    assert told["brightness"] == pytest.approx(40, abs=0.5)
    assert told["dynamics"] < 0.01
    louder = measures(noise() + 1, MEL) - measures(noise(), MEL)
    assert torch.allclose(louder, torch.tensor([1.0, 0, 0, 0, 0, 0, 0]), atol=1e-3)


@pytest.mark.parametrize(
    ("more", "less", "change"),
    [("loud", "quiet", 1.0), ("bright", "warm", torch.linspace(-1.5, 1.5, 128).repeat(2)[:, None])],
)
def test_words_follow_the_sound(music: Tensor, more: str, less: str, change: float) -> None:
    """The same music louder is nearer to "loud" and further from "quiet"; so for its colour."""
    for word, sign in ((more, 1), (less, -1)):
        asked = text.target(word)
        rise = text.score(music + change, asked, MEL) - text.score(music, asked, MEL)
        assert sign * float(rise) > 0.02


def test_real_music_is_heard_as_what_it_is(music: Tensor) -> None:
    """The excerpt, a slow ballad with strings to other ears too, is not taken for techno."""
    fits, not_so = (
        text.score(music, text.target(words), MEL)
        for words in ("warm slow strings", "fast bright techno")
    )
    assert float(fits) > 0.2 > 0 > float(not_so)


def test_descent_raises_the_score(music: Tensor) -> None:
    """A few gradient steps on the mel of real music bring it nearer to a text."""
    asked = text.target("techno with loud drums")
    mel, losses = music[..., :256].clone(), []
    for _ in range(10):
        made = text.loss(mel.requires_grad_(), asked, MEL)
        (gradient,) = torch.autograd.grad(made.sum(), mel)
        mel = mel.detach() - 0.05 * gradient.sign()
        losses.append(float(made.detach()))
    assert losses[-1] < losses[0] - 0.1


def test_weights_come_back_as_saved(tmp_path: Path) -> None:
    """A model in a file is the same model; a file of something else is refused by name."""
    model = TextModel(TowerConfig(tags=("a", "b"), channels=(4, 8), width=8), MEL).eval()
    model.set_covariance(torch.eye(9) + 0.5)
    save(tmp_path / "t.safetensors", model, {"licence": "CC0-1.0"})
    again = load(tmp_path / "t.safetensors")
    assert torch.equal(again.embed_mel(noise()), model.embed_mel(noise()))
    assert torch.equal(again.embed_weights({"a": 1.0}), model.embed_weights({"a": 1.0}))
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    with pytest.raises(SegueError, match=r"bad\.safetensors"):
        load(tmp_path / "bad.safetensors")


def test_ranking_has_closed_forms() -> None:
    """A perfect order is 1 and a reversed one 0 in area; precision is that at each hit."""
    has = np.array([True, False, True, False])
    assert area(np.array([4.0, 1, 3, 2]), has) == 1
    assert area(np.array([1.0, 4, 2, 3]), has) == 0
    assert area(np.zeros(4), has) == 0.5
    assert average_precision(np.array([4.0, 3, 2, 1]), has) == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Piano", {"piano": 1.0}),
        ("calm", {"soft": 1 / 3, "quiet": 1 / 3, "slow": 1 / 3}),
        ("no drums", {"drums": -1 / 3, "beat": -1 / 3, "beats": -1 / 3}),
        ("no vocals and loud", {"no vocals": 1.0, "loud": 1.0}),
        ("frobnicated", {}),
    ],
)
def test_the_judge_reads_texts_on_its_own(said: str, expected: dict[str, float]) -> None:
    """Words become its tags, with weights that sum to 1 a word."""
    assert heard_text.asked_tags(said) == pytest.approx(expected)


def test_the_judge_hears_a_quiet_sine() -> None:
    """A quiet sine is no metal to it; without its weights it says what to install."""
    if find_spec("musicnn") is None:
        with pytest.raises(SegueError, match="pip install --no-deps musicnn=="):
            heard_text.load_judge()
        return
    judge = heard_text.load_judge()
    t = np.arange(16000 * 4) / 16000
    audio = 0.05 * np.sin(2 * np.pi * 440 * t)[:, None].repeat(2, axis=1)
    heard = heard_text.tag_scores(audio, 16000, judge)
    assert heard["quiet"] > heard["loud"]
    assert heard["ambient"] > heard["metal"]
    calm = heard_text.adherence("calm, no drums", audio, 16000, judge)
    loud = heard_text.adherence("heavy techno with drums", audio, 16000, judge)
    assert calm is not None
    assert loud is not None
    assert calm > loud
    assert heard_text.adherence("frobnicated", audio, 16000, judge) is None
    with pytest.raises(ValueError, match="too short to judge"):
        heard_text.tag_scores(audio[:16000], 16000, judge)


def test_training_learns_measures_and_saves(tmp_path: Path) -> None:
    """Two steps on a few tracks give a file that loads, with licence and measures in it."""
    sources = []
    for name, split, tags in (
        ("a", "train", ("fast",)),
        ("b", "train", ("slow",)),
        ("d", "train", ("fast", "slow")),
        ("e", "heldout", ("slow",)),
    ):
        path = write_track(tmp_path / f"{name}.wav", 7.0)
        sources.append(Source(path=path, licence="CC0-1.0", split=split, tags=tags))
    pack_all(sources, tmp_path / "data", MEL)
    config, out = TextTraining(steps=2, batch=2), tmp_path / "tower.safetensors"
    *steps, told = train(config, tmp_path / "data", out, "how it was made")
    assert [step for step, _ in steps] == [1, 2]
    assert isinstance(told, dict)
    assert told["held out"] == {"tracks": 1, "tags": {}}
    assert load(out).axes == ("fast", "slow", *MEASURES)
    notes = describe(out)["notes"]
    assert (notes["licence"], notes["command"]) == ("CC-BY-SA-4.0", "how it was made")
