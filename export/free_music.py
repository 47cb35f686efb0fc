"""Free music from Debian's archive: which tracks, under which licence, and how to get them.

`free_music.tsv` lists every track with its package, licence and holder. `fetch` needs Debian's
`apt-get` and `dpkg-deb`; nothing is installed, packages are only downloaded and unpacked.
"""

from __future__ import annotations

import csv
import hashlib
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from segue.export.dataset import Source
from segue.presets.vocabulary import Code, SegueError

HELD_OUT_PERCENT = 5


@dataclass(frozen=True, kw_only=True)
class Track:
    """One piece of music in a Debian package. `path` is where the package would install it."""

    package: str
    path: str
    seconds: float
    licence: str
    holder: str
    title: str

    @property
    def split(self) -> str:
        """`train` or `heldout`, by a hash of the name: stable as the list grows."""
        digest = hashlib.sha256(f"{self.package}{self.path}".encode()).digest()
        return "heldout" if digest[0] * 100 // 256 < HELD_OUT_PERCENT else "train"

    def file_in(self, root: Path) -> Path:
        """Where `fetch(root, ...)` puts this track."""
        return root / self.package / self.path.lstrip("/")


def tracks() -> list[Track]:
    """Every track of the list."""
    text = (files("segue.export") / "free_music.tsv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines(), delimiter="\t")
    return [
        Track(
            package=row["package"],
            path=row["path"],
            seconds=float(row["seconds"]),
            licence=row["licence"],
            holder=row["holder"],
            title=row["title"],
        )
        for row in rows
    ]


def free_sources(root: Path) -> Iterator[Source]:
    """Every track of the list, its package fetched under `root` when its turn comes.

    Raises SegueError when Debian's tools are missing or fail.
    """
    for track in tracks():
        fetch(root, track.package)
        yield Source(path=track.file_in(root).resolve(), licence=track.licence, split=track.split)


def fetch(root: Path, package: str) -> None:
    """Download and unpack one package under `root`, unless it is there already.

    Raises SegueError when Debian's tools are missing or fail.
    """
    target = root / package
    if target.exists():
        return
    print(f"fetching {package}", flush=True)
    root.mkdir(parents=True, exist_ok=True)
    partial = root / f".{package}"
    _run(["apt-get", "download", "-q", package], root)
    deb = max(root.glob(f"{package}_*.deb"))
    _run(["dpkg-deb", "-x", deb.name, partial.name], root)
    for archive in [*partial.rglob("*.pk3"), *partial.rglob("*.zip")]:
        _unpack_music(archive)
    deb.unlink()
    partial.rename(target)


def _run(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    except FileNotFoundError as error:
        text = (
            f"the free music is in Debian packages and {command[0]} is not here: use Debian or "
            f"Ubuntu, or give a folder of your own audio"
        )
        raise SegueError(Code.UNSUPPORTED, text) from error
    except subprocess.CalledProcessError as error:
        text = (
            f"`{' '.join(command)}` failed; see what it says above; "
            f"`apt-get update` and enough disk often help"
        )
        raise SegueError(Code.UNSUPPORTED, text) from error


def _unpack_music(archive: Path) -> None:
    with zipfile.ZipFile(archive) as z:
        music = [n for n in z.namelist() if n.lower().endswith((".ogg", ".opus", ".flac"))]
        z.extractall(archive.parent / "unz", music)
