"""The decoder and its ONNX twin, and the licences of what the shipped one learned from."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from segue.export import free_music
from segue.export.free_music import Track, tracks
from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.decoder import Decoder, bands_over, spread_matrix
from segue.server.ditto.mel import MelConfig, filterbank, log_mel
from segue.server.ditto.onnx_decoder import INPUT, OUTPUT, PROVIDERS, OnnxDecoder
from segue.server.framing import PIECE_FRAMES, audio_of
from tests.tiny import SCALE, random_decoder

HOP = 512
PARITY = 5e-4  # of full scale: float32 rounding, grown by Griffin-Lim's divisions in quiet bins
FREE = {"CC0", "CC-BY", "CC-BY-SA", "public-domain", "MIT", "Expat"}


@pytest.fixture(scope="module")
def onnx_file(tiny_model: Path) -> Path:
    """`random_decoder` as ONNX."""
    return tiny_model / "decoder.onnx"


def random_mel(batch: int, frames: int) -> torch.Tensor:
    """A log-mel at the level of music."""
    noise = torch.randn(batch, 256, frames, generator=torch.Generator().manual_seed(frames))
    return noise * SCALE.std[:, None] + SCALE.mean[:, None]


@pytest.mark.parametrize(
    ("batch", "frames"), [(1, 8), (1, 9), (1, 130), (2, 64), (3, 33), (1, 600)]
)
def test_onnx_and_torch_make_the_same_audio(onnx_file: Path, batch: int, frames: int) -> None:
    """At every length and batch size, to within rounding."""
    session = onnxruntime.InferenceSession(str(onnx_file), providers=["CPUExecutionProvider"])
    mel = random_mel(batch, frames)
    (made,) = session.run([OUTPUT], {INPUT: mel.numpy()})
    with torch.no_grad():
        expected = random_decoder()(mel).numpy()
    assert made.shape == expected.shape == (batch, 2, frames * HOP)
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(made, expected, rtol=0, atol=PARITY)


def test_a_long_clip_is_decoded_in_pieces(onnx_file: Path) -> None:
    """What a decoder holds at once has a limit, and the clip is the one that it makes in one go."""
    mel, decoder = random_mel(1, 2 * PIECE_FRAMES + 100)[0], OnnxDecoder(onnx_file)
    held: list[int] = []

    def decode(piece: torch.Tensor) -> np.ndarray:
        held.append(piece.shape[-1])
        return decoder(piece)

    made = audio_of(mel, decode, MelConfig(), 44100, 2)
    assert set(held[:-1]) == {PIECE_FRAMES}
    assert 0 < held[-1] <= PIECE_FRAMES
    np.testing.assert_allclose(made, decoder(mel), rtol=0, atol=PARITY)


def test_one_clip_comes_as_samples_by_channels(onnx_file: Path) -> None:
    """What the engine gets: (frames * hop, 2) float32, whatever precision it asks with."""
    mel = random_mel(1, 40)[0].numpy()
    stereo = OnnxDecoder(onnx_file)(mel.astype(np.float64))
    assert stereo.shape == (40 * HOP, 2)
    assert stereo.dtype == np.float32
    with torch.no_grad():
        expected = random_decoder()(torch.from_numpy(mel)[None])[0].T.numpy()
    np.testing.assert_allclose(stereo, expected, rtol=0, atol=PARITY)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_a_tensor_is_read_where_it_lies(onnx_file: Path, dtype: torch.dtype) -> None:
    """IO binding, the way a mel on CUDA goes: the same audio as through an array, every time."""
    decoder = OnnxDecoder(onnx_file)
    assert decoder.device in ("cpu", "cuda")
    for frames in (40, 24, 40):
        mel = random_mel(1, frames)[0].to(dtype).requires_grad_()
        np.testing.assert_array_equal(decoder(mel), decoder(mel.detach().float().numpy()))


def test_a_tensor_of_any_layout_is_read(onnx_file: Path) -> None:
    """Transposed or a slice of a larger one, strides and all."""
    decoder, mel = OnnxDecoder(onnx_file), random_mel(1, 40)[0]
    expected = decoder(mel.numpy()[:, 8:32])
    np.testing.assert_array_equal(decoder(mel[:, 8:32]), expected)
    np.testing.assert_array_equal(decoder(mel.T.contiguous().T[:, 8:32].numpy()), expected)


def test_providers_are_asked_for_in_order(onnx_file: Path) -> None:
    """CUDA before the CPU, and only what this ONNX Runtime has."""
    available = onnxruntime.get_available_providers()
    in_use = OnnxDecoder(onnx_file).providers
    assert in_use == [p for p in PROVIDERS if p in available]
    assert in_use[-1] == "CPUExecutionProvider"


@pytest.mark.parametrize("content", [b"", b"no protobuf", None])
def test_garbage_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """An empty, foreign or missing file is an error that names it."""
    path = tmp_path / "decoder.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SegueError, match=re.escape(str(path))) as caught:
        OnnxDecoder(path)
    assert caught.value.code == Code.NO_MODEL


def test_gradients_reach_the_mel() -> None:
    """A control that listens to the audio can steer the mel, through Griffin-Lim and all."""
    mel = random_mel(1, 16).requires_grad_()
    random_decoder()(mel).square().sum().backward()
    assert mel.grad is not None
    assert mel.grad.isfinite().all()
    assert (mel.grad.abs().sum(1) > 0).all()


def test_louder_mel_louder_audio() -> None:
    """20 dB more in every band is ten times the amplitude, once the network's view is fixed."""
    decoder, mel = random_decoder(), random_mel(1, 16)
    decoder.enter.weight.data.zero_()
    with torch.no_grad():
        quiet, loud = decoder(mel), decoder(mel + np.log(10))
    torch.testing.assert_close(loud, 10 * quiet, rtol=1e-2, atol=1e-3)


def phases(decoder: Decoder, mel: torch.Tensor) -> torch.Tensor:
    """Where the audio's refinement begins, (rows, frames, places)."""
    with torch.no_grad():
        _, (real, imag) = decoder.spectra(mel)
        return decoder.stft.in_a_row(torch.atan2(imag, real))


def test_low_phases_are_those_of_partials() -> None:
    """Whatever the network says: it has the high ones."""
    decoder, mel = random_decoder(), random_mel(1, 16)
    before = phases(decoder, mel)
    decoder.leave.bias.data += 1
    same = torch.isclose(before, phases(decoder, mel), atol=1e-3).all(dim=(0, 1))
    low = decoder.stft.bins < decoder.config.partials
    inside = (decoder.stft.bins > 1) & (decoder.stft.bins < decoder.mel.bins - 1)
    assert bool(same[low & inside].all())
    assert not bool(same[~low & inside].any())


@pytest.mark.parametrize("hz", [220.0, 440.0, 987.8, 1760.0])
def test_a_tone_s_mel_says_how_it_turns(hz: float) -> None:
    """Bands are wider than bins, and yet its frequency comes back within a quarter of a bin."""
    config, decoder = MelConfig(), random_decoder()
    tone = (2 * np.pi * hz * torch.arange(40 * HOP) / config.sample_rate).sin()
    phase = decoder._low_phase(log_mel(tone.expand(2, -1), config)[None])[0, 5:-5]
    turned = phase[:, round(hz / config.sample_rate * config.n_fft)].diff()
    off = torch.remainder(turned - 2 * np.pi * hz * HOP / config.sample_rate + np.pi, 2 * np.pi)
    assert float((off - np.pi).abs().max()) < 0.25 * 2 * np.pi * HOP / config.n_fft


def test_the_bands_over_low_bins_suffice() -> None:
    """What they say of these is what all bands say."""
    bank = filterbank(MelConfig(), torch.device("cpu"))
    part = bands_over(bank, 100)
    assert len(part) < len(bank)
    assert part.shape[1] < bank.shape[1]
    bands = torch.rand(4, len(bank))
    few, all_ = (bands[:, : len(b)] @ spread_matrix(b).T for b in (part, bank))
    torch.testing.assert_close(few[:, :100], all_[:, :100])


def licences(track: Track) -> set[str]:
    """The licences to choose from, without versions."""
    return {re.sub(r"-[\d.]+\+?$", "", each) for each in track.licence.split(" or ")}


def test_free_music_is_free_and_credited() -> None:
    """Every track has a licence that the shipped weights can live with, and a name to thank."""
    assert [track for track in tracks() if not licences(track) & FREE] == []
    assert [track for track in tracks() if not track.holder or track.seconds <= 0] == []


def test_free_music_is_listed_once_and_split() -> None:
    """No track twice; about one in twenty is held out."""
    listed = tracks()
    assert len({(track.package, track.path) for track in listed}) == len(listed)
    held = sum(track.split == "heldout" for track in listed)
    assert 0.01 < held / len(listed) < 0.10


def test_fetched_packages_are_not_fetched_again(tmp_path: Path) -> None:
    """A package that is there needs neither network nor Debian."""
    (tmp_path / "no-such-package").mkdir()
    free_music.fetch(tmp_path, "no-such-package")
    assert list(tmp_path.iterdir()) == [tmp_path / "no-such-package"]


def test_without_debian_the_sentence_says_what_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no apt-get, the producer's own audio is the way."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SegueError, match="a folder of your own audio"):
        free_music.fetch(tmp_path / "cache", "some-music")
