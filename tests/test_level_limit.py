"""What is gone over gets no louder than the search left it, against answers known in advance."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from segue.server.ditto.controls import intensity
from segue.server.ditto.level_limit import MARGIN_DB, no_louder
from segue.server.ditto.mel import MelConfig, MelScale

MEL = MelConfig()
GENERATOR = torch.Generator().manual_seed(0)
SCALE = MelScale(
    mean=torch.randn(MEL.channels, generator=GENERATOR) - 6,
    std=torch.rand(MEL.channels, generator=GENERATOR) + 0.5,
)
CLIP = 0.1 * torch.randn(1, MEL.channels, 200, generator=GENERATOR)


def louder(x_0: Tensor, db: Tensor | float) -> Tensor:
    """Turned up, in all bands; db: of each frame, or of all."""
    return x_0 + torch.as_tensor(db) / (2 * intensity.DB_PER_NEPER) / SCALE.std[:, None]


def limited(said: Tensor) -> Tensor:
    """What comes of it beside CLIP."""
    return no_louder(CLIP, SCALE, MEL)(said)


@pytest.mark.parametrize("db", [-20.0, 0.0, 1.0])
def test_what_is_within_the_limit_stays(db: float) -> None:
    """Quieter, the same, or a little louder."""
    said = louder(CLIP, db)
    assert torch.equal(limited(said), said)


def test_a_louder_clip_is_turned_down_and_keeps_its_colour() -> None:
    """To three dB above the loudest half second near by; all bands alike."""
    said = louder(CLIP, 30.0)
    made = limited(said)
    turned = (made - said) * SCALE.std[:, None]
    torch.testing.assert_close(turned, turned[:, :1].expand_as(turned))
    levels = intensity.level(SCALE.restore(made), MEL)
    assert float(levels.mean() - intensity.level(SCALE.restore(CLIP), MEL).mean()) == pytest.approx(
        MARGIN_DB, abs=0.3
    )


def test_a_swell_alone_is_turned_down() -> None:
    """Half a second away from it and more, nothing is touched."""
    swell = torch.zeros(200)
    swell[100:120] = 30.0
    said = louder(CLIP, swell)
    made = limited(said)
    touched = (made != said).any(dim=1)[0].nonzero()[:, 0]
    assert 100 - 22 <= int(touched.min()) < int(touched.max()) <= 119 + 22
    assert float((said - made).max()) > 0


def test_nothing_gets_louder_than_the_limit_for_all() -> None:
    """Not even where the clip is."""
    most = float(intensity.level(SCALE.restore(CLIP), MEL).mean()) - 20
    made = no_louder(CLIP, SCALE, MEL, torch.full((200,), most))(CLIP)
    levels = intensity.level(SCALE.restore(made), MEL)
    assert float(levels.mean()) == pytest.approx(most, abs=0.1)


@pytest.mark.parametrize("said", [1e30, float("inf"), -float("inf")])
def test_what_is_beyond_all_music_becomes_finite(said: float) -> None:
    """As a model that has learned nothing may say: turned down like the rest."""
    made = no_louder(CLIP, SCALE, MEL, torch.full((200,), -12.0))(torch.full_like(CLIP, said))
    assert torch.isfinite(made).all()
    assert float(intensity.level(SCALE.restore(made), MEL).max()) < -11.9
