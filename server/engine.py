"""One request from audio file to audio file: the only way into the model."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

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
from segue.server.audio_file import Waveform, read_region, write_wav
from segue.server.clip import Clip, lay_out
from segue.server.clip_files import write_clips
from segue.server.decoder_twin import hearing_clap, sketch
from segue.server.ditto.clap import ClapBackend
from segue.server.ditto.ctm import Denoiser
from segue.server.ditto.mel import MelConfig, MelScale
from segue.server.ditto.network import Network, conditioned
from segue.server.ditto.onnx_decoder import OnnxDecoder
from segue.server.ditto.schedule import RectifiedFlow
from segue.server.ditto.search_network import SearchNetwork
from segue.server.ditto.weights import (
    Generator,
    check_decodable,
    check_manifest,
    check_teacher,
    load_generator,
)
from segue.server.painter import Noise, Painter, best_that_differ
from segue.server.preview import Previews
from segue.server.quicken import quicken
from segue.server.render import Painted, Renderer
from segue.server.search import OPTIMIZING_SHARE, OnProgress, Search, Searched, Show
from segue.server.wanted import notes

DECODED_SHARE = 0.98  # of the progress bar
MAX_SLOTS = 16


@dataclass(frozen=True)
class Engine:
    """A loaded model. Not for two threads at once.

    `search` is the network as the search calls it; without one, `network` itself. `base` is its
    teacher, which polishes clips. `sketch` decodes roughly and at once, for previews.
    """

    model: str
    device: str
    torch_device: torch.device
    network: Network
    scale: MelScale
    decode: Callable[[Tensor], np.ndarray]
    search: SearchNetwork | None = None
    base: Network | None = None
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
        base = _base(folder / "base.safetensors", network, scale)
        network = network.to(device)
        return cls(
            model=model,
            device=device_name(device),
            torch_device=device,
            network=network,
            search=SearchNetwork(network),
            base=base.to(device) if base else None,
            scale=scale.to(device),
            decode=OnnxDecoder(folder / "decoder.onnx"),
            sketch=sketch(folder / "decoder.safetensors", device),
            clap=hearing_clap(clap, folder / "decoder.safetensors", device) if clap else None,
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

    def quicken(self) -> Iterator[float]:
        """Make later jobs faster, in steps; yields the seconds to wait before the next."""
        if self.search is not None:
            yield from quicken(self.model, self.search)

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
        best = torch.stack([gap.best for gap in searched]).mean(0)
        painted = [gap.made for gap in searched]
        mels = torch.cat([each.canvas.mel for each in painted], dim=-1)
        rows = best_that_differ(best, mels, request.settings.keep)
        waves = []
        for row in rows:
            on_progress(decoding)  # a stop is heard before each
            waves.append(renderer.wave(painted, row))
        on_progress(decoding.model_copy(update={"fraction": DECODED_SHARE}))
        files = write_clips(request, clip, waves, out_path, start)
        traces = [trace for gap in searched for trace in gap.traces]
        return Result(
            id=request.id,
            start_seconds=start,
            length_samples=len(clip.wave.samples),
            new_samples=clip.new_samples,
            sample_rate=clip.wave.sample_rate,
            channels=clip.wave.channels,
            seed=request.seed,
            loss_first=sum(trace[0] for trace in traces) / len(traces),
            loss_last=float(best[rows[0]]),
            notes=notes(request, self.clap),
            taken_seconds=self.clock() - started,
            device=self.device,
            **files,
        )

    def paint(
        self, request: Request, clip: Clip, on_progress: OnProgress, started: float, show: Show
    ) -> list[Searched]:
        """Fill every gap, window by window; a slot's next job goes on from what was found, even
        where this one is stopped.
        """
        settings = request.settings
        if settings.polish and self.base is None:
            text = f"polish needs model {self.model}'s base.safetensors, which is not there"
            raise SegueError(Code.BAD_REQUEST, f"{text}: leave polish out, or 0")
        seeds = range(request.seed or 0, (request.seed or 0) + settings.seeds)
        shape = (self.mel.channels, self.network.config.frames)
        painter = Painter(
            denoiser=self.denoiser(settings),
            search=self.denoiser(settings, self.search),
            base=self.denoiser(settings, self.base) if self.base else None,
            schedule=self.schedule,
            scale=self.scale,
            settings=settings,
            place=request.place,
            noise=Noise.of(seeds, shape, self.torch_device),
            warm=self.slots.get(settings.slot or "", []),
        )
        job = Search(
            request=request,
            clip=clip,
            painter=painter,
            started=started,
            clock=self.clock,
            on_progress=on_progress,
            show=show,
            clap=self.clap,
        )
        try:
            return job.run()
        finally:
            self._remember(settings.slot, [*painter.found, *painter.warm[len(painter.found) :]])

    def _remember(self, slot: str | None, found: list[Tensor]) -> None:
        if slot is not None:
            self.slots[slot] = found
            self.slots.move_to_end(slot)
            while len(self.slots) > MAX_SLOTS:
                self.slots.popitem(last=False)


def _base(path: Path, student: Generator, scale: MelScale) -> Generator | None:
    """The model's teacher, if it has it. Raises SegueError when it is another's."""
    if not path.is_file():
        return None
    base, its_scale = load_generator(path)
    check_teacher(path, base, its_scale, student, scale)
    return base


def device_name(device: torch.device) -> str:
    """How results and health name the device."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads)"
