"""Compiling by a process of its own: what it leaves is taken as it is, and it leaves too."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from segue.server.ditto.search_network import SearchNetwork
from segue.server.ditto.weights import load_generator
from segue.server.quicken import QUIET_SECONDS, quicken
from tests.compiler import needs_compiler
from tests.tiny import write_tiny_model


def run(steps: Iterator[float]) -> None:
    """Take all steps, though sooner than a server would."""
    for quiet in steps:
        assert quiet == QUIET_SECONDS
        time.sleep(0.1)


TAKEN = """
import sys, time
from collections import deque
from pathlib import Path
from torch._dynamo.utils import counters
from segue.server.ditto.search_network import WAYS, SearchNetwork
from segue.server.ditto.weights import load_generator
from segue.server.quicken import quicken

model = Path(sys.argv[1])
search = SearchNetwork(load_generator(model / "generator.safetensors")[0])
for _ in quicken(str(model), search):
    time.sleep(0.1)
for way in WAYS:
    if search._compiled is None:  # it was no faster, and is there all the same
        deque(search.adopt(way), maxlen=0)
hits, misses = (counters["inductor"][f"fxgraph_cache_{what}"] for what in ("hit", "miss"))
print(search._compiled is not None, hits > 0, misses)
"""


@pytest.mark.slow
@needs_compiler
def test_what_the_other_process_compiled_is_taken_from_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is compiled in the server's: a job that comes waits for seconds, not for minutes."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    model = write_tiny_model(tmp_path / "model")
    server = [sys.executable, "-c", TAKEN, str(model)]
    said = subprocess.run(server, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["True", "True", "0"], said.stderr


def test_a_model_that_is_gone_changes_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The other process says why."""
    model = write_tiny_model(tmp_path)
    search = SearchNetwork(load_generator(model / "generator.safetensors")[0])
    (model / "generator.safetensors").unlink()
    run(quicken(str(model), search))
    assert search._compiled is None
    assert "generator.safetensors" in capfd.readouterr().err


def test_it_ends_with_the_process_that_began_it(tmp_path: Path) -> None:
    """However that ended: its standard input closes."""
    model = write_tiny_model(tmp_path)
    command = [sys.executable, "-P", "-m", "segue.server.quicken", str(model)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(30) == 1
