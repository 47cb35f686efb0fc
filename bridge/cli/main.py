"""The `segue` command, which may reach into every room, inside functions only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from segue.bridge.cli import (
    audacity,
    bench,
    evaluate,
    install,
    live,
    make,
    pipe,
    play,
    spool,
    training,
    watch,
)
from segue.presets.vocabulary import SegueError

# The defaults of the other rooms, repeated so that `--help` need not import them; a test
# compares them.
PORT = 9136
OSC_PORT = 9137
MODEL = "segue-small"


class PoliteGroup(TyperGroup):
    """Turns a SegueError of any command into one sentence and exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; no traceback for what the user can act on."""
        try:
            return super().invoke(ctx)
        except SegueError as error:
            from segue.bridge.terminal import complain

            complain(error.text)
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=PoliteGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)

Port = Annotated[
    int, typer.Option(min=0, max=65535, help="Port of the server; 0 takes any free one.")
]
OscPort = Annotated[
    int, typer.Option(min=0, max=65535, help="UDP and TCP port for OSC; 0: any free one.")
]
Model = Annotated[str, typer.Option(help="Name of the model.")]
Data = Annotated[
    Path | None, typer.Option(help="Folder of jobs and clips.", show_default="the user's own")
]
Mdns = Annotated[
    bool, typer.Option("--mdns", help="Let programs on this machine find the bridge by mDNS.")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"segue {version('segue')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Say the version."),
    ] = False,
) -> None:
    """Continue your music: a region goes in, what comes after it comes out."""


@app.command()
def up(
    port: Port = PORT,
    osc_port: OscPort = OSC_PORT,
    model: Model = MODEL,
    data: Data = None,
    mdns: Mdns = False,
) -> None:
    """Start the server and the bridge, and stop them together."""
    from segue.bridge.up import run_up

    run_up(port, osc_port, model, _data_dir(data), mdns=mdns)


@app.command()
def serve(port: Port = PORT, model: Model = MODEL, data: Data = None) -> None:
    """Run the server alone."""
    from segue.server.app import serve as run_server
    from segue.server.config import ServerConfig

    _log_to_stderr()
    run_server(ServerConfig(port=port, model=model, data_dir=_data_dir(data)))


@app.command()
def bridge(
    server: Annotated[str, typer.Option(help="URL of the server.")] = f"http://127.0.0.1:{PORT}",
    osc_port: OscPort = OSC_PORT,
    mdns: Mdns = False,
) -> None:
    """Run the bridge alone: OSC from the DAW to a server and back."""
    from segue.bridge.app import run_bridge

    _log_to_stderr()
    run_bridge(server, osc_port, mdns=mdns)


def _engine(model: str) -> Any:
    from segue.server.config import clap_folder
    from segue.server.engine import Engine  # imports torch

    return Engine.load(model, clap_folder()).run


make.register(app, _engine, MODEL)
watch.register(app, _engine, MODEL)
pipe.register(app, PORT, MODEL)
install.register(app)
audacity.register(app, _engine, MODEL)
live.register(app)
spool.register(app)
play.register(app, f"http://127.0.0.1:{PORT}")


@app.command()
def presets() -> None:
    """List the presets: where music is made, how it goes, and what that is for."""
    from rich.console import Console

    from segue.bridge.cli.preset_plot import table

    console = Console()
    console.print(table(console.encoding))


@app.command()
def doctor(
    port: Port = PORT, osc_port: OscPort = OSC_PORT, model: Model = MODEL, data: Data = None
) -> None:
    """Say what is installed and would be used, and what to do about what is missing."""
    from rich.console import Console

    from segue.bridge.cli.doctor import Setup, report

    setup = Setup(model=model, data_dir=_data_dir(data), port=port, osc_port=osc_port)
    if not report(setup, Console()):
        raise typer.Exit(1)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("demo-out"),
) -> None:
    """Continue a shipped recording through server, bridge and OSC; leave WAV and picture."""
    from segue.bridge.cli.demo import run_demo

    run_demo(out)


training.register(app)
app.command(rich_help_panel="Train your own model")(bench.bench)
app.add_typer(evaluate.evaluate, name="evaluate", rich_help_panel="Train your own model")


@app.command(hidden=True)
def osc() -> None:
    """Print the README's table of OSC addresses."""
    from segue.bridge.osc.addresses import markdown_table

    typer.echo(markdown_table(), nl=False)


def _data_dir(chosen: Path | None) -> Path:
    from segue.server.config import default_data_dir

    return default_data_dir() if chosen is None else chosen.absolute()


def _log_to_stderr() -> None:
    import logging

    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", level=logging.WARNING)
    logging.getLogger("segue").setLevel(logging.INFO)


if __name__ == "__main__":
    app()
