"""The list of free music: licences to choose from, splits that stay, tags that can be learned."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from segue.export.dataset import read_index
from segue.export.free_music import SHIPPED, families, free_sources, parse_licences, tracks
from segue.presets.vocabulary import SegueError
from tests.music import write_track
from tests.test_cli import invoke

EVERY = parse_licences("bsd,cc0,cc-by,cc-by-sa,gpl,mit,pd")


@pytest.mark.parametrize(
    ("licence", "words"),
    [
        ("CC-BY-SA-3.0", {"cc-by-sa"}),
        ("CC-BY-SA-3.0+ or GPL-2+", {"cc-by-sa", "gpl"}),
        ("GPL-3 or CC-BY-3.0", {"cc-by", "gpl"}),
        ("CC0-1.0", {"cc0"}),
        ("public-domain", {"pd"}),
        ("Expat (MIT)", {"mit"}),
        ("BSD-2-clause (Kenta Cho)", {"bsd"}),
        ("Drascula-License", set()),
        ("", set()),
    ],
)
def test_licences_by_their_families(licence: str, words: set[str]) -> None:
    """Debian's names in the words of `--licences`; an unknown licence is never chosen."""
    assert families(licence) == words


def test_the_setting_is_a_list_of_known_names() -> None:
    """Order and case do not matter; an unknown name, or none, is an error that lists them."""
    assert parse_licences("CC0, cc-by-sa,cc0") == {"cc0", "cc-by-sa"}
    for wrong, said in (("cc0,agpl", "licences agpl: "), ("", "nothing: "), (" , ", "nothing: ")):
        with pytest.raises(SegueError, match=f"{said}give some of bsd,cc-by,cc-by-sa,cc0,gpl,mit"):
            parse_licences(wrong)


def test_only_what_the_licences_allow_is_used() -> None:
    """Every track has a known licence; the choice is exactly those that offer one of it."""
    everything = tracks(EVERY)
    assert [track for track in everything if not families(track.licence)] == []
    assert len(tracks()) < len(everything)
    for chosen in (SHIPPED, ("gpl",), ("cc0", "pd")):
        expected = [t for t in everything if families(t.licence) & set(chosen)]
        assert tracks(frozenset(chosen)) == expected


def test_every_tag_can_be_learned() -> None:
    """A tag or more for every track, and at least five tracks to learn each tag from."""
    assert [track for track in tracks(EVERY) if not track.tags] == []
    learned = Counter(tag for t in tracks() if t.split == "train" for tag in t.tags)
    assert min(learned.values()) >= 5
    assert 20 <= len(learned) <= 30
    assert {tag for track in tracks(EVERY) for tag in track.tags} == learned.keys()


def test_what_the_demo_plays_is_not_learned() -> None:
    """Nor is any track in both splits."""
    listed = tracks(EVERY)
    assert "fretsonfire-songs-sectoid" not in {track.package for track in listed}
    assert len({(track.package, track.path) for track in listed}) == len(listed)


def test_splits_stay_as_they_were() -> None:
    """The tracks that earlier weights did not see, by title of their file."""
    held = {Path(track.path).stem for track in tracks() if track.split == "heldout"}
    assert held >= {"track27"}
    assert 5 <= len(held) <= 20


def test_sources_carry_licence_package_and_tags(tmp_path: Path) -> None:
    """What the index says of a track is what the list says of it."""
    for package in {track.package for track in tracks()}:
        (tmp_path / package).mkdir()
    sources = list(free_sources(tmp_path))
    assert [(s.package, s.licence, s.split, s.tags) for s in sources] == [
        (t.package, t.licence, t.split, t.tags) for t in tracks()
    ]
    assert sources[0].path == (tmp_path / tracks()[0].package / tracks()[0].path[1:]).resolve()


def test_a_folder_and_free_music_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One training set of both; what a package lacks is reported."""
    monkeypatch.chdir(tmp_path)
    Path("loops").mkdir()
    write_track(Path("loops/a.wav"), 3.5)
    Path("loops/tags.tsv").write_text("a.wav\tTechno\nb.wav\tslow\n")
    for package in {track.package for track in tracks(frozenset({"pd"}))}:
        (tmp_path / "cache" / package).mkdir(parents=True)
    code, shown, said = invoke("data", "loops", "--free", "--licences", "pd", "--cache", "cache")
    missing = len(tracks(frozenset({"pd"})))
    assert (code, said) == (0, "")
    assert shown.splitlines()[:2] == [
        "skipped tags.tsv line 2: there is no file 'b.wav'",
        f"packed {tmp_path.resolve() / 'loops' / 'a.wav'}: 3 s for train",
    ]
    assert shown.count("No such file or directory") == missing > 0
    assert "0.00 hours yours\n" in shown
    assert f"held out, {missing + 1} files skipped; in train/data\n" in shown
    (row,) = read_index(Path("train/data"))
    assert (row.package, row.licence, row.tags) == ("yours", "yours", ("techno",))


def test_unknown_licences_are_one_sentence(tmp_path: Path) -> None:
    """Before anything is fetched."""
    code, _, said = invoke("data", "--free", "--licences", "gpl3", "--out", str(tmp_path / "x"))
    assert (code, said.count("\n")) == (1, 1)
    assert "licences gpl3: give some of bsd,cc-by," in said
    assert not (tmp_path / "x").exists()
