"""Presets at a glance: where music is made, and how it goes, in a few characters each."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from segue.presets.controls import (
    Control,
    Inpaint,
    Intensity,
    Loop,
    Melody,
    Outpaint,
    Place,
    Structure,
    Text,
    Vary,
)
from segue.presets.library import Preset, load_preset, preset_names

if TYPE_CHECKING:
    from rich.table import Table

WIDTH = 12
LEVELS = "▁▂▃▄▅▆▇█"
SIDES = {"right": "████░░░░", "left": "░░░░████", "both": "░░░████░░░"}


def table(encoding: str) -> Table:
    """All shipped presets, a row each; with plots where the terminal's encoding has them."""
    from rich.table import Table

    plots = encoding.lower().startswith("utf")
    rows = Table("preset", *(("where", "how") if plots else ()), "what it does")
    for name in preset_names():
        preset = load_preset(name)
        drawn = (where(preset.place), how(preset)) if plots else ()
        rows.add_row(name, *drawn, preset.description)
    return rows


def where(place: Place | None) -> str:
    """Known music as full blocks, new as light ones, a variation between them."""
    match place:
        case None:
            return "░░░░░░░░"
        case Outpaint(side=side):
            return SIDES[side]
        case Inpaint():
            return "██░░░░██"
        case Loop():
            return "████░░░░↺"
        case Vary(amount=amount):
            return ("▒" if amount < 0.5 else "░") * 8


def how(preset: Preset) -> str:
    """Each feature's plot, and a word for what the user is to bring."""
    brought = {"melody": "♪ yours", "text": "“yours”"}
    plots = [_feature(control) for control in preset.controls]
    yours = [brought.get(kind, f"your {kind}") for kind in preset.needs]
    return " ".join(plot for plot in (*plots, *yours) if plot)


def _feature(control: Control) -> str:
    match control:
        case Intensity(points=points):
            return sparkline(points)
        case Structure(sections=str(sections), lengths=lengths):
            return blocks(sections, lengths)
        case Melody():
            return "♪"
        case Text(text=text):
            return f"“{text}”"
        case _:
            return ""


def sparkline(points: tuple[tuple[float, float], ...], width: int = WIDTH) -> str:
    """A curve from its first point to its last; its softest is the lowest block."""
    first, last = points[0][0], points[-1][0]
    low, high = min(level for _, level in points), max(level for _, level in points)
    steps = [first + (last - first) * i / (width - 1) for i in range(width)]
    scale = (len(LEVELS) - 1) / (high - low) if high > low else 0.0
    return "".join(LEVELS[round((_level(points, t) - low) * scale)] for t in steps)


def _level(points: tuple[tuple[float, float], ...], time: float) -> float:
    """Straight lines between the points, held outside; the later of two at one time counts."""
    i = bisect_right(points, time, key=lambda point: point[0])
    if i == 0:
        return points[0][1]
    if i == len(points):
        return points[-1][1]
    (t0, level0), (t1, level1) = points[i - 1], points[i]
    return level0 + (level1 - level0) * (time - t0) / (t1 - t0)


def blocks(sections: str, lengths: tuple[float, ...] = (), width: int = WIDTH) -> str:
    """`ABA` as AAAA·BBBB·AAAA: each section by its share of the width, one letter at least."""
    shares = lengths or (1.0,) * len(sections)
    return "·".join(
        letter * max(1, round(width * share / sum(shares)))
        for letter, share in zip(sections, shares, strict=True)
    )
