"""`segue export`: networks as ONNX files that need nothing else, the same bytes every time."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from segue.server.ditto.decoder import Decoder
from segue.server.ditto.mel import MelScale
from segue.server.ditto.network import Network
from segue.server.ditto.onnx_decoder import INPUT, OUTPUT

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 20  # read by every ONNX Runtime we allow (1.20 and newer)
SMALL = 4096  # elements; what is smaller is not worth a Cast
GENERATOR_OUTPUTS = ("D_x", "log_mel")


def export_decoder(model: Decoder, path: Path) -> None:
    """Write `model` to `path` with dynamic batch and frames, inverse STFT inside."""
    example = torch.zeros(2, model.mel.channels, 48) - 5
    frames, batch = torch.export.Dim("frames", min=8), torch.export.Dim("batch", min=1)
    _write(model.eval(), {INPUT: (example, {0: batch, 2: frames})}, (OUTPUT,), path)


class OneStep(nn.Module):
    """The generator with its scale: what it makes of noise, and that as the decoder takes it."""

    def __init__(self, network: Network, scale: MelScale) -> None:
        super().__init__()
        self.network, self.scale = network, scale

    def forward(
        self, x_T: Tensor, t: Tensor, tags: Tensor | None = None, w: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """D_x, normalised, and natural-log mel, (batch, channels, frames) each."""
        D_x = self.network(x_T, t, tags, w)
        return D_x, self.scale.restore(D_x)


def generator_inputs(network: Network) -> dict[str, list[int | str]]:
    """Inputs of `generator.onnx` and their shapes: tags and w only if the network knows them."""
    config = network.config
    shapes: dict[str, list[int | str]] = {
        "x_T": ["batch", config.channels, config.frames],
        "t": ["batch"],
    }
    if config.tags:
        shapes["tags"] = ["batch", len(config.tags)]
    if config.guided:
        shapes["w"] = ["batch"]
    return shapes


def export_generator(network: Network, scale: MelScale, path: Path) -> None:
    """Write one step of the generator to `path`, its batch dynamic, for other runtimes."""
    batch = torch.export.Dim("batch", min=1)
    inputs = {
        name: (torch.full([2 if d == "batch" else int(d) for d in shape], 0.5), {0: batch})
        for name, shape in generator_inputs(network).items()
    }
    _write(OneStep(network, scale).eval(), inputs, GENERATOR_OUTPUTS, path)


def _write(
    model: nn.Module,
    inputs: dict[str, tuple[Tensor, dict[int, Any]]],
    outputs: Sequence[str],
    path: Path,
) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            model,
            kwargs={_argument(model, name): example for name, (example, _) in inputs.items()},
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes={_argument(model, name): dims for name, (_, dims) in inputs.items()},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    _forget_origin(proto)
    _halve(proto)
    path.write_bytes(proto.SerializeToString(deterministic=True))


def _argument(model: nn.Module, name: str) -> str:
    """What `forward` calls the input."""
    return "mel" if isinstance(model, Decoder) else name


def _forget_origin(proto: ModelProto) -> None:
    """Drop what the exporter tells of the source: its lines and paths on this machine."""
    del proto.metadata_props[:], proto.graph.metadata_props[:]
    for part in (*proto.graph.node, *proto.graph.value_info, *proto.graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    for value in (*proto.graph.input, *proto.graph.output):
        del value.metadata_props[:]


def _halve(proto: ModelProto) -> None:
    """Store as float16 every large table that float16 holds exactly, and cast it when loaded.

    Nothing is rounded here: weights that came from a float16 file fit, all others stay.
    """
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for table in proto.graph.initializer:
        if table.data_type != TensorProto.FLOAT or np.prod(table.dims) < SMALL:
            continue
        full = numpy_helper.to_array(table)
        with np.errstate(over="ignore"):
            half = full.astype(np.float16)
        if (half == full).all():
            name, stored = table.name, f"{table.name}.half"
            table.CopyFrom(numpy_helper.from_array(half, stored))
            casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
