"""`segue make`: every option of the one command that makes music."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segue.presets.vocabulary import MAX_GUIDANCE, MAX_SEED, MAX_SEEDS

if TYPE_CHECKING:
    from segue.bridge.offline import Run

WHERE, HOW, RUN = "Where, and how long", "How it should go", "How it is made"


def _option(panel: str, text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, **more)


Source = Annotated[
    Path | None,
    typer.Argument(metavar="IN.wav", help="Your music; without it: out of nothing."),
]
Seconds = Annotated[
    float | None,
    _option(WHERE, "How much new music to make.", show_default="the preset's"),
]
Bars = Annotated[float | None, _option(WHERE, "The same in bars.")]
Bpm = Annotated[float | None, _option(WHERE, "Beats a minute; bars start with the region.")]
BeatsPerBar = Annotated[float | None, _option(WHERE, "Quarter notes a bar.", show_default="4")]
TempoFile = Annotated[
    Path | None,
    _option(
        WHERE,
        "Instead of --bpm, a MIDI file that your DAW has exported: its tempo and time signatures,"
        " 120 bpm in 4/4 where it names none.",
        "--tempo",
        metavar="FILE.mid",
    ),
]
FromBar = Annotated[int, _option(WHERE, "The bar of --tempo's song in which IN.wav starts.", min=1)]
Start = Annotated[float | None, _option(WHERE, "Where the region starts, in seconds.")]
Length = Annotated[
    float | None, _option(WHERE, "How long it is.", show_default="to the end of the file")
]
At = Annotated[
    str | None,
    _option(
        WHERE,
        "right, left, both, gap, loop, vary or nothing: where music is made.",
        show_default="the preset's",
    ),
]
Gap = Annotated[
    list[str] | None,
    _option(WHERE, "START:LENGTH in the region, to be made anew; may be given repeatedly."),
]
Overlap = Annotated[
    float | None,
    _option(WHERE, "Seconds that new and old are to agree in.", show_default="the preset's"),
]
Amount = Annotated[float | None, _option(WHERE, "How much to vary, 0 to 1.")]
IntensityCurve = Annotated[
    str | None,
    _option(HOW, 'A curve: "0:-12,4:0" is 12 dB below the region, then at its level.'),
]
Plan = Annotated[str | None, _option(HOW, "Sections by letters: ABA, or A:4,B:2,A:4.")]
Unit = Annotated[
    str, _option(HOW, "Of times in curve, sections and gaps: seconds, beats, bars or share (0-1).")
]
MelodyFile = Annotated[
    Path | None, _option(HOW, "A line to follow: a MIDI file, or a recording of it.")
]
Words = Annotated[str | None, _option(HOW, 'How it should sound: "warm slow strings".')]
Tag = Annotated[
    list[str] | None,
    _option(HOW, "A kind of music to go for, e.g. strings; may be given repeatedly."),
]
Guidance = Annotated[
    float | None,
    _option(
        HOW, "How strictly to go for it.", min=1, max=MAX_GUIDANCE, show_default="the preset's"
    ),
]
PresetName = Annotated[str, _option(RUN, "A preset's name, or a TOML file.")]
Iterations = Annotated[
    int | None, _option(RUN, "How often the noise is improved.", show_default="the preset's")
]
Seed = Annotated[
    int | None,
    _option(RUN, "Same seed, same music; drawn if absent.", min=0, max=MAX_SEED),
]
Seeds = Annotated[
    int | None, _option(RUN, "Seeds to try side by side.", min=1, max=MAX_SEEDS, show_default="1")
]
Keep = Annotated[
    int | None, _option(RUN, "Best ones to write.", min=1, max=MAX_SEEDS, show_default="1")
]
Within = Annotated[str | None, _option(RUN, "About how long to take, such as 4s: the best so far.")]
Out = Annotated[
    Path | None,
    _option(RUN, "The clip to write.", "--out", "-o", show_default="IN-segue.wav"),
]
Force = Annotated[bool, _option(RUN, "Replace what is there.", "--force")]


def register(app: typer.Typer, load: Callable[[str], Run], default_model: str) -> None:
    """Add the command; `load` gives the engine of a model's name."""

    @app.command()
    def make(
        source: Source = None,
        seconds: Seconds = None,
        bars: Bars = None,
        bpm: Bpm = None,
        beats_per_bar: BeatsPerBar = None,
        tempo: TempoFile = None,
        from_bar: FromBar = 1,
        start: Start = None,
        length: Length = None,
        at: At = None,
        gap: Gap = None,
        overlap: Overlap = None,
        amount: Amount = None,
        intensity: IntensityCurve = None,
        structure: Plan = None,
        unit: Unit = "seconds",
        melody: MelodyFile = None,
        text: Words = None,
        tag: Tag = None,
        guidance: Guidance = None,
        preset: PresetName = "continue",
        iterations: Iterations = None,
        seed: Seed = None,
        seeds: Seeds = None,
        keep: Keep = None,
        within: Within = None,
        out: Out = None,
        force: Force = False,
        model: Annotated[str, _option(RUN, "Name of the model.")] = default_model,
    ) -> None:
        """Make music after, before, inside or in place of a region of a file, without a DAW.

        By default the whole file is the region, and it is continued.
        """
        from segue.bridge import offline
        from segue.bridge.cli.order import Order, request_of

        order = Order(
            source=source, seconds=seconds, bars=bars, bpm=bpm, beats_per_bar=beats_per_bar,
            tempo=tempo, from_bar=from_bar, start=start, length=length, at=at,
            gaps=tuple(gap or ()), overlap=overlap, amount=amount, intensity=intensity,
            structure=structure, unit=unit, melody=melody, text=text, preset=preset,
            tags=tuple(tag or ()), guidance=guidance, iterations=iterations, seed=seed,
            seeds=seeds, keep=keep, within=within,
        )  # fmt: skip
        request = request_of(order)
        target = offline.choose_out(source, out, force, request.settings.keep)
        offline.run_offline(request, target, lambda: load(model))
