"""One request from audio file to audio file: the only way into the model."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soxr
import torch
from torch import Tensor

from segue.presets.library import model_folder
from segue.presets.vocabulary import (
    Code,
    Outpaint,
    Progress,
    Request,
    Result,
    SegueError,
    Settings,
    State,
)
from segue.server import seam
from segue.server.audio_file import Waveform, read_region, write_wav
from segue.server.ditto.controls import outpaint
from segue.server.ditto.ctm import Denoiser, decode_multistep, jump
from segue.server.ditto.mel import MelConfig, MelScale, log_mel
from segue.server.ditto.network import Network, conditioned
from segue.server.ditto.onnx_decoder import OnnxDecoder
from segue.server.ditto.optimize import OptStep, Waves, optimize
from segue.server.ditto.schedule import RectifiedFlow, even_grid
from segue.server.ditto.weights import check_decodable, check_manifest, load_generator

OnProgress = Callable[[Progress], None]
OPTIMIZING_SHARE, DECODED_SHARE = 0.9, 0.98  # of the progress bar
CUT_FRAMES = 2  # the region's last frames, whose analysis window reaches past its end
SPARE_FRAMES = 4  # rounding, the resampler's edges and the seam's shift


@dataclass(frozen=True)
class Made:
    """A continuation as a mel, (channels, frames) natural log, overlap first; and its losses."""

    log_mel: Tensor
    loss_first: float
    loss_last: float


@dataclass(frozen=True)
class Engine:
    """A loaded model. Not for two threads at once."""

    model: str
    device: str
    torch_device: torch.device
    network: Network
    scale: MelScale
    decode: Callable[[Tensor], np.ndarray]
    mel: MelConfig = field(default_factory=MelConfig)
    schedule: RectifiedFlow = field(default_factory=RectifiedFlow)

    @classmethod
    def load(cls, model: str) -> Engine:
        """Load a shipped model by name, or one in a folder. Raises SegueError(NO_MODEL)."""
        folder = model_folder(model)
        check_manifest(folder)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        weights = folder / "generator.safetensors"
        network, scale = load_generator(weights)
        check_decodable(weights, network, MelConfig())
        return cls(
            model=model,
            device=device_name(device),
            torch_device=device,
            network=network.to(device),
            scale=scale.to(device),
            decode=OnnxDecoder(folder / "decoder.onnx"),
        )

    @property
    def frames(self) -> int:
        """Length of one window."""
        frames: int = self.network.config.frames
        return frames

    def denoiser(self, settings: Settings) -> Denoiser:
        """The network under the tags and the guidance asked for.

        Raises SegueError for a tag that this model was not trained with.
        """
        known = self.network.config.tags
        for tag in settings.tags:
            if tag not in known:
                text = f"model {self.model} knows no tag {tag!r}; it knows: {', '.join(known)}"
                raise SegueError(Code.BAD_REQUEST, text if known else f"{text}none")
        on = torch.tensor([[float(tag in settings.tags) for tag in known]])
        w = torch.tensor([settings.guidance])
        return conditioned(self.network, on.to(self.torch_device), w.to(self.torch_device))

    def run(self, request: Request, out_path: Path, on_progress: OnProgress) -> Result:
        """Make the clip and write it to `out_path` (WAV, the region's rate and channels).

        `on_progress` hears of every iteration; what it raises ends the run with nothing left
        behind. Raises SegueError for anything the user can act on.
        """
        started = time.monotonic()
        assert request.seed is not None, "the server draws the seed before the job is queued"
        region = read_region(request.region)
        new = round(request.new_seconds * region.sample_rate)
        made = self.outpaint(request, region, on_progress)
        overlap_frames = self._overlap_frames(request.controls[0], region)
        audio = self._audio(made.log_mel, region)
        on_progress(Progress(id=request.id, fraction=DECODED_SHARE, stage=State.DECODING))
        overlap = round(overlap_frames * self.mel.hop * region.sample_rate / self.mel.sample_rate)
        samples = seam.join(region.samples, audio, overlap, new, region.sample_rate)
        write_wav(out_path, Waveform(samples, region.sample_rate, region.subtype))
        return Result(
            id=request.id,
            path=str(out_path),
            start_seconds=request.region.start_seconds,
            length_samples=len(samples),
            new_samples=new,
            sample_rate=region.sample_rate,
            channels=region.channels,
            seed=request.seed,
            loss_first=made.loss_first,
            loss_last=made.loss_last,
            taken_seconds=time.monotonic() - started,
            device=self.device,
        )

    def _overlap_frames(self, control: Outpaint, region: Waveform) -> int:
        available = int(len(region.samples) / region.sample_rate * self.mel.sample_rate)
        return min(self.mel.frames(control.overlap_seconds), available // self.mel.hop)

    def outpaint(self, request: Request, region: Waveform, on_progress: OnProgress) -> Made:
        """Chain windows, each matching the end of what is there, until there is enough."""
        overlap = self._overlap_frames(request.controls[0], region)
        target = self._target(region, overlap)
        needed = math.ceil(request.new_seconds * self.mel.sample_rate / self.mel.hop)
        windows = math.ceil((needed + SPARE_FRAMES) / (self.frames - overlap))
        generator = torch.Generator().manual_seed(request.seed or 0)
        pieces, losses = [], []
        for k in range(windows):
            report = _reporter(request.id, k, windows, on_progress)
            x_0, trace = self.window(target, request.settings, generator, report)
            pieces.append(x_0)
            losses.append(trace)
            target = x_0[:, -overlap:]
        on_progress(Progress(id=request.id, fraction=OPTIMIZING_SHARE, stage=State.DECODING))
        mel = self.scale.restore(chain(pieces, overlap))
        first, last = (sum(trace[i] for trace in losses) / windows for i in (0, -1))
        return Made(mel[:, : overlap + needed + SPARE_FRAMES], first, last)

    def window(
        self,
        target: Tensor,
        settings: Settings,
        generator: torch.Generator,
        on_step: Callable[[OptStep], None] | None = None,
    ) -> tuple[Tensor, tuple[float, ...]]:
        """One window that starts like `target` (channels, some): x_0 (channels, frames).

        The noise is optimized through a single jump (M = 1) and decoded with T of them.
        """
        denoiser = self.denoiser(settings)
        shape = (1, self.mel.channels, self.frames)
        x_T = torch.randn(shape, generator=generator).to(self.torch_device)
        t_max = self.schedule.t_max

        def objective(x: Tensor) -> Tensor:
            return outpaint.loss(jump(denoiser, self.schedule, x, t_max, 0.0), target)

        best = optimize(
            objective,
            x_T,
            iterations=settings.iterations,
            learning_rate=settings.learning_rate,
            waves=Waves(self.mel.bands, self.frames, self.torch_device),
            on_step=on_step,
        )
        with torch.no_grad():
            x_0 = decode_multistep(
                denoiser,
                self.schedule,
                best.x_T,
                even_grid(self.schedule, settings.decode_steps),
                gamma=settings.gamma,
                generator=generator,
            )
        return x_0[0], best.losses

    def _target(self, region: Waveform, overlap: int) -> Tensor:
        """Normalised mel of the region's last `overlap` frames but for the cut ones.

        (channels, overlap - CUT_FRAMES), its first frame where the overlap begins.
        """
        rate, samples = self.mel.sample_rate, region.samples
        context = math.ceil((overlap + 8) * self.mel.hop * region.sample_rate / rate)
        tail = soxr.resample(samples[-context:], region.sample_rate, rate)
        stereo = np.broadcast_to(tail.reshape(len(tail), -1), (len(tail), 2))
        exact = len(tail) // self.mel.hop * self.mel.hop
        audio = torch.from_numpy(np.ascontiguousarray(stereo[-exact:].T, dtype=np.float32))
        mel = log_mel(audio, self.mel)[:, -overlap:-CUT_FRAMES].to(self.torch_device)
        return self.scale.normalise(mel)

    def _audio(self, mel: Tensor, region: Waveform) -> np.ndarray:
        """Decode to (samples, channels) float64 at the region's rate and channels."""
        stereo = self.decode(mel).astype(np.float64)
        if region.channels == 1:
            stereo = stereo.mean(axis=1, keepdims=True)
        audio: np.ndarray = soxr.resample(stereo, self.mel.sample_rate, region.sample_rate)
        return audio


def device_name(device: torch.device) -> str:
    """How results and health name the device."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads)"


def chain(pieces: list[Tensor], overlap: int) -> Tensor:
    """Join windows (channels, frames) that share `overlap` frames, fading linearly between."""
    whole = pieces[0]
    fade = torch.linspace(0, 1, overlap + 2, device=whole.device)[1:-1]
    for piece in pieces[1:]:
        shared = torch.lerp(whole[:, -overlap:], piece[:, :overlap], fade)
        whole = torch.cat((whole[:, :-overlap], shared, piece[:, overlap:]), dim=1)
    return whole


def _reporter(
    job_id: str, window: int, windows: int, on_progress: OnProgress
) -> Callable[[OptStep], None]:
    def report(step: OptStep) -> None:
        done = (window + (step.iteration + 1) / step.iterations) / windows
        on_progress(
            Progress(
                id=job_id,
                fraction=done * OPTIMIZING_SHARE,
                stage=State.OPTIMIZING,
                loss=step.loss,
            )
        )

    return report
