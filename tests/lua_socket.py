"""The real LuaSocket for the Lua in which tests run REAPER's scripts, where it is installed."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import lupa.lua54 as lupa
import pytest

from tests.reaper_double import Reaper

MAVRIQ = "Scripts/Mavriq ReaScript Repository/Various/Mavriq-Lua-Sockets"
CORE = next(Path("/usr/lib").glob("*/lua/5.4/socket/core.so"), None)
NO_LUASOCKET = "NOT TESTED: `apt-get install lua-socket` brings the sockets of REAPER's scripts"
needs_luasocket = pytest.mark.skipif(CORE is None, reason=NO_LUASOCKET)


def place_core(reaper: Reaper) -> Path:
    """Where the ReaPack package "Mavriq Lua Sockets" has its library; the folder is there."""
    path = reaper.resources / MAVRIQ / "socket" / "core.so"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def install(reaper: Reaper) -> None:
    """Give REAPER the package; Debian's library takes its Lua from whoever loads it."""
    assert CORE is not None
    ctypes.CDLL(lupa.__file__, mode=os.RTLD_NOW | os.RTLD_GLOBAL)
    place_core(reaper).symlink_to(CORE)
