"""How curves, gaps and plans are written on a command line; errors name the option."""

from __future__ import annotations

from typing import Any

from segue.presets.controls import MAX_POINTS
from segue.presets.vocabulary import Code, SegueError


def bad(option: str, text: str) -> SegueError:
    """What is wrong with an option, to be raised."""
    return SegueError(Code.BAD_REQUEST, f"{option}: {text}")


def curve(text: str, option: str) -> list[tuple[float, float]]:
    """`0:-12,4:0`: (time, level) points as they stand."""
    if text.count(",") >= MAX_POINTS:
        raise bad(option, f"it has more than {MAX_POINTS} points: draw fewer")
    return [_pair(point, option, "TIME:DB, such as 4:-12") for point in text.split(",")]


def gaps(texts: tuple[str, ...], option: str) -> list[dict[str, float]]:
    """`2:1.5`, one a text: gaps by their start."""
    pairs = sorted(_pair(text, option, "START:LENGTH, such as 2:1.5") for text in texts)
    return [{"start": start, "length": length} for start, length in pairs]


def plan(text: str, option: str) -> dict[str, Any]:
    """`ABA`, or with lengths `A:4,B:2,A:4`: a structure's sections and lengths."""
    parts = text.split(",") if ":" in text else list(text.strip())
    named = [part.partition(":") for part in parts]
    letters = "".join(letter.strip() for letter, _, _ in named).upper()
    if len(letters) != len(named) or not (letters.isascii() and letters.isalpha()):
        raise bad(option, f"{text!r} is no plan: give letters, such as ABA or A:4,B:2,A:4")
    if ":" not in text:
        return {"sections": letters}
    return {"sections": letters, "lengths": [number(length, option) for _, _, length in named]}


def seconds(text: str, option: str) -> float:
    """`4`, or `4s`."""
    return number(text.strip().removesuffix("s"), option)


def number(text: str, option: str) -> float:
    """Any number Python knows; the vocabulary says which ones will do."""
    try:
        return float(text)
    except ValueError:
        raise bad(option, f"{text.strip()!r} is no number") from None


def _pair(text: str, option: str, form: str) -> tuple[float, float]:
    first, colon, second = text.partition(":")
    if not colon:
        raise bad(option, f"{text.strip()!r} is not {form}")
    return number(first, option), number(second, option)
