"""Making later jobs faster while none waits: the network compiled, by a process of its own.

A compiler holds Python's lock for a minute or two, and a job beside it would take several times
as long. So another process, at the lowest priority, finds out how to compile and leaves the code
in the compiler's cache; the server then takes it from there, in steps no job waits long for.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

from segue.presets.library import model_folder
from segue.server.ditto.search_network import WAYS, SearchNetwork
from segue.server.ditto.weights import load_generator

QUIET_SECONDS = 2.0  # between steps, without a job
NICENESS = 19

log = logging.getLogger(__name__)


def quicken(model: str, search: SearchNetwork) -> Iterator[float]:
    """Compile what `search` calls, in steps; yields how long no job should come before the next.

    `model` is loaded anew in the other process, which ends when this one does.
    """
    command = [sys.executable, "-P", "-m", "segue.server.quicken", model]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdout is not None
        while child.poll() is None:
            yield QUIET_SECONDS
        way = child.stdout.read().strip()
    if way not in WAYS:
        return
    for _ in search.adopt(way):
        yield QUIET_SECONDS
    log.info("jobs are searched by the compiled network from now on")


def main(model: str) -> None:
    """Compile the generator of a model for this machine, and print in which way."""
    import torch

    if hasattr(os, "nice"):
        os.nice(NICENESS)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", level=logging.WARNING)
    logging.getLogger("segue").setLevel(logging.INFO)
    network, _ = load_generator(model_folder(model) / "generator.safetensors")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(SearchNetwork(network.to(device)).compile() or "")


def _end_with_parent() -> None:
    """Its end of our standard input closes when it ends, however that comes."""
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
