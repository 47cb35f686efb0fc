"""From a folder of audio to windows to learn from: formats, faults, splits and figures."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from segue.export import dataset
from segue.export.dataset import (
    Packed,
    Skipped,
    Source,
    Windows,
    folder_sources,
    read_index,
    read_scale,
    read_stereo,
)
from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.mel import log_mel
from tests.music import MEL, pack_all, write_data, write_track


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two training tracks and a held-out one."""
    return write_data(tmp_path_factory.mktemp("packed"))


def source(path: Path, split: str = "train") -> Source:
    """A file with a licence."""
    return Source(path=path, licence="yours", split=split)


@pytest.mark.parametrize(
    ("name", "rate", "channels"),
    [("a.wav", 44100, 2), ("b.flac", 48000, 1), ("c.ogg", 22050, 2), ("d.WAV", 96000, 1)],
)
def test_every_format_is_packed(tmp_path: Path, name: str, rate: int, channels: int) -> None:
    """Any rate, mono or stereo, becomes float16 mels of the same length in time."""
    write_track(tmp_path / name, 3.5, rate, channels)
    (row,) = pack_all(folder_sources(tmp_path), tmp_path / "out")
    assert isinstance(row, Packed)
    assert row.frames == int(3.5 * 44100) // 512
    mel = np.load(tmp_path / "out" / "mels" / f"{row.name}.npy")
    assert (mel.dtype, mel.shape) == (np.float16, (256, row.frames))
    side_is_silent = bool((mel[128:] < math.log(1.1e-5)).all())
    assert side_is_silent == (channels == 1)


@pytest.mark.parametrize("odd", [0, 100])
def test_blocks_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: int) -> None:
    """Computed in blocks, a mel equals that of the whole track, whatever remains at its end."""
    monkeypatch.setattr(dataset, "BLOCK_FRAMES", 100)
    path = write_track(tmp_path / "a.wav", (300 * 512 + odd) / 44100)
    (row,) = pack_all([source(path)], tmp_path / "out")
    assert isinstance(row, Packed)
    whole = log_mel(read_stereo(path, 44100)[:, : 300 * 512], MEL)
    mel = np.load(tmp_path / "out" / "mels" / f"{row.name}.npy")
    assert np.array_equal(mel, whole.half().numpy())


def test_bad_files_are_reported_and_left_out(tmp_path: Path) -> None:
    """Broken, tiny, silent or NaN: one reason each, and the rest is packed."""
    write_track(tmp_path / "good.wav", 3.5)
    write_track(tmp_path / "tiny.wav", 2.9)
    (tmp_path / "broken.flac").write_bytes(b"fLaC and then nothing")
    soundfile.write(tmp_path / "empty.wav", np.zeros((0, 2)), 44100)
    soundfile.write(tmp_path / "silent.wav", np.zeros((200000, 2)), 44100)
    soundfile.write(tmp_path / "nan.wav", np.full((200000, 2), np.nan), 44100, subtype="FLOAT")
    (tmp_path / "notes.txt").write_text("not audio")
    (tmp_path / "folder.wav").mkdir()
    done = pack_all([source(p) for p in sorted(tmp_path.glob("*.*a*"))], tmp_path / "out")
    reasons = {Path(d.source).name: d.why for d in done if isinstance(d, Skipped)}
    assert reasons.keys() == {
        "broken.flac", "empty.wav", "folder.wav", "nan.wav", "silent.wav", "tiny.wav"
    }  # fmt: skip
    assert "NaN" in reasons["nan.wav"]
    assert "silent" in reasons["silent.wav"]
    assert "shorter than 3 seconds" in reasons["tiny.wav"]
    assert [Path(row.source).name for row in read_index(tmp_path / "out")] == ["good.wav"]


def test_packing_resumes(tmp_path: Path) -> None:
    """A track is read again only when it changed; new ones join."""
    a, b = (write_track(tmp_path / name, 3.5) for name in ("a.wav", "b.wav"))
    first = pack_all([source(a)], tmp_path / "out")
    mel = next((tmp_path / "out" / "mels").glob("a-*.npy"))
    os.utime(a, (1, 1))
    os.utime(mel, (2, 2))
    both = pack_all([source(a), source(b)], tmp_path / "out")
    assert both[0] == first[0]
    assert len(both) == 2
    assert mel.stat().st_mtime == 2
    os.utime(a, (3, 3))
    pack_all([source(a), source(b)], tmp_path / "out")
    assert mel.stat().st_mtime > 3


def test_nothing_to_learn_from_is_an_error(tmp_path: Path) -> None:
    """No audio, or none that is fit: a sentence, and no index that pretends otherwise."""
    with pytest.raises(SegueError, match="no audio in"):
        folder_sources(tmp_path)
    write_track(tmp_path / "tiny.wav", 1.0)
    with pytest.raises(SegueError, match="none of the audio"):
        pack_all(folder_sources(tmp_path), tmp_path / "out")
    with pytest.raises(SegueError, match="segue data") as caught:
        read_index(tmp_path / "out")
    assert caught.value.code == Code.MISSING_FILE


def test_a_track_is_in_one_split(tmp_path: Path) -> None:
    """About one track in twenty is held out, the same ones however the folder is reached."""
    for i in range(400):
        (tmp_path / f"{i}.wav").touch()
    sources = folder_sources(tmp_path)
    held = [s.path.name for s in sources if s.split == "heldout"]
    assert 8 <= len(held) <= 40
    assert folder_sources(tmp_path / ".." / tmp_path.name) == sources
    assert len({s.name for s in sources}) == 400


def test_a_tiny_folder_has_something_to_train_on(tmp_path: Path) -> None:
    """When the hash would hold out every file, none is."""
    for i in range(100):
        (tmp_path / f"{i}.wav").touch()
        assert [s.split for s in folder_sources(tmp_path)] == ["train"]
        (tmp_path / f"{i}.wav").unlink()


def test_statistics_are_those_of_the_training_split(packed: Path) -> None:
    """Mean and deviation a band over all training frames, held-out tracks unseen."""
    rows = [r for r in read_index(packed) if r.split == "train"]
    mels = [np.load(packed / "mels" / f"{r.name}.npy").astype(np.float64) for r in rows]
    together = np.concatenate(mels, axis=1)
    scale = read_scale(packed)
    np.testing.assert_allclose(scale.mean, together.mean(1), rtol=1e-6)
    np.testing.assert_allclose(scale.std, np.maximum(together.std(1), 0.25), rtol=1e-5)
    assert scale.mean.dtype == torch.float32


def test_windows_are_normalised(packed: Path) -> None:
    """Windows as long as the tracks, in the proportion they are drawn, have mean 0, variance 1."""
    windows = Windows(packed, "train", 301)
    drawn = windows.draw(64, torch.Generator().manual_seed(0))
    assert drawn.shape == (64, 256, 301)
    deviations = windows.scale.std > 0.25
    assert float(drawn.mean().abs()) < 0.05
    assert float(drawn[:, deviations].var()) == pytest.approx(1, abs=0.05)


def test_gain_moves_the_mean(packed: Path) -> None:
    """Every band of a window shifts by the same dB, evenly spread up to the limit."""
    windows = Windows(packed, "train", 301)
    windows.rows, windows.chances = windows.rows[:1], windows.chances[:1]
    plain = windows.scale.restore(windows.draw(1, torch.Generator()))
    moved = windows.scale.restore(windows.draw(200, torch.Generator().manual_seed(1), gain_db=6.0))
    shifts = (moved - plain)[:, 20:100].flatten(1) * 20 / math.log(10)
    assert float(shifts.std(1).max()) < 1e-3
    assert float(shifts.min()) == pytest.approx(-6, abs=0.3)
    assert float(shifts.max()) == pytest.approx(6, abs=0.3)


def test_gain_stays_above_the_floor(packed: Path) -> None:
    """No gain makes a mel quieter than the front end could."""
    windows = Windows(packed, "train", 200)
    drawn = windows.draw(16, torch.Generator().manual_seed(0), gain_db=200.0)
    assert float(windows.scale.restore(drawn).min()) > math.log(MEL.floor) - 1e-4


def test_same_seed_same_windows(packed: Path) -> None:
    """What is drawn depends on the generator alone."""
    windows = Windows(packed, "train", 100)
    a, b, c = (
        windows.draw(4, torch.Generator().manual_seed(seed), gain_db=6.0) for seed in (1, 1, 2)
    )
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_splits_do_not_mix(packed: Path) -> None:
    """Held-out windows come from held-out tracks only."""
    names = {
        split: {r.name for r in Windows(packed, split, 100).rows} for split in ("train", "heldout")
    }
    assert (len(names["train"]), len(names["heldout"])) == (2, 1)
    assert names["train"] & names["heldout"] == set()


def test_tracks_too_short_for_a_window_are_an_error(packed: Path) -> None:
    """The sentence says how long a track must be."""
    with pytest.raises(SegueError, match=r"no train track of 5\.9 seconds"):
        Windows(packed, "train", 512)


def test_a_torn_index_is_an_error(packed: Path, tmp_path: Path) -> None:
    """An index that is not one is treated as if the folder was never packed."""
    (tmp_path / "index.tsv").write_text("name\tframes\nx\tmany\n")
    with pytest.raises(SegueError, match="segue data"):
        read_index(tmp_path)


def test_names_differ_by_folder(tmp_path: Path) -> None:
    """Two files of the same name in two folders keep a mel each."""
    one = source(tmp_path / "x" / "loop.wav")
    assert one.name != replace(one, path=tmp_path / "y" / "loop.wav").name
