"""A real client, real servers to talk to, and a tiny model to play."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.recorder import DEADLINE_SECONDS, serving


@pytest.fixture(scope="session", autouse=True)
def runtime_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Bridges and spools of the tests work here, not where those at work do."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("runtime")
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        patch.setenv("SEGUE_SPOOL", str(folder / "spool"))
        yield folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny random model; exporting its decoder takes seconds."""
    from tests.tiny import write_tiny_model  # imports torch, which most tests do without

    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    """A real HTTP client; without certificates, which take longer to load than most tests."""
    with httpx.Client(timeout=DEADLINE_SECONDS, trust_env=False, verify=False) as client:
        yield client


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A real server whose jobs end at once."""
    with serving(tmp_path) as url:
        yield url


@pytest.fixture(scope="module")
def strict_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One real server for all the tests whose requests it must refuse."""
    with serving(tmp_path_factory.mktemp("strict")) as url:
        yield url
