"""The commands of the workshop: from a folder of music to a model. They need no server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from segue.presets.vocabulary import Code, SegueError

TRAIN = Path("train")
TrainingData = Annotated[Path, typer.Option(help="What `segue data` wrote.")]
Out = Annotated[Path, typer.Option(help="Folder to write to; a run stopped there goes on.")]
Steps = Annotated[int | None, typer.Option(help="Steps in all.", show_default="the recipe's")]
Batch = Annotated[int | None, typer.Option(help="Windows a step.", show_default="the recipe's")]
Rate = Annotated[float | None, typer.Option(help="Learning rate.", show_default="the recipe's")]
Seed = Annotated[int, typer.Option(min=0, help="Same seed, same data, same weights.")]
Device = Annotated[str | None, typer.Option(help="cpu or cuda.", show_default="cuda if there")]


def data(
    folder: Annotated[Path | None, typer.Argument(help="Your audio.", show_default=False)] = None,
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = TRAIN / "data",
    free: Annotated[bool, typer.Option("--free", help="Fetch free music from Debian.")] = False,
    cache: Annotated[Path, typer.Option(help="Where --free keeps it.")] = TRAIN / "packages",
) -> None:
    """Make training data from a folder of audio, or from free music."""
    if (folder is None) != free:
        raise SegueError(Code.BAD_REQUEST, "give either a folder of audio or --free")
    if folder is not None and not folder.is_dir():
        raise SegueError(Code.MISSING_FILE, f"there is no folder {folder}")
    from segue.export.dataset import Packed, folder_sources, pack
    from segue.export.free_music import free_sources
    from segue.server.ditto.mel import MelConfig

    mel, hours, skipped = MelConfig(), {"train": 0.0, "heldout": 0.0}, 0
    with _disk_trouble_said():
        sources = free_sources(cache) if folder is None else folder_sources(folder)
        for done in pack(sources, out, mel):
            if isinstance(done, Packed):
                seconds = done.frames * mel.hop / mel.sample_rate
                hours[done.split] += seconds / 3600
                typer.echo(f"packed {done.source}: {seconds:.0f} s for {done.split}")
            else:
                skipped += 1
                typer.echo(f"skipped {done.source}: {done.why}")
    split = f"{hours['train']:.2f} hours to train on, {hours['heldout']:.2f} held out"
    typer.echo(f"{split}, {skipped} files skipped; in {out}")


def train(
    data: TrainingData = TRAIN / "data",
    out: Out = TRAIN / "base",
    steps: Steps = None,
    batch: Batch = None,
    rate: Rate = None,
    seed: Seed = 0,
    device: Device = None,
) -> None:
    """Train the base model."""
    from segue.export import train as training

    recipe = training.TrainConfig(**_given(steps=steps, batch=batch, rate=rate), seed=seed)
    with _disk_trouble_said():
        typer.echo(f"wrote {training.train(data, out, recipe, device)}")


def distill(
    data: TrainingData = TRAIN / "data",
    teacher: Annotated[Path, typer.Option(help="What `segue train` wrote.")] = (
        TRAIN / "base" / "base.safetensors"
    ),
    out: Out = TRAIN / "ctm",
    method: Annotated[str, typer.Option(help="ctm or cm.")] = "ctm",
    steps: Steps = None,
    batch: Batch = None,
    rate: Rate = None,
    seed: Seed = 0,
    device: Device = None,
) -> None:
    """Distil the base model into one that makes music in a step or two."""
    from segue.export import distill as training

    pace = _given(steps=steps, batch=batch, rate=rate)
    recipe = training.DistillConfig(method=method, **pace, seed=seed)
    with _disk_trouble_said():
        typer.echo(f"wrote {training.distill(data, teacher, out, recipe, device)}")


def train_decoder(
    data: TrainingData = TRAIN / "data",
    out: Out = TRAIN / "decoder",
    steps: Steps = None,
    batch: Batch = None,
    rate: Rate = None,
    seed: Seed = 0,
    device: Device = None,
) -> None:
    """Train the decoder that turns a mel into audio."""
    from segue.export import train_decoder as training

    recipe = training.DecoderTraining(**_given(steps=steps, batch=batch, rate=rate), seed=seed)
    with _disk_trouble_said():
        typer.echo(f"wrote {training.train_decoder(data, out, recipe, device)}")


def export(
    out: Annotated[Path, typer.Option(help="The model's folder, e.g. presets/models/NAME.")],
    generator: Annotated[Path, typer.Option(help="What `segue distill` wrote.")] = (
        TRAIN / "ctm" / "generator.safetensors"
    ),
    decoder: Annotated[Path, typer.Option(help="What `segue train-decoder` wrote.")] = (
        TRAIN / "decoder" / "decoder.safetensors"
    ),
    teacher: Annotated[
        Path | None, typer.Option(help="The base model, to keep it for further distillation.")
    ] = None,
    griffin_lim: Annotated[
        int | None,
        typer.Option(min=0, max=64, help="Iterations on phases.", show_default="the decoder's"),
    ] = None,
) -> None:
    """Put trained weights together into a model that `--model` takes."""
    from segue.export.ship import ship

    with _disk_trouble_said():
        difference = ship(generator, decoder, out, teacher=teacher, griffin_lim=griffin_lim)
    typer.echo(f"wrote {out}; torch and ONNX differ by {difference:.1e} of full scale at most")


COMMANDS: tuple[Callable[..., None], ...] = (data, train, distill, train_decoder, export)


def register(app: typer.Typer) -> None:
    """Add the commands, in a panel of their own."""
    for command in COMMANDS:
        app.command(rich_help_panel="Train your own model")(command)


def _given(*, steps: int | None, batch: int | None, rate: float | None) -> dict[str, Any]:
    """What was said on the command line; the rest is the recipe's."""
    options = {"steps": steps, "batch": batch, "rate": rate}
    return {name: value for name, value in options.items() if value is not None}


@contextmanager
def _disk_trouble_said() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SegueError(Code.DISK, str(error)) from error
