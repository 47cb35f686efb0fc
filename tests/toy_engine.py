"""An engine that answers at once with noise: clips and overlays as the real one hands out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from segue.presets.controls import Outpaint
from segue.presets.vocabulary import Progress, Request, Result, SegueError, State

FADE_SECONDS = 0.2
TICK_SECONDS = 0.005


class ToyEngine:
    """Obeys the engine's contract; a test holds it back, gives it an error or another rate."""

    device = "toy"
    model = "toy"

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.gate = threading.Event()
        self.error: SegueError | None = None
        self.rate: int | None = None  # of the clips; without: the region's

    def run(
        self, request: Request, out_path: Path, on_progress: Callable[[Progress], None]
    ) -> Result:
        """Forty per cent until the gate opens, then as many clips as the request keeps."""
        self.requests.append(request)
        while True:
            on_progress(Progress(id=request.id, fraction=0.4, stage=State.OPTIMIZING))
            if self.gate.wait(TICK_SECONDS):
                break
        if self.error:
            raise self.error
        region = request.region
        assert region is not None
        assert request.seed is not None
        rate = self.rate or soundfile.info(region.path).samplerate
        known, new = self._known(request, rate), round((request.new_seconds or 0) * rate)
        paths = [
            out_path,
            *(_beside(out_path, str(n)) for n in range(2, request.settings.keep + 1)),
        ]
        laid: list[str] = []
        for number, path in enumerate(paths):
            rng = np.random.default_rng(request.seed + number)
            clip = rng.normal(0, 0.1, (len(known) + new, known.shape[1])).astype(np.float32)
            if isinstance(request.place, Outpaint):
                laid.append(str(_beside(path, "overlay")))
                soundfile.write(laid[-1], _faded(known, clip, rate), rate, subtype="FLOAT")
            soundfile.write(str(path), clip, rate, subtype="FLOAT")
        return Result(
            id=request.id,
            path=str(out_path),
            variations=tuple(map(str, paths[1:])),
            overlay_path=laid[0] if laid else None,
            overlay_start_seconds=region.start_seconds + len(known) / rate - FADE_SECONDS
            if laid
            else None,
            variation_overlays=tuple(laid[1:]),
            start_seconds=region.start_seconds,
            length_samples=len(known) + new,
            new_samples=new or len(known),
            sample_rate=rate,
            channels=known.shape[1],
            seed=request.seed,
            loss_first=1.0,
            loss_last=0.0,
            taken_seconds=0.0,
            device=self.device,
        )

    def warm(self) -> None:
        """Nothing takes longer the first time."""

    def quicken(self) -> Iterator[float]:
        """Nothing can be quicker."""
        return iter(())

    def _known(self, request: Request, rate: int) -> np.ndarray:
        assert request.region is not None
        path, start = request.region.path, request.region.start_seconds
        own = soundfile.info(path).samplerate
        first, frames = round(start * own), round(request.region.length_seconds * own)
        known = soundfile.read(path, frames, first, dtype="float32", always_2d=True)[0]
        if rate == own:
            return known
        return np.zeros((round(frames * rate / own), known.shape[1]), np.float32)


def _faded(known: np.ndarray, clip: np.ndarray, rate: int) -> np.ndarray:
    """Fade the region into the clip, in place; what that adds to the region, from the fade on."""
    fade, end = round(FADE_SECONDS * rate), len(known)
    turn = np.linspace(0, np.pi / 2, fade + 1, dtype=np.float32)[1:, None]
    fresh = clip[end - fade : end].copy()
    clip[: end - fade] = known[: end - fade]
    clip[end - fade : end] = np.cos(turn) * known[end - fade :] + np.sin(turn) * fresh
    overlay = clip[end - fade :].copy()
    overlay[:fade] -= known[end - fade :]
    return overlay


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f"{path.stem}~{what}.wav")
