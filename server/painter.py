"""Filling one window: noise optimized through the model against all that is asked, then decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from segue.presets.controls import Place, Vary
from segue.presets.vocabulary import Settings
from segue.server.asked import Asked, fitting_iterations
from segue.server.ditto.canvas import Canvas
from segue.server.ditto.ctm import Denoiser, decode_multistep
from segue.server.ditto.level_limit import no_louder
from segue.server.ditto.mel import MelConfig, MelScale
from segue.server.ditto.optimize import Optimized, OptStep, Stop, Waves, optimize
from segue.server.ditto.repaint import repaint
from segue.server.ditto.schedule import Schedule, add_noise, even_grid, grid
from segue.server.wanted import Term

OnStep = Callable[[OptStep], None]
Due = Callable[[float], bool]  # whether that share of a window's time, 0 to 1, is up
LEARNING_RATE = {"waves": 0.03, "elements": 0.01}  # DITTO's is half the latter
BASE_STEPS = 20  # of the base model, from noise to music
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
    """Fills the windows of one job, in order; `found` keeps the noise of each, of one that is
    not done the best so far. `warm` is what the slot's last job had found.

    `search` is what the noise is optimized through, `denoiser` what it is decoded with, `base`
    what polishes that: the student's x_0, noised, goes down the last steps of its teacher, the
    known frames put back at each and each estimate led to what is asked. Optimized noise is no
    longer quite the noise that models know, and its clips are poorer than random ones; polished
    they are richer, and nearer to what is known. A variation is not polished, unless
    `settings.polish` says otherwise. `heard` gives what the last iteration made of its window,
    (batch, channels, frames).
    """

    denoiser: Denoiser
    search: Denoiser
    base: Denoiser | None = None
    schedule: Schedule
    scale: MelScale
    settings: Settings
    place: Place | None
    noise: Noise
    warm: list[Tensor]
    mel: MelConfig = field(default_factory=MelConfig)
    found: list[Tensor] = field(default_factory=list)
    heard: Callable[[], Tensor] | None = None

    def window(
        self,
        canvas: Canvas,
        start: int,
        wanted: tuple[Term, ...],
        due: Due,
        on_step: OnStep | None = None,
    ) -> Optimized:
        """Fill the canvas from frame `start` on; returns how the optimization went."""
        asked = Asked(self, canvas, start, wanted)
        number, first = len(self.found), self._first_noise()
        self.found.append(first)
        told: list[OptStep] = []

        def tell(step: OptStep) -> None:
            self.found[number] = step.x_T
            told[:] = [step]
            if on_step is not None:
                on_step(step)

        def tell_again() -> None:
            """While it is polished, or a long polish could not be stopped."""
            if on_step is not None:
                on_step(told[0])

        twice = isinstance(self.place, Vary) and bool(wanted)
        part = 1 / (1 + twice)
        optimized = self._optimize(asked, first, lambda: due(part), _part(tell, 0, 1 + twice))
        x_T = optimized.x_T
        if isinstance(self.place, Vary):
            x_T = self._stirred(x_T, self.place.amount)
        if twice:
            optimized = self._optimize(asked, x_T, lambda: due(1), _part(tell, 1, 2))
            x_T = optimized.x_T
        self.found[number] = x_T
        with torch.no_grad():
            canvas.fill(self._decoded(x_T, asked, tell_again), start)
        return optimized

    def iterations(self, asked: Asked) -> int:
        """K: as given, or what fits."""
        fitting = fitting_iterations(asked.kinds, polished=self.polishes(asked))
        return self.settings.iterations or fitting

    def polishes(self, asked: Asked) -> bool:
        """Whether what is found is gone over by the base."""
        return self.base is not None and self._polish_steps(asked) > 0

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
        on_step: OnStep,
    ) -> Optimized:
        if not asked.anything:
            nothing = OptStep(0, 1, 0.0, x_T)
            on_step(nothing)
            return Optimized(x_T, x_T.new_zeros(len(x_T)), (nothing.loss,))
        s = self.settings
        space = s.space or asked.fitting_space
        enough = asked.enough if s.target_loss is None else s.target_loss
        in_waves = space == "waves"
        return optimize(
            asked.objectives(),
            x_T,
            learning_rate=s.learning_rate or LEARNING_RATE[space],
            waves=Waves(self.mel.bands, x_T.shape[-1], x_T.device) if in_waves else None,
            stop=Stop(patience=s.patience, target=enough, now_due=due),
            on_step=on_step,
        )

    def _decoded(self, x_T: Tensor, asked: Asked, on_polish: Callable[[], None]) -> Tensor:
        """T steps a row, polished, with the row's own noise: (batch, channels, frames)."""
        ts = self.steps(self.settings.decode_steps)
        rows = [
            decode_multistep(
                self.denoiser,
                self.schedule,
                row,
                ts,
                gamma=self.settings.gamma,
                generator=generator,
            )
            for row, generator in zip(x_T.split(1), self.noise.generators, strict=True)
        ]
        return asked.levelled(self._polished(torch.cat(rows), asked, on_polish))

    def _polished(self, x_0: Tensor, asked: Asked, on_polish: Callable[[], None]) -> Tensor:
        if self.base is None or not self.polishes(asked):
            return x_0
        steps = self._polish_steps(asked)
        ts = grid(self.schedule, BASE_STEPS)[-steps - 1 :]
        x_t = add_noise(self.schedule, x_0, self.noise.draw(), float(ts[0]))
        pinned = asked.pinned & (not isinstance(self.place, Vary))  # or it would not be varied
        base, draw = self.base, self.noise.draw
        limited = no_louder(x_0, self.scale, self.mel, asked.most_db)

        def lead(D_x: Tensor) -> Tensor:
            on_polish()
            return limited(asked.led(D_x))

        def denoiser(x_t: Tensor, t: Tensor) -> Tensor:
            return limited(base(x_t, t))

        return repaint(denoiser, self.schedule, x_t, asked.target, pinned, ts, draw, lead)

    def _polish_steps(self, asked: Asked) -> int:
        given = self.settings.polish
        return given if given is not None else asked.fitting_polish


def _part(on_step: OnStep, part: int, parts: int) -> OnStep:
    """Tell of one of several optimizations in a row as of a part of one."""
    return lambda step: on_step(
        replace(
            step,
            iteration=step.iteration + part * step.iterations,
            iterations=parts * step.iterations,
        )
    )


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
