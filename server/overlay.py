"""What to lay over an untouched timeline, so that together they sound as the clip does.

A clip holds the region too. Laid on a track of its own it would double the region; cut off
where the region ends it would lose the fade between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from segue.presets.controls import Loop, Outpaint, Place
from segue.server.audio_file import Waveform
from segue.server.clip import Clip


def has_overlay(place: Place | None) -> bool:
    """Not where the clip replaces music: taking that away works on no track with effects."""
    return isinstance(place, Outpaint | Loop)


def overlays(clip: Clip, waves: Sequence[Waveform]) -> tuple[list[Waveform], int]:
    """Each wave less the known samples, in float32, and which sample they begin at.

    All begin and end together, where the first and the last of them differ from what is known.
    """
    over = np.stack([wave.samples - clip.wave.samples for wave in waves])
    (heard,) = np.nonzero(over.any(axis=(0, 2)))
    first, last = (heard[0], heard[-1] + 1) if len(heard) else (0, 1)
    cut = over[:, first:last]
    made = [replace(w, samples=c, subtype="FLOAT") for w, c in zip(waves, cut, strict=True)]
    return made, int(first)
