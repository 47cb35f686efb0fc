"""Whether what a test compiles can be compiled here."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

import pytest

_HEADERS = Path(sysconfig.get_path("include")) / "Python.h"

needs_compiler = pytest.mark.skipif(
    not (shutil.which("g++") and _HEADERS.is_file()),
    reason="nothing to compile with: g++ or Python's headers are missing",
)
