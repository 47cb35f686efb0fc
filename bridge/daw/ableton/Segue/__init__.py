# Segue: placed by `segue install`
"""Segue in Ableton Live: a control surface that needs no hardware.

Python 3.7 (Live 11) and its standard library; Live 12.0.5 or newer to have clips placed.
"""

from __future__ import annotations

from typing import Any


def create_instance(c_instance: Any) -> Any:
    """What Live calls when the control surface is chosen, and with every set that is opened."""
    # Imported here, so that the other files can be read where there is no Live.
    from .surface import Surface

    return Surface(c_instance)
