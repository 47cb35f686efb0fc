"""The Fréchet distance has closed forms; musicnn has known answers."""

from __future__ import annotations

import struct
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from segue.export.evaluation import musicnn
from segue.export.evaluation.fad import Gaussian, fad, frechet
from segue.export.evaluation.tf_checkpoint import read_checkpoint
from segue.presets.vocabulary import SegueError


def cloud(n: int = 300, size: int = 6, seed: int = 0) -> np.ndarray:
    """Correlated embeddings."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, size)) @ rng.standard_normal((size, size))


def test_a_set_is_at_no_distance_from_itself() -> None:
    """Equal sets, in any order, are 0 apart."""
    points = cloud()
    assert fad(points, points[::-1]) == pytest.approx(0, abs=1e-10)


def test_few_points_in_many_dimensions_are_no_trouble() -> None:
    """A covariance without full rank has a root too: equal sets stay at 0."""
    points = cloud(n=5, size=40)
    assert fad(points, points) == pytest.approx(0, abs=1e-8)


def test_a_shift_costs_its_square() -> None:
    """Moving every point by d costs |d|^2."""
    points = cloud()
    shift = np.arange(6.0)
    assert fad(points, points + shift) == pytest.approx((shift**2).sum(), rel=1e-9)


def test_scaled_spread_has_a_closed_form() -> None:
    """C against s^2 C about one mean: (1 - s)^2 tr C."""
    points = cloud()
    centre = points.mean(0)
    spread = np.trace(np.cov(points, rowvar=False))
    assert fad(points, centre + 3 * (points - centre)) == pytest.approx(4 * spread, rel=1e-9)


def test_covariances_that_share_axes() -> None:
    """Diagonal covariances: the sum of (sigma_a - sigma_b)^2; and either order is the same."""
    a = Gaussian(np.zeros(3), np.diag([1.0, 4.0, 9.0]))
    b = Gaussian(np.zeros(3), np.diag([4.0, 4.0, 0.0]))
    assert frechet(a, b) == pytest.approx(1 + 0 + 9, rel=1e-9)
    assert frechet(a, b) == pytest.approx(frechet(b, a), rel=1e-9)


@pytest.mark.parametrize("points", [np.zeros((1, 3)), np.array([[0.0, np.nan], [1.0, 2.0]])])
def test_a_gaussian_needs_a_spread(points: np.ndarray) -> None:
    """One point, or NaN, is refused rather than measured."""
    with pytest.raises(ValueError, match="two finite embeddings"):
        fad(points, points)


def test_mel_filters_are_librosa_s() -> None:
    """Exact values of Slaney's triangles: 96 bands up to 8 kHz, areas alike.

    45.245640 mel in 97 steps are 31.096659 Hz each below 1 kHz; bins lie 31.25 Hz apart.
    """
    filters = musicnn.slaney_filters()
    step = (15 + 27 * np.log(8) / np.log(6.4)) / 97 * 200 / 3
    assert filters.shape == (96, 257)
    assert filters[0, 1] == pytest.approx((2 * step - 31.25) / step * 2 / (2 * step), rel=1e-12)
    assert filters[0, [0, 2]].tolist() == [0, 0]
    assert filters[1, 1] == pytest.approx((31.25 - step) / step * 2 / (2 * step), rel=1e-12)
    assert (filters >= 0).all()
    assert (filters.sum(1) * 31.25)[60:] == pytest.approx(np.ones(36), abs=0.02)


def varint(value: int) -> bytes:
    """A base-128 number."""
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def entry(key: bytes, value: bytes) -> bytes:
    """One entry of a block, sharing nothing with the key before."""
    return varint(0) + varint(len(key)) + varint(len(value)) + key + value


def block(*entries: bytes) -> bytes:
    """A block with one restart point, and its compression type: none."""
    return b"".join(entries) + struct.pack("<II", 0, 1) + b"\0" + b"crc."


def write_checkpoint(folder: Path) -> None:
    """A tensor bundle with one float32 tensor of shape (2, 300) and a string."""
    dimensions = b"".join(b"\x12" + varint(len(d)) + d for d in (b"\x08\x02", b"\x08\xac\x02"))
    shape = b"\x12" + varint(len(dimensions)) + dimensions
    tensor = b"\x08\x01" + shape + b"\x20\x04" + b"\x28" + varint(2400)
    data = block(entry(b"", b"\x08\x01"), entry(b"a/kernel", tensor), entry(b"text", b"\x08\x07"))
    handle = varint(0) + varint(len(data) - 5)
    index = block(entry(b"z", handle))
    footer = varint(0) + varint(0) + varint(len(data)) + varint(len(index) - 5)
    (folder / "net.index").write_bytes(data + index + footer.ljust(48, b"\0"))
    values = np.arange(600, dtype=np.float32)
    (folder / "net.data-00000-of-00001").write_bytes(b"\xff" * 4 + values.tobytes())


def test_checkpoints_are_read_without_tensorflow(tmp_path: Path) -> None:
    """Name, shape and numbers of the one numeric tensor in a bundle written by hand."""
    write_checkpoint(tmp_path)
    tensors = read_checkpoint(tmp_path, "net")
    assert list(tensors) == ["a/kernel"]
    assert tensors["a/kernel"].tolist() == np.arange(600.0).reshape(2, 300).tolist()


def test_a_damaged_checkpoint_is_a_value_error(tmp_path: Path) -> None:
    """A short index is named, not looked into."""
    write_checkpoint(tmp_path)
    (tmp_path / "net.index").write_bytes(b"\x80" * 60)
    with pytest.raises(ValueError, match=r"net\.index is damaged"):
        read_checkpoint(tmp_path, "net")


def test_musicnn_that_is_not_there(tmp_path: Path) -> None:
    """What is missing is said with the command that brings it."""
    with pytest.raises(SegueError, match=r"is not in .*: pip install --no-deps musicnn==0\.1\.0"):
        musicnn.find_weights(tmp_path)


def test_musicnn_s_known_answer() -> None:
    """Embedding and first tags of a made-up tone; where the package is missing, what is said.

    The numbers are those of the package's own TensorFlow graph to 7e-6.
    """
    if find_spec("musicnn") is None:
        with pytest.raises(SegueError, match="is not installed: pip install --no-deps musicnn=="):
            musicnn.find_weights()
        return
    network = musicnn.Musicnn(musicnn.find_weights())
    t = np.arange(16000 * 4) / 16000
    tone = 0.3 * np.sin(2 * np.pi * 440 * t) * (1 + np.sin(2 * np.pi * 2 * t)) / 2
    audio = (tone + 0.1 * np.sign(np.sin(2 * np.pi * 110 * t)))[:, None]
    embedded = network.embed(audio, 16000)
    assert embedded.shape == (1, 200)
    expected = [-0.177176, -0.127029, -0.284826, -0.275121, 0.485160]
    assert embedded[0, :5] == pytest.approx(expected, abs=1e-4)
    assert np.linalg.norm(embedded) == pytest.approx(9.932832, abs=1e-3)
    tags = network.tags(torch.from_numpy(embedded).float())[0]
    assert tags.topk(2).indices.tolist() == [28, 4]  # ambient, electronic
    with pytest.raises(ValueError, match="too short"):
        network.embed(audio[:16000], 16000)
