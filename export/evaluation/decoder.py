"""How well the decoder speaks: real mels through it and back, beside Griffin-Lim alone."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from segue.export.evaluation.figures import Reference, distance
from segue.export.evaluation.measure import Bench, Decode, part
from segue.export.evaluation.tables import Cell, Table
from segue.server.ditto.decoder import Decoder
from segue.server.ditto.mel import MelConfig, filterbank, log_mel, mid_side
from segue.server.ditto.stft import Stft, fast_griffin_lim

ITERATIONS = 60
PARITY_CLIPS = 4


class GriffinLim:
    """The baseline: magnitudes from the mel without a network, random phases, 60 iterations.

    The magnitudes are the mel's least-squares inverse, nothing where that is negative. (Sharing
    each band out over its bins is a far weaker baseline: FAD 21 against 6 on 32 clips.)
    """

    def __init__(self, mel: MelConfig, seed: int = 0) -> None:
        bank = filterbank(mel, torch.device("cpu"))
        self.inverse = torch.linalg.pinv(bank.double()).float()
        self.stft = Stft(mel)
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, mel: np.ndarray) -> np.ndarray:
        """(2 * bands, frames) natural-log mel to (samples, 2)."""
        bands = torch.from_numpy(mel).unflatten(0, (2, -1)).exp()
        magnitude = (self.inverse @ bands).clamp(min=0).transpose(1, 2)  # (2, T, bins)
        angle = torch.rand(magnitude.shape, generator=self.generator) * 2 * math.pi
        wanted = self.stft.arranged(magnitude)
        start = self.stft.polar(wanted, self.stft.arranged(angle))
        signal = fast_griffin_lim(self.stft, start, ITERATIONS, lambda _: wanted)
        return mid_side(signal).T.contiguous().numpy()


def parity(decoder: Decoder, decode: Decode, mel: Tensor) -> float:
    """Largest |difference| between the decoder and its ONNX twin on one mel, 1 = full scale."""
    with torch.no_grad():
        expected = decoder(mel[None])[0].T.numpy()
    return float(np.abs(decode(mel.numpy()) - expected).max())


def decoder_table(
    bench: Bench,
    reference: Reference,
    n: int,
    decoder: tuple[Decode, str],
    twin: Decoder | None,
    note: str,
) -> Table:
    """FAD to the original audio of held-out clips, for the decoder and for Griffin-Lim alone.

    decoder: what decodes and the hash of its weights; twin: the same decoder in torch.
    """
    stretches = reference.stretches[:n]
    original = part(reference.held, slice(0, len(stretches)))

    def mels() -> Iterator[Tensor]:
        return (log_mel(stretch.read(bench.mel), bench.mel) for stretch in stretches)

    decode, digest = decoder
    rows: list[tuple[Cell, ...]] = []
    for name, way, key in (
        ("decoder", decode, digest),
        (f"Griffin-Lim, {ITERATIONS} iterations", GriffinLim(bench.mel), str(ITERATIONS)),
    ):
        made = bench.made(f"real mels, {name}", f"{key} {stretches}", mels, way, len(stretches))
        rows.append((name, len(stretches), distance(made, original), made["mel_error"].mean(), "-"))
    if twin is not None:
        first = zip(range(PARITY_CLIPS), mels(), strict=False)
        rows[0] = (*rows[0][:-1], max(parity(twin, decode, mel) for _, mel in first))
    columns = ("way", "n", "FAD to the original", "log-mel L1", "torch - ONNX, max")
    title = "Real held-out mels to audio"
    return Table(name="decoder", title=title, note=note, columns=columns, rows=tuple(rows))
