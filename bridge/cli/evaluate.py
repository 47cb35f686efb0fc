"""`segue evaluate`: measure a model on held-out music. It needs no server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segue.bridge.cli.disk_trouble import disk_trouble_said
from segue.presets.vocabulary import MAX_SEED, Code, SegueError

if TYPE_CHECKING:  # torch and the rooms are imported when a command runs
    from segue.export.evaluation.control_figures import Ears
    from segue.export.evaluation.controls import ControlsConfig, ControlsEvaluation
    from segue.export.evaluation.model import EvaluateConfig, Evaluation
    from segue.export.evaluation.sound_examples import Example
    from segue.export.evaluation.tables import Table

EVALUATION = Path("evaluation")
TRAIN = Path("train")
Seed = Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Same seed, same figures.")]

evaluate = typer.Typer(no_args_is_help=True, help="Measure a model.")


@evaluate.command()
def model(
    model: Annotated[str, typer.Option(help="A model's name, or its folder.")] = "segue-small",
    data: Annotated[Path, typer.Option(help="What `segue data` wrote.")] = TRAIN / "data",
    base: Annotated[
        Path | None, typer.Option(help="The base model.", show_default="the model's own")
    ] = None,
    cm: Annotated[Path, typer.Option(help="What `segue distill --method cm` wrote.")] = TRAIN
    / "cm"
    / "generator.safetensors",
    snapshots: Annotated[
        str | None,
        typer.Option(help="Students along one distillation, e.g. 'train/ctm/step-*.safetensors'."),
    ] = None,
    n: Annotated[
        int | None, typer.Option(min=2, help="Samples a row.", show_default="128, or 16")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = EVALUATION,
    seed: Seed = 0,
    musicnn: Annotated[
        Path | None,
        typer.Option(help="Unpacked PyPI package musicnn.", show_default="the installed one"),
    ] = None,
    examples: Annotated[
        int, typer.Option(min=0, help="Sound examples to keep, half best, half worst.")
    ] = 0,
    regions: Annotated[int, typer.Option(min=1, help="Regions they are chosen from.")] = 30,
    quick: Annotated[bool, typer.Option("--quick", help="Few of everything.")] = False,
    only_examples: Annotated[
        bool, typer.Option("--only-examples", help="Leave the figures out.")
    ] = False,
) -> None:
    """Write every figure of a model's card: tables, pictures, and sound examples if asked."""
    from segue.export.evaluation.model import EvaluateConfig

    if only_examples and not examples:
        raise SegueError(Code.BAD_REQUEST, "--only-examples needs --examples, e.g. --examples 10")
    with disk_trouble_said():
        if not only_examples:
            config = EvaluateConfig.sized(n, seed, quick=quick)
            _figures(_evaluation(model, data, base, cm, snapshots, out, musicnn, config))
        if examples:
            _show(_examples(model, data, out / "examples", examples, regions, seed))
    typer.echo(f"wrote {out}")


def _evaluation(
    model: str,
    data: Path,
    base: Path | None,
    cm: Path,
    snapshots: str | None,
    out: Path,
    musicnn: Path | None,
    config: EvaluateConfig,
) -> Evaluation:
    from glob import glob

    from segue.export.evaluation.measure import Bench
    from segue.export.evaluation.model import Evaluation, Weights
    from segue.export.evaluation.musicnn import EMBEDDING, Musicnn, find_weights
    from segue.export.loop import device_of
    from segue.export.packed import read_scale
    from segue.presets.library import model_folder
    from segue.server.ditto.onnx_decoder import OnnxDecoder
    from segue.server.ditto.weights import check_manifest

    folder, device = model_folder(model), device_of(None)
    check_manifest(folder)
    students = tuple(Path(path) for path in glob(snapshots)) if snapshots else ()
    if snapshots and not students:
        raise SegueError(Code.MISSING_FILE, f"no file fits --snapshots {snapshots}")
    generators = {"base": base or folder / "base.safetensors", "cm": cm}
    weights = Weights(
        decoder_onnx=folder / "decoder.onnx",
        decoder=folder / "decoder.safetensors",
        generators={**generators, "ctm": folder / "generator.safetensors"},
        snapshots=students,
    )
    network = Musicnn(find_weights(musicnn)).to(device)
    bench = Bench(network.embed, EMBEDDING, read_scale(data), out / "cache", typer.echo)
    decode = OnnxDecoder(weights.decoder_onnx)
    return Evaluation(weights, data, out, config, decode, bench, device)


def _figures(evaluation: Evaluation) -> None:
    for table in evaluation.run():
        _show(table)


def _show(table: Table) -> None:
    from rich.console import Console
    from rich.table import Table as Grid

    grid = Grid(*table.columns, title=table.title, caption=table.note)
    for row in table.texts():
        grid.add_row(*row)
    Console().print(grid, markup=False)


def _examples(model: str, data: Path, folder: Path, n: int, of: int, seed: int) -> Table:
    from segue.export.evaluation import sound_examples
    from segue.presets.vocabulary import Request, Result
    from segue.server.ditto.mel import MelConfig
    from segue.server.engine import Engine

    mel, engine = MelConfig(), Engine.load(model)

    def run(request: Request, path: Path) -> Result:
        result = engine.run(request, path, lambda progress: None)
        typer.echo(f"{request.id} of {of}: overlap error {result.loss_last:.4f}")
        return result

    chosen = sound_examples.regions(data, of, seed, mel)
    made = sound_examples.continue_all(chosen, run, folder, seed, mel)
    kept = sound_examples.keep_extremes(made, n)
    for example in kept:
        _draw(example)
    table = sound_examples.example_table(kept, len(made), seed)
    table.write(folder)
    return table


def _draw(example: Example) -> None:
    import soundfile

    from segue.bridge.cli.picture import Clip, draw

    audio, rate = soundfile.read(example.path, dtype="float32", always_2d=True)
    seam = (example.result.length_samples - example.result.new_samples) / rate
    clip = Clip(audio=audio, sample_rate=rate, seam_seconds=seam, overlap_seconds=1.0)
    title = f"{example.path.name}: {example.stretch.path.name}, overlap error {example.error:.4f}"
    draw(clip, title, example.path.with_suffix(".png"))


@evaluate.command()
def controls(
    model: Annotated[str, typer.Option(help="A model's name, or its folder.")] = "segue-small",
    data: Annotated[Path, typer.Option(help="What `segue data` wrote.")] = TRAIN / "data",
    base: Annotated[
        Path | None, typer.Option(help="The base model.", show_default="the model's own")
    ] = None,
    n: Annotated[
        int | None, typer.Option(min=2, help="Targets a task.", show_default="64, or 4")
    ] = None,
    ditto_n: Annotated[
        int | None,
        typer.Option(
            min=0, help="How many of them plain DITTO gets: minutes each.", show_default="4, or 0"
        ),
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option(help="Tasks to make clips of, e.g. 'intensity,melody'.", show_default="all"),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = EVALUATION,
    seed: Seed = 0,
    musicnn: Annotated[
        Path | None,
        typer.Option(help="Unpacked PyPI package musicnn.", show_default="the installed one"),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Few of everything.")] = False,
    only_clips: Annotated[
        bool, typer.Option("--only-clips", help="Make clips, leave the table for another run.")
    ] = False,
) -> None:
    """Measure each control on finished audio, beside uncontrolled samples and other means.

    Clips that are there are not made again: tasks can be shared out among runs with one --out.
    """
    from segue.export.evaluation.control_table import brief
    from segue.export.evaluation.controls import ControlsConfig

    chosen = tuple(name.strip() for name in tasks.split(",")) if tasks else ()
    config = ControlsConfig.sized(n, ditto_n, chosen, seed, quick=quick)
    with disk_trouble_said():
        evaluation = _controls(model, data, base, out, musicnn, config)
        evaluation.studio = replace(evaluation.studio, compiled=not quick)
        evaluation.make()
        if not only_clips:
            table, required = evaluation.run()
            _show(brief(table))
            _show(required)
    typer.echo(f"wrote {out}")


def _controls(
    model: str,
    data: Path,
    base: Path | None,
    out: Path,
    musicnn: Path | None,
    config: ControlsConfig,
) -> ControlsEvaluation:
    from segue.export.evaluation.control_clips import Studio
    from segue.export.evaluation.controls import ControlsEvaluation
    from segue.export.evaluation.measure import Bench
    from segue.export.evaluation.musicnn import EMBEDDING, Musicnn, find_weights
    from segue.export.packed import read_scale
    from segue.presets.library import model_folder
    from segue.server.engine import Engine

    folder, weights = model_folder(model), find_weights(musicnn)
    engine = Engine.load(model)
    studio = Studio.of(engine, folder, base, out / "clips", config.seed)
    if studio.base is None and config.ditto_n:
        typer.echo(f"left out: DITTO, there is no {base or folder / 'base.safetensors'}")
    network = Musicnn(weights).to(engine.torch_device)
    bench = Bench(network.embed, EMBEDDING, read_scale(data), out / "cache", typer.echo)
    return ControlsEvaluation(studio, bench, data, out, config, _ears(weights))


def _ears(musicnn: Path) -> Ears:
    from segue.export.evaluation.control_figures import Ears, own_score
    from segue.export.evaluation.heard_text import adherence, load_judge

    judge = load_judge(musicnn)
    return Ears(
        score=own_score(),
        judge=lambda text, audio, rate: adherence(text, audio, rate, judge),
    )
