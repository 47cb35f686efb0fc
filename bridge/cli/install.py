"""`segue install`: Segue's scripts into the folder where a DAW looks for its own."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from segue.presets.vocabulary import Code, SegueError

if TYPE_CHECKING:
    from segue.bridge.daw.install import Placed

DAWS = {"ardour": "Ardour", "reaper": "REAPER", "ableton": "Ableton Live"}

Daw = Annotated[str, typer.Argument(metavar="DAW", help=f"{', '.join(DAWS)}.", show_default=False)]
To = Annotated[
    Path | None,
    typer.Option(help="The DAW's folder for scripts.", show_default="where the DAW has it"),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Write nothing; say what would be.")]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def install(daw: Daw, to: To = None, dry_run: DryRun = False) -> None:
        """Put Segue's scripts into a DAW; files that are not Segue's are left as they are."""
        run_install(daw.lower(), to, dry_run, typer.echo)


def run_install(daw: str, to: Path | None, dry_run: bool, say: Callable[[str], None]) -> None:
    """Install, say what was written and what is left to do. Raises SegueError."""
    if daw not in DAWS:
        text = f"there are scripts for {', '.join(DAWS)}, not for {daw!r}; see also `segue watch`"
        raise SegueError(Code.UNSUPPORTED, text)
    find, place, next_steps = _installer(daw)
    folder = find() if to is None else to.absolute()
    if not folder.is_dir():
        text = f"there is no folder {folder}: start {DAWS[daw]} once, or give another one with --to"
        raise SegueError(Code.MISSING_FILE, text)
    placed = place(folder, dry_run=dry_run)
    say(f"{DAWS[daw]}, in {folder}{' (dry run, nothing is written)' if dry_run else ''}:")
    for each in placed:
        say(f"  {_inside(folder, each.path)}: {each.fate}")
    _check_kept(placed)
    say("What is left to do:")
    for number, step in enumerate(next_steps, start=1):
        say(f"  {number}. {step}")


def _installer(
    daw: str,
) -> tuple[Callable[[], Path], Callable[..., list[Placed]], tuple[str, ...]]:
    """A DAW's own module: it is not imported before it is wanted."""
    module = import_module(f"segue.bridge.daw.{daw}_install")
    find = cast(Callable[[], Path], getattr(module, f"default_{daw}_folder"))
    return find, getattr(module, f"install_{daw}"), module.NEXT_STEPS


def _inside(folder: Path, path: Path) -> Path:
    return path.relative_to(folder) if path.is_relative_to(folder) else path


def _check_kept(placed: list[Placed]) -> None:
    from segue.bridge.daw.install import Fate

    kept = ", ".join(each.path.name for each in placed if each.fate is Fate.KEPT)
    if kept:
        text = f"not Segue's, and in its way: {kept}. Move that away, then install again"
        raise SegueError(Code.DISK, text)
