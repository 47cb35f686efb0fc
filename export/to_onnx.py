"""`segue export`: the decoder as one ONNX file that turns a mel into audio by itself."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch

from segue.server.ditto.decoder import Decoder
from segue.server.ditto.onnx_decoder import INPUT, OUTPUT

OPSET = 20  # read by every ONNX Runtime we allow (1.20 and newer)


def export_decoder(model: Decoder, path: Path) -> None:
    """Write `model` to `path` with dynamic batch and frames, inverse STFT inside."""
    example = torch.zeros(2, model.mel.channels, 48) - 5
    frames, batch = torch.export.Dim("frames", min=8), torch.export.Dim("batch", min=1)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            model.eval(),
            (example,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: batch, 2: frames},),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.save(str(path), external_data=False)
