"""From a folder of audio to windows to learn from: formats, faults, splits and figures."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from segue.export import dataset
from segue.export.augment import Augment
from segue.export.dataset import (
    Packed,
    Skipped,
    Source,
    Windows,
    folder_sources,
    load_mel,
    read_index,
    read_scale,
    summary,
)
from segue.export.packed import STEP, from_bytes, to_bytes
from segue.export.sources import MAX_PEAK, read_stereo, read_tags
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
    """Any rate, mono or stereo, becomes 8-bit mels of the same length in time."""
    write_track(tmp_path / name, 3.5, rate, channels)
    (row,) = pack_all(folder_sources(tmp_path), tmp_path / "out")
    assert isinstance(row, Packed)
    assert row.frames == int(3.5 * 44100) // 512
    mel = np.load(tmp_path / "out" / "mels" / f"{row.name}.npy")
    assert (mel.dtype, mel.shape) == (np.uint8, (256, row.frames))
    side_is_silent = bool((mel[128:] == 0).all())
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
    assert np.abs(mel.astype(int) - to_bytes(whole, MEL)).max() <= 1  # 8 or 9 on the border
    assert np.mean(mel != to_bytes(whole, MEL)) < 1e-3


def test_bad_files_are_reported_and_left_out(tmp_path: Path) -> None:
    """Broken, tiny, silent or NaN: one reason each, and the rest is packed."""
    write_track(tmp_path / "good.wav", 3.5)
    write_track(tmp_path / "tiny.wav", 2.9)
    (tmp_path / "broken.flac").write_bytes(b"fLaC and then nothing")
    soundfile.write(tmp_path / "empty.wav", np.zeros((0, 2)), 44100)
    soundfile.write(tmp_path / "silent.wav", np.zeros((200000, 2)), 44100)
    soundfile.write(tmp_path / "nan.wav", np.full((200000, 2), np.nan), 44100, subtype="FLOAT")
    soundfile.write(tmp_path / "loud.wav", np.full((200000, 2), 32767.0), 44100, subtype="FLOAT")
    (tmp_path / "notes.txt").write_text("not audio")
    (tmp_path / "folder.wav").mkdir()
    done = pack_all([source(p) for p in sorted(tmp_path.glob("*.*a*"))], tmp_path / "out")
    reasons = {Path(d.source).name: d.why for d in done if isinstance(d, Skipped)}
    assert reasons.keys() == {
        "broken.flac", "empty.wav", "folder.wav", "loud.wav", "nan.wav", "silent.wav", "tiny.wav"
    }  # fmt: skip
    assert "NaN" in reasons["nan.wav"]
    assert "silent" in reasons["silent.wav"]
    assert "integers written as floats" in reasons["loud.wav"]
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


@pytest.mark.skipif(os.name == "nt", reason="Windows does not tell when a file was moved")
def test_an_older_file_moved_in_its_place_is_read(tmp_path: Path) -> None:
    """It keeps its own, older date; nothing else tells that the track is another."""
    path, out = write_track(tmp_path / "a.wav", 3.5), tmp_path / "out"
    pack_all([source(path)], out)
    write_track(tmp_path / "older.wav", 4.5)
    os.utime(tmp_path / "older.wav", (1, 1))
    (tmp_path / "older.wav").replace(path)
    (row,) = pack_all([source(path)], out)
    assert isinstance(row, Packed)
    assert row.frames == 198450 // MEL.hop


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
    with pytest.raises(SegueError, match="holds no training data; make it with `segue data"):
        read_scale(tmp_path / "nothing")


def test_what_would_be_held_out_alone_is_learned_from(tmp_path: Path) -> None:
    """A folder of one file, say."""
    path, out = write_track(tmp_path / "a.wav", 3.5), tmp_path / "out"
    pack_all([replace(source(path), split="heldout")], out)
    assert [row.split for row in read_index(out)] == ["train"]


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
    together = np.concatenate([load_mel(packed, r, MEL).double().numpy() for r in rows], axis=1)
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


def test_a_small_folder_holds_nothing_out(tmp_path: Path) -> None:
    """Not longer files are missing there, but more of them."""
    pack_all([source(write_track(tmp_path / "a.wav", 3.5))], tmp_path)
    with pytest.raises(SegueError, match="add more: about one in twenty is held out"):
        Windows(tmp_path, "heldout", 100)


def test_a_torn_index_is_an_error(packed: Path, tmp_path: Path) -> None:
    """An index that is not one is treated as if the folder was never packed."""
    (tmp_path / "index.tsv").write_text("name\tframes\nx\tmany\n")
    with pytest.raises(SegueError, match="segue data"):
        read_index(tmp_path)


def test_names_differ_by_folder(tmp_path: Path) -> None:
    """Two files of the same name in two folders keep a mel each."""
    one = source(tmp_path / "x" / "loop.wav")
    assert one.name != replace(one, path=tmp_path / "y" / "loop.wav").name


def test_a_byte_is_a_step_of_less_than_half_a_decibel() -> None:
    """All 256 come back as they were; what is between is a quarter decibel off at most."""
    every = np.arange(256, dtype=np.uint8)
    mel = from_bytes(every, MEL)
    assert np.array_equal(to_bytes(mel, MEL), every)
    assert float(mel[0]) == pytest.approx(math.log(MEL.floor))
    assert float(mel[-1]) > math.log(MAX_PEAK)  # the loudest audio that is accepted
    between = torch.linspace(float(mel[0]), float(mel[-1]), 10001)
    assert float((from_bytes(to_bytes(between, MEL), MEL) - between).abs().max()) < STEP / 2 + 1e-5
    assert STEP * 20 / math.log(10) < 0.5


def test_a_long_track_is_several_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces within the limit that together are the track, in one split, and read again as such."""
    path = write_track(tmp_path / "a.wav", 3.5)
    (whole,) = pack_all([source(path)], tmp_path / "whole")
    monkeypatch.setattr(dataset, "PIECE_BYTES", dataset.HEADER_BYTES + 256 * 110)
    rows = pack_all([source(path)], tmp_path / "out")
    assert isinstance(whole, Packed)
    pieces = [row for row in rows if isinstance(row, Packed)]
    assert [row.frames for row in pieces] == [101, 100, 100]
    assert {(row.source, row.split) for row in pieces} == {(str(path), "train")}
    files = sorted((tmp_path / "out" / "mels").iterdir())
    assert all(file.stat().st_size <= dataset.PIECE_BYTES for file in files)
    together = torch.cat([load_mel(tmp_path / "out", row, MEL) for row in pieces], dim=1)
    assert torch.equal(together, load_mel(tmp_path / "whole", whole, MEL))
    written = [file.stat().st_mtime_ns for file in files]
    assert pack_all([source(path)], tmp_path / "out") == rows
    assert [file.stat().st_mtime_ns for file in files] == written


def test_pieces_of_a_longer_past_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A track that got shorter leaves no piece of its older self, and a lost piece comes back."""
    monkeypatch.setattr(dataset, "PIECE_BYTES", dataset.HEADER_BYTES + 256 * 110)
    path, mels = write_track(tmp_path / "a.wav", 3.5), tmp_path / "out" / "mels"
    first, *_ = pack_all([source(path)], tmp_path / "out")
    assert isinstance(first, Packed)
    (mels / f"{first.name}.npy").unlink()  # killed before the first piece, which is written last
    assert len(pack_all([source(path)], tmp_path / "out")) == 3
    write_track(path, 3.1)
    later = (mels / f"{first.name}.npy").stat().st_mtime + 1
    os.utime(path, (later, later))
    monkeypatch.setattr(dataset, "PIECE_BYTES", dataset.HEADER_BYTES + 256 * 150)
    assert len(pack_all([source(path)], tmp_path / "out")) == 2
    assert len(list(mels.iterdir())) == 2


def test_mels_of_an_older_format_are_made_again(packed: Path, tmp_path: Path) -> None:
    """An index without tags is an error that says what to do; doing it gives 8-bit mels."""
    out = tmp_path / "old"
    path = write_track(tmp_path / "a.wav", 3.5)
    (row,) = pack_all([source(path)], out)
    assert isinstance(row, Packed)
    mel = out / "mels" / f"{row.name}.npy"
    np.save(mel, load_mel(out, row, MEL).half().numpy())
    (out / "index.tsv").write_text(
        f"name\tsource\tlicence\tsplit\tframes\n{row.name}\t{path}\tyours\ttrain\t301\n"
    )
    with pytest.raises(SegueError, match="run `segue data` again"):
        Windows(out, "train", 100)
    pack_all([source(path)], out)
    assert np.load(mel).dtype == np.uint8
    assert len(Windows(out, "train", 100).rows) == 1


def test_a_full_disk_leaves_what_was_there(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error comes out, no half file stays, and the training set works as before."""
    a, b = (write_track(tmp_path / name, 3.5) for name in ("a.wav", "b.wav"))
    out = tmp_path / "out"
    pack_all([source(a)], out)
    before = {path: path.read_bytes() for path in out.rglob("*.*") if path.is_file()}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="No space left"):
        pack_all([source(a), source(b)], out)
    assert {path: path.read_bytes() for path in out.rglob("*.*") if path.is_file()} == before
    assert Windows(out, "train", 100).draw(1, torch.Generator()).shape == (1, 256, 100)


def tagged(folder: Path) -> Path:
    """Two tracks to learn from, one held out, each with tags."""
    rows = {
        "a.wav": ("train", ("techno", "fast")),
        "b.wav": ("train", ("ambient",)),
        "c.wav": ("heldout", ("fast", "only here")),
    }
    folder.mkdir(parents=True, exist_ok=True)
    sources = [
        Source(
            path=write_track(folder / name, 3.5),
            package="mine",
            licence="CC0",
            split=split,
            tags=tags,
        )
        for name, (split, tags) in rows.items()
    ]
    pack_all(sources, folder)
    return folder


def test_tags_come_with_their_windows(tmp_path: Path) -> None:
    """One column a tag of the training split, sorted; each window has its track's, and only it."""
    folder = tagged(tmp_path)
    train, held = (Windows(folder, split, 100) for split in ("train", "heldout"))
    assert train.tags == held.tags == ("ambient", "fast", "techno")
    windows, tags = train.draw_tagged(16, torch.Generator().manual_seed(0))
    assert windows.shape == (16, 256, 100)
    assert (tags.shape, tags.dtype) == ((16, 3), torch.float32)
    assert {tuple(row) for row in tags.tolist()} == {(1, 0, 0), (0, 1, 1)}
    assert held.draw_tagged(2, torch.Generator())[1].tolist() == [[0, 1, 0]] * 2
    row = next(r for r in train.rows if r.tags == ("ambient",))
    mel, starts = load_mel(folder, row, MEL).unfold(1, 100, 1), tags[:, 0] == 1
    for window in train.scale.restore(windows[starts]):
        assert float((mel - window[:, None]).abs().amax((0, 2)).min()) < 1e-4


def test_without_tags_the_vocabulary_is_empty(packed: Path) -> None:
    """(n, 0): a model of such data has no condition."""
    windows, tags = Windows(packed, "train", 100).draw_tagged(3, torch.Generator())
    assert (windows.shape, tags.shape) == ((3, 256, 100), (3, 0))


def test_augmented_windows_are_drawn_by_the_generator(packed: Path) -> None:
    """Same seed, same windows; all finite, of the right length even where a track just fits it."""
    windows = Windows(packed, "train", 301)
    augment = Augment(speed=0.5, chance=1.0)
    a, b, c = (
        windows.draw_tagged(8, torch.Generator().manual_seed(seed), augment)[0]
        for seed in (1, 1, 2)
    )
    assert a.shape == (8, 256, 301)
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert torch.isfinite(a).all()
    assert float(windows.scale.restore(a).min()) > math.log(MEL.floor) - 1e-4


def test_the_manifest_adds_up(tmp_path: Path) -> None:
    """Tracks and hours of every package, licence and split; the summary fits on a line."""
    folder = tagged(tmp_path)
    hours = 301 * 512 / 44100 / 3600
    told = json.loads((folder / "manifest.json").read_text())
    assert told["tags"] == ["ambient", "fast", "techno"]
    assert told["parts"] == [
        {
            "package": "mine", "licence": "CC0", "split": split,
            "tracks": n, "hours": round(n * hours, 3),
        }
        for split, n in (("heldout", 1), ("train", 2))
    ]  # fmt: skip
    line = summary(folder)
    assert "\n" not in line
    assert json.loads(line) == {
        "tracks": 3,
        "hours": {"train": round(2 * hours, 3), "heldout": round(hours, 3)},
        "licences": {"CC0": round(3 * hours, 3)},
        "index_sha256": hashlib.sha256((folder / "index.tsv").read_bytes()).hexdigest(),
    }


def test_the_index_is_readable_by_others(tmp_path: Path) -> None:
    """Tags are joined by commas; the columns are those the docstring names."""
    with (tagged(tmp_path) / "index.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    names = ["name", "source", "package", "licence", "split", "frames", "tags"]
    assert list(rows[0]) == names
    assert [row["tags"] for row in rows] == ["fast,techno", "ambient", "fast,only here"]


def test_tags_of_a_folder_come_from_its_file(tmp_path: Path) -> None:
    """Good lines count; others are reported by their number, with what is wrong."""
    (tmp_path / "sub").mkdir()
    for name in ("a.wav", "sub/b.wav", "c.wav"):
        write_track(tmp_path / name, 3.5)
    (tmp_path / "tags.tsv").write_text(
        "# mine\n\na.wav\tTechno, fast,,fast\nsub/b.wav\tdrum & bass\n"
        "gone.wav\tslow\nno tab here\nc.wav\tslow,<b>\n"
    )
    tags, useless = read_tags(tmp_path)
    sources = {s.path.name: s.tags for s in folder_sources(tmp_path, tags)}
    assert sources == {"a.wav": ("fast", "techno"), "b.wav": ("drum & bass",), "c.wav": ()}
    assert [(each.source, each.why.split(":")[0]) for each in useless] == [
        ("tags.tsv line 5", "there is no file 'gone.wav'"),
        ("tags.tsv line 6", "it needs a path, a tab and tags joined by commas"),
        ("tags.tsv line 7", "'<b>' is no tag"),
    ]
    assert read_tags(tmp_path / "sub") == ({}, [])


def test_a_tag_file_of_noise_is_not_fatal(tmp_path: Path) -> None:
    """Bytes that are no text give lines that are reported."""
    noise = np.random.default_rng(0).integers(0, 256, 2000, dtype=np.uint8).tobytes()
    (tmp_path / "tags.tsv").write_bytes(noise + b"\nx\0y\tslow")
    tags, useless = read_tags(tmp_path)
    assert tags == {}
    assert useless


def test_skipped_sources_pass_through(tmp_path: Path) -> None:
    """What a maker of sources had to leave out is reported with the rest."""
    gone = Skipped(source="x.mid", why="no notes")
    path = write_track(tmp_path / "a.wav", 3.5)
    done = list(dataset.pack([gone, source(path)], tmp_path / "out", MEL))
    assert done[0] == gone
    assert isinstance(done[1], Packed)


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_names_that_are_not_unicode_are_reported(tmp_path: Path) -> None:
    """A file name of stray bytes is skipped in words that can be printed."""
    good = write_track(tmp_path / "a.wav", 3.5)
    odd = os.fsencode(tmp_path) + b"/\xff.wav"
    os.link(good, odd)
    done = pack_all(folder_sources(tmp_path), tmp_path / "out")
    (skipped,) = (each for each in done if isinstance(each, Skipped))
    assert skipped.source.encode().endswith(b"/?.wav")
    assert len(read_index(tmp_path / "out")) == 1
