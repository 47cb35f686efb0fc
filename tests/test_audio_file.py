"""Audio files in and out: every bit kept, every fault named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from segue.presets.vocabulary import Code, Region, SegueError
from segue.server.audio_file import Waveform, read_region, write_wav

RNG = np.random.default_rng(0)


def region_of(path: Path, start: float = 0.0, length: float = 1.0) -> Region:
    """The first second of a file, unless told otherwise."""
    return Region(path=str(path), start_seconds=start, length_seconds=length)


def write_full_range(path: Path, rate: int, channels: int, subtype: str) -> np.ndarray:
    """A second of random bits of that subtype, as libsndfile reads it back."""
    bits = RNG.integers(-(2**31), 2**31, (rate, channels), dtype=np.int64)
    integers = subtype.startswith("PCM")
    samples = bits.astype(np.int32) if integers else bits / 2.0**31
    soundfile.write(path, samples, rate, subtype=subtype)
    raw: np.ndarray = soundfile.read(path, dtype="int32" if integers else "float64")[0]
    return raw.reshape(rate, channels)


@pytest.mark.parametrize("rate", [44100, 48000, 96000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_samples_survive_reading_and_writing(
    tmp_path: Path, rate: int, channels: int, subtype: str
) -> None:
    """Read as a region and written again, a file holds the same bits at the same rate."""
    expected = write_full_range(tmp_path / "in.wav", rate, channels, subtype)
    wave = read_region(region_of(tmp_path / "in.wav"))
    write_wav(tmp_path / "out.wav", wave)
    info = soundfile.info(tmp_path / "out.wav")
    assert (info.samplerate, info.channels, info.subtype) == (rate, channels, subtype)
    back = soundfile.read(tmp_path / "out.wav", dtype=expected.dtype.name, always_2d=True)[0]
    assert np.array_equal(back, expected)


def test_a_region_is_cut_to_the_sample(tmp_path: Path) -> None:
    """Start and length are rounded to samples of the file's own rate."""
    soundfile.write(tmp_path / "in.wav", np.arange(48000) / 2**16, 48000, subtype="FLOAT")
    wave = read_region(region_of(tmp_path / "in.wav", 0.25, 0.5))
    assert len(wave.samples) == 24000
    assert wave.samples[0, 0] == 12000 / 2**16


def test_too_loud_is_clipped_not_wrapped(tmp_path: Path) -> None:
    """Beyond full scale an integer file holds full scale."""
    write_wav(tmp_path / "o.wav", Waveform(np.array([[2.0], [-2.0]]), 44100, "PCM_16"))
    assert soundfile.read(tmp_path / "o.wav", dtype="int16")[0].tolist() == [32767, -32768]


def fault(region: Region) -> SegueError:
    """What reading the region says."""
    with pytest.raises(SegueError) as caught:
        read_region(region)
    return caught.value


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    """No file, a folder, text, an empty file: each a sentence with the path."""
    (tmp_path / "text.wav").write_text("not audio at all")
    (tmp_path / "empty.wav").touch()
    assert fault(region_of(tmp_path / "none.wav")).code == Code.MISSING_FILE
    assert fault(region_of(tmp_path)).code == Code.MISSING_FILE
    for name in ("text.wav", "empty.wav"):
        error = fault(region_of(tmp_path / name))
        assert error.code == Code.NOT_AUDIO
        assert name in error.text


@pytest.mark.parametrize(("start", "length"), [(0.0, 1.01), (0.9, 0.6), (5.0, 1.0), (1e9, 1.0)])
def test_a_region_past_the_end_names_the_end(tmp_path: Path, start: float, length: float) -> None:
    """The sentence says where the region and where the file ends."""
    soundfile.write(tmp_path / "in.wav", np.zeros(44100), 44100)
    error = fault(region_of(tmp_path / "in.wav", start, length))
    assert error.code == Code.BAD_REGION
    assert "1.000 s" in error.text


def test_seconds_in_single_precision_may_miss_the_end_by_their_rounding(tmp_path: Path) -> None:
    """The last second from 400 s on, its start as OSC's type f has it: most of a sample late."""
    starts = range(48000 * 400, 48000 * 401)
    start = next(n for n in starts if float(np.float32(n / 48000)) * 48000 > n + 0.5)
    soundfile.write(tmp_path / "in.wav", np.zeros(start + 48000, np.int16), 48000)
    second = float(np.float32(start / 48000))
    assert len(read_region(region_of(tmp_path / "in.wav", second)).samples) == 47999
    with pytest.raises(SegueError, match="the region ends at"):
        read_region(region_of(tmp_path / "in.wav", second + 3 / 48000))


@pytest.mark.parametrize("samples", [1, 22049])
def test_a_region_too_short_says_how_much(tmp_path: Path, samples: int) -> None:
    """One sample, or just under half a second."""
    soundfile.write(tmp_path / "in.wav", np.zeros(44100), 44100)
    error = fault(region_of(tmp_path / "in.wav", 0.0, samples / 44100))
    assert error.code == Code.BAD_REGION
    assert f"is {samples / 44100:g} s long; select at least 0.5 s" in error.text


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_not_numbers(tmp_path: Path, bad: float) -> None:
    """NaN or infinity inside the region is refused; outside it does not matter."""
    samples = np.zeros(88200)
    samples[80000] = bad
    soundfile.write(tmp_path / "in.wav", samples, 44100, subtype="FLOAT")
    assert fault(region_of(tmp_path / "in.wav", 0.0, 2.0)).code == Code.BAD_SAMPLES
    assert len(read_region(region_of(tmp_path / "in.wav")).samples) == 44100


def test_more_than_two_channels_and_odd_rates(tmp_path: Path) -> None:
    """Six channels and 4 kHz are refused with what to do."""
    soundfile.write(tmp_path / "six.wav", np.zeros((44100, 6)), 44100)
    soundfile.write(tmp_path / "slow.wav", np.zeros(4000), 4000)
    assert fault(region_of(tmp_path / "six.wav")).code == Code.UNSUPPORTED
    assert fault(region_of(tmp_path / "slow.wav")).code == Code.UNSUPPORTED


def test_a_folder_that_is_gone_is_a_disk_error(tmp_path: Path) -> None:
    """Nothing is left behind and the sentence names the target."""
    with pytest.raises(SegueError) as caught:
        write_wav(tmp_path / "gone" / "o.wav", Waveform(np.zeros((9, 1)), 44100, "PCM_16"))
    assert caught.value.code == Code.DISK
    assert list(tmp_path.iterdir()) == []
