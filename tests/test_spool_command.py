"""`segue spool` as a process: folders in, messages of the bridge out, a clean end."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.osc_client import Daw, Running
from tests.recorder import serving
from tests.wire import until

PROGRAM = """
import typer
from segue.bridge.cli.spool import register
app = typer.Typer()
app.callback()(lambda: None)
register(app)
app()
"""


def wait_for_done(answers: Path) -> None:
    """Until a clip is told of in a file."""
    until(lambda: answers.exists() and "job/done" in answers.read_text(encoding="utf-8"))


def test_two_folders_and_one_bridge(tmp_path: Path) -> None:
    """Each folder's orders are carried, and answered in that folder; SIGTERM ends it at once."""
    folders = [tmp_path / "a b", tmp_path / "c"]
    options = [text for folder in folders for text in ("--folder", str(folder))]
    with serving(tmp_path / "data") as url, Running(url) as bridge, Daw(bridge.port) as daw:
        command = ["-c", PROGRAM, "spool", *options, "--osc-port", str(bridge.port)]
        with subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            said = process.stdout.readline()
            for number, folder in enumerate(folders):
                until(folder.is_dir)
                text = f"/segue/outpaint\tssddd\tjob-{number}\t/take.wav\t1.5\t4\t6\n"
                part = folder / f"job-{number}.part"
                part.write_text(text)
                part.rename(folder / f"job-{number}.order")
            for number, folder in enumerate(folders):
                wait_for_done(folder / f"job-{number}.answers")
            process.send_signal(signal.SIGTERM)
            code = process.wait(20)
        assert daw.ask().address == "/segue/hello"
    places = ", ".join(map(str, folders))
    assert said == f"spool: orders in {places}, bridge at udp 127.0.0.1:{bridge.port}\n"
    assert code == 0
