"""`segue install`: scripts into a DAW's folder, and nothing over what is not Segue's."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from segue.bridge.cli import main
from segue.bridge.cli.install import DAWS, _installer
from segue.bridge.daw.install import MARKER, MARKER_WITHIN_BYTES, Fate, Placed, copy_scripts, place
from segue.presets.vocabulary import Code, SegueError

OURS = f"-- {MARKER}\nold = true\n".encode()
FRESH = f"-- {MARKER}\nnew = true\n".encode()


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """Two scripts, one in a folder, and what Python leaves beside them."""
    folder = tmp_path / "package"
    (folder / "lib").mkdir(parents=True)
    (folder / "__pycache__").mkdir()
    (folder / "a.lua").write_bytes(FRESH)
    (folder / "lib" / "b.lua").write_bytes(FRESH)
    (folder / "c.pyc").write_bytes(b"")
    (folder / "__pycache__" / "d.txt").write_bytes(b"")
    return folder


def test_a_folder_is_copied_with_all_that_is_in_it(scripts: Path, tmp_path: Path) -> None:
    """Folders on the way are made, compiled Python stays behind, the second time is nothing new."""
    target = tmp_path / "daw" / "Scripts" / "Segue"
    files = [target / "a.lua", target / "lib" / "b.lua"]
    assert copy_scripts(scripts, target) == [Placed(path, Fate.WRITTEN) for path in files]
    assert [path for path in sorted(target.rglob("*")) if path.is_file()] == files
    assert [path.read_bytes() for path in files] == [FRESH, FRESH]
    assert copy_scripts(scripts, target) == [Placed(path, Fate.SAME) for path in files]


def test_one_file_is_copied_under_a_name(scripts: Path, tmp_path: Path) -> None:
    """The target is the name it gets."""
    target = tmp_path / "other.lua"
    assert copy_scripts(scripts / "a.lua", target) == [Placed(target, Fate.WRITTEN)]
    assert target.read_bytes() == FRESH


@pytest.mark.parametrize(
    ("there", "fate"),
    [
        (None, Fate.WRITTEN),
        (OURS, Fate.REPLACED),
        (FRESH, Fate.SAME),
        (b"mine = true\n", Fate.KEPT),
        (b"", Fate.KEPT),
        (b" " * (MARKER_WITHIN_BYTES - len(MARKER)) + MARKER.encode(), Fate.REPLACED),
        (b" " * (MARKER_WITHIN_BYTES - len(MARKER) + 1) + MARKER.encode(), Fate.KEPT),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_what_becomes_of_a_file(
    tmp_path: Path, there: bytes | None, fate: Fate, dry_run: bool
) -> None:
    """Ours is replaced, the user's is kept as it is; a dry run says the same and does nothing."""
    target = tmp_path / "deep" / "a.lua"
    if there is not None:
        target.parent.mkdir()
        target.write_bytes(there)
    assert place(FRESH, target, dry_run=dry_run) == Placed(target, fate)
    left = FRESH if fate in (Fate.WRITTEN, Fate.REPLACED) and not dry_run else there
    assert (target.read_bytes() if target.exists() else None) == left
    assert [path.name for path in tmp_path.rglob("*.*")] == ([] if left is None else ["a.lua"])


def test_what_is_no_file_is_kept(tmp_path: Path) -> None:
    """A folder of that name, or a link to nowhere."""
    folder, link = tmp_path / "folder.lua", tmp_path / "link.lua"
    folder.mkdir()
    assert place(FRESH, folder) == Placed(folder, Fate.KEPT)
    if os.name != "nt":
        link.symlink_to(tmp_path / "nowhere")
        assert place(FRESH, link) == Placed(link, Fate.KEPT)
        assert link.is_symlink()


def test_a_script_says_whose_it_is(tmp_path: Path) -> None:
    """One without the line could never be replaced: it is not installed at all."""
    with pytest.raises(ValueError, match=r"a\.lua lacks the line"):
        place(b"new = true\n", tmp_path / "a.lua")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """The sentence names the file; nothing of it is left."""
    (tmp_path / "Scripts").write_bytes(b"a file where a folder belongs")
    with pytest.raises(SegueError, match=r"a\.lua cannot be written \(.*\): see to it") as refused:
        place(FRESH, tmp_path / "Scripts" / "a.lua")
    assert refused.value.code is Code.DISK


@pytest.fixture
def stand_in(scripts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of one DAW that installs two scripts; the folder where it finds that DAW."""
    module, folder = ModuleType("reaper_install"), tmp_path / "REAPER"
    folder.mkdir()

    def install(folder: Path, *, dry_run: bool = False) -> list[Placed]:
        return copy_scripts(scripts, folder / "Scripts", dry_run=dry_run)

    names = {"default_reaper_folder": lambda: folder, "install_reaper": install}
    for name, value in (names | {"NEXT_STEPS": ("Restart it.", "Play.")}).items():
        setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "segue.bridge.daw.reaper_install", module)
    return folder


def invoke(*arguments: str) -> tuple[int, list[str], str]:
    """Exit code, lines of stdout and stderr of `segue install ARGUMENTS`."""
    environment = {"COLUMNS": "200", "NO_COLOR": "1"}
    result = CliRunner().invoke(main.app, ["install", *arguments], env=environment)
    return result.exit_code, result.stdout.splitlines(), result.stderr


STEPS = ["What is left to do:", "  1. Restart it.", "  2. Play."]


def test_the_command_says_what_it_wrote(stand_in: Path) -> None:
    """Every file and what became of it, then what is left to do in the DAW."""
    a, b = Path("Scripts/a.lua"), Path("Scripts/lib/b.lua")
    written = [f"REAPER, in {stand_in}:", f"  {a}: written", f"  {b}: written", *STEPS]
    assert invoke("REAPER") == (0, written, "")
    (stand_in / a).write_bytes(OURS)
    again = [f"REAPER, in {stand_in}:", f"  {a}: replaced", f"  {b}: already there", *STEPS]
    assert invoke("reaper") == (0, again, "")


def test_a_dry_run_writes_nothing(stand_in: Path) -> None:
    """It says so, and the folder stays as it was."""
    code, shown, _ = invoke("reaper", "--dry-run")
    assert code == 0
    assert shown[0] == f"REAPER, in {stand_in} (dry run, nothing is written):"
    assert list(stand_in.iterdir()) == []


def test_another_folder(stand_in: Path, tmp_path: Path) -> None:
    """--to takes the place of the one that is found; it must be there."""
    other = tmp_path / "my DAW é"
    code, shown, said = invoke("reaper", "--to", str(other))
    assert (code, shown) == (1, [])
    assert said == (
        f"segue: there is no folder {other}: start REAPER once, or give another one with --to\n"
    )
    other.mkdir()
    assert invoke("reaper", "--to", str(other))[0] == 0
    assert (other / "Scripts" / "a.lua").read_bytes() == FRESH
    assert list(stand_in.iterdir()) == []


def test_what_is_kept_is_named(stand_in: Path) -> None:
    """The rest is written, the user's file is not, and the exit code says that it is not whole."""
    mine = stand_in / "Scripts" / "a.lua"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    code, shown, said = invoke("reaper")
    assert (code, shown[1:]) == (
        1,
        [
            f"  {Path('Scripts/a.lua')}: kept, it is not Segue's",
            f"  {Path('Scripts/lib/b.lua')}: written",
        ],
    )
    assert "not Segue's, and in its way: a.lua. Move that away" in said
    assert mine.read_bytes() == b"mine"


def test_an_unknown_daw() -> None:
    """The three that there are, and what to do without."""
    code, _, said = invoke("cubase")
    assert code == 1
    assert said == (
        "segue: there are scripts for ardour, reaper, ableton, not for 'cubase';"
        " see also `segue watch`\n"
    )


@pytest.mark.parametrize("daw", DAWS)
def test_what_ships_for_a_daw(daw: str, tmp_path: Path) -> None:
    """Every script says whose it is, all are written, the second time is nothing new."""
    assert invoke(daw, "--to", str(tmp_path), "--dry-run")[0] == 0
    assert list(tmp_path.iterdir()) == []
    assert invoke(daw, "--to", str(tmp_path))[0] == 0
    first = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert first
    _, install, next_steps = _installer(daw)
    assert {each.fate for each in install(tmp_path)} == {Fate.SAME}
    assert first == {path: path.read_bytes() for path in first}
    assert 1 <= len(next_steps) <= 4


@pytest.mark.parametrize("daw", DAWS)
@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_a_daw_that_is_not_there(
    daw: str, platform: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder that was looked at is named, or why there can be none; and how to name another."""
    monkeypatch.setattr(sys, "platform", platform)
    for name in ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    code, _, said = invoke(daw)
    assert code == 1
    assert str(tmp_path) in said or (daw, platform) == ("ableton", "linux")
    assert "--to" in said
