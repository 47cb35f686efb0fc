"""`segue pipe`: JSON lines on stdin and stdout, for programs that start others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Server = Annotated[
    str | None,
    typer.Option(help="URL of a server.", show_default="the running one, or one of its own"),
]
Data = Annotated[
    Path | None,
    typer.Option(help="Where its own server keeps clips.", show_default="the user's own"),
]


def register(app: typer.Typer, default_port: int, default_model: str) -> None:
    """Add the command; a server that runs at `default_port` is used, unless told otherwise."""

    @app.command()
    def pipe(
        server: Server = None,
        model: Annotated[str, typer.Option(help="Its own server's model.")] = default_model,
        data: Data = None,
    ) -> None:
        """Take requests as JSON lines from stdin, write events as JSON lines to stdout.

        A line is a request as over HTTP, {"id": "a", "region": {"path": "loop.wav",
        "start_seconds": 0, "length_seconds": 8}, "preset": "rise"}, or {"cancel": "a"}.
        Every line out is of type progress, result, failure or cancelled. When stdin
        ends, the jobs are finished first.
        """
        from segue.bridge.pipe.run import run_pipe

        kept = () if data is None else ("--data", str(data.absolute()))
        run_pipe(server, f"http://127.0.0.1:{default_port}", ("--model", model, *kept))
