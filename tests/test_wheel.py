"""The built wheel, installed elsewhere: everything that is here is in it, and it runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("bridge", "export", "presets", "server")
NOT_SHIPPED = {".pyc"}


@pytest.mark.slow
def test_the_wheel_is_whole_and_runs(tmp_path: Path) -> None:
    """Every file of the rooms is in the wheel, and the wheel works away from this folder."""
    wheel = _build(tmp_path)
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"segue/{path.relative_to(ROOT).as_posix()}" for path in _shipped()} <= names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"segue"}
    python = _install(wheel, tmp_path / "venv")
    program = (
        "import segue.bridge.app, segue.server.app, segue.presets.library as p;"
        "print(segue.bridge.app.__file__, *(p.load_preset(n).title for n in p.preset_names()))"
    )
    shown = _run(python, "-I", "-c", program, at=tmp_path)
    assert shown.startswith(str(tmp_path))
    assert "Continue" in shown
    assert "make" in _run(python.with_name("segue"), "--help", at=tmp_path)


def _shipped() -> list[Path]:
    """All files of the rooms but the sound examples, which are for the card alone."""
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file()]
    return [
        path for path in files if path.suffix not in NOT_SHIPPED and path.parent.name != "examples"
    ]


def _build(folder: Path) -> Path:
    """Build from a copy, so that no earlier build's leftovers get in."""
    source = folder / "source"
    for room in ROOMS:
        shutil.copytree(ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    _run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", "dist", source, at=folder)
    (wheel,) = (folder / "dist").iterdir()
    return wheel


def _install(wheel: Path, folder: Path) -> Path:
    """A second environment with this wheel; its dependencies are those of the running one."""
    venv.create(folder, with_pip=False)
    python = folder / Path(sys.executable).relative_to(sys.prefix)
    _run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "-q",
        "--no-deps",
        wheel,
        at=folder,
    )
    paths = _run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", at=folder)
    # A plain path in a .pth file adds the packages there, but not that folder's own .pth files.
    (Path(paths.strip()) / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return python


def _run(program: str | Path, *arguments: str | Path, at: Path) -> str:
    done = subprocess.run(
        [program, *arguments], cwd=at, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
