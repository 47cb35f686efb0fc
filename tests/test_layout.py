"""The rooms, what each may import, and what must stay light."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("bridge", "export", "presets", "server")
MAY_IMPORT = {
    "segue.presets": ("segue.presets",),
    "segue.server.ditto": ("segue.presets", "segue.server.ditto"),
    "segue.server": ("segue.presets", "segue.server"),
    "segue.bridge.osc": ("segue.presets", "segue.bridge.osc"),
    "segue.bridge": ("segue.presets", "segue.bridge"),
    "segue.export": ("segue.presets", "segue.server", "segue.export"),
}
COMPOSITION_ROOTS = (
    "segue.bridge.cli.bench",
    "segue.bridge.cli.evaluate",
    "segue.bridge.cli.main",
    "segue.bridge.cli.training",
)
TORCH_LIVES_IN = (
    "segue.server.ditto",
    *(
        f"segue.server.{name}"
        for name in (
            "asked",
            "decoder_twin",
            "engine",
            "framing",
            "painter",
            "render",
            "search",
            "wanted",
        )
    ),
    "segue.export",
)
SANS_IO = tuple(
    f"segue.bridge.{name}"
    for name in (
        *(f"osc.{each}" for each in ("codec", "grammar", "addresses", "commands", "session")),
        *(f"osc.{each}" for each in ("replies", "rows", "row_list", "row_controls", "audience")),
        *(
            f"osc.{each}"
            for each in ("leases", "stream", "oscquery", "http", "http_order", "lines")
        ),
        *(f"daw.{each}" for each in ("spool", "audacity")),
        "watch.ready",
        "pipe.session",
        "job_sheet",
        *(f"midi.{each}" for each in ("codec", "events", "channels", "clock", "timecode")),
        *(f"midi.{each}" for each in ("takes", "recording", "learn", "live")),
    )
)
IO = {"socket", "threading", "asyncio", "time", "httpx", "select", "selectors", "queue"}
VAGUE = {"utils", "helpers", "common", "base", "misc"}

MODULES = {
    ".".join(("segue", *path.relative_to(ROOT).with_suffix("").parts)): path
    for room in ROOMS
    for path in sorted((ROOT / room).rglob("*.py"))
    if path.parent.name != "Segue"  # runs inside Ableton Live; see test_ableton_files.py
}


def _imports(tree: ast.AST) -> Iterator[str]:
    """Every module named by an import statement below a node, `from a import b` as `a.b` too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _at_import(tree: ast.Module) -> Iterator[str]:
    """The imports that run when the module is imported: those outside functions."""
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue  # names for the type checker, never imported
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _imports(node)
        pending.extend(ast.iter_child_nodes(node))


def _inside(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == each or module.startswith(f"{each}.") for each in packages)


def _tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def test_declared_packages_are_those_on_disk() -> None:
    """A subpackage missing from pyproject.toml would work here and be missing from the wheel."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    declared = sorted(table["tool"]["setuptools"]["packages"])
    folders = {path.parent for path in MODULES.values()}
    on_disk = sorted(f"segue.{'.'.join(each.relative_to(ROOT).parts)}" for each in folders)
    assert declared == on_disk
    assert all((folder / "__init__.py").is_file() for folder in folders)


@pytest.mark.parametrize("module", MODULES)
def test_arrows_between_rooms(module: str) -> None:
    """A room imports only the rooms it may, even inside functions; commands may inside them."""
    room = next(each for each in MAY_IMPORT if _inside(module, (each,)))
    tree = _tree(module)
    names = _at_import(tree) if module in COMPOSITION_ROOTS else _imports(tree)
    ours = (name for name in names if name.startswith("segue."))
    assert [name for name in ours if not _inside(name, MAY_IMPORT[room])] == []


@pytest.mark.parametrize("module", [m for m in MODULES if not _inside(m, ("segue.bridge.cli",))])
def test_nothing_needs_the_command_line(module: str) -> None:
    """Commands use the rest; what they share with it lies outside of their package."""
    ours = ("segue.bridge.cli",)
    assert [name for name in _imports(_tree(module)) if _inside(name, ours)] == []


@pytest.mark.parametrize("path", [*MODULES.values(), *sorted((ROOT / "tests").glob("*.py"))])
def test_no_bare_room_imports(path: Path) -> None:
    """`import server` works from this folder only, and is then a second copy of the module."""
    roots = {name.split(".")[0] for name in _imports(ast.parse(path.read_text(encoding="utf-8")))}
    assert roots & set(ROOMS) == set()


@pytest.mark.parametrize("module", [m for m in MODULES if not _inside(m, TORCH_LIVES_IN)])
def test_torch_stays_with_the_maths(module: str) -> None:
    """Everything else may import torch inside a function at most."""
    roots = {name.split(".")[0] for name in _at_import(_tree(module))}
    assert roots & {"torch", "onnx", "onnxruntime", "onnxscript"} == set()


@pytest.mark.parametrize("module", SANS_IO)
def test_protocol_files_do_no_io(module: str) -> None:
    """The OSC codec and the session know neither sockets nor threads nor clocks."""
    roots = {name.split(".")[0] for name in _imports(_tree(module))}
    assert roots & IO == set()


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("segue.presets.library", ("torch", "fastapi", "onnxruntime", "numpy")),
        ("segue.bridge.app", ("torch", "fastapi", "onnxruntime")),
        ("segue.bridge.cli.main", ("torch", "fastapi", "onnxruntime", "httpx", "soundfile")),
        ("segue.server.app", ("torch", "onnxruntime")),
    ],
)
def test_imports_are_light(module: str, heavy: tuple[str, ...]) -> None:
    """Bridge, command and server start without waiting for what only the worker needs."""
    program = f"import sys, {module}; print(*(n for n in {heavy} if n in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


@pytest.mark.skipif(sys.platform != "linux", reason="only GNU's OpenMP shows its settings")
@pytest.mark.parametrize("module", ["segue.server.engine", "segue.export.train"])
def test_torch_threads_soon_sleep_while_they_wait(module: str) -> None:
    """OpenMP itself says that it got both settings, so they were made before torch was loaded."""
    ours = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    plain = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(
        [sys.executable, "-c", f"import {module}"],
        capture_output=True,
        text=True,
        check=True,
        env={**plain, "OMP_DISPLAY_ENV": "VERBOSE"},
    )
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in done.stderr
    assert "GOMP_SPINCOUNT = '4000'" in done.stderr


def test_no_file_is_named_vaguely() -> None:
    """A file's name says its one idea."""
    assert [path for path in MODULES.values() if path.stem in VAGUE] == []


@pytest.mark.parametrize("module", MODULES)
def test_modules_say_what_they_are_for(module: str) -> None:
    """Every module starts with a docstring of which the first line is one sentence."""
    text = ast.get_docstring(_tree(module)) or ""
    assert text.splitlines()[:1] != []
    assert text.split("\n\n")[0].endswith(".")


def test_readme_has_the_table_of_addresses() -> None:
    """What the README says about OSC is what the bridge speaks."""
    from segue.bridge.osc.addresses import markdown_table

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme.split("<!-- osc-table -->")[1].split("<!-- /osc-table -->")[0]
    assert shown.strip() == markdown_table().strip()


def test_lock_covers_what_is_asked_for() -> None:
    """Each dependency in pyproject.toml has an exact version in constraints.txt."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = [
        *project["dependencies"],
        *(r for e in ("cpu", "demo", "export", "midi", "audio", "dev") for r in extras[e]),
    ]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    locked = {line.split("==")[0].lower() for line in lines if "==" in line}
    assert [each for each in asked if each.split(">=")[0].lower() not in locked] == []
