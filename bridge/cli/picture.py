"""One picture of a clip: the region, the seam, what follows, and the control that held them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.presets.vocabulary import Code, SegueError

Floats = NDArray[np.float32]

FFT_SAMPLES = 2048
HOP_SECONDS = 512 / 44100
BANDS = 128
LOWEST_HZ = 30.0
HIGHEST_HZ = 18000.0
RANGE_DB = 80.0  # below the loudest point everything is the darkest colour
LEVEL_WINDOW_SECONDS = 0.4  # EBU Tech 3341 "momentary"
FLOOR_DB = -60.0
COLOURS = 256  # in the file: half as large as one of all colours
LABELLED_HZ = (100, 500, 1000, 2000, 5000, 10000)

REGION_COLOUR = "#8a8f98"
NEW_COLOUR = "#e4572e"
CONTROL_COLOUR = "#35d0c5"


@dataclass(frozen=True, kw_only=True)
class Clip:
    """What to draw: audio of shape (samples, channels) and where its parts lie, in seconds."""

    audio: Floats
    sample_rate: int
    seam_seconds: float
    overlap_seconds: float

    @property
    def seconds(self) -> float:
        """Length of the whole clip."""
        return len(self.audio) / self.sample_rate


def draw(clip: Clip, title: str, path: Path) -> None:
    """Write the picture as a PNG. Raises SegueError naming the extra if matplotlib is missing."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from PIL import Image  # matplotlib needs it too
    except ImportError as error:
        text = 'the picture needs matplotlib: pip install "segue[demo]"'
        raise SegueError(Code.UNSUPPORTED, text) from error
    figure = Figure(figsize=(12, 6.2), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    figure.suptitle(title, fontsize=12)
    _draw_mel(figure, top, clip)
    _draw_control(top, clip)
    _draw_level(bottom, clip)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    image.quantize(COLOURS).save(path, format="PNG", optimize=True)


def mel_db(audio: Floats, sample_rate: int) -> Floats:
    """Mel spectrogram (BANDS, frames) of (samples, channels), in dB; its loudest point is 0."""
    mono = audio.mean(axis=1, dtype=np.float64)
    padded = np.pad(mono, FFT_SAMPLES // 2)
    hop = max(1, round(HOP_SECONDS * sample_rate))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT_SAMPLES)[::hop]
    power = np.empty((len(frames), BANDS))
    window, filters = np.hanning(FFT_SAMPLES), mel_filters(sample_rate)
    for at in range(0, len(frames), 1024):  # so that an hour needs no more memory than a minute
        spectrum = np.fft.rfft(frames[at : at + 1024] * window)
        power[at : at + 1024] = np.abs(spectrum) ** 2 @ filters
    loudest = max(float(power.max()), 1e-12)
    decibels = 10 * np.log10(np.maximum(power / loudest, 10 ** (-RANGE_DB / 10)))
    return decibels.T.astype(np.float32)


def mel_filters(sample_rate: int) -> NDArray[np.float64]:
    """Triangles (FFT_SAMPLES // 2 + 1, BANDS), each of unit sum, evenly spaced in mel."""
    edges = band_edges_hz(sample_rate)
    bins = np.fft.rfftfreq(FFT_SAMPLES, 1 / sample_rate)[:, None]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    triangles = np.maximum(0, np.minimum(rising, falling))
    nearest = np.abs(bins - centre) <= sample_rate / FFT_SAMPLES / 2
    triangles = np.where(triangles.sum(axis=0) > 0, triangles, nearest)  # narrower than one bin
    return np.asarray(triangles / triangles.sum(axis=0), dtype=np.float64)


def band_edges_hz(sample_rate: int) -> NDArray[np.float64]:
    """The BANDS + 2 corners of the triangles (O'Shaughnessy's mel: 2595 log10(1 + f/700))."""
    top = min(HIGHEST_HZ, 0.49 * sample_rate)
    low_mel, top_mel = 2595 * np.log10(1 + np.array([LOWEST_HZ, top]) / 700)
    edges = 700 * (10 ** (np.linspace(low_mel, top_mel, BANDS + 2) / 2595) - 1)
    return np.asarray(edges, dtype=np.float64)


def level_db(audio: Floats, sample_rate: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times in seconds and the smoothed level there in dBFS (a full-scale square is 0)."""
    power = np.pad((audio.astype(np.float64) ** 2).mean(axis=1), (1, 0))
    total = np.cumsum(power)
    hop, half = max(1, sample_rate // 50), round(LEVEL_WINDOW_SECONDS * sample_rate / 2)
    centres = np.arange(0, len(audio), hop)
    first, last = np.maximum(centres - half, 0), np.minimum(centres + half, len(audio))
    mean = (total[last] - total[first]) / (last - first)
    return centres / sample_rate, 10 * np.log10(np.maximum(mean, 10 ** (FLOOR_DB / 10)))


def _draw_mel(figure: Any, axes: Any, clip: Clip) -> None:
    mel = mel_db(clip.audio, clip.sample_rate)
    centres = band_edges_hz(clip.sample_rate)[1:-1]
    image = axes.imshow(
        mel,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=-RANGE_DB,
        extent=(0, clip.seconds, 0, BANDS),
        interpolation="nearest",
    )
    shown = [hz for hz in LABELLED_HZ if hz < centres[-1]]
    axes.set_yticks(np.interp(shown, centres, np.arange(BANDS) + 0.5))
    axes.set_yticklabels([f"{hz // 1000} kHz" if hz >= 1000 else f"{hz} Hz" for hz in shown])
    axes.axvline(clip.seam_seconds, color="white", linewidth=1.6)
    part = {"xycoords": ("data", "axes fraction"), "va": "bottom", "fontsize": 11}
    centre_of_region, centre_of_new = clip.seam_seconds / 2, (clip.seam_seconds + clip.seconds) / 2
    axes.annotate("your region", (centre_of_region, 1.01), ha="center", color="#555555", **part)
    axes.annotate("seam", (clip.seam_seconds, 1.01), ha="center", **part)
    axes.annotate("new", (centre_of_new, 1.01), ha="center", color=NEW_COLOUR, **part)
    bar = figure.colorbar(image, ax=axes, pad=0.02, fraction=0.03)
    bar.set_label("dB, the loudest point is 0")


def _draw_control(axes: Any, clip: Clip) -> None:
    start = max(0.0, clip.seam_seconds - clip.overlap_seconds)
    times = [0, start, start, clip.seam_seconds, clip.seam_seconds, clip.seconds]
    weights = [0, 0, 1, 1, 0, 0]
    right = axes.twinx()
    right.plot(times, weights, color=CONTROL_COLOUR, linewidth=2.2)
    right.fill_between(times, weights, color=CONTROL_COLOUR, alpha=0.16)
    right.set_ylim(-0.02, 1.12)
    right.set_yticks([0, 0.5, 1])
    right.set_ylabel("weight of the overlap control", color="#138d84")
    right.tick_params(axis="y", colors="#138d84")
    right.annotate(
        f"overlap: {clip.overlap_seconds:g} s of your region\nthe new music is made to agree with",
        (start, 1.04),
        xytext=(-8, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        color="white",
        fontsize=9,
        bbox={"facecolor": "black", "alpha": 0.5, "edgecolor": "none", "pad": 2},
    )


def _draw_level(axes: Any, clip: Clip) -> None:
    times, level = level_db(clip.audio, clip.sample_rate)
    for part, colour in (
        (times <= clip.seam_seconds, REGION_COLOUR),
        (times >= clip.seam_seconds, NEW_COLOUR),
    ):
        axes.plot(times[part], level[part], color=colour, linewidth=1.8)
        axes.fill_between(times[part], level[part], FLOOR_DB, color=colour, alpha=0.2)
    axes.axvline(clip.seam_seconds, color="black", linewidth=1.2)
    axes.set_xlim(0, clip.seconds)
    axes.set_ylim(max(FLOOR_DB, level.min() - 6), min(3.0, level.max() + 6))
    axes.set_ylabel("level, dBFS")
    axes.set_xlabel("seconds")
    axes.grid(axis="y", alpha=0.25)
