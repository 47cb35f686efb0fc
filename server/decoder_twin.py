"""The decoder in torch, where a model has it beside the ONNX file: rough and at once, or with a
gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.clap import ClapBackend
from segue.server.ditto.decoder import Decoder
from segue.server.ditto.weights import load_decoder


def sketch(decoder: Path, device: torch.device) -> Callable[[Tensor], np.ndarray] | None:
    """The decoder's network without Griffin-Lim, where the model has it in torch.

    It is loaded when the first preview is asked for.
    """
    if not decoder.is_file():
        return None

    @cache
    def network() -> Decoder:
        loaded = load_decoder(decoder).to(device).requires_grad_(False)
        loaded.config = replace(loaded.config, griffin_lim=0)
        return loaded

    @torch.no_grad()
    def decode(mel: Tensor) -> np.ndarray:
        stereo: np.ndarray = network()(mel[None])[0].T.cpu().numpy()
        return stereo

    return decode


def hearing_clap(folder: Path, decoder: Path, device: torch.device) -> ClapBackend:
    """A CLAP that hears mels through the model's own decoder, which must be there in torch."""
    if not decoder.is_file():
        text = f"a CLAP hears audio, and there is no {decoder} to make it with in torch"
        raise SegueError(Code.NO_MODEL, f"{text}: export the model with its decoder")
    twin = load_decoder(decoder).to(device).requires_grad_(False)
    return ClapBackend.load(folder, twin).to(device)
