"""A bridge as REAPER's scripts find it, and what their tests look at."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from segue.bridge.osc.port_file import Ports, announced, default_path
from tests.osc_client import Running
from tests.reaper_desk import SCRIPTS, Desk, carrying
from tests.reaper_double import Item, Script
from tests.test_bridge_server import start_server

UNATTENDED = "Segue does not answer: start `segue up`, or start it anew; this waits"


@contextmanager
def told(port: int) -> Iterator[None]:
    """The port file names this port."""
    with announced(default_path(), Ports(osc_port=port, http_port=1, pid=os.getpid())):
        yield


@contextmanager
def bridging(url: str) -> Iterator[Running]:
    """A real bridge, found by its port file."""
    with Running(url) as bridge, told(bridge.port):
        yield bridge


def laid(desk: Desk) -> Item:
    """The only clip that was placed."""
    (item,) = desk.project.tracks[1].items
    assert len(item.takes) == 1
    return item


def window(desk: Desk) -> Script:
    """The window, in which a job has begun."""
    script = desk.reaper.run(SCRIPTS / "segue.lua")
    script.keys.append(13)
    desk.reaper.turn()
    return script


def outlive_the_server(desk: Desk) -> None:
    """A server is killed in the middle of a job and started again; the clip is laid, once."""
    server, port = start_server(0, desk.folder)
    with bridging(f"http://127.0.0.1:{port}") as bridge, carrying(desk.spool, bridge.port):
        script = window(desk)
        desk.until(lambda: "optimizing" in script.drawn)
        with server:
            server.kill()
        for _ in range(10):
            desk.reaper.turn()
        server, same_port = start_server(port, desk.folder)
        (desk.folder / "gate").touch()
        desk.until(lambda: "done" in script.drawn)
        with server:
            server.terminate()
    assert same_port == port
    assert laid(desk).info["D_POSITION"] == 4.0


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
