"""What a request's features ask of one gap: targets at frame rate, and losses to add up."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import soxr
import torch
from torch import Tensor

from segue.presets.controls import FEATURES, Intensity, Melody, Structure, Text, Wish
from segue.presets.vocabulary import Code, Request, SegueError
from segue.server.audio_file import Waveform, read_region
from segue.server.clip import Clip, Gap, seconds
from segue.server.ditto.clap import ClapBackend
from segue.server.ditto.controls import intensity, melody, structure, text
from segue.server.ditto.mel import MelConfig, log_mel

NO_REGION_DB = -20.0  # what curves are drawn around where there is no music to compare with
SOFTEST_DB = -60.0  # a region below it counts as silence
SHARE_DB = 15.0  # half of what a curve from 0 to 1 spans

# Losses at which a control is met: what a search gains beyond them, it pays for in time and in
# the other controls.
ENOUGH = {
    "intensity": 0.5,  # dB^2; the mel's own estimate of a level is off by about as much
    "melody": 0.0,  # a frame at a time instead
    "structure": 0.0,  # the audio still gains when the mel hardly does
    "text": 1 - text.ENOUGH,
}
# What of them may be left where polish leads the clip on: from there a search pays in sound for
# what it gains.
NEAR = {"intensity": 1.0, "melody": 0.15, "structure": 0.0003, "text": 0.0}
CLEAR_NATS = math.log(2)  # of a melody's frame: its class as likely as all others together

Loss = Callable[[Tensor], Tensor]  # of a mel (batch, channels, frames), natural log: (batch,)
Losses = Callable[[slice, torch.device], Loss]  # of those of the gap's frames, there


@dataclass(frozen=True, kw_only=True)
class Term:
    """One feature's losses of a gap; up to `enough` it counts as met, and with `near` more as near
    enough to polish.

    `curve` is the level that it asks for in dB, (frames,), NaN where it asks for none.
    """

    kind: str
    weight: float
    enough: float
    near: float
    losses: Losses
    curve: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A gap, its length in frames, and the level of the music beside it (None: there is none)."""

    request: Request
    clip: Clip
    gap: Gap
    frames: int
    level_db: float | None
    mel: MelConfig
    clap: ClapBackend | None = None

    @property
    def _span_seconds(self) -> float:
        first, last = self.clip.span
        return (last - first) / self.clip.wave.sample_rate

    @property
    def span_frames(self) -> int:
        """Frames of all the new music, of which this gap may be a part."""
        return max(self.frames, round(self._span_seconds * self.mel.sample_rate / self.mel.hop))

    @property
    def part(self) -> slice:
        """This gap's frames among those of all the new music."""
        behind = (self.gap.start - self.clip.span[0]) / self.clip.wave.sample_rate
        first = round(behind * self.mel.sample_rate / self.mel.hop)
        first = min(first, self.span_frames - self.frames)
        return slice(first, first + self.frames)

    def seconds(self, feature: Wish, values: list[float]) -> list[float]:
        """A feature's times in seconds from the beginning of the new music."""
        rate = self.clip.wave.sample_rate
        origin = (self.clip.span[0] - self.clip.offset_samples) / rate
        return seconds(values, feature.unit, self.request.tempo, origin, self._span_seconds)

    def window(self, feature: Wish) -> dict[str, float]:
        """Where a feature holds, as the targets' functions take it. Raises SegueError: nowhere."""
        (start,) = self.seconds(feature, [feature.start])
        stop = self._span_seconds
        if feature.length is not None:
            (stop,) = self.seconds(feature, [feature.start + feature.length])
        if start >= self._span_seconds:
            text = f"the {feature.kind} begins at {start:.2f} s, and there are only"
            text = f"{text} {self._span_seconds:.2f} s of new music: start it earlier"
            raise SegueError(Code.BAD_REQUEST, text)
        return {"start_seconds": start, "length_seconds": stop - start}

    def held(self, feature: Wish) -> slice:
        """The frames of all the new music where it holds. Raises SegueError as `window`."""
        where, per_second = self.window(feature), self.mel.sample_rate / self.mel.hop
        first = round(where["start_seconds"] * per_second)
        length = math.ceil(where["length_seconds"] * per_second)
        return slice(first, min(first + length, self.span_frames))


def terms(scene: Scene) -> tuple[Term, ...]:
    """All features of the request. Raises SegueError for a target that does not fit the clip."""
    features = [c for c in scene.request.controls if isinstance(c, FEATURES)]
    found = []
    for feature in features:
        losses = _LOSSES[type(feature)](feature, scene)
        weight = feature.weight or default_weight(feature, features)
        own = isinstance(feature, Text) and scene.clap is not None  # on another scale
        enough = 0.0 if own else ENOUGH[feature.kind]
        curve = _curve(feature, scene) if isinstance(feature, Intensity) else None
        found.append(
            Term(
                kind=feature.kind,
                weight=weight,
                enough=enough,
                near=NEAR[feature.kind],
                losses=losses,
                curve=curve,
            )
        )
    return tuple(found)


def default_weight(feature: Wish, features: list[Wish]) -> float:
    """The paper's lambdas (DITTO, appendix H): only intensity's differs from 1."""
    if not isinstance(feature, Intensity):
        return 1.0
    return 1 / 4 if any(isinstance(f, Melody) for f in features) else 1 / 40


def notes(request: Request, clap: ClapBackend | None = None) -> tuple[str, ...]:
    """What can't be done as asked: controls of one kind at once, words that are not known."""
    features = [c for c in request.controls if isinstance(c, FEATURES)]
    kinds = [feature.kind for feature in features]
    found = [
        f"{kinds.count(kind)} controls of kind {kind}: where they overlap, the clip is a compromise"
        for kind in sorted(set(kinds))
        if kinds.count(kind) > 1
    ]
    unknown = [word for f in features if isinstance(f, Text) for word in text.read(f.text).unknown]
    if unknown and clap is None:
        found.append(f"words without a meaning here: {', '.join(unknown)}")
    return tuple(found)


def _of_frames(wanted: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> Losses:
    """Losses against a target with a value a frame of the gap, (frames,)."""

    def losses(made: slice, device: torch.device) -> Loss:
        there = wanted[made].to(device)
        return lambda mel: loss(mel, there)

    return losses


def _intensity(control: Intensity, scene: Scene) -> Losses:
    wanted = _curve(control, scene)
    return _of_frames(wanted, lambda mel, there: intensity.loss(mel, there, scene.mel))


def _curve(control: Intensity, scene: Scene) -> Tensor:
    """The level it asks of the gap's frames in dB: (frames,), NaN where none.

    Beside music that is loud or soft already it ends at the loudest and softest there are.
    """
    times = scene.seconds(control, [time for time, _ in control.points])
    middle = NO_REGION_DB if scene.level_db is None else max(scene.level_db, SOFTEST_DB)
    to_db = {
        "dbfs": lambda level: level,
        "db": lambda level: middle + level,
        "share": lambda level: middle + (2 * level - 1) * SHARE_DB,
    }[control.scale]
    low, high = intensity.RANGE_DB
    points = [
        (time, min(max(to_db(level), low), high))
        for time, (_, level) in zip(times, control.points, strict=True)
    ]
    wanted = intensity.target(points, scene.span_frames, scene.mel, **scene.window(control))
    return wanted[scene.part]


def _melody(control: Melody, scene: Scene) -> Losses:
    where = scene.window(control)
    if control.audio is not None:
        wanted = _sung(read_region(control.audio), scene, where)
    else:
        ends = [e for note in control.notes for e in (note.start, note.start + note.length)]
        ends = scene.seconds(control, ends)
        notes = [
            (start, stop - start, note.pitch)
            for start, stop, note in zip(ends[::2], ends[1::2], control.notes, strict=True)
        ]
        wanted = melody.target(notes, scene.span_frames, scene.mel, **where)
    wanted = wanted[scene.part]
    return _of_frames(wanted, lambda mel, there: melody.loss(mel, there, scene.mel, CLEAR_NATS))


def _sung(wave: Waveform, scene: Scene, where: dict[str, float]) -> Tensor:
    """The pitch classes of a recorded line, from where the control begins on."""
    per_second = scene.mel.sample_rate / scene.mel.hop
    start, length = (round(where[f"{name}_seconds"] * per_second) for name in ("start", "length"))
    length = min(length, scene.span_frames - start)
    line = melody.target_from_audio(wave.samples, wave.sample_rate, length, scene.mel)
    wanted = line.new_full((scene.span_frames,), -1)
    wanted[start : start + len(line)] = line[:length]
    return wanted


def _structure(control: Structure, scene: Scene) -> Losses:
    where = scene.window(control)
    if control.like is not None:
        plan = structure.transfer(_mel(read_region(control.like), scene.mel), scene.mel)
        return _like(plan, scene, scene.held(control))
    assert control.sections is not None, "the vocabulary asks for one"
    lengths = None
    if control.lengths:
        edges = np.cumsum([control.start, *control.lengths]).tolist()
        lengths = np.diff(scene.seconds(control, edges)).tolist()
    wanted = structure.target(
        control.sections, scene.span_frames, scene.mel, lengths_seconds=lengths, **where
    )[scene.part]
    return _of_frames(wanted, lambda mel, there: structure.loss(mel, there, scene.mel))


def _like(plan: Tensor, scene: Scene, held: slice) -> Losses:
    """As similar to itself as another region is, cell by cell, over the frames held."""
    matrix = structure.stretched(plan, structure.cells(held.stop - held.start, scene.mel))
    first = scene.part.start - held.start

    def losses(made: slice, device: torch.device) -> Loss:
        frames = slice(first + made.start, first + made.stop)
        wanted = structure.part(matrix, frames, scene.mel).to(device)
        return lambda mel: structure.loss(mel, wanted, scene.mel)

    return losses


def _text(control: Text, scene: Scene) -> Losses:
    wanted = text.target(control.text, scene.clap)
    per_second = scene.mel.sample_rate / scene.mel.hop
    where = scene.window(control)
    first = round(where["start_seconds"] * per_second) - scene.part.start
    last = first + round(where["length_seconds"] * per_second)

    def losses(made: slice, device: torch.device) -> Loss:
        there, held = wanted.to(device), slice(*(max(0, at - made.start) for at in (first, last)))
        if min(held.stop, made.stop - made.start) - held.start < 2:
            return lambda mel: 0 * mel.sum(dim=(-2, -1))
        return lambda mel: text.loss(mel[..., held], there, scene.mel, scene.clap)

    return losses


def _mel(wave: Waveform, config: MelConfig) -> Tensor:
    """(channels, frames) natural-log mel of a region."""
    audio = soxr.resample(wave.samples, wave.sample_rate, config.sample_rate)
    stereo = np.broadcast_to(audio, (len(audio), 2)) if audio.shape[1] == 1 else audio
    return log_mel(torch.from_numpy(np.ascontiguousarray(stereo.T, dtype=np.float32)), config)


_LOSSES: dict[type, Callable[..., Losses]] = {
    Intensity: _intensity,
    Melody: _melody,
    Structure: _structure,
    Text: _text,
}
