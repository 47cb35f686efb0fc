"""MIDI files played by a soundfont: audio to learn from whose labels are known exactly.

`midi_sources` plays every file of a folder, or of `midi_corpus.tsv` ("builtin": the songs of
Freedoom, BSD-3-Clause, from Debian's package), with fluidsynth into a cache of FLAC files. Tags
come from the notes, see `midi_labels`. A soundfont has a licence too: Debian's fluid-soundfont-gm
is MIT.
"""

from __future__ import annotations

import csv
import hashlib
import shutil
import struct
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import soundfile

from segue.export.free_music import families, fetch
from segue.export.midi_labels import MAX_SECONDS, read_labels
from segue.export.sources import Skipped, Source, split_of
from segue.presets.vocabulary import Code, SegueError

SAMPLE_RATE = 44100
PEAK = 0.9


def midi_sources(
    where: str, soundfont: Path | None, cache: Path, licences: frozenset[str]
) -> Iterator[Source | Skipped]:
    """Every MIDI file of a folder, or of "builtin", played when its turn comes.

    The same notes twice are used once. Raises SegueError when fluidsynth, the soundfont or all
    MIDI files are missing, or no builtin corpus has one of `licences`.
    """
    soundfont = _checked_soundfont(soundfont)
    songs = _builtin(cache, licences) if where == "builtin" else _in_folder(Path(where))
    seen: set[bytes] = set()
    for path, told in songs:
        try:
            digest = hashlib.sha256(path.read_bytes()).digest()
            if digest in seen:
                continue
            seen.add(digest)
            labels = read_labels(path)
            audio = played(path, labels.seconds, soundfont, cache / "midi")
        except (ValueError, PermissionError, FileNotFoundError) as error:
            yield Skipped(source=str(path), why=str(error))
            continue
        yield Source(path=audio, tags=labels.tags, **told)


def _checked_soundfont(soundfont: Path | None) -> Path:
    if find_spec("mido") is None:
        text = "mido, which reads MIDI files, is not here; pip install 'segue[export]'"
        raise SegueError(Code.UNSUPPORTED, text)
    if shutil.which("fluidsynth") is None:
        text = (
            "fluidsynth, which plays MIDI files, is not here; install it "
            "(on Debian: apt install fluidsynth fluid-soundfont-gm)"
        )
        raise SegueError(Code.UNSUPPORTED, text)
    if soundfont is None or not soundfont.is_file():
        text = f"MIDI files need a soundfont; give --soundfont FILE.sf2 ({soundfont} is no file)"
        raise SegueError(Code.MISSING_FILE, text)
    with soundfont.open("rb") as file:
        head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"sfbk":
        raise SegueError(Code.MISSING_FILE, f"{soundfont} is no soundfont (.sf2 or .sf3)")
    return soundfont.resolve()


def _in_folder(folder: Path) -> list[tuple[Path, dict[str, str]]]:
    root = folder.resolve()
    paths = sorted(p for p in root.rglob("*") if p.suffix.lower() in {".mid", ".midi"})
    if not paths:
        raise SegueError(Code.MISSING_FILE, f"no MIDI files (.mid, .midi) in {folder}")
    splits = [split_of(str(p.relative_to(root))) for p in paths]
    if "train" not in splits:
        splits = ["train"] * len(splits)
    return [
        (path, {"licence": "yours", "split": split})
        for path, split in zip(paths, splits, strict=True)
    ]


def _builtin(cache: Path, licences: frozenset[str]) -> Iterator[tuple[Path, dict[str, str]]]:
    text = (files("segue.export") / "midi_corpus.tsv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines(), delimiter="\t"))
    allowed = [row for row in rows if families(row["licence"]) & licences]
    if not allowed:
        offers = ",".join(sorted({f for row in rows for f in families(row["licence"])}))
        mine = ",".join(sorted(licences))
        said = f"the builtin MIDI files are {offers}, which is not in --licences {mine}; add it"
        raise SegueError(Code.BAD_REQUEST, said)
    for row in allowed:
        fetch(cache, row["package"])
        told = {"licence": row["licence"], "package": f"{row['corpus']}-midi"}
        wad = cache / row["package"] / row["wad"].lstrip("/")
        for path in unpack_wad(wad, cache / "midi" / row["corpus"] / wad.stem):
            # by the notes, not the name: the two WADs share songs
            split = split_of(hashlib.sha256(path.read_bytes()).hexdigest())
            yield path, {**told, "split": split}


def unpack_wad(wad: Path, folder: Path) -> list[Path]:
    """Write the MIDI lumps of a Doom WAD as NAME.mid; returns their paths.

    A WAD is a header (IWAD or PWAD, number of lumps, where their directory is), the lumps, and the
    directory: position, size and name of each. Raises SegueError for what is none.
    """
    data = wad.read_bytes()
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    try:
        magic, count, directory = struct.unpack_from("<4sII", data)
        if magic not in (b"IWAD", b"PWAD"):
            raise ValueError("no IWAD or PWAD at its start")
        for position, size, name in struct.iter_unpack(
            "<II8s", data[directory : directory + 16 * count]
        ):
            lump = data[position : position + size]
            if lump[:4] == b"MThd":
                label = name.rstrip(b"\0").decode("ascii", errors="replace")
                path = folder / f"{''.join(c for c in label if c.isalnum() or c in '_-')}.mid"
                path.write_bytes(lump)
                paths.append(path)
    except (struct.error, ValueError) as error:
        raise SegueError(Code.MISSING_FILE, f"{wad} is no WAD file: {error}") from error
    return paths


def played(path: Path, seconds: float, soundfont: Path, folder: Path) -> Path:
    """The file as 44.1 kHz stereo FLAC in `folder`, peak 0.9; played only when it is not there.

    seconds: how long it is at least. Raises ValueError when fluidsynth can't play it.
    """
    key = hashlib.sha256(path.read_bytes() + str(soundfont.stat().st_size).encode()).hexdigest()
    target = folder / f"{path.stem[:40]}-{key[:12]}.flac"
    if target.exists():
        return target.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    wav, partial = target.with_suffix(".wav"), target.with_suffix(".partial")
    try:
        _play(path, soundfont, wav)
        audio, rate = soundfile.read(wav, dtype="float32")
        if len(audio) < (seconds - 1) * rate:
            raise ValueError(f"fluidsynth stopped after {len(audio) / rate:.0f} of {seconds:.0f} s")
        if not (peak := float(np.abs(audio).max(initial=0.0))):
            raise ValueError("fluidsynth plays silence")
        soundfile.write(partial, audio * (PEAK / peak), rate, format="FLAC", subtype="PCM_16")
        partial.replace(target)
    except (subprocess.TimeoutExpired, soundfile.LibsndfileError) as error:
        raise ValueError(f"fluidsynth can't play it: {error}") from error
    finally:
        wav.unlink(missing_ok=True)
        partial.unlink(missing_ok=True)
    return target.resolve()


def _play(path: Path, soundfont: Path, wav: Path) -> None:
    options = ["-niq", "-r", str(SAMPLE_RATE), "-O", "float", "-F", str(wav)]
    done = subprocess.run(
        ["fluidsynth", *options, str(soundfont), str(path.resolve())],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=MAX_SECONDS,
    )
    if done.returncode or not wav.exists():
        raise ValueError(f"fluidsynth says: {done.stderr.decode(errors='replace').strip()}")
