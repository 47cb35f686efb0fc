"""What one window is optimized for: all that is asked of it, as objectives of its noise."""

from __future__ import annotations

import math
from collections.abc import Set
from functools import partial
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from segue.presets.controls import Vary
from segue.server.ditto.canvas import Canvas
from segue.server.ditto.controls import intensity, outpaint
from segue.server.ditto.ctm import decode_multistep
from segue.server.ditto.guidance import lowered
from segue.server.ditto.level_limit import no_louder
from segue.server.ditto.optimize import Objective
from segue.server.wanted import NO_REGION_DB, Term

if TYPE_CHECKING:
    from segue.server.painter import Painter

POLISH_STEPS = 10  # the last ones, from t = 0.9: below, loudness and layout are settled
ITERATIONS = 70  # the paper's K
LOUDEST_DB = -12.0  # half a second of music that leaves room to mix it
ABOVE_KNOWN_DB = 3.0  # beside music that is louder
MOST_KEPT = 4  # steps whose activations fit in memory without checkpointing


def fitting_iterations(kinds: Set[str], *, polished: bool) -> int:
    """K for what is asked, by kind of place and features: more gain little where it is less.

    What is led while it is polished need not be found to the end; the card has the figures.
    """
    if polished and "vary" not in kinds:
        return 20
    return 50 if kinds in ({"structure"}, {"melody"}) else ITERATIONS


class Asked:
    """All that is asked of one window.

    `target` is the mel it has to match, (batch, channels, frames), `pinned` where, (frames,).
    """

    def __init__(
        self, painter: Painter, canvas: Canvas, start: int, wanted: tuple[Term, ...]
    ) -> None:
        frames = painter.noise.shape[1]
        made = canvas.made(start, frames)
        self._painter, self._wanted = painter, wanted
        self.target, self.pinned = canvas.cut(start, frames)
        self._canvas, self._start = canvas, start
        self._draw = canvas.drawing(start, frames)
        self._made = slice(canvas.head + made.start, canvas.head + made.stop)
        self._losses = [term.losses(made, canvas.mel.device) for term in wanted]
        curves = [term.curve for term in wanted if term.curve is not None]
        self._curves = [curve[made].to(canvas.mel.device) for curve in curves]

    @property
    def anything(self) -> bool:
        """Whether there is something to optimize for."""
        return self._painter.place is not None or bool(self._wanted)

    @property
    def kinds(self) -> set[str]:
        """Of the place and of all features."""
        place = self._painter.place
        return {term.kind for term in self._wanted} | ({place.kind} if place else set())

    @property
    def fitting_polish(self) -> int:
        """How many steps of polish leave what is asked for."""
        return 0 if isinstance(self._painter.place, Vary) else POLISH_STEPS

    @property
    def enough(self) -> float:
        """The loss at which the search may end: what is left where a clip is polished, its known
        music put back and the rest led to what is asked.
        """
        place = self._painter.place
        if isinstance(place, Vary) or not self._painter.polishes(self):
            return 0.0
        beside = place.weight * outpaint.ENOUGH if place else 0.0
        return beside + sum(term.weight * term.near for term in self._wanted)

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
        K, T = self._painter.iterations(self), settings.decode_steps
        if settings.surrogate in ("one", "full") or T == 1:
            return [self._through(T if settings.surrogate == "full" else 1)] * K
        if settings.surrogate == "corrected":
            return [self._through(1)] * (K - K // 2) + [Corrected(self._painter, self.loss)] * (
                K // 2
            )
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

    @property
    def most_db(self) -> Tensor:
        """How loud the half second around a frame may become, in dB (RMS), inf where a curve says
        it: (frames,).
        """
        scale, mel = self._painter.scale, self._painter.mel
        known = intensity.level(scale.restore(self.target[:1, :, self.pinned]), mel)
        most = max([LOUDEST_DB, *(known + ABOVE_KNOWN_DB).flatten().tolist()])
        free = self._canvas.mel.new_zeros(self._canvas.mel.shape[-1])
        for curve in self._curves:
            free[self._made][~curve.isnan()] = math.inf
        return most + self._canvas.part(free, self._start, self.target.shape[-1])

    def levelled(self, x_0: Tensor) -> Tensor:
        """The window nowhere louder than `most_db`, and as loud as its curve asks, by a gain as
        slow as the curve; where two ask, the search's compromise stays.

        Out of nothing and without a curve it is, as a whole, no louder than `NO_REGION_DB`.
        """
        scale, mel = self._painter.scale, self._painter.mel
        x_0 = no_louder(x_0, scale, mel, self.most_db)(x_0)
        if self._painter.place and not self._curves:
            return x_0
        drawn = self._draw(x_0)
        made = scale.restore(drawn[..., self._made])
        whole = drawn.new_zeros(drawn.shape[0], 1, drawn.shape[-1])
        if self._curves:
            whole[:, 0, self._made] = intensity.gain(made, self._agreed, mel)
        else:
            whole[:, 0, self._made] = intensity.limiting_gain(made, NO_REGION_DB, mel)
        gain = self._canvas.part(whole, self._start, x_0.shape[-1])
        return x_0 + gain / scale.std[:, None]

    @property
    def _agreed(self) -> Tensor:
        """The level that one curve alone asks of the frames made: (frames,), NaN elsewhere."""
        curves = torch.stack(self._curves)
        alone = (~curves.isnan()).sum(dim=0) == 1
        return curves.nansum(dim=0).where(alone, math.nan)

    def loss(self, x_0: Tensor) -> Tensor:
        """The weighted sum over all controls, of what is then the last clip heard: (batch,)."""
        self._painter.heard = partial(self.levelled, x_0.detach())
        return self._sum(x_0)

    def led(self, x_0: Tensor) -> Tensor:
        """An estimate nearer to all that is asked; a place alone needs none, it is put back."""
        return lowered(x_0, self._sum) if self._wanted else x_0

    def _sum(self, x_0: Tensor) -> Tensor:
        place, mel = self._painter.place, self._painter.mel
        total = x_0.new_zeros(len(x_0))
        if place is not None:
            level_is_drawn = any(term.kind == "intensity" for term in self._wanted)
            hold = 0.0 if level_is_drawn else outpaint.HOLD
            total = place.weight * outpaint.loss(x_0, self.target, self.pinned, hold)
        if self._wanted:
            log_mel = self._painter.scale.restore(self._draw(x_0)[..., self._made])
            assert log_mel.shape[-2] == mel.channels, "features read this mel"
            for term, loss in zip(self._wanted, self._losses, strict=True):
                missing = (loss(log_mel) - term.enough).clamp(min=0)
                total = total + term.weight * missing
        return total


class Corrected:
    """The loss after T steps, with the gradient that it has through the first alone.

    A straight-through estimate. The later steps run forwards only, and every other turn: in
    between they are taken to change the same. The losses of ten outpaints ended 0.4 % higher.
    """

    turns = 2

    def __init__(self, painter: Painter, loss: Objective) -> None:
        self._painter, self._loss = painter, loss
        self._ts = painter.steps(painter.settings.decode_steps)
        self._top = float(self._ts[0])
        self._turn = 0
        self._change: Tensor  # by the later steps

    def __call__(self, x: Tensor) -> Tensor:
        """The losses of noise (batch, channels, frames): (batch,)."""
        first = self._painter.search(x, x.new_full((len(x),), self._top))
        if self._turn == 0:
            self._change = self._later(x.detach(), first.detach())
        self._turn = (self._turn + 1) % self.turns
        return self._loss(first + self._change)

    @torch.no_grad()
    def _later(self, x: Tensor, first: Tensor) -> Tensor:
        known = [first]

        def denoiser(x_t: Tensor, t: Tensor) -> Tensor:
            return known.pop() if known else self._painter.search(x_t, t)

        return decode_multistep(denoiser, self._painter.schedule, x, self._ts) - first
