"""Filling one window: noise optimized through the model against all that is asked, then decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from segue.presets.controls import Place, Vary
from segue.presets.vocabulary import Settings
from segue.server.ditto.canvas import Canvas
from segue.server.ditto.controls import outpaint
from segue.server.ditto.ctm import Denoiser, decode_multistep
from segue.server.ditto.mel import MelConfig, MelScale
from segue.server.ditto.optimize import Objective, Optimized, OptStep, Stop, Waves, optimize
from segue.server.ditto.schedule import Schedule, even_grid, grid
from segue.server.wanted import Term

MOST_KEPT = 4  # steps whose activations fit in memory without checkpointing
OnStep = Callable[[OptStep], None]
LEARNING_RATE = {"waves": 0.03, "elements": 0.005}  # DITTO's is the latter
SAME = 0.98  # cosine of two mels that nobody would call different


@dataclass(frozen=True, kw_only=True)
class Noise:
    """One generator a batch row, so that a row is the same whichever rows stand beside it."""

    generators: list[torch.Generator]
    shape: tuple[int, int]
    device: torch.device

    @classmethod
    def of(cls, seeds: Iterable[int], shape: tuple[int, int], device: torch.device) -> Noise:
        """A row for each seed. shape: (channels, frames)."""
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        return cls(generators=generators, shape=shape, device=device)

    def draw(self) -> Tensor:
        """Unit noise, (batch, channels, frames)."""
        rows = [torch.randn(self.shape, generator=g) for g in self.generators]
        return torch.stack(rows).to(self.device)


@dataclass(kw_only=True)
class Painter:
    """Fills the windows of one job, in order; `found` keeps the noise of each.

    `search` is what the noise is optimized through, `denoiser` what it is decoded with. `heard`
    is what the last iteration made of its window, (batch, channels, frames), or empty.
    """

    denoiser: Denoiser
    search: Denoiser
    schedule: Schedule
    scale: MelScale
    settings: Settings
    place: Place | None
    noise: Noise
    warm: list[Tensor]
    mel: MelConfig = field(default_factory=MelConfig)
    found: list[Tensor] = field(default_factory=list)
    heard: Tensor = field(default_factory=lambda: torch.empty(0))

    def window(
        self,
        canvas: Canvas,
        start: int,
        wanted: tuple[Term, ...],
        due: Callable[[], bool],
        on_step: OnStep | None = None,
    ) -> Optimized:
        """Fill the canvas from frame `start` on; returns how the optimization went."""
        asked = Asked(self, canvas, start, wanted)
        twice = isinstance(self.place, Vary) and bool(wanted)
        optimized = self._optimize(asked, self._first_noise(), due, _part(on_step, 0, 1 + twice))
        x_T = optimized.x_T
        if isinstance(self.place, Vary):
            x_T = self._stirred(x_T, self.place.amount)
        if twice:
            optimized = self._optimize(asked, x_T, due, _part(on_step, 1, 2))
            x_T = optimized.x_T
        self.found.append(x_T)
        with torch.no_grad():
            canvas.fill(self._decoded(x_T), start)
        return optimized

    def steps(self, count: int) -> Tensor:
        """The levels of M or T steps."""
        full = self.settings.surrogate == "full"
        return (grid if full else even_grid)(self.schedule, count)

    def _first_noise(self) -> Tensor:
        """Fresh noise, or what the slot's last job found for this window."""
        fresh = self.noise.draw()
        warm = self.warm[len(self.found)] if len(self.found) < len(self.warm) else None
        return warm if warm is not None and warm.shape == fresh.shape else fresh

    def _stirred(self, x_T: Tensor, amount: float) -> Tensor:
        """Noise of the same spread, `amount` of it drawn afresh."""
        return (1 - amount**2) ** 0.5 * x_T + amount * self.noise.draw()

    def _optimize(
        self,
        asked: Asked,
        x_T: Tensor,
        due: Callable[[], bool],
        on_step: OnStep | None,
    ) -> Optimized:
        if not asked.anything:
            nothing = OptStep(0, 1, 0.0)
            if on_step is not None:
                on_step(nothing)
            return Optimized(x_T, x_T.new_zeros(len(x_T)), (nothing.loss,))
        s = self.settings
        space = s.space or asked.fitting_space
        in_waves = space == "waves"
        return optimize(
            asked.objectives(),
            x_T,
            learning_rate=s.learning_rate or LEARNING_RATE[space],
            waves=Waves(self.mel.bands, x_T.shape[-1], x_T.device) if in_waves else None,
            stop=Stop(patience=s.patience, target=s.target_loss or 0.0, now_due=due),
            on_step=on_step,
        )

    def _decoded(self, x_T: Tensor) -> Tensor:
        """T steps a row, with the row's own noise: (batch, channels, frames)."""
        ts = self.steps(self.settings.decode_steps)
        rows = zip(x_T.split(1), self.noise.generators, strict=True)
        decoded = [
            decode_multistep(
                self.denoiser,
                self.schedule,
                row,
                ts,
                gamma=self.settings.gamma,
                generator=generator,
            )
            for row, generator in rows
        ]
        return torch.cat(decoded)


def _part(on_step: OnStep | None, part: int, parts: int) -> OnStep | None:
    """Tell of one of several optimizations in a row as of a part of one."""
    if on_step is None:
        return None
    tell = on_step
    return lambda step: tell(
        OptStep(step.iteration + part * step.iterations, parts * step.iterations, step.loss)
    )


class Asked:
    """All that is asked of one window, as objectives of its starting noise."""

    def __init__(
        self, painter: Painter, canvas: Canvas, start: int, wanted: tuple[Term, ...]
    ) -> None:
        self._painter, self._canvas, self._start, self._wanted = painter, canvas, start, wanted
        self._target, self._pinned = canvas.cut(start, painter.noise.shape[1])
        self._made = canvas.made(start, painter.noise.shape[1])

    @property
    def anything(self) -> bool:
        """Whether there is something to optimize for."""
        return self._painter.place is not None or bool(self._wanted)

    @property
    def fitting_space(self) -> Literal["waves", "elements"]:
        """Waves reach every control sooner and hold an overlap better, but a melody in waves is
        a few bare tones where one in elements is music.
        """
        return "elements" if any(term.kind == "melody" for term in self._wanted) else "waves"

    def objectives(self) -> list[Objective]:
        """One an iteration: the same M = 1 surrogate; M = 1, 2, 4 (DITTO-2 section 5.3), but never
        more than the T steps it will be decoded with; M = 1, then corrected; or M = T, as DITTO.
        """
        settings = self._painter.settings
        K, T = settings.iterations, settings.decode_steps
        if settings.surrogate in ("one", "full") or T == 1:
            return [self._through(T if settings.surrogate == "full" else 1)] * K
        if settings.surrogate == "corrected":
            return [self._through(1)] * (K - K // 2) + [self._corrected(T)] * (K // 2)
        many = {M: self._through(M) for M in {1, min(2, T), min(4, T)}}
        later, last = 3 * K // 8, K // 8
        return [many[1]] * (K - later - last) + [many[min(2, T)]] * later + [many[min(4, T)]] * last

    def _through(self, M: int) -> Objective:
        """Checkpointed a step, as in DITTO, when there are many."""
        p = self._painter
        ts = p.steps(M)

        def denoiser(x_t: Tensor, t: Tensor) -> Tensor:
            D_x: Tensor = checkpoint(p.search, x_t, t, use_reentrant=False)
            return D_x

        walk = denoiser if M > MOST_KEPT else p.search
        return lambda x: self.loss(decode_multistep(walk, p.schedule, x, ts))

    def _corrected(self, T: int) -> Objective:
        """The loss after T steps, with the gradient that it has through the first alone.

        A straight-through estimate. The later steps run forwards only, and every other time: in
        between they are taken to change the same. The losses of ten outpaints ended 0.4 % higher.
        """
        p = self._painter
        ts = p.steps(T)
        changed: list[Tensor] = []  # by the later steps, for the next call

        def objective(x: Tensor) -> Tensor:
            first = p.search(x, ts[:1].to(x).expand(len(x)))
            if changed:
                return self.loss(first + changed.pop())
            known = [first.detach()]
            with torch.no_grad():
                x_0 = decode_multistep(
                    lambda x_t, t: known.pop() if known else p.search(x_t, t),
                    p.schedule,
                    x.detach(),
                    ts,
                )
            changed.append((x_0 - first).detach())
            return self.loss(first + changed[-1])

        return objective

    def loss(self, x_0: Tensor) -> Tensor:
        """The weighted sum over all controls: (batch,)."""
        self._painter.heard = x_0.detach()
        place, mel = self._painter.place, self._painter.mel
        total = x_0.new_zeros(len(x_0))
        if place is not None:
            level_is_drawn = any(term.kind == "intensity" for term in self._wanted)
            hold = 0.0 if level_is_drawn else outpaint.HOLD
            total = place.weight * outpaint.loss(x_0, self._target, self._pinned, hold)
        if self._wanted:
            made, head = self._made, self._canvas.head
            drawn = self._canvas.drawn(x_0, self._start)
            log_mel = self._painter.scale.restore(drawn[..., head + made.start : head + made.stop])
            assert log_mel.shape[-2] == mel.channels, "features read this mel"
            for term in self._wanted:
                missing = (term.loss(log_mel, made) - term.enough).clamp(min=0)
                total = total + term.weight * missing
        return total


def best_that_differ(losses: Tensor, mels: Tensor, count: int) -> list[int]:
    """Up to `count` rows by loss (batch,), passing over those that hardly differ from a chosen one.

    mels: (batch, channels, frames), normalised.
    """
    flat = F.normalize(mels.flatten(1), dim=1)
    chosen: list[int] = []
    for row in losses.argsort().tolist():
        if len(chosen) < count and all(float(flat[row] @ flat[c]) < SAME for c in chosen):
            chosen.append(row)
    return chosen
