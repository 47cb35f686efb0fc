"""Augmentation of log-mel windows: pitch, speed, level, tone and width, without touching audio.

On log-mels all of it is interpolation and addition, so it costs next to nothing. What it can't
do is exact audio: partials moved by a band's fraction get a little wider or narrower, which is why
pitch and speed leave some windows as they are (`Augment.chance`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.mel import MelConfig, hz_to_mel, mel_to_hz

NEPERS_A_DB = math.log(10) / 20
EQ_POINTS = 6
SILENCE = 0.02  # above the floor: less than half a step of the packed bytes


@dataclass(frozen=True, kw_only=True)
class Augment:
    """How far a window may be changed; 0 turns a change off. All are drawn evenly from ± it.

    chance: of a change of pitch, and apart from it of speed. side_db: gain of the side alone.
    eq_db: limit of a smooth curve over the bands. swap: chance that mid and side change places.
    """

    pitch_semitones: float = 2.0
    speed: float = 0.1
    chance: float = 0.5
    gain_db: float = 6.0
    side_db: float = 3.0
    eq_db: float = 3.0
    swap: float = 0.02

    def __post_init__(self) -> None:
        limits = {"pitch_semitones": 12, "speed": 0.5, "chance": 1, "swap": 1}
        for name in self.__dataclass_fields__:
            value, most = getattr(self, name), limits.get(name, 24)
            if not 0 <= value <= most:
                text = f"{name} must be from 0 to {most}, and is {value}"
                raise SegueError(Code.BAD_REQUEST, text)


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is done to one window. eq_db: the curve's values at points evenly spread over bands."""

    semitones: float = 0.0
    speed: float = 1.0
    gain_db: float = 0.0
    side_db: float = 0.0
    eq_db: tuple[float, ...] = (0.0, 0.0)
    swap: bool = False

    def frames_read(self, frames: int) -> int:
        """How many frames of the original become `frames`: more when it is sped up."""
        return max(2, round(frames * self.speed))


def draw_change(config: Augment, generator: torch.Generator) -> Change:
    """A change within the limits. Always draws as many numbers, whatever comes of them."""
    chances = torch.rand(3, generator=generator).tolist()
    evenly = (torch.rand(4 + EQ_POINTS, generator=generator) * 2 - 1).tolist()
    return Change(
        semitones=evenly[0] * config.pitch_semitones if chances[0] < config.chance else 0.0,
        speed=1 + evenly[1] * config.speed if chances[1] < config.chance else 1.0,
        gain_db=evenly[2] * config.gain_db,
        side_db=evenly[3] * config.side_db,
        eq_db=tuple(each * config.eq_db for each in evenly[4:]),
        swap=chances[2] < config.swap,
    )


def augmented(stretch: Tensor, change: Change, frames: int, config: MelConfig) -> Tensor:
    """A log-mel stretch of about `change.frames_read(frames)` frames, changed, as `frames` frames.

    stretch: (channels, n) natural log. Returns (channels, frames), not below log(floor); what
    is silent stays silent.
    """
    mel = pitched(stretched(stretch, frames), change.semitones, config)
    sides = mel.unflatten(0, (config.sides, config.bands))
    floor = math.log(config.floor)
    silence = floor + SILENCE
    if change.swap and float(sides[-1].max()) > silence:  # mono has nothing to swap with
        sides = sides.flip(0)
    level = change.gain_db + curve(change.eq_db, config.bands)[:, None]
    levels = torch.stack((level, level + change.side_db)[: config.sides])
    louder = (sides + levels * NEPERS_A_DB).masked_fill(sides <= silence, floor)
    return louder.clamp(min=floor).flatten(0, 1)


def stretched(mel: Tensor, frames: int) -> Tensor:
    """(channels, n) read at `frames` moments evenly from its first frame to its last."""
    if mel.shape[1] == frames:
        return mel
    return _read_at(mel, torch.linspace(0, mel.shape[1] - 1, frames))


def pitched(mel: Tensor, semitones: float, config: MelConfig) -> Tensor:
    """(channels, frames) with everything `semitones` higher; the outermost bands are held.

    Every band reads the band whose frequency is that much lower, on the scale of `mel.py`.
    """
    if semitones == 0:
        return mel
    ends = hz_to_mel(torch.tensor([config.fmin_hz, config.fmax_hz], dtype=torch.float64))
    step = (ends[1] - ends[0]) / (config.bands + 1)
    read = hz_to_mel(centres_hz(config) / 2 ** (semitones / 12))
    positions = ((read - ends[0]) / step - 1).clamp(0, config.bands - 1)
    sides = mel.unflatten(0, (config.sides, config.bands)).transpose(1, 2)
    return _read_at(sides, positions.float()).transpose(1, 2).flatten(0, 1)


@lru_cache(maxsize=8)
def centres_hz(config: MelConfig) -> Tensor:
    """(bands,) float64: where the filters of `mel.filterbank` have their peaks."""
    ends = hz_to_mel(torch.tensor([config.fmin_hz, config.fmax_hz], dtype=torch.float64))
    return mel_to_hz(torch.linspace(ends[0], ends[1], config.bands + 2, dtype=torch.float64))[1:-1]


def curve(points: tuple[float, ...], bands: int) -> Tensor:
    """(bands,): through evenly spread points, without a corner and never beyond them."""
    values = torch.tensor(points)
    at = torch.linspace(0, len(points) - 1, bands)
    low = at.floor().long().clamp(max=len(points) - 2)
    smooth = (1 - torch.cos((at - low) * math.pi)) / 2
    return values[low] * (1 - smooth) + values[low + 1] * smooth


def _read_at(mel: Tensor, positions: Tensor) -> Tensor:
    """(..., n) at fractional positions along the last axis, by cubic (Catmull-Rom) interpolation.

    A line through two neighbours would smooth noise away halfway between frames.
    """
    last = mel.shape[-1] - 1
    low = positions.floor().long().clamp(max=max(last - 1, 0))
    x = positions - low
    weights = (
        ((2 - x) * x - 1) * x / 2,
        ((3 * x - 5) * x * x + 2) / 2,
        ((4 - 3 * x) * x + 1) * x / 2,
        (x - 1) * x * x / 2,
    )
    read = torch.zeros(*mel.shape[:-1], len(positions))
    for offset, weight in enumerate(weights, start=-1):
        read += mel.index_select(-1, (low + offset).clamp(0, last)) * weight
    return read
