"""The demo's picture: what it measures is true."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from segue.bridge.cli import picture
from segue.presets.vocabulary import SegueError


@pytest.mark.parametrize("rate", [8000, 44100, 96000])
def test_filters_cover_every_band(rate: int) -> None:
    """Each band has a filter of unit sum, also where it is narrower than one bin."""
    np.testing.assert_allclose(picture.mel_filters(rate).sum(axis=0), np.ones(picture.BANDS))


@pytest.mark.parametrize("hertz", [220.0, 1000.0, 6000.0])
def test_a_tone_lies_in_its_band(hertz: float) -> None:
    """The loudest band is the one around the tone, within half a band."""
    rate = 44100
    tone = np.sin(2 * np.pi * hertz * np.arange(rate) / rate)[:, None].astype(np.float32)
    mel = picture.mel_db(tone, rate)
    edges = picture.band_edges_hz(rate)
    band = int(mel[:, mel.shape[1] // 2].argmax())
    assert edges[band] <= hertz <= edges[band + 2]
    assert mel.max() == 0.0


def test_silence_is_the_floor() -> None:
    """Silence has a picture too: the floor everywhere, no infinities."""
    silence = np.zeros((4410, 2), np.float32)
    assert float(picture.mel_db(silence, 44100).max()) == -picture.RANGE_DB
    assert set(picture.level_db(silence, 44100)[1]) == {picture.FLOOR_DB}


def test_level_of_a_square_is_full_scale() -> None:
    """A full-scale square is 0 dBFS, half of it 6.02 dB less, at the edges too."""
    square = np.tile(np.array([[1], [-1]], np.float32), (22050, 1))
    np.testing.assert_allclose(picture.level_db(square, 44100)[1], 0.0, atol=1e-9)
    np.testing.assert_allclose(
        picture.level_db(np.float32(0.5) * square, 44100)[1], -6.0206, atol=1e-4
    )


def test_a_missing_matplotlib_names_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever left the extra out is told its name."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    clip = picture.Clip(
        audio=np.zeros((8, 1), np.float32), sample_rate=8, seam_seconds=0.5, overlap_seconds=0.25
    )
    with pytest.raises(SegueError, match=r"segue\[demo\]"):
        picture.draw(clip, "", tmp_path / "a.png")


@pytest.mark.parametrize("seam_seconds", [0.5, 1.2])
def test_a_png_is_drawn(tmp_path: Path, seam_seconds: float) -> None:
    """The picture is a PNG, also of a region shorter than its overlap."""
    audio = np.random.default_rng(0).random((3 * 8000, 1), np.float32) - np.float32(0.5)
    clip = picture.Clip(
        audio=audio, sample_rate=8000, seam_seconds=seam_seconds, overlap_seconds=1.0
    )
    picture.draw(clip, "a title", tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_a_picture_is_a_small_png(tmp_path: Path) -> None:
    """A few seconds of noise, the worst there is to pack, are under 400 kB in 256 colours."""
    pytest.importorskip("matplotlib")
    noise = np.random.default_rng(0).normal(0, 0.1, (4 * 44100, 2)).astype(np.float32)
    clip = picture.Clip(audio=noise, sample_rate=44100, seam_seconds=2.0, overlap_seconds=1.0)
    picture.draw(clip, "noise", tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    entries = data.index(b"PLTE")
    assert int.from_bytes(data[entries - 4 : entries], "big") // 3 <= picture.COLOURS
    assert len(data) < 400_000
