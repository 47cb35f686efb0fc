"""`paper-unet` by the same commands: its own mel packed, trained, distilled, and not shipped."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from segue.export import ship as shipping
from segue.export import train as training
from segue.export.augment import Augment, Change, augmented
from segue.export.dataset import Windows, folder_sources, load_mel, pack, summary
from segue.export.distill import DistillConfig, distill
from segue.export.packed import check_mel, read_index, read_mel, read_scale
from segue.export.train import NETWORKS, TrainConfig, train
from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.mel import MELS, PAPER, MelConfig, MelScale
from segue.server.ditto.network import NetworkConfig
from segue.server.ditto.paper_unet import PaperUnet, PaperUnetConfig
from segue.server.ditto.weights import load_generator, save_decoder, save_generator, write_manifest
from segue.server.engine import Engine
from tests.music import write_data, write_track
from tests.test_cli import invoke
from tests.tiny import random_decoder

TINY = PaperUnetConfig(frames=16, widths=(8, 8), layers=(1, 1), inner=8, embedding=8, groups=4)
SMALL = NetworkConfig(frames=16, width=32, depth=1, heads=2, conv_width=16, conv_blocks=1)
RECIPE = TrainConfig(steps=2, batch=2, warmup=1, network=TINY)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two training tracks and a held-out one, as the paper's mel."""
    return write_data(tmp_path_factory.mktemp("paper"), mel=PAPER)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as Segue's mel."""
    return write_data(tmp_path_factory.mktemp("wide"))


@pytest.fixture(scope="module")
def teacher(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A U-Net of two steps."""
    return train(data, tmp_path_factory.mktemp("teacher"), RECIPE, "cpu")


def test_each_network_takes_a_mel_that_can_be_packed() -> None:
    """The names of both tables belong together, row for row."""
    assert {name: sizes.channels for name, sizes in NETWORKS.items()} == {
        "segue-small": MELS["segue"].channels,
        "paper-unet": MELS["paper"].channels,
    }


def test_a_folder_is_read_as_it_was_packed(data: Path) -> None:
    """160 rows at 22.05 kHz, hours and windows by the recorded mel, no band stuck at the floor."""
    assert read_mel(data) == PAPER
    rows = read_index(data)
    assert {row.frames for row in rows} == {int(3.5 * 22050) // 256}
    assert read_scale(data).mean.shape == (160,)
    assert json.loads(summary(data))["hours"]["train"] == round(2 * 301 * 256 / 22050 / 3600, 3)
    mel = load_mel(data, rows[0], PAPER)
    assert mel.shape == (160, 301)
    assert float(mel.amax(dim=1).min()) > np.log(PAPER.floor) + 1
    windows, _ = Windows(data, "train", 100).draw_tagged(2, torch.Generator(), Augment())
    assert windows.shape == (2, 160, 100)


def test_a_folder_packed_before_there_was_a_choice_is_stereo(wide: Path, tmp_path: Path) -> None:
    """A manifest without `sides` is of Segue's own mel; one that tells no mel is refused."""
    told = json.loads((wide / "manifest.json").read_text())
    assert told["mel"].pop("sides") == 2
    (tmp_path / "manifest.json").write_text(json.dumps(told))
    assert read_mel(tmp_path) == MelConfig()
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(SegueError, match="tells its mel; run `segue data` again"):
        read_mel(tmp_path)


def test_mid_alone_is_augmented_like_the_mid_of_two() -> None:
    """Same rows out, whatever is asked of the side that is not there."""
    one, two = MelConfig(bands=16, sides=1), MelConfig(bands=16)
    stretch = torch.randn(32, 12, generator=torch.Generator().manual_seed(0)) - 4
    change = Change(semitones=1.5, gain_db=3.0, side_db=2.0, eq_db=(1.0, -1.0))
    both = augmented(stretch, change, 10, two)
    assert torch.equal(augmented(stretch[:16], change, 10, one), both[:16])
    swapped = augmented(stretch[:16], replace(change, swap=True), 10, one)
    assert torch.equal(swapped, both[:16])


def test_a_folder_holds_one_mel(data: Path, tmp_path: Path) -> None:
    """Packing another into it is refused, also after a run that was stopped on its first track."""
    with pytest.raises(SegueError, match=r"another mel \(160 rows a frame, 22050 Hz\); give --out"):
        write_data(data)
    assert read_mel(data) == PAPER
    for name in ("a.wav", "b.wav"):
        write_track(tmp_path / name, 3.5)
    next(pack(folder_sources(tmp_path), tmp_path / "out", PAPER))
    with pytest.raises(SegueError, match="another mel"):
        next(pack(folder_sources(tmp_path), tmp_path / "out", MelConfig()))


def test_it_trains_and_is_distilled(data: Path, teacher: Path, tmp_path: Path) -> None:
    """Two steps each: the student knows the guidance scale, and keeps the teacher's scale."""
    pace = DistillConfig(steps=2, batch=2, warmup=1)
    student, scale = load_generator(distill(data, teacher, tmp_path, pace, "cpu"))
    assert isinstance(student, PaperUnet)
    assert asdict(student.config) == asdict(replace(TINY, guided=True))
    assert torch.equal(scale.mean, read_scale(data).mean)
    assert len((tmp_path / "curve.tsv").read_text().splitlines()) == 1
    assert (tmp_path / "heldout.tsv").is_file()
    base, _ = load_generator(teacher)
    changed = [not torch.equal(p, dict(base.named_parameters()).get(name, p))
               for name, p in student.named_parameters()]  # fmt: skip
    assert any(changed)


def test_it_goes_on_from_its_own_weights(data: Path, teacher: Path, tmp_path: Path) -> None:
    """`--from` a U-Net, whatever network the recipe names, is fine-tuned as one."""
    recipe = replace(RECIPE, network=SMALL)
    tuned, _ = load_generator(train(data, tmp_path, recipe, "cpu", start=teacher))
    assert isinstance(tuned, PaperUnet)


def test_a_network_and_another_mel_are_refused(
    data: Path, wide: Path, teacher: Path, tmp_path: Path
) -> None:
    """In training, fine-tuning and distillation, with the command that makes the right data."""
    paper = (
        "holds mels of 256 rows a frame, and the network takes 160.*segue data MUSIC --mel paper"
    )
    segue = (
        "holds mels of 160 rows a frame, and the network takes 256.*segue data MUSIC --mel segue"
    )
    with pytest.raises(SegueError, match=paper):
        train(wide, tmp_path, RECIPE, "cpu")
    with pytest.raises(SegueError, match=paper):
        train(wide, tmp_path, replace(RECIPE, network=SMALL), "cpu", start=teacher)
    with pytest.raises(SegueError, match=paper):
        distill(wide, teacher, tmp_path, DistillConfig(), "cpu")
    with pytest.raises(SegueError, match=segue):
        train(data, tmp_path, replace(RECIPE, network=SMALL), "cpu")
    with pytest.raises(SegueError, match=r"the network takes 16$"):
        check_mel(data, 16)


def test_there_is_no_decoder_for_it(teacher: Path, tmp_path: Path) -> None:
    """Neither shipped nor loaded: one sentence instead of a crash in the decoder."""
    save_decoder(tmp_path / "decoder.safetensors", random_decoder(), {})
    out = tmp_path / "out"
    with pytest.raises(
        SegueError, match=r"makes mels of 160 rows a frame.*takes 256 only"
    ) as caught:
        shipping.ship(teacher, tmp_path / "decoder.safetensors", out)
    assert caught.value.code == Code.NO_MODEL
    assert not out.exists()
    out.mkdir()
    scale = MelScale(torch.zeros(160), torch.ones(160))
    save_generator(out / "generator.safetensors", PaperUnet(TINY), scale, {})
    write_manifest(out)
    with pytest.raises(SegueError, match=r"generator\.safetensors: it makes mels of 160"):
        Engine.load(str(out))


def test_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packed with --mel, trained with --network; by other names both list what there is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(training.NETWORKS, "paper-unet", TINY)
    (tmp_path / "loops").mkdir()
    write_track(tmp_path / "loops" / "one.wav", 6.5)
    assert invoke("data", "loops", "--mel", "paper")[0] == 0
    assert read_mel(Path("train/data")) == PAPER
    once = ("--steps", "1", "--batch", "1", "--device", "cpu")
    code, _, said = invoke("train", "--network", "paper-unet", *once)
    assert (code, said) == (0, "")
    assert isinstance(load_generator(Path("train/base/base.safetensors"))[0], PaperUnet)
    for arguments, sentence in (
        (("train",), "segue data MUSIC --mel segue --out FOLDER"),
        (("data", "loops", "--mel", "bark"), "no mel 'bark'; there are: segue, paper"),
        (("train", "--network", "vgg"), "no network 'vgg'; there are: segue-small, paper-unet"),
        (("train", "--network", "paper-unet", "--from", "x"), "leave out --network"),
    ):
        code, _, said = invoke(*arguments)
        assert (code, said.count("\n")) == (1, 1)
        assert sentence in said


def test_discriminators_refuse_a_u_net(data: Path, teacher: Path, tmp_path: Path) -> None:
    """It has no tokens to look at; nothing is written."""
    recipe = DistillConfig(steps=1, batch=2, adversarial_from=0)
    with pytest.raises(SegueError, match=r"not into paper-unet; leave out --adversarial-from"):
        distill(data, teacher, tmp_path / "ctm", recipe, "cpu")
    assert not (tmp_path / "ctm").exists()
