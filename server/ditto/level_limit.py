"""A limit on the levels of a mel: what the search has settled, and what is too loud in any clip."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from segue.server.ditto.controls import intensity
from segue.server.ditto.mel import MelConfig, MelScale

MARGIN_DB = 3.0
SMOOTH_SECONDS = 0.5
SANE = 20.0  # deviations of a band; further off is no music, and squares would overflow


def no_louder(
    x_0: Tensor, scale: MelScale, mel: MelConfig, most_db: Tensor | None = None
) -> Callable[[Tensor], Tensor]:
    """Of an estimate of x_0, the same nowhere louder than `most_db`, nor by more than MARGIN_DB
    louder than the clip x_0 is near there.

    A level is that of the half second around a frame; the clip's, and what it may be, are the
    highest of them within a quarter of a second. What is too loud has all its bands turned down by
    what is too much. Steps that each make a loud place a little louder would add up until it clips.
    x_0: (batch, channels, frames), normalised, as the estimates; most_db: (frames,).
    """
    frames = round(SMOOTH_SECONDS * mel.sample_rate / mel.hop / 2)  # on either side

    def levels(D_x: Tensor) -> Tensor:
        db = intensity.level(scale.restore(D_x), mel)
        return F.avg_pool1d(db, 2 * frames + 1, 1, frames, count_include_pad=False)

    def highest(db: Tensor) -> Tensor:
        return F.max_pool1d(db, 2 * frames + 1, 1, frames)

    limit = highest(levels(x_0)) + MARGIN_DB
    if most_db is not None:
        limit = limit.minimum(highest(most_db[None]))

    def limited(D_x: Tensor) -> Tensor:
        D_x = D_x.clamp(-SANE, SANE)
        too_much = (levels(D_x) - limit).clamp(min=0) / (2 * intensity.DB_PER_NEPER)
        return D_x - too_much[:, None] / scale.std[:, None]

    return limited
