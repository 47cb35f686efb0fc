"""`segue spool`: the folder through which scripts in DAWs that have no sockets reach the bridge."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from segue.presets.vocabulary import Code, SegueError

OSC_PORT = 9137


def default_folder() -> Path:
    """`$SEGUE_SPOOL`, or `.segue/spool` at home: a place that Lua can name as well."""
    chosen = os.environ.get("SEGUE_SPOOL")
    return Path(chosen).absolute() if chosen else Path.home() / ".segue" / "spool"


def serve(folders: list[Path], osc_port: int, going: Callable[[], bool]) -> None:
    """Carry the orders of all folders to the bridge, and answers back, as long as it says."""
    import time
    from contextlib import closing

    from segue.bridge.daw.spool_folder import SpoolFolder

    with ExitStack() as stack:
        spools = [stack.enter_context(closing(SpoolFolder(each, osc_port))) for each in folders]
        while going():
            for spool in spools:
                spool.turn(time.monotonic(), time.time())


def spool(
    folder: Annotated[
        list[Path] | None, typer.Option(help="A folder of orders.", show_default="~/.segue/spool")
    ] = None,
    osc_port: Annotated[
        int, typer.Option(min=1, max=65535, help="UDP port of the bridge.")
    ] = OSC_PORT,
) -> None:
    """Carry orders of scripts without sockets to the bridge and clips back; Ctrl-C ends it."""
    import signal
    from contextlib import suppress

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folders = folder or [default_folder()]
    places = ", ".join(map(str, folders))
    print(f"spool: orders in {places}, bridge at udp 127.0.0.1:{osc_port}", flush=True)
    try:
        with suppress(KeyboardInterrupt):
            serve(folders, osc_port, lambda: True)
    except OSError as error:
        text = f"the spool in {places} can't go on: {error}; see to it, then start `segue spool`"
        raise SegueError(Code.DISK, text) from error


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(spool)
