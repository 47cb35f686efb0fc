"""The commands of the workshop: from a folder of music to a model. They need no server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from segue.bridge.cli.disk_trouble import disk_trouble_said
from segue.presets.library import model_folder
from segue.presets.vocabulary import MAX_SEED, Code, SegueError

TRAIN = Path("train")
BASE = TRAIN / "base" / "base.safetensors"
TrainingData = Annotated[Path, typer.Option(help="What `segue data` wrote.")]
Out = Annotated[Path, typer.Option(help="Folder to write to; a run stopped there goes on.")]
Steps = Annotated[int | None, typer.Option(help="Steps in all.", show_default="the recipe's")]
Batch = Annotated[int | None, typer.Option(help="Windows a step.", show_default="the recipe's")]
Rate = Annotated[float | None, typer.Option(help="Learning rate.", show_default="the recipe's")]
Seed = Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Same seed, same data, same weights.")]
From = Annotated[
    str | None,
    typer.Option("--from", help="Weights to start from: a file, a folder or a model's name."),
]
Snapshots = Annotated[
    str, typer.Option(help="Steps at which to keep the weights too, e.g. 100,200,400.")
]
Compiled = Annotated[
    bool, typer.Option("--compiled", help="Compile the network first: needs a C++ compiler.")
]
Device = Annotated[str | None, typer.Option(help="cpu or cuda.", show_default="cuda if there")]


def data(
    folder: Annotated[Path | None, typer.Argument(help="Your audio.", show_default=False)] = None,
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = TRAIN / "data",
    free: Annotated[bool, typer.Option("--free", help="Fetch free music from Debian.")] = False,
    licences: Annotated[
        str, typer.Option(help="Those that music not your own may have.")
    ] = "cc0,cc-by,cc-by-sa,pd,mit",
    midi: Annotated[str | None, typer.Option(help="A folder of MIDI files, or builtin.")] = None,
    soundfont: Annotated[Path | None, typer.Option(help="The .sf2 file that plays them.")] = None,
    mel: Annotated[str, typer.Option(help="segue, or paper for --network paper-unet.")] = "segue",
    cache: Annotated[Path, typer.Option(help="Where fetched and played music is kept.")] = (
        TRAIN / "packages"
    ),
) -> None:
    """Make training data: a folder of audio, free music, MIDI files, or several of them."""
    if folder is None and not free and midi is None:
        raise SegueError(Code.BAD_REQUEST, "give either a folder of audio or --free or --midi")
    if folder is not None and not folder.is_dir():
        raise SegueError(Code.MISSING_FILE, f"there is no folder {folder}")
    from segue.export.dataset import Packed, pack
    from segue.export.free_music import free_sources, parse_licences
    from segue.export.midi import midi_sources
    from segue.export.sources import folder_sources, read_tags
    from segue.server.ditto.mel import mel_named

    allowed, config, skipped = parse_licences(licences), mel_named(mel), 0
    hours: Counter[str] = Counter()
    with disk_trouble_said():
        tags, useless = read_tags(folder) if folder else ({}, [])
        sources = chain(
            useless,
            folder_sources(folder, tags) if folder else (),
            midi_sources(midi, soundfont, cache, allowed) if midi else (),
            free_sources(cache, allowed) if free else (),
        )
        for number, done in enumerate(pack(sources, out, config), start=1):
            if isinstance(done, Packed):
                seconds = done.frames * config.hop / config.sample_rate
                hours.update({done.split: seconds / 3600, done.licence: seconds / 3600})
                typer.echo(f"packed {done.source}: {seconds:.0f} s for {done.split}")
            else:
                skipped += 1
                typer.echo(f"skipped {done.source}: {done.why}")
            if number % 25 == 0:
                typer.echo(f"{number} files so far: {_split_hours(hours)}")
    for licence in sorted(hours.keys() - {"train", "heldout"}):
        typer.echo(f"{hours[licence]:.2f} hours {licence}")
    typer.echo(f"{_split_hours(hours)}, {skipped} files skipped; in {out}")


def _split_hours(hours: Mapping[str, float]) -> str:
    train, held_out = (hours.get(split, 0.0) for split in ("train", "heldout"))
    return f"{train:.2f} hours to train on, {held_out:.2f} held out"


def train(
    data: TrainingData = TRAIN / "data",
    out: Out = TRAIN / "base",
    start: From = None,
    network: Annotated[
        str | None, typer.Option(help="segue-small or paper-unet.", show_default="segue-small")
    ] = None,
    snapshots: Snapshots = "",
    steps: Steps = None,
    batch: Batch = None,
    rate: Rate = None,
    seed: Seed = 0,
    device: Device = None,
    compiled: Compiled = False,
) -> None:
    """Train the base model, or fine-tune one on your own music."""
    if start is not None and network is not None:
        text = "--from goes on with the network it finds; leave out --network"
        raise SegueError(Code.BAD_REQUEST, text)
    from segue.export import train as training

    sizes = training.network_named(network or "segue-small")
    pace = _given(steps=steps, batch=batch, rate=rate, seed=seed, compiled=compiled)
    recipe = training.TrainConfig(**pace, network=sizes, snapshots=_steps_in(snapshots))
    weights = _beginning(start, "base.safetensors")
    with disk_trouble_said():
        _wrote(training.train(data, out, recipe, device, start=weights))


def sharpen(
    weaker: Annotated[
        Path, typer.Option(help="An earlier state of the base, of `segue train --snapshots`.")
    ],
    data: TrainingData = TRAIN / "data",
    base: Annotated[Path, typer.Option(help="What `segue train` wrote.")] = BASE,
    out: Out = TRAIN / "sharp",
    amount: Annotated[
        float | None,
        typer.Option(help="How far to step away from the weaker one, at most 4.", show_default="2"),
    ] = None,
    steps: Steps = None,
    batch: Batch = None,
    rate: Rate = None,
    seed: Seed = 0,
    device: Device = None,
    compiled: Compiled = False,
) -> None:
    """Sharpen the base model: further from what it said when it knew less."""
    from segue.export import sharpen as training

    pace = _given(steps=steps, batch=batch, rate=rate, seed=seed, compiled=compiled)
    recipe = training.SharpenConfig(**pace, **_given(amount=amount))
    with disk_trouble_said():
        first, earlier = (weights_at(path, "base.safetensors") for path in (base, weaker))
        _wrote(training.sharpen(data, first, earlier, out, recipe, device))


def distill(
    data: TrainingData = TRAIN / "data",
    teacher: Annotated[
        Path, typer.Option(help="What `segue train` or `segue sharpen` wrote.")
    ] = BASE,
    out: Out = TRAIN / "ctm",
    method: Annotated[str, typer.Option(help="ctm or cm.")] = "ctm",
    start: From = None,
    adversarial_from: Annotated[
        int | None, typer.Option(min=0, help="Step from which discriminators are heeded too.")
    ] = None,
    snapshots: Snapshots = "",
    steps: Steps = None,
    batch: Batch = None,
    rate: Rate = None,
    seed: Seed = 0,
    device: Device = None,
    compiled: Compiled = False,
) -> None:
    """Distil the base model into one that makes music in a step or two."""
    from segue.export import distill as training

    pace = _given(steps=steps, batch=batch, rate=rate, seed=seed, compiled=compiled)
    recipe = training.DistillConfig(
        method=method, adversarial_from=adversarial_from, **pace, snapshots=_steps_in(snapshots)
    )
    with disk_trouble_said():
        weights = _beginning(start, "generator.safetensors")
        taught = weights_at(teacher, "base.safetensors")
        _wrote(training.distill(data, taught, out, recipe, device, start=weights))


def train_decoder(
    data: TrainingData = TRAIN / "data",
    out: Out = TRAIN / "decoder",
    start: From = None,
    adversarial_from: Annotated[
        int | None, typer.Option(min=0, help="Step from which discriminators judge the audio too.")
    ] = None,
    steps: Steps = None,
    batch: Batch = None,
    rate: Rate = None,
    seed: Seed = 0,
    device: Device = None,
) -> None:
    """Train the decoder that turns a mel into audio, or fine-tune one."""
    from segue.export import train_decoder as training

    pace = _given(steps=steps, batch=batch, rate=rate, seed=seed)
    recipe = training.DecoderTraining(**pace, adversarial_from=adversarial_from)
    weights = _beginning(start, "decoder.safetensors")
    with disk_trouble_said():
        _wrote(training.train_decoder(data, out, recipe, device, start=weights))


def export(
    out: Annotated[Path, typer.Option(help="The model's folder, e.g. presets/models/NAME.")],
    generator: Annotated[Path, typer.Option(help="What `segue distill` wrote.")] = (
        TRAIN / "ctm" / "generator.safetensors"
    ),
    decoder: Annotated[Path, typer.Option(help="What `segue train-decoder` wrote.")] = (
        TRAIN / "decoder" / "decoder.safetensors"
    ),
    teacher: Annotated[
        Path | None, typer.Option(help="The base model: it polishes, and can be trained on.")
    ] = None,
    griffin_lim: Annotated[
        int | None,
        typer.Option(min=0, max=64, help="Iterations on phases.", show_default="the decoder's"),
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="One step of the generator as generator.onnx, too.")
    ] = False,
) -> None:
    """Put trained weights together into a model that `--model` takes."""
    from segue.export.ship import ship

    with disk_trouble_said():
        differences = ship(
            weights_at(generator, "generator.safetensors"),
            weights_at(decoder, "decoder.safetensors"),
            out,
            teacher=weights_at(teacher, "base.safetensors") if teacher else None,
            griffin_lim=griffin_lim,
            preview=preview,
        )
    for name, difference in differences.items():
        text = f"torch and ONNX differ by {difference:.1e} at most, 1 = full scale"
        typer.echo(f"wrote {out / name}; {text}")


COMMANDS: tuple[Callable[..., None], ...] = (data, train, sharpen, distill, train_decoder, export)


def register(app: typer.Typer) -> None:
    """Add the commands, in a panel of their own."""
    for command in COMMANDS:
        app.command(rich_help_panel="Train your own model")(command)


def weights_at(place: Path, file: str) -> Path:
    """The weights file meant by a path or a name: itself, or `file` in a folder or shipped model.

    Raises SegueError when there is none.
    """
    if place.is_file():
        return place
    if place.suffix:
        raise SegueError(Code.MISSING_FILE, f"there is no {place}; train it, or name another file")
    folder = place if place.is_dir() else model_folder(str(place))
    if not (folder / file).is_file():
        text = f"{folder} holds no {file}; give a weights file or a model that keeps its own"
        raise SegueError(Code.MISSING_FILE, text)
    return folder / file


def _beginning(start: str | None, file: str) -> Path | None:
    return weights_at(Path(start), file) if start else None


def _steps_in(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(step) for step in text.split(",") if step)
    except ValueError as error:
        asked = f"--snapshots takes steps like 100,200,400, not {text!r}"
        raise SegueError(Code.BAD_REQUEST, asked) from error


def _wrote(path: Path) -> None:
    from segue.export import ranks

    if ranks.first():
        typer.echo(f"wrote {path}")


def _given(**options: float | None) -> dict[str, Any]:
    """What was said on the command line; the rest is the recipe's."""
    return {name: value for name, value in options.items() if value is not None}
