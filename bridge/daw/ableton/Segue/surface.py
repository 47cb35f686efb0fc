# Segue: placed by `segue install`
"""The control surface that Live loads: a tick, the status bar, and nothing on any MIDI port."""

from __future__ import annotations

import os
from typing import Any

from _Framework.ControlSurface import ControlSurface  # type: ignore[import-not-found]

from .desk import Desk
from .leftover import FILE, Leftovers
from .port import OWN_PORT, Port, PortFile, bridge_ports, runtime_folder

TICK = 1  # of Live's own, of about 100 ms


class Surface(ControlSurface):  # type: ignore[misc]
    """Live makes one when Segue is chosen as a control surface, and calls `disconnect` after."""

    def __init__(self, c_instance: Any) -> None:
        super().__init__(c_instance)
        folder = runtime_folder()
        port = Port()
        self._port_file = PortFile(folder, port.number)
        # A second Live, at another port, leaves the first one's jobs to that.
        jobs = os.path.join(folder, FILE) if port.number == OWN_PORT else ""
        self._desk = Desk(
            self.song,
            self.show_message,
            self.log_message,
            port,
            lambda: bridge_ports(folder),
            leftovers=Leftovers(jobs),
        )
        self._closed = False
        self.log_message(f"Segue listens on udp://127.0.0.1:{port.number}")
        self.schedule_message(TICK, self._tick)

    def _tick(self) -> None:
        if not self._closed:
            self._desk.tick()
            self.schedule_message(TICK, self._tick)

    def disconnect(self) -> None:
        """Give everything back."""
        self._closed = True
        self._desk.close()
        self._port_file.remove()
        super().disconnect()
