"""Discriminators that hear a decoder's audio as complex spectrograms, and what they make of it.

The losses are those of Vocos (arXiv 2306.00814): hinge and feature matching. The networks are
small ones after EnCodec's (arXiv 2210.13438): real and imaginary parts in, strides in frequency.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segue.export import ranks
from segue.export.loop import Stateful, autocast
from segue.presets.vocabulary import Code, SegueError

RESOLUTIONS = (512, 1024, 2048)
COMPRESSION = 0.4  # exponent of the magnitude, so that quiet partials are seen beside loud ones
PATCH = 8  # bins that enter together
SLOPE = 0.1
FEATURE_WEIGHT = 1.0
CLIP = 10.0
LEAST = 1e-8  # power below which a bin counts as silent: -80 dB


class SpectrogramDiscriminator(nn.Module):
    """Scores of patches of one spectrogram, with the features on the way to them."""

    def __init__(self, n_fft: int, width: int) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.window: Tensor
        window = torch.hann_window(n_fft)
        self.register_buffer("window", window * 2 / window.sum(), persistent=False)
        self.enter = nn.Linear(3 * PATCH, width)
        self.layers = nn.ModuleList(
            (
                nn.Conv2d(width, width, 3, stride=(2, 1), padding=1),
                nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
                nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            )
        )
        self.score = nn.Conv2d(2 * width, 1, 3, padding=1)

    def forward(self, signal: Tensor) -> list[Tensor]:
        """(rows, samples) to features (rows, channels, frames, bands) a layer, the scores last."""
        patches = self._spectrogram(signal).unflatten(-1, (-1, PATCH)).transpose(2, 3).flatten(3)
        x = F.leaky_relu(self.enter(patches).permute(0, 3, 1, 2), SLOPE)
        seen = [x]
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
            seen.append(x)
        return [*seen, self.score(x)]

    def _spectrogram(self, signal: Tensor) -> Tensor:
        """(rows, frames, 3, bins): compressed real and imaginary part, and where the bin lies."""
        with torch.autocast(signal.device.type, enabled=False):
            frames = signal.unfold(-1, self.n_fft, self.n_fft // 2) * self.window
            spectrum = torch.fft.rfft(frames)[..., 1:]
            real, imag = spectrum.real.contiguous(), spectrum.imag.contiguous()
            gain = 4 * (real * real + imag * imag + LEAST) ** ((COMPRESSION - 1) / 2)
            height = torch.linspace(-1, 1, real.shape[-1], device=signal.device)
            return torch.stack((real * gain, imag * gain, height.expand_as(real)), dim=2)


@dataclass(frozen=True)
class Verdict:
    """What the discriminators have to learn, and what the audio's maker has to."""

    discriminators: Tensor
    maker: Tensor


class Discriminators(nn.Module):
    """One a resolution; mid and side are rows like any other."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.each = nn.ModuleList(SpectrogramDiscriminator(n, width) for n in RESOLUTIONS)

    def forward(self, made: Tensor, real: Tensor) -> Verdict:
        """Compare (rows, samples) each; the losses are means over discriminators and rows."""
        own, makers = [], []
        for discriminator in self.each:
            seen = [x.float() for x in discriminator(torch.cat((made, real)))]
            of_made, of_real = seen[-1].chunk(2)
            own.append(F.relu(1 + of_made).mean() + F.relu(1 - of_real).mean())
            matching = torch.stack([feature_distance(x) for x in seen[:-1]]).mean()
            makers.append(F.relu(1 - of_made).mean() + FEATURE_WEIGHT * matching)
        return Verdict(torch.stack(own).mean(), torch.stack(makers).mean())


def feature_distance(features: Tensor) -> Tensor:
    """Mean distance of the first half of the rows, made, to the second, real; real's size is 1."""
    made, real = features.chunk(2)
    real = real.detach()
    return (made - real).abs().mean() / real.abs().mean().clamp(min=LEAST)


class Jury:
    """Discriminators, called with what is made and what is real, and what trains them."""

    def __init__(
        self,
        discriminators: nn.Module,
        rate: float,
        device: torch.device,
        betas: tuple[float, float] = (0.8, 0.9),
    ) -> None:
        self.discriminators = discriminators.to(device)
        self.rate = rate
        self.optimizer = torch.optim.AdamW(
            self.discriminators.parameters(), lr=rate, betas=betas, weight_decay=0.01
        )

    @property
    def companions(self) -> dict[str, Stateful]:
        """What a checkpoint has to keep."""
        return {"discriminators": self.discriminators, "jury": self.optimizer}

    def judge(self, made: Tensor, real: Tensor, factor: float) -> tuple[Tensor, Tensor]:
        """The pull on `made` (rows, ...) towards being taken for real, and the jury's loss.

        One forward pass serves both sides; then the jury takes a step of `factor` its rate.
        Raises SegueError before it does when its loss or gradient is not finite.
        """
        heard = made.detach().requires_grad_()
        with autocast(made.device):
            verdict = self.discriminators(heard, real)
        (pull,) = torch.autograd.grad(verdict.maker, heard, retain_graph=True)
        self.update(verdict.discriminators, factor)
        return pull, verdict.discriminators.detach()

    def update(self, loss: Tensor, factor: float) -> None:
        """One step down `loss`, at `factor` of the rate; raises SegueError as `judge` does."""
        parameters = list(self.discriminators.parameters())
        # Asked for these alone, autograd leaves out the way back to the audio.
        for p, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            p.grad = gradient
        ranks.average_gradients(parameters)
        size = nn.utils.clip_grad_norm_(parameters, CLIP)
        if not torch.isfinite(loss.detach() + size):
            text = (
                f"the discriminators' loss is {loss.item()}, their gradient {size.item()}: "
                f"training came apart; the last checkpoint is whole, go on from it with a lower "
                f"--rate"
            )
            raise SegueError(Code.BAD_REQUEST, text)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * factor
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
