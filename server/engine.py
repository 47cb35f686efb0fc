"""One request from audio file to audio file: the only way into the model."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segue.presets.controls import Intensity
from segue.presets.library import model_folder
from segue.presets.vocabulary import (
    Code,
    Preview,
    Progress,
    Region,
    Request,
    Result,
    SegueError,
    Settings,
    State,
)
from segue.server.audio_file import Waveform, cut_off_db, read_region, write_wav
from segue.server.clip import Clip, Gap, lay_out
from segue.server.clip_files import overlay_path, variation, write_all
from segue.server.ditto.canvas import Canvas
from segue.server.ditto.clap import ClapBackend
from segue.server.ditto.controls import intensity
from segue.server.ditto.ctm import Denoiser
from segue.server.ditto.decoder import Decoder
from segue.server.ditto.mel import MelConfig, MelScale
from segue.server.ditto.network import Network, conditioned
from segue.server.ditto.onnx_decoder import OnnxDecoder
from segue.server.ditto.optimize import OptStep
from segue.server.ditto.schedule import RectifiedFlow
from segue.server.ditto.search_network import SearchNetwork
from segue.server.ditto.weights import (
    check_decodable,
    check_manifest,
    load_decoder,
    load_generator,
)
from segue.server.framing import Frames, canvas_of
from segue.server.overlay import has_overlay, overlays
from segue.server.painter import Noise, Painter, best_that_differ
from segue.server.preview import Previews
from segue.server.render import Painted, Renderer
from segue.server.wanted import Scene, Term, notes, terms

OnProgress = Callable[[Progress], None]
OPTIMIZING_SHARE, DECODED_SHARE = 0.9, 0.98  # of the progress bar
OPTIMIZING_TIME = 0.8  # of the time given, the rest is for decoding and writing
MAX_SLOTS = 16


@dataclass(frozen=True)
class Searched:
    """A gap made, and the losses of each batch row."""

    made: Painted
    best: Tensor
    traces: list[tuple[float, ...]]


Show = Callable[[list[Painted]], Preview | None]  # what there is so far


@dataclass(frozen=True)
class Engine:
    """A loaded model. Not for two threads at once.

    `search` is the network as the search calls it; without one, `network` itself. `sketch` decodes
    roughly and at once, for previews.
    """

    model: str
    device: str
    torch_device: torch.device
    network: Network
    scale: MelScale
    decode: Callable[[Tensor], np.ndarray]
    search: SearchNetwork | None = None
    sketch: Callable[[Tensor], np.ndarray] | None = None
    mel: MelConfig = field(default_factory=MelConfig)
    schedule: RectifiedFlow = field(default_factory=RectifiedFlow)
    slots: OrderedDict[str, list[Tensor]] = field(default_factory=OrderedDict)
    clock: Callable[[], float] = time.monotonic
    clap: ClapBackend | None = None

    @classmethod
    def load(cls, model: str, clap: Path | None = None) -> Engine:
        """Load a shipped model by name, or one in a folder. Raises SegueError(NO_MODEL).

        `clap`: a folder with a CLAP that judges texts instead of the small model that ships.
        """
        folder = model_folder(model)
        check_manifest(folder)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        weights = folder / "generator.safetensors"
        network, scale = load_generator(weights)
        check_decodable(weights, network, MelConfig())
        network = network.to(device)
        return cls(
            model=model,
            device=device_name(device),
            torch_device=device,
            network=network,
            search=SearchNetwork(network),
            scale=scale.to(device),
            decode=OnnxDecoder(folder / "decoder.onnx"),
            sketch=_sketch(folder / "decoder.safetensors", device),
            clap=_clap(clap, folder / "decoder.safetensors", device) if clap else None,
        )

    def warm(self) -> None:
        """One short job for nobody: what only a first one pays for has then been paid."""
        rate = self.mel.sample_rate
        with TemporaryDirectory() as folder:
            source = Path(folder, "region.wav")
            write_wav(source, Waveform(np.zeros((rate, 2)), rate, "PCM_16"))
            region = Region(path=str(source), start_seconds=0, length_seconds=1)
            settings = Settings(iterations=1, previews=True)
            request = Request(id="warm", region=region, new_seconds=1, seed=0, settings=settings)
            self.run(request, Path(folder, "clip.wav"), lambda progress: None)

    def quicken(self) -> None:
        """Make later jobs faster, see `SearchNetwork.compile`; from any thread."""
        if self.search is not None:
            self.search.compile()

    def denoiser(self, settings: Settings, network: Network | None = None) -> Denoiser:
        """The network (or another one) under the tags and the guidance asked for.

        Raises SegueError for a tag that this model was not trained with.
        """
        known = self.network.config.tags
        for tag in settings.tags:
            if tag not in known:
                text = f"model {self.model} knows no tag {tag!r}; it knows: {', '.join(known)}"
                raise SegueError(Code.BAD_REQUEST, text if known else f"{text}none")
        on = torch.tensor([[float(tag in settings.tags) for tag in known]])
        w = torch.tensor([settings.guidance])
        on, w = on.to(self.torch_device), w.to(self.torch_device)
        return conditioned(network or self.network, on, w)

    def run(self, request: Request, out_path: Path, on_progress: OnProgress) -> Result:
        """Make the clip and write it to `out_path` (WAV, the region's rate and channels).

        `on_progress` hears of every iteration; what it raises ends the run with nothing left
        behind. Raises SegueError for anything the user can act on.
        """
        with closing(Previews(out_path, self.clock)) as previews:
            return self._run(request, out_path, on_progress, previews)

    def _run(
        self, request: Request, out_path: Path, on_progress: OnProgress, previews: Previews
    ) -> Result:
        started = self.clock()
        assert request.seed is not None, "the server draws the seed before the job is queued"
        region = read_region(request.region) if request.region else None
        clip = lay_out(request, region)
        start = request.region.start_seconds if request.region else 0.0
        start -= clip.offset_samples / clip.wave.sample_rate
        renderer = Renderer(
            clip=clip,
            decode=self.decode,
            scale=self.scale,
            mel=self.mel,
            carry=not any(isinstance(control, Intensity) for control in request.controls),
        )
        sketch = replace(renderer, decode=self.sketch or self.decode)

        def show(painted: list[Painted]) -> Preview | None:
            if not request.settings.previews:
                return None
            return previews.show(lambda: sketch.wave(painted, 0), start)

        searched = self.paint(request, clip, on_progress, started, show)
        decoding = Progress(
            id=request.id,
            fraction=OPTIMIZING_SHARE,
            stage=State.DECODING,
            preview=previews.latest,
        )
        on_progress(decoding)
        best = torch.stack([gap.best for gap in searched]).mean(0)
        painted = [gap.made for gap in searched]
        mels = torch.cat([each.canvas.mel for each in painted], dim=-1)
        rows = best_that_differ(best, mels, request.settings.keep)
        waves = [renderer.wave(painted, row) for row in rows]
        on_progress(decoding.model_copy(update={"fraction": DECODED_SHARE}))
        paths = [out_path, *(variation(out_path, i + 2) for i in range(len(rows) - 1))]
        files = dict(zip(paths, waves, strict=True))
        places = self._lay_over(request, clip, files, start)
        write_all(files)
        traces = [trace for gap in searched for trace in gap.traces]
        return Result(
            id=request.id,
            path=str(out_path),
            variations=tuple(map(str, paths[1:])),
            start_seconds=start,
            length_samples=len(clip.wave.samples),
            new_samples=clip.new_samples,
            sample_rate=clip.wave.sample_rate,
            channels=clip.wave.channels,
            seed=request.seed,
            loss_first=sum(trace[0] for trace in traces) / len(traces),
            loss_last=float(best[rows[0]]),
            notes=(*notes(request, self.clap), *_cut_off(waves)),
            taken_seconds=self.clock() - started,
            device=self.device,
            **places,
        )

    def _lay_over(
        self, request: Request, clip: Clip, files: dict[Path, Waveform], start: float
    ) -> dict[str, Any]:
        """Add the overlays, if they are asked for and there are any; the result's fields."""
        if not (request.settings.overlay and has_overlay(request.place)):
            return {}
        made, first = overlays(clip, list(files.values()))
        paths = [overlay_path(path) for path in files]
        files |= dict(zip(paths, made, strict=True))
        return {
            "overlay_path": str(paths[0]),
            "overlay_start_seconds": start + first / clip.wave.sample_rate,
            "variation_overlays": tuple(map(str, paths[1:])),
        }

    def paint(
        self, request: Request, clip: Clip, on_progress: OnProgress, started: float, show: Show
    ) -> list[Searched]:
        """Fill every gap, window by window."""
        settings, frames = request.settings, self.network.config.frames
        canvases = [self._canvas(request, clip, gap) for gap in clip.gaps]
        overlap = self._overlap(request)
        total = sum(len(canvas.starts(frames, overlap)) for _, canvas, _ in canvases)
        seeds = range(request.seed or 0, (request.seed or 0) + settings.seeds)
        painter = Painter(
            denoiser=self.denoiser(settings),
            search=self.denoiser(settings, self.search),
            schedule=self.schedule,
            scale=self.scale,
            settings=settings,
            place=request.place,
            noise=Noise.of(seeds, (self.mel.channels, frames), self.torch_device),
            warm=self.slots.get(settings.slot or "", []),
        )
        done, searched = 0, list[Searched]()

        def shown(gap: Gap, counted: Frames, canvas: Canvas, start: int) -> Preview | None:
            if not painter.heard.numel():
                return None
            drawn = replace(canvas, mel=canvas.drawn(painter.heard, start))
            return show([*(each.made for each in searched), Painted(gap, counted, drawn)])

        for gap, (counted, canvas, wanted) in zip(clip.gaps, canvases, strict=True):
            best, traces = torch.zeros(settings.seeds), []
            starts = canvas.starts(frames, overlap)
            for start in starts:
                due = self._due(settings, started, done + 1, total)
                look = partial(shown, gap, counted, canvas, start)
                report = _reporter(request.id, done, total, on_progress, look)
                optimized = painter.window(canvas, start, wanted, due, report)
                best = best + optimized.best.cpu() / len(starts)
                traces.append(optimized.losses)
                done += 1
            searched.append(Searched(Painted(gap, counted, canvas), best, traces))
        self._remember(settings.slot, painter.found)
        return searched

    def _canvas(
        self, request: Request, clip: Clip, gap: Gap
    ) -> tuple[Frames, Canvas, tuple[Term, ...]]:
        window, rate = self.network.config.frames, clip.wave.sample_rate
        overlap_seconds = getattr(request.place, "overlap_seconds", 1.0)
        frames = Frames.of(gap, rate, overlap_seconds, window, self.mel)
        canvas = canvas_of(clip, gap, frames, self.mel, self.scale, request.settings.seeds)
        scene = Scene(
            request=request,
            clip=clip,
            gap=gap,
            frames=frames.new,
            level_db=self._level(canvas),
            mel=self.mel,
            clap=self.clap,
        )
        return frames, canvas, terms(scene)

    def _overlap(self, request: Request) -> int:
        return self.mel.frames(getattr(request.place, "overlap_seconds", 1.0))

    def _level(self, canvas: Canvas) -> float | None:
        """Mean level of the known frames."""
        if not canvas.pinned.any():
            return None
        known = self.scale.restore(canvas.mel[:1, :, canvas.pinned])
        return float(intensity.feature(known, self.mel).mean())

    def _due(
        self, settings: Settings, started: float, window: int, windows: int
    ) -> Callable[[], bool]:
        """Whether a window's share of the time is up."""
        if settings.within_seconds is None:
            return lambda: False
        until = started + settings.within_seconds * OPTIMIZING_TIME * window / windows
        return lambda: self.clock() >= until

    def _remember(self, slot: str | None, found: list[Tensor]) -> None:
        if slot is not None:
            self.slots[slot] = found
            self.slots.move_to_end(slot)
            while len(self.slots) > MAX_SLOTS:
                self.slots.popitem(last=False)


def _cut_off(waves: list[Waveform]) -> tuple[str, ...]:
    """What to do about clips that are louder than their format can say."""
    over = max(map(cut_off_db, waves))
    if over <= 0:
        return ()
    text = f"the clip is {over:.1f} dB louder than its file can hold, and cut off there"
    return (f"{text}: export the region softer, or as 32-bit float",)


def _sketch(decoder: Path, device: torch.device) -> Callable[[Tensor], np.ndarray] | None:
    """The decoder's network without Griffin-Lim, where the model has it in torch.

    It is loaded when the first preview is asked for.
    """
    if not decoder.is_file():
        return None

    @cache
    def network() -> Decoder:
        loaded = load_decoder(decoder).to(device).requires_grad_(False)
        loaded.config = replace(loaded.config, griffin_lim=0)
        return loaded

    @torch.no_grad()
    def decode(mel: Tensor) -> np.ndarray:
        stereo: np.ndarray = network()(mel[None])[0].T.cpu().numpy()
        return stereo

    return decode


def _clap(folder: Path, decoder: Path, device: torch.device) -> ClapBackend:
    """A CLAP that hears mels through the model's own decoder, which must be there in torch."""
    if not decoder.is_file():
        text = f"a CLAP hears audio, and there is no {decoder} to make it with in torch"
        raise SegueError(Code.NO_MODEL, f"{text}: export the model with its decoder")
    twin = load_decoder(decoder).to(device).requires_grad_(False)
    return ClapBackend.load(folder, twin).to(device)


def device_name(device: torch.device) -> str:
    """How results and health name the device."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads)"


def _reporter(
    job_id: str,
    window: int,
    windows: int,
    on_progress: OnProgress,
    look: Callable[[], Preview | None],
) -> Callable[[OptStep], None]:
    def report(step: OptStep) -> None:
        done = (window + (step.iteration + 1) / step.iterations) / windows
        on_progress(
            Progress(
                id=job_id,
                fraction=done * OPTIMIZING_SHARE,
                stage=State.OPTIMIZING,
                loss=step.loss,
                preview=look(),
            )
        )

    return report
