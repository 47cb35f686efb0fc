"""A whole model with random weights, small enough to make and run in every test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from segue.export.to_onnx import export_decoder
from segue.presets.vocabulary import Region, Request, Settings
from segue.server.ditto.decoder import Decoder, DecoderConfig
from segue.server.ditto.mel import MelConfig, MelScale
from segue.server.ditto.network import NetworkConfig, SegueSmall
from segue.server.ditto.weights import save_generator, write_manifest

NETWORK = NetworkConfig(width=32, depth=1, heads=2, conv_width=16, conv_blocks=1)
TAGS = ("calm", "drums", "piano")
SCALE = MelScale(torch.full((256,), -5.0), torch.full((256,), 1.5))


STUDENT = replace(NETWORK, tags=TAGS, guided=True)


def random_network(seed: int = 0, config: NetworkConfig = STUDENT) -> SegueSmall:
    """A network whose every weight is drawn, so that its output depends on its inputs."""
    generator = torch.Generator().manual_seed(seed)
    network = SegueSmall(config)
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.1)
    return network.requires_grad_(False)


def random_decoder() -> Decoder:
    """A decoder with the default initialization and two Griffin-Lim iterations."""
    torch.manual_seed(0)
    return Decoder(DecoderConfig(width=16, depth=1, griffin_lim=2), MelConfig(), SCALE).eval()


def write_tiny_model(folder: Path) -> Path:
    """Generator, decoder and manifest, as `Engine.load` wants them."""
    folder.mkdir(parents=True, exist_ok=True)
    save_generator(folder / "generator.safetensors", random_network(), SCALE, {})
    export_decoder(random_decoder(), folder / "decoder.onnx")
    write_manifest(folder)
    return folder


def quick_request(path: Path, length_seconds: float, new_seconds: float, seed: int = 1) -> Request:
    """A request of three iterations."""
    return Request(
        id="job",
        region=Region(path=str(path), start_seconds=0.0, length_seconds=length_seconds),
        new_seconds=new_seconds,
        seed=seed,
        settings=Settings(iterations=3),
    )
