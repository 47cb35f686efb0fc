# Segue: placed by `segue install`
"""What a producer asks for: read from the end of a name, or from an OSC message."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Sequence

MARK = ">segue"
PREFIX = "/segue/live/"
CANCEL = "cancel"
CHECK = "check"
MAX_BARS = 1000.0

# Words for the presets that are asked for most, and how many bars when no number is given
# (0: the preset's own length). Any other word is the name of a preset itself.
VERBS = {
    "continue": ("continue", 4.0),
    "before": ("lead-in", 4.0),
    "inpaint": ("bridge-the-gap", 0.0),
    "vary": ("vary-a-little", 0.0),
    "melody": ("follow-my-melody", 4.0),
}
FILLS_GAPS = ("bridge-the-gap",)  # presets that make the loop brace anew, between what is around


class Wish(NamedTuple):
    """A preset, its bars of new music (0: the preset's own length), and words for the sound."""

    verb: str
    preset: str
    bars: float
    text: str

    @property
    def fills_gap(self) -> bool:
        """Whether the loop brace is what to make, and not what to go on from."""
        return self.preset in FILLS_GAPS

    def __str__(self) -> str:
        return f"{self.verb} {self.bars:g}" if self.bars else self.verb


def in_name(name: str) -> tuple[str, Wish] | None:
    """`Guitar >segue continue 4 warm strings` as `Guitar` and the wish; None without one."""
    head, mark, words = name.rpartition(MARK)
    if not mark or not words.strip():
        return None
    verb, *rest = words.split()
    bars = _number(rest[0]) if rest else None
    text = " ".join(rest if bars is None else rest[1:])
    return head.rstrip(), make_wish(verb.lower(), bars, text)


def in_message(address: str, args: Sequence[Any]) -> Wish | None:
    """`/segue/live/continue [bars] [text]` as a wish; None where a button was let go.

    Buttons of touch controllers send a number when pressed, and 0 when released.
    """
    numbers = [arg for arg in args if isinstance(arg, (int, float))]
    if numbers and not numbers[0]:
        return None
    texts = [arg for arg in args if isinstance(arg, str)]
    bars = numbers[0] if numbers and not isinstance(numbers[0], bool) else None
    return make_wish(address[len(PREFIX) :], bars, texts[0] if texts else "")


def make_wish(verb: str, bars: float | None, text: str) -> Wish:
    """A wish, with what was left out."""
    preset, usual = VERBS.get(verb, (verb, 0.0))
    if bars is None or not 0 <= bars <= MAX_BARS:
        bars = usual
    return Wish(verb, preset, float(bars), text)


def _number(word: str) -> float | None:
    try:
        number = float(word)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
