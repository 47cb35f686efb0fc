"""MIDI learn: the control that a player moves far enough, soon enough, is the one that is meant."""

from __future__ import annotations

import re
import sys
from collections import OrderedDict, deque

from segue.bridge.midi.channels import LOWER, PAIRED, TIMBRE, UPPER, Moved, Source
from segue.bridge.midi.controller_map import WIDE_KINDS, Bound, Target

FAR = 0.125  # of its way
SOON_SECONDS = 1.0
MAX_SOURCES = 256  # that are watched; the one that moved longest ago is forgotten
MAX_MOVES = 256  # of one source
# Ends of names that RtMidi gives ports of ALSA and WinMM: others once they are plugged in anew.
NUMBERS = re.compile(r" \d+$" if sys.platform == "win32" else r" \d+:\d+$")


class Learner:
    """Listens for one control. Notes do not count, so that a player may go on playing."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._moves: OrderedDict[tuple[str, Source], deque[tuple[float, float]]] = OrderedDict()

    def receive(self, port: str, moved: Moved, now: float) -> Bound | None:
        """The control, once it has moved by more than FAR within SOON_SECONDS."""
        key = port, moved.source
        moves = self._moves.setdefault(key, deque(maxlen=MAX_MOVES))
        self._moves.move_to_end(key)
        while len(self._moves) > MAX_SOURCES:
            self._moves.popitem(last=False)
        moves.append((now, moved.value))
        while now - moves[0][0] > SOON_SECONDS:
            moves.popleft()
        values = [value for _, value in moves]
        near = max(values) - min(values) <= FAR
        if near or self._is_low_half(key) or self._is_of_one_note(key):
            return None
        return self._bound(port, moved.source)

    def _is_low_half(self, key: tuple[str, Source]) -> bool:
        """The low bits of a pair run through all their values while the knob hardly moves."""
        port, source = key
        return (
            source.kind == "cc"
            and source.number >= PAIRED
            and (port, Source(source.channel, "cc", source.number - PAIRED, 14)) in self._moves
        )

    def _is_of_one_note(self, key: tuple[str, Source]) -> bool:
        """In an MPE zone each note has a channel, and another one the next time."""
        port, source = key
        return (
            (source.kind in ("pressure", "bend") or (source.kind, source.number) == ("cc", TIMBRE))
            and source.channel not in (LOWER, UPPER)
            and any((port, Source(m, "zone", 0, 7)) in self._moves for m in (LOWER, UPPER))
        )

    def _bound(self, port: str, source: Source) -> Bound:
        pair = Source(source.channel, source.kind, source.number, 14)
        wide = source.kind not in WIDE_KINDS and (port, pair) in self._moves
        return Bound(
            target=self.target,
            kind=source.kind,
            port=NUMBERS.sub("", port),
            channel=source.channel + 1,
            number=source.number,
            bits=14 if wide else 7,
        )
