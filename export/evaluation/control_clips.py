"""Clips for the evaluation of the controls: by the product, by plain DITTO, by simpler means.

Each is a WAV file with a sheet (JSON) of what the figures need to know beside it. One that is
there and was made of the same weights for the same target is not made again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from segue.export.evaluation import baselines
from segue.export.evaluation.control_sheet import Sheet
from segue.export.evaluation.control_targets import Target, nothing
from segue.export.evaluation.laid_out import Laid
from segue.export.evaluation.real_audio import Stretch
from segue.presets.controls import Text
from segue.presets.vocabulary import Region, Request, Settings
from segue.server.audio_file import Waveform, write_wav
from segue.server.ditto.controls import text
from segue.server.ditto.network import Network
from segue.server.ditto.search_network import SearchNetwork
from segue.server.ditto.weights import load_generator, sha256
from segue.server.engine import Engine

LAYOUT = "2"  # of a sheet; a new one makes old clips useless
DITTO_STEPS = 20
DITTO_RATE = 0.005
NAMED = 0.5  # weight on a tag's axis from which a text counts as naming it
TAGS_GUIDANCE = 3.0
OPTIMIZED = ("ours", "ours and tags", "DITTO")
SHIPPED = "as shipped"
BY_BASE = ("DITTO", "re-noising")  # the others are the student's


@dataclass(frozen=True, kw_only=True)
class Maker:
    """An engine and the digest of its weights."""

    engine: Engine
    weights: str


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
    """Makes clips under `folder`. `base` has our base weights; without it there is no DITTO.

    With `compiled`, as by a server that had time to (see `SearchNetwork.compile`).
    """

    ours: Maker
    base: Maker | None
    folder: Path
    seed: int
    compiled: bool = False

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
            network = network.to(device)
            search = SearchNetwork(network) if engine.search else None
            twin = replace(engine, network=network, search=search, scale=scale.to(device))
            plain = Maker(engine=twin, weights=f"{sha256(path)} {decoder}")
        polish = sha256(model / "base.safetensors") if engine.base else ""
        ours = Maker(engine=engine, weights=f"{student} {decoder} {polish}")
        return cls(ours=ours, base=plain, folder=folder, seed=seed)

    def wav(self, task: str, method: str, number: int) -> Path:
        """Where a clip lies; its sheet has the suffix .json."""
        return self.folder / f"{task}-{method}" / f"{number:04d}.wav"

    def key(self, method: str, target: Target, settings: Settings) -> str:
        """All that a clip depends on but the code."""
        weights = self.maker(method).weights
        text = f"{LAYOUT} {method} {target} {settings} {self.seed} {weights}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def maker(self, method: str) -> Maker:
        """Whose weights a method uses."""
        return self.base if self.base is not None and method in BY_BASE else self.ours

    def found(self, task: str, method: str, target: Target, settings: Settings) -> Sheet | None:
        """The sheet of a clip that is there and is still what would be made."""
        path = self.wav(task, method, target.number)
        sheet = Sheet.read(path.with_suffix(".json"))
        same = sheet is not None and sheet.key == self.key(method, target, settings)
        return sheet if same and path.is_file() else None

    def make(self, task: str, method: str, target: Target, settings: Settings) -> Sheet:
        """Make a clip if it is not there."""
        known = self.found(task, method, target, settings)
        if known is not None:
            return known
        path = self.wav(task, method, target.number)
        path.parent.mkdir(parents=True, exist_ok=True)
        search = self.maker(method).engine.search
        if self.compiled and search is not None:
            search.compile()
        made = METHODS[method](self, target, settings, path)
        sheet = made.model_copy(update={"key": self.key(method, target, settings)})
        sheet.write(path.with_suffix(".json"))
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
    base = Listening(engine.base) if engine.base else None
    result = replace(engine, network=heard, base=base).run(request, path, lambda progress: None)
    laid = Laid.of(request, engine)
    said = base.said if base and base.said.numel() else heard.said
    audio = engine.decode(engine.scale.restore(said[0])) if request.region else None
    error = laid.error(audio, engine) if audio is not None else None
    return Sheet.of(laid, result.taken_seconds, engine, error)


def ours(studio: Studio, target: Target, settings: Settings, path: Path) -> Sheet:
    """What a producer gets."""
    return _product(studio.ours, studio.request(target, settings), path)


def shipped(studio: Studio, target: Target, settings: Settings, path: Path) -> Sheet:
    """What a producer gets who names no K."""
    return ours(studio, target, settings.model_copy(update={"iterations": None}), path)


def named(studio: Studio, target: Target, settings: Settings, path: Path) -> Sheet:
    """Made under the tags that the text names, which the model was trained with."""
    (asked,) = (text.weights(each.text) for each in target.controls if isinstance(each, Text))
    known = studio.ours.engine.network.config.tags
    tags = tuple(tag for tag in known if asked.get(tag, 0.0) >= NAMED)
    changes = {"tags": tags, "guidance": TAGS_GUIDANCE}
    return ours(studio, target, settings.model_copy(update=changes), path)


def tagged(studio: Studio, target: Target, settings: Settings, path: Path) -> Sheet:
    """Under the tags alone, not optimized."""
    return named(studio, target, settings.model_copy(update={"iterations": 1}), path)


def plain_ditto() -> dict[str, Any]:
    """The settings that make the product's search plain DITTO's."""
    return {
        "surrogate": "full",
        "decode_steps": DITTO_STEPS,
        "gamma": 0.0,
        "space": "elements",
        "learning_rate": DITTO_RATE,
        "polish": 0,
    }


def ditto(studio: Studio, target: Target, settings: Settings, path: Path) -> Sheet:
    """Plain DITTO on our base weights: backpropagation through all the steps it decodes with."""
    assert studio.base is not None, "the caller leaves DITTO out"
    request = studio.request(target, settings.model_copy(update=plain_ditto()))
    return _product(studio.base, request, path)


def crossfaded(studio: Studio, target: Target, settings: Settings, path: Path) -> Sheet:
    """An unrelated sample faded in and out at equal power, for as long as the product fades."""
    sample, made = studio.sample(target.number)
    engine = studio.ours.engine
    started = time.monotonic()
    laid = Laid.of(studio.request(target, settings), engine)
    write_wav(path, baselines.crossfade(laid, sample))
    seconds = made.seconds + time.monotonic() - started
    return Sheet.of(laid, seconds, engine, laid.error(sample, engine))


def renoised(studio: Studio, target: Target, settings: Settings, path: Path) -> Sheet:
    """Masked re-noising with our base weights (or the student's)."""
    engine = studio.maker("re-noising").engine
    started = time.monotonic()
    laid = Laid.of(studio.request(target, settings), engine)
    generator = torch.Generator().manual_seed(studio.seed + target.number)
    clip, audio = baselines.renoise(laid, engine, settings, generator)
    write_wav(path, clip)
    return Sheet.of(laid, time.monotonic() - started, engine, laid.error(audio, engine))


def original(studio: Studio, target: Target, settings: Settings, path: Path) -> Sheet:
    """What the track itself goes on with."""
    assert target.stretch is not None, "there is none of music out of nothing"
    engine = studio.ours.engine
    laid = Laid.of(studio.request(target, settings), engine)
    write_wav(path, baselines.continued(laid, engine, target.stretch))
    return Sheet.of(laid, 0.0, engine, None)


UNCONTROLLED = Settings(iterations=1, polish=0)
METHODS: Mapping[str, Callable[[Studio, Target, Settings, Path], Sheet]] = {
    "uncontrolled": ours,
    "ours": ours,
    "tags": tagged,
    SHIPPED: shipped,
    "ours and tags": named,
    "DITTO": ditto,
    "crossfade": crossfaded,
    "re-noising": renoised,
    "original": original,
}
