"""The little plots of `segue presets`."""

from __future__ import annotations

import pytest

from segue.bridge.cli.preset_plot import blocks, how, sparkline, table, where
from segue.presets.controls import Inpaint, Loop, Outpaint, Vary
from segue.presets.library import load_preset, preset_names


@pytest.mark.parametrize(
    ("points", "shown"),
    [
        (((0, 0), (1, 7)), "▁▂▃▄▅▆▇█"),
        (((0, -60), (1, -67)), "█▇▆▅▄▃▂▁"),
        (((0, 0), (3.5, 1), (7, 0)), "▁▃▅▇▇▅▃▁"),
        (((0, 0), (3.5, 0), (3.5, 7), (7, 7)), "▁▁▁▁████"),
        (((0, 3), (1, 3)), "▁▁▁▁▁▁▁▁"),
        (((2, 3),), "▁▁▁▁▁▁▁▁"),
    ],
)
def test_curves(points: tuple[tuple[float, float], ...], shown: str) -> None:
    """Softest is lowest, loudest highest, straight lines between; a step is a step."""
    assert sparkline(points, width=8) == shown


@pytest.mark.parametrize(
    ("sections", "lengths", "shown"),
    [
        ("ABA", (), "AAAA·BBBB·AAAA"),
        ("AABB", (), "AAA·AAA·BBB·BBB"),
        ("AB", (1.0, 3.0), "AAA·BBBBBBBBB"),
        ("AB", (1.0, 99.0), "A·BBBBBBBBBBBB"),
    ],
)
def test_sections(sections: str, lengths: tuple[float, ...], shown: str) -> None:
    """Each by its share of the time; repeats can be told apart, and none is lost."""
    assert blocks(sections, lengths) == shown


def test_places() -> None:
    """Known music is full, new music light."""
    assert where(Outpaint()) == "████░░░░"
    assert where(Outpaint(side="left")) == "░░░░████"
    assert where(Outpaint(side="both")) == "░░░████░░░"
    assert where(Inpaint()) == "██░░░░██"
    assert where(Loop()) == "████░░░░↺"
    assert where(Vary(amount=0.2)) == "▒▒▒▒▒▒▒▒"
    assert where(None) == "░░░░░░░░"


def test_what_the_user_brings_is_shown() -> None:
    """A preset that needs a melody says so in its plot."""
    assert how(load_preset("follow-my-melody")) == "♪ yours"
    assert how(load_preset("continue")) == ""


def test_a_terminal_without_blocks_gets_none() -> None:
    """The table has a row a preset; plots only where the encoding has their characters."""
    assert [len(table(encoding).columns) for encoding in ("utf-8", "cp1252")] == [4, 2]
    assert table("utf-8").row_count == len(preset_names())
