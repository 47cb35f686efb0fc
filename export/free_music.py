"""Free music from Debian's archive: which tracks, under which licence, and how to get them.

`free_music.tsv` lists every track with its package, licence, holder and tags. What it lists is
instrumental by two automatic detectors, and what its package's copyright file says of its licence.
The tags are automatic too: the first few names that two public taggers gave a track (musicnn, ISC,
its MTT and MSD models, and YAMNet, Apache-2.0), put together to a small vocabulary of genres,
moods, instruments and tempi. Nobody listened to check them.

`fetch` needs Debian's `apt-get` and `dpkg-deb`; nothing is installed, packages are only downloaded
and unpacked. Not in the list: fretsonfire-songs-sectoid, which `segue demo` plays.
"""

from __future__ import annotations

import csv
import re
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from segue.export.sources import Source, split_of, tag_names
from segue.presets.vocabulary import Code, SegueError

# A licence's name in the list begins with one of these, the longer ones first.
LICENCES = {
    "cc-by-sa": "cc-by-sa",
    "cc-by": "cc-by",
    "cc0": "cc0",
    "public-domain": "pd",
    "expat": "mit",
    "mit": "mit",
    "bsd": "bsd",
    "gpl": "gpl",
}
SHIPPED = ("cc0", "cc-by", "cc-by-sa", "pd", "mit")  # what the shipped weights learned from


@dataclass(frozen=True, kw_only=True)
class Track:
    """One piece of music in a Debian package. `path` is where the package would install it."""

    package: str
    path: str
    seconds: float
    licence: str
    holder: str
    title: str
    tags: tuple[str, ...]

    @property
    def split(self) -> str:
        """`train` or `heldout`, by a hash of the name: stable as the list grows."""
        return split_of(f"{self.package}{self.path}")

    def file_in(self, root: Path) -> Path:
        """Where `fetch(root, ...)` puts this track."""
        return root / self.package / self.path.lstrip("/")


def families(licence: str) -> set[str]:
    """The licences to choose from, in the words of `--licences`: `CC-BY-SA-3.0 or GPL-2+` is two.

    What is not known is left out.
    """
    offers = re.split(r" or ", licence.lower())
    return {
        family
        for offer in offers
        for family in [next((f for start, f in LICENCES.items() if offer.startswith(start)), "")]
        if family
    }


def parse_licences(listed: str) -> frozenset[str]:
    """`cc0,cc-by` as a set. Raises SegueError for an empty list or a name that is not known."""
    known = sorted(set(LICENCES.values()))
    names = {each.strip().lower() for each in listed.split(",")} - {""}
    if not names or names - set(known):
        wrong = ", ".join(sorted(names - set(known))) or "nothing"
        text = f"licences {wrong}: give some of {','.join(known)}"
        raise SegueError(Code.BAD_REQUEST, text)
    return frozenset(names)


def tracks(licences: frozenset[str] = frozenset(SHIPPED)) -> list[Track]:
    """Every track of the list that may be used under one of `licences`."""
    text = (files("segue.export") / "free_music.tsv").read_text(encoding="utf-8")
    listed = [
        Track(
            package=row["package"],
            path=row["path"],
            seconds=float(row["seconds"]),
            licence=row["licence"],
            holder=row["holder"],
            title=row["title"],
            tags=tag_names(row["tags"]),
        )
        for row in csv.DictReader(text.splitlines(), delimiter="\t")
    ]
    return [track for track in listed if families(track.licence) & licences]


def free_sources(root: Path, licences: frozenset[str] = frozenset(SHIPPED)) -> Iterator[Source]:
    """Every track under one of `licences`, its package fetched under `root` when its turn comes.

    Raises SegueError when Debian's tools are missing or fail.
    """
    for track in tracks(licences):
        fetch(root, track.package)
        yield Source(
            path=track.file_in(root).resolve(),
            package=track.package,
            licence=track.licence,
            split=track.split,
            tags=track.tags,
        )


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
