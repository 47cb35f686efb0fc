"""Clips for the evaluation of the controls: by the product, by plain DITTO, by simpler means.

Each is a WAV file with a sheet (JSON) of what the figures need to know beside it. One that is
there and was made of the same weights for the same target is not made again.
"""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile
import torch
from pydantic import ValidationError
from torch import Tensor

from segue.export.evaluation.control_targets import Target, nothing
from segue.export.evaluation.real_audio import Stretch
from segue.presets.vocabulary import Region, Request, Settings, Word
from segue.server import seam
from segue.server.audio_file import Waveform, read_region, write_wav
from segue.server.clip import Clip, Gap, lay_out
from segue.server.ditto.canvas import Canvas
from segue.server.ditto.ctm import Denoiser, jump
from segue.server.ditto.mel import log_mel
from segue.server.ditto.network import Network
from segue.server.ditto.schedule import Schedule, add_noise, grid
from segue.server.ditto.weights import load_generator, sha256
from segue.server.engine import Engine
from segue.server.framing import Frames, audio_of, canvas_of

LAYOUT = "1"  # of a sheet; a new one makes old clips useless
RENOISING_STEPS = 20
DITTO_STEPS = 20
DITTO_RATE = 0.005


class Sheet(Word):
    """What is known of a clip. `first` and `last` bound its new samples, known ones lie outside.

    `seams` are the samples where one side meets the other; the one at the end of a loop is its
    length. `overlap_error`: mean squared difference, in deviations of a band, of what was made
    over the known frames from them, both as the log-mel of audio. `seconds` it took on `machine`.
    """

    key: str
    first: int
    last: int
    seams: tuple[int, ...]
    seconds: float
    machine: str
    overlap_error: float | None = None


@dataclass(frozen=True, kw_only=True)
class Maker:
    """An engine and the digest of its weights."""

    engine: Engine
    weights: str


@dataclass(frozen=True, kw_only=True)
class Laid:
    """A request laid out: its only gap, and the canvas that one window fills."""

    clip: Clip
    gap: Gap
    frames: Frames
    canvas: Canvas

    @classmethod
    def of(cls, request: Request, engine: Engine) -> Laid:
        """Raises ValueError when the music does not fit one window."""
        clip = lay_out(request, read_region(request.region) if request.region else None)
        (gap,) = clip.gaps
        overlap = getattr(request.place, "overlap_seconds", 1.0)
        window = engine.network.config.frames
        frames = Frames.of(gap, clip.wave.sample_rate, overlap, window, engine.mel)
        canvas = canvas_of(clip, gap, frames, engine.mel, engine.scale, 1)
        if canvas.frames > window:
            raise ValueError(f"{canvas.frames} frames do not fit a window of {window}")
        return cls(clip=clip, gap=gap, frames=frames, canvas=canvas)

    @property
    def lead(self) -> int:
        """Samples of what is made before the gap."""
        return round(self.frames.head * self.frames.samples)

    @property
    def seams(self) -> tuple[int, ...]:
        """See `Sheet`."""
        both = ((self.gap.left, self.gap.start), (self.gap.right, self.gap.stop))
        return tuple(place for known, place in both if known)

    def error(self, audio: np.ndarray, engine: Engine) -> float | None:
        """How far (samples, 2) of audio from the canvas's start on is from the known frames.

        None when nothing is known; frames that the audio does not reach are not compared.
        """
        target, pinned = self.canvas.cut(0, engine.network.config.frames)
        stereo = torch.from_numpy(np.ascontiguousarray(audio.T, dtype=np.float32))
        heard = engine.scale.normalise(log_mel(stereo, engine.mel).to(target.device))
        pinned = pinned[: heard.shape[-1]]
        if not pinned.any():
            return None
        squares = (heard[:, : len(pinned)] - target[0, :, : len(pinned)])[:, pinned] ** 2
        return float(squares.mean())

    def patched(self, patch: np.ndarray, fade: int) -> Waveform:
        """The clip with `patch` in it from `fade` samples before the gap on, round its end."""
        samples = self.clip.wave.samples.copy()
        start = self.gap.start - fade
        samples[np.arange(start, start + len(patch)) % len(samples)] = patch
        return replace(self.clip.wave, samples=samples)


class Listening:
    """A network that keeps the last thing it said: the x_0 a clip was made of."""

    def __init__(self, network: Network) -> None:
        self.network, self.config = network, network.config
        self.said = torch.empty(0)

    def __call__(
        self, x_t: Tensor, t: Tensor, tags: Tensor | None = None, w: Tensor | None = None
    ) -> Tensor:
        """The network's answer."""
        D_x = self.network(x_t, t, tags, w)
        self.said = D_x.detach()
        return D_x


@dataclass(frozen=True, kw_only=True)
class Studio:
    """Makes clips under `folder`. `base` has our base weights; without it there is no DITTO."""

    ours: Maker
    base: Maker | None
    folder: Path
    seed: int

    @classmethod
    def of(cls, engine: Engine, model: Path, base: Path | None, folder: Path, seed: int) -> Studio:
        """For the model of a folder. `base` are other base weights than its own.

        Raises SegueError when weights can't be used; without any for the base it has none.
        """
        decoder = sha256(model / "decoder.onnx")
        student = sha256(model / "generator.safetensors")
        path = base or model / "base.safetensors"
        plain = None
        if path.is_file():
            network, scale = load_generator(path)
            device = engine.torch_device
            twin = replace(engine, network=network.to(device), scale=scale.to(device))
            plain = Maker(engine=twin, weights=f"{sha256(path)} {decoder}")
        ours = Maker(engine=engine, weights=f"{student} {decoder}")
        return cls(ours=ours, base=plain, folder=folder, seed=seed)

    def wav(self, task: str, method: str, number: int) -> Path:
        """Where a clip lies; its sheet has the suffix .json."""
        return self.folder / f"{task}-{method}" / f"{number:04d}.wav"

    def key(self, method: str, target: Target, settings: Settings) -> str:
        """All that a clip depends on but the code."""
        weights = [maker.weights for maker in (self.ours, self.base) if maker is not None]
        text = f"{LAYOUT} {method} {target} {settings} {self.seed} {weights}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def found(self, task: str, method: str, target: Target, settings: Settings) -> Sheet | None:
        """The sheet of a clip that is there and is still what would be made."""
        path = self.wav(task, method, target.number)
        try:
            sheet = Sheet.model_validate_json(path.with_suffix(".json").read_text("utf-8"))
        except (OSError, ValidationError):
            return None
        same = sheet.key == self.key(method, target, settings)
        return sheet if same and path.is_file() else None

    def make(self, task: str, method: str, target: Target, settings: Settings) -> Sheet:
        """Make a clip if it is not there."""
        known = self.found(task, method, target, settings)
        if known is not None:
            return known
        path = self.wav(task, method, target.number)
        path.parent.mkdir(parents=True, exist_ok=True)
        made = METHODS[method](self, target, settings, path)
        sheet = made.model_copy(update={"key": self.key(method, target, settings)})
        partial = path.with_suffix(".partial")
        partial.write_text(sheet.model_dump_json(indent=1) + "\n", encoding="utf-8")
        partial.replace(path.with_suffix(".json"))
        return sheet

    def request(self, target: Target, settings: Settings) -> Request:
        """The request of a target; its region is written to a file of its own."""
        region = None
        if target.stretch is not None:
            path = self._region(target.stretch, target.region_seconds)
            region = Region(path=str(path), start_seconds=0, length_seconds=target.region_seconds)
        return Request(
            id=f"target-{target.number}",
            region=region,
            new_seconds=target.new_seconds,
            seed=self.seed + target.number,
            controls=target.controls,
            settings=settings,
        )

    def sample(self, number: int) -> tuple[np.ndarray, Sheet]:
        """The uncontrolled clip of that number, (samples, 2), made if it is not there."""
        sheet = self.make("uncontrolled", "uncontrolled", nothing(number), UNCONTROLLED)
        path = self.wav("uncontrolled", "uncontrolled", number)
        return soundfile.read(path, dtype="float64", always_2d=True)[0], sheet

    def _region(self, stretch: Stretch, seconds: float) -> Path:
        name = hashlib.sha256(f"{stretch} {seconds}".encode()).hexdigest()[:16]
        path = self.folder / "regions" / f"{name}.wav"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            mel = self.ours.engine.mel
            audio = stretch.read(mel).T.clamp(-1, 1).double().numpy()
            rate = mel.sample_rate
            write_wav(path.absolute(), Waveform(audio[: round(seconds * rate)], rate, "PCM_16"))
        return path.absolute()


def _product(maker: Maker, request: Request, path: Path) -> Sheet:
    engine, heard = maker.engine, Listening(maker.engine.network)
    result = replace(engine, network=heard).run(request, path, lambda progress: None)
    laid = Laid.of(request, engine)
    audio = engine.decode(engine.scale.restore(heard.said[0])) if request.region else None
    error = laid.error(audio, engine) if audio is not None else None
    return _sheet(laid, result.taken_seconds, engine, error)


def _sheet(laid: Laid, seconds: float, engine: Engine, error: float | None) -> Sheet:
    first, last = laid.clip.span
    return Sheet(
        key="",
        first=first,
        last=last,
        seams=laid.seams,
        seconds=seconds,
        machine=f"{engine.device}, {processor()}",
        overlap_error=error,
    )


def processor() -> str:
    """The name of the machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def ours(studio: Studio, target: Target, settings: Settings, path: Path) -> Sheet:
    """What a producer gets."""
    return _product(studio.ours, studio.request(target, settings), path)


def ditto(studio: Studio, target: Target, settings: Settings, path: Path) -> Sheet:
    """Plain DITTO on our base weights: backpropagation through all the steps it decodes with."""
    assert studio.base is not None, "the caller leaves DITTO out"
    plain = {
        "surrogate": "full",
        "decode_steps": DITTO_STEPS,
        "gamma": 0.0,
        "space": "elements",
        "learning_rate": DITTO_RATE,
    }
    request = studio.request(target, settings.model_copy(update=plain))
    return _product(studio.base, request, path)


def crossfaded(studio: Studio, target: Target, settings: Settings, path: Path) -> Sheet:
    """An unrelated sample faded in and out at equal power, for as long as the product fades."""
    sample, made = studio.sample(target.number)
    engine = studio.ours.engine
    started = time.monotonic()
    laid = Laid.of(studio.request(target, settings), engine)
    write_wav(path, crossfade(laid, sample))
    seconds = made.seconds + time.monotonic() - started
    return _sheet(laid, seconds, engine, laid.error(sample, engine))


def crossfade(laid: Laid, sample: np.ndarray) -> Waveform:
    """`sample` (samples, channels) lies over the canvas from its start on."""
    gap, fade = laid.gap, round(seam.FADE_SECONDS * laid.clip.wave.sample_rate)
    before, behind = fade * bool(gap.left), fade * bool(gap.right)
    first, new = laid.lead - before, gap.stop - gap.start
    patch = sample[first : first + before + new + behind].copy()
    rising = np.sin((np.arange(fade) + 0.5) / fade * np.pi / 2)[:, None]
    if before:
        known = laid.clip.samples(gap.start - fade, gap.start)
        patch[:fade] = rising[::-1] * known + rising * patch[:fade]
    if behind:
        known = laid.clip.samples(gap.stop, gap.stop + fade)
        patch[-fade:] = rising[::-1] * patch[-fade:] + rising * known
    return laid.patched(patch, before)


def renoised_clip(studio: Studio, target: Target, settings: Settings, path: Path) -> Sheet:
    """Masked re-noising with our base weights (or the student's), the product's own seam."""
    engine = (studio.base or studio.ours).engine
    started = time.monotonic()
    laid = Laid.of(studio.request(target, settings), engine)
    known, pinned = laid.canvas.cut(0, engine.network.config.frames)
    x_0 = renoised(
        engine.denoiser(settings),
        engine.schedule,
        known,
        pinned,
        grid(engine.schedule, RENOISING_STEPS),
        torch.Generator().manual_seed(studio.seed + target.number),
    )
    laid.canvas.fill(x_0, 0)
    mel, wave, gap = engine.scale.restore(laid.canvas.mel[0]), laid.clip.wave, laid.gap
    audio = audio_of(mel, engine.decode, engine.mel, wave.sample_rate, wave.channels)
    before = laid.clip.samples(gap.start - round(laid.frames.left * laid.frames.samples), gap.start)
    behind = laid.clip.samples(gap.stop, gap.stop + round(laid.frames.right * laid.frames.samples))
    new = gap.stop - gap.start
    patch, fade = seam.fill(before, audio, behind, laid.lead, new, wave.sample_rate)
    write_wav(path, laid.patched(patch, fade))
    return _sheet(laid, time.monotonic() - started, engine, laid.error(audio, engine))


@torch.no_grad()
def renoised(
    denoiser: Denoiser,
    schedule: Schedule,
    known: Tensor,
    pinned: Tensor,
    ts: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Sample x_0 (batch, channels, frames), at every level the known frames noised in place.

    RePaint (arXiv 2201.09865) with deterministic steps and without going back. pinned: (frames,),
    where the result is exactly `known`.
    """

    def noise() -> Tensor:
        return torch.randn(known.shape, generator=generator).to(known.device)

    x_t = noise()
    for t, s in pairwise(ts.tolist()):
        x_t = torch.where(pinned, add_noise(schedule, known, noise(), t), x_t)
        x_t = jump(denoiser, schedule, x_t, t, s)
    return torch.where(pinned, known, x_t)


def original(studio: Studio, target: Target, settings: Settings, path: Path) -> Sheet:
    """What the track itself goes on with."""
    assert target.stretch is not None, "there is none of music out of nothing"
    engine = studio.ours.engine
    laid = Laid.of(studio.request(target, settings), engine)
    audio = target.stretch.read(engine.mel).T.double().numpy()
    patch = audio[laid.gap.start : laid.gap.stop]
    write_wav(path, laid.patched(patch, 0))
    return _sheet(laid, 0.0, engine, None)


UNCONTROLLED = Settings(iterations=1)
METHODS: Mapping[str, Callable[[Studio, Target, Settings, Path], Sheet]] = {
    "uncontrolled": ours,
    "ours": ours,
    "DITTO": ditto,
    "crossfade": crossfaded,
    "re-noising": renoised_clip,
    "original": original,
}
