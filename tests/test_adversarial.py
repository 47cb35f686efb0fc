"""Adversarial training of the decoder: the jury tells, the decoder learns, a killed run goes on."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from segue.export import loop, train_decoder
from segue.export.discriminator import Discriminators, Jury, feature_distance
from segue.export.train_decoder import DecoderTraining, adversarial_loss
from segue.presets.vocabulary import SegueError
from segue.server.ditto.decoder import DecoderConfig
from segue.server.ditto.weights import load_decoder, save_decoder
from tests.music import write_data
from tests.tiny import random_decoder

NETWORK = DecoderConfig(width=16, depth=1, griffin_lim=1)
RECIPE = DecoderTraining(
    steps=6, batch=1, frames=16, warmup=2, network=NETWORK, adversarial_from=2, jury_width=4
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few seconds of training data."""
    return write_data(tmp_path_factory.mktemp("data"))


def jury(width: int = 4) -> Jury:
    """One whose weights are the same every time."""
    torch.manual_seed(0)
    return Jury(Discriminators(width), 1e-2, torch.device("cpu"))


def tone_and_noise(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(4, 4096) of tones, and noise as loud."""
    hz = 200 + 2000 * torch.rand(4, 1, generator=generator)
    tone = torch.sin(2 * math.pi * hz * torch.arange(4096) / 44100)
    return tone, torch.randn(4, 4096, generator=generator) * math.sqrt(0.5)


def test_jury_learns_to_tell_noise_from_tones() -> None:
    """From undecided, a hinge loss of 2, to nearly sure in thirty steps."""
    judges, generator = jury(), torch.Generator().manual_seed(0)
    losses = []
    for _ in range(30):
        tone, noise = tone_and_noise(generator)
        losses.append(float(judges.judge(noise, tone, 1.0)[1]))
    assert losses[0] == pytest.approx(2, abs=0.2)
    assert max(losses[-5:]) < 0.2


def test_audio_that_follows_the_pull_passes_for_real() -> None:
    """A step against the gradient lowers what the maker has to lose; the jury's step is its own."""
    judges = jury()
    tone, noise = tone_and_noise(torch.Generator().manual_seed(0))
    with torch.no_grad(), loop.autocast(noise.device):
        before = judges.discriminators(noise, tone).maker
    pull, _ = judges.judge(noise, tone, 0.0)  # at a rate of nought the jury stays as it is
    with torch.no_grad(), loop.autocast(noise.device):
        after = judges.discriminators(noise - pull / pull.norm(), tone).maker
    assert after < before


def test_features_of_the_same_audio_are_no_distance_apart() -> None:
    """And with nothing at all in place of the real ones' features the distance is 1."""
    real = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    assert float(feature_distance(torch.cat((real, real)))) == 0
    assert float(feature_distance(torch.cat((0 * real, real)))) == pytest.approx(1)


def test_silence_has_a_finite_pull() -> None:
    """Compressed magnitudes are steep at nought, but not infinitely so."""
    silence = torch.zeros(2, 4096)
    pull, loss = jury().judge(silence, silence, 1.0)
    assert pull.isfinite().all()
    assert loss.isfinite()


def gradient(scale: float, limit: float) -> Tensor:
    """The slope in the decoder's last bias, with the jury's scores `scale` times as steep."""
    stereo = torch.randn(1, 2, 16 * 512, generator=torch.Generator().manual_seed(0)) * 0.1
    decoder, judges = random_decoder(), jury()
    for name, weights in judges.discriminators.named_parameters():
        if name.endswith("score.weight"):
            weights.data *= scale
    adversarial_loss(decoder, judges, stereo, limit, 0.0).backward()
    assert decoder.leave.bias.grad is not None
    return decoder.leave.bias.grad


def test_pull_counts_up_to_its_limit() -> None:
    """As it is when it is weak; a pull a thousand times as strong gets no further than the limit.

    Twice the limit is then twice the pull.
    """
    none = gradient(1.0, 0.0)
    weak = gradient(1.0, 100.0) - none
    assert 0 < float(weak.norm()) < 0.1 * float(none.norm())
    torch.testing.assert_close(gradient(1.0, 1000.0) - none, weak)
    once, twice = (gradient(1e6, limit) - none for limit in (0.5, 1.0))
    assert float((twice - 2 * once).norm()) < 0.02 * float(twice.norm())  # bfloat16 has 8 bits
    assert float(twice.norm()) > 3 * float(weak.norm())


def test_killed_adversarial_training_goes_on_to_the_same_weights(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both networks and both optimizers are in the checkpoint: same bits, same curve."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "LOG_STEPS", 2)
    save_decoder(tmp_path / "start.safetensors", random_decoder(), {})

    def run(name: str) -> Path:
        start = tmp_path / "start.safetensors"
        return train_decoder.train_decoder(data, tmp_path / name, RECIPE, "cpu", start=start)

    whole = run("whole")
    judge, calls = Jury.judge, iter(range(1, 100))

    def deadly(self: Jury, *arguments: object) -> object:
        if next(calls) == 4:
            raise KeyboardInterrupt
        return judge(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Jury, "judge", deadly)
    with pytest.raises(KeyboardInterrupt):
        run("killed")
    assert torch.load(tmp_path / "killed" / "checkpoint.pt", weights_only=True)["step"] == 4
    one, other = load_file(run("killed")), load_file(whole)
    assert [name for name in other if not torch.equal(one[name], other[name])] == []
    ends = ((tmp_path / name / "curve.tsv").read_text() for name in ("whole", "killed"))
    assert len({tuple(line.split("\t")[1] for line in text.splitlines()) for text in ends}) == 1


def test_start_gives_the_first_weights_and_sizes(data: Path, tmp_path: Path) -> None:
    """At a rate of next to nothing, training ends with what it began with."""
    old = random_decoder()
    save_decoder(tmp_path / "start.safetensors", old, {})
    recipe = DecoderTraining(steps=1, batch=1, frames=16, rate=1e-9, adversarial_from=0)
    path = train_decoder.train_decoder(
        data, tmp_path / "out", recipe, "cpu", start=tmp_path / "start.safetensors"
    )
    new = load_decoder(path)
    assert new.config == old.config
    torch.testing.assert_close(new.leave.weight, old.leave.weight, rtol=1e-6, atol=1e-7)


def test_nan_in_the_audio_stops_the_run_before_any_step() -> None:
    """The sentence says what to do; the jury has not learned from it."""
    judges = jury()
    before = [p.clone() for p in judges.discriminators.parameters()]
    real = torch.zeros(2, 4096)
    with pytest.raises(SegueError, match=r"discriminators' loss is nan.*lower --rate"):
        judges.judge(real * math.nan, real, 1.0)
    after = judges.discriminators.parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_discriminators_are_small() -> None:
    """Cheap enough for one core: a tenth of the decoder's size."""
    assert sum(p.numel() for p in Discriminators(32).parameters()) < 400_000
