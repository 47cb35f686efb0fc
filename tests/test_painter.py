"""What a window is optimized for, and how, with a denoiser that is a number."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from segue.presets.controls import Inpaint, Loop, Outpaint, Place, Vary
from segue.presets.vocabulary import Settings
from segue.server import painter
from segue.server.asked import LOUDEST_DB, Asked
from segue.server.ditto.canvas import Canvas
from segue.server.ditto.controls import intensity, outpaint
from segue.server.ditto.ctm import decode_multistep
from segue.server.ditto.mel import MelScale
from segue.server.ditto.optimize import Optimized, Stop
from segue.server.ditto.schedule import RectifiedFlow, even_grid, grid
from segue.server.painter import Noise, Painter
from segue.server.wanted import NO_REGION_DB, Term

SCHEDULE = RectifiedFlow()


def factor(t: Tensor | float) -> Tensor | float:
    """What the denoiser multiplies by."""
    return 0.9 - 0.5 * t


def painting(settings: Settings) -> tuple[Painter, Canvas]:
    """Two seeds, a second known."""

    def denoiser(x_t: Tensor, t: Tensor) -> Tensor:
        return x_t * factor(t[:, None, None])

    noise = Noise.of([1, 2], (256, 512), torch.device("cpu"))
    made = Painter(
        denoiser=denoiser,
        search=denoiser,
        schedule=SCHEDULE,
        scale=MelScale(torch.zeros(256), torch.ones(256)),
        settings=settings,
        place=Outpaint(),
        noise=noise,
        warm=[],
    )
    known = torch.arange(512) < 86
    return made, Canvas(noise.draw(), 86, 426, pinned=known, kept=known.clone())


def test_a_corrected_loss_is_that_of_the_clip() -> None:
    """Its value is that after T steps, its gradient that of the first step alone."""
    made, canvas = painting(Settings(iterations=3, decode_steps=3))
    objectives = Asked(made, canvas, 0, ()).objectives()
    x_T = made.noise.draw().requires_grad_()
    plain, corrected = objectives[0](x_T), objectives[-1](x_T)
    (gradient,) = torch.autograd.grad(corrected.sum(), x_T)

    x_0 = decode_multistep(made.denoiser, SCHEDULE, x_T.detach(), even_grid(SCHEDULE, 3))
    loss = outpaint.loss(x_0.requires_grad_(), canvas.mel, canvas.pinned)
    (outer,) = torch.autograd.grad(loss.sum(), x_0)
    torch.testing.assert_close(corrected, loss)
    torch.testing.assert_close(gradient, outer * factor(SCHEDULE.t_max))
    assert len(objectives) == 3
    assert objectives[0] is objectives[1]
    assert (plain - corrected).abs().min() > 0.01


def test_a_correction_serves_twice() -> None:
    """The second call takes what the later steps changed at the first; the third asks them anew."""
    made, canvas = painting(Settings(iterations=2, decode_steps=3))
    calls: list[float] = []
    search = made.search

    def counted(x_t: Tensor, t: Tensor) -> Tensor:
        calls.append(float(t[0]))
        return search(x_t, t)

    made.search = counted
    corrected = Asked(made, canvas, 0, ()).objectives()[-1]
    x_T = made.noise.draw()
    first, second, third = (corrected(x) for x in (x_T, x_T, 2 * x_T))
    torch.testing.assert_close(first, second)
    assert len(calls) == 3 + 1 + 3
    ts = even_grid(SCHEDULE, 3)
    x_0 = decode_multistep(made.denoiser, SCHEDULE, 2 * x_T, ts)
    torch.testing.assert_close(third, outpaint.loss(x_0, canvas.mel, canvas.pinned))


def test_one_step_needs_no_correction() -> None:
    """All iterations look at the same, so that the best of them is one search's."""
    made, canvas = painting(Settings(iterations=4, decode_steps=1))
    assert len(set(Asked(made, canvas, 0, ()).objectives())) == 1


@pytest.mark.parametrize(
    ("place", "polish", "terms", "levels"),
    [
        (Outpaint(), None, 0, 10),
        (Inpaint(), None, 0, 10),
        (Loop(), None, 0, 10),
        (Outpaint(), 0, 0, 0),
        (Outpaint(), 3, 0, 3),
        (None, None, 1, 10),
        (None, 3, 1, 3),
        (Vary(), None, 0, 0),
        (Vary(), 3, 0, 3),
        (None, None, 0, 10),
    ],
)
def test_what_was_found_is_polished(
    place: Place | None, polish: int | None, terms: int, levels: int
) -> None:
    """By the base's last steps of 20, all rows at once, but for variations unless asked to."""
    made, canvas = painting(Settings(iterations=1, polish=polish))
    made.place = place
    asked: list[float] = []

    def base(x_t: Tensor, t: Tensor) -> Tensor:
        asked.append(float(t[0]))
        return torch.full_like(x_t, -9.0)

    made.base = base
    term = Term(
        kind="level",
        weight=1.0,
        enough=math.inf,  # met: led nowhere
        near=0.0,
        losses=lambda made, device: lambda mel: mel.sum(dim=(1, 2)),
    )
    made.window(canvas, 0, (term,) * terms, lambda share: False)
    assert asked == pytest.approx(grid(SCHEDULE, 20)[20 - levels : 20].float().tolist())
    assert bool((canvas.mel[..., 90:] == -9).all()) is (levels > 0)


def sounding(level: float, near: float = 0.0) -> Term:
    """A feature that is met where every band says `level`, and `near` from there near enough."""
    return Term(
        kind="structure",
        weight=1.0,
        enough=0.0,
        near=near,
        losses=lambda made, device: lambda mel: (mel - level).abs().mean(dim=(1, 2)),
    )


def empty_canvas() -> Canvas:
    """A window of two seeds with nothing known."""
    nothing = torch.zeros(512, dtype=torch.bool)
    return Canvas(torch.zeros(2, 256, 512), 0, 512, pinned=nothing, kept=nothing.clone())


def test_polish_is_led_to_what_is_asked() -> None:
    """Where a base says 0.3 and 0.2 is asked, it is 0.2 in the end."""
    made, _ = painting(Settings(iterations=1))
    made.place = None
    made.scale = MelScale(torch.full((256,), -9.0), torch.ones(256))
    made.base = lambda x_t, t: torch.full_like(x_t, 0.3)
    canvas = empty_canvas()
    made.window(canvas, 0, (sounding(-8.8),), lambda share: False)
    torch.testing.assert_close(canvas.mel, torch.full((2, 256, 512), 0.2))


def test_what_is_known_is_led_with_it() -> None:
    """An estimate comes nearer to the music beside it as well, but not where that is all."""
    made, canvas = painting(Settings(iterations=1))
    x_0 = torch.full((2, 256, 512), 0.3)
    led = Asked(made, canvas, 0, (sounding(0.2),)).led(x_0)
    before, after = (outpaint.overlap_error(x, canvas.mel, canvas.pinned) for x in (x_0, led))
    assert bool((after < before).all())
    assert torch.equal(Asked(made, canvas, 0, ()).led(x_0), x_0)


def level_term(level: float, until: int | None = None, since: int = 0) -> Term:
    """A level in dB, from frame `since` of the gap on, as far as `until`."""
    curve = torch.full((512,), level)
    curve[until:] = math.nan if until is not None else level
    curve[:since] = math.nan
    return Term(
        kind="intensity",
        weight=1.0,
        enough=0.0,
        near=0.0,
        losses=lambda made, device: lambda mel: mel.sum(dim=(1, 2)),
        curve=curve,
    )


@pytest.mark.parametrize(
    ("place", "curves", "polished"),
    [(Outpaint(), 1, True), (None, 1, True), (Vary(), 1, False), (Outpaint(), 2, True)],
)
def test_a_level_is_set_in_the_end(place: Place | None, curves: int, polished: bool) -> None:
    """By a gain, where it is asked in the new frames, after the polish; of two curves the
    compromise stays. A neper is a deviation here.
    """
    found = []
    for nepers in (0, 1):
        made, canvas = painting(Settings(iterations=1))
        made.scale = MelScale(torch.full((256,), -6.0), torch.ones(256))
        made.place = place
        made.base = lambda x_t, t: torch.zeros_like(x_t)
        level = -36 + nepers * 2 * intensity.DB_PER_NEPER
        terms = (level_term(level, 300),) * curves
        assert (Asked(made, canvas, 0, terms).fitting_polish > 0) is polished
        made.window(canvas, 0, terms, lambda share: False)
        found.append(canvas.mel)
    change = found[1] - found[0]
    expected = torch.zeros_like(change)
    expected[..., 86:386] = 1.0 if curves == 1 else 0.0
    torch.testing.assert_close(change, expected, atol=1e-5, rtol=0)
    assert bool((found[0][..., 386:] == 0).all()) is polished


@pytest.mark.parametrize("place", [Outpaint(), Vary()])
def test_each_of_two_curves_is_set_where_it_is_the_only_one(place: Place) -> None:
    """One after the other, or where the second begins before the first has ended."""
    made, canvas = painting(Settings(iterations=1, polish=0))
    made.scale = MelScale(torch.full((256,), -6.0), torch.ones(256))
    made.place = place
    x_0 = torch.zeros(2, 256, 512)
    one, two = level_term(-30.0, 200), level_term(-40.0, since=150)
    first, second = (Asked(made, canvas, 0, (term,)).levelled(x_0) for term in (one, two))
    both = Asked(made, canvas, 0, (one, two)).levelled(x_0)
    ends = (slice(86 + 0, 86 + 150), slice(86 + 200, 512))
    assert torch.equal(both[..., ends[0]], first[..., ends[0]])
    assert torch.equal(both[..., ends[1]], second[..., ends[1]])
    assert bool((both[..., 86 + 150 : 86 + 200] == 0).all())
    assert not torch.equal(both[..., 86:], x_0[..., 86:])


@pytest.mark.parametrize(("known", "most"), [(None, -12.0), (-9.0, -12.0), (0.0, 3.0)])
def test_how_loud_half_a_second_may_become(known: float | None, most: float) -> None:
    """-12 dB, or 3 dB above what is known, of which each band says `known`; else as curves say."""
    made, _ = painting(Settings())
    canvas = empty_canvas()
    if known is not None:
        canvas.mel, canvas.pinned = canvas.mel + known, torch.arange(512) < 86
        most += float(intensity.level(canvas.mel[:1], made.mel).max()) if most == 3 else 0
    assert Asked(made, canvas, 0, ()).most_db.tolist() == pytest.approx([most] * 512)
    curved = Asked(made, canvas, 0, (level_term(-20.0, 300),)).most_db
    assert curved.tolist() == pytest.approx([math.inf] * 300 + [most] * 212)


def test_what_is_led_gets_no_louder_either() -> None:
    """Than the search left it, by three decibels, however loud a feature would be met."""
    made, _ = painting(Settings(iterations=1))
    made.denoiser = made.search = lambda x_t, t: x_t * 0
    made.scale = MelScale(torch.full((256,), -9.0), torch.full((256,), 4.0))
    made.base = lambda x_t, t: torch.zeros_like(x_t)
    canvas = empty_canvas()
    found = intensity.level(made.scale.restore(canvas.mel), made.mel)
    made.window(canvas, 0, (sounding(0.0),), lambda share: False)
    levels = intensity.level(made.scale.restore(canvas.mel), made.mel)
    torch.testing.assert_close(levels, found + 3, atol=0.01, rtol=0)


@pytest.mark.parametrize(
    ("place", "said", "level"),
    [
        (None, 0.0, NO_REGION_DB),
        (None, -9.0, None),
        (Outpaint(), 0.0, LOUDEST_DB),
        (Outpaint(), -9.0, None),
    ],
)
def test_no_clip_is_loud_by_itself(place: Place | None, said: float, level: float | None) -> None:
    """Previews as little as clips, as a whole or beside silence for half a second; a quiet one
    is as it is."""
    made, _ = painting(Settings(iterations=1))
    made.place = place
    made.denoiser = made.search = lambda x_t, t: x_t * 0 + said
    made.base = lambda x_t, t: torch.full_like(x_t, said)
    canvas = empty_canvas()
    made.window(canvas, 0, (sounding(said),), lambda share: False)
    assert made.heard is not None
    for mel in (canvas.mel, made.heard()):
        if level is None:
            torch.testing.assert_close(mel, torch.full_like(mel, said))
        else:
            assert float(intensity.level(mel, made.mel).mean()) == pytest.approx(level, abs=0.01)


def test_polish_gets_no_louder_than_what_was_found() -> None:
    """By more than three decibels, on the average of many frames, however loud the base is."""
    levels = []
    for polish in (0, 10):
        made, canvas = painting(Settings(iterations=1, polish=polish))
        made.scale = MelScale(torch.zeros(256), torch.full((256,), 2.0))
        made.base = lambda x_t, t: torch.full_like(x_t, 3.0)
        made.window(canvas, 0, (), lambda share: False)
        levels.append(
            float(intensity.level(made.scale.restore(canvas.mel), made.mel)[0, 129:].mean())
        )
    assert levels[1] - levels[0] == pytest.approx(3, abs=1)


def test_polish_can_be_stopped() -> None:
    """The last iteration is told of again at each of its steps; what that raises ends it."""
    made, canvas = painting(Settings(iterations=2, polish=3))
    made.base = made.denoiser
    told: list[int] = []
    made.window(canvas, 0, (), lambda share: False, lambda step: told.append(step.iteration))
    assert told == [0, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("place", "settings", "kinds", "K", "unpolished"),
    [
        (Outpaint(), {}, (), 20, 70),
        (Loop(), {"polish": 4}, (), 20, 70),
        (Outpaint(), {"iterations": 9}, (), 9, 9),
        (Outpaint(), {"polish": 0}, (), 70, 70),
        (Outpaint(), {}, ("intensity",), 20, 70),
        (Outpaint(), {"polish": 0}, ("intensity",), 70, 70),
        (Outpaint(), {}, ("text",), 20, 70),
        (Outpaint(), {}, ("structure",), 20, 70),
        (None, {}, ("structure",), 20, 50),
        (None, {}, ("melody",), 20, 50),
        (None, {}, ("melody", "structure"), 20, 70),
        (None, {}, ("intensity",), 20, 70),
        (Vary(), {}, (), 70, 70),
        (Vary(), {"polish": 4}, ("melody",), 70, 70),
    ],
)
def test_how_many_iterations_fit(
    place: Place | None, settings: dict[str, int], kinds: tuple[str, ...], K: int, unpolished: int
) -> None:
    """The paper's, but fewer where they do, with a base model to polish with and without."""
    made, canvas = painting(Settings.model_validate(settings))
    made.place = place
    terms = tuple(replace(level_term(1.0), kind=kind) for kind in kinds)
    for base, count in ((made.denoiser, K), (None, unpolished)):
        made.base = base
        assert len(Asked(made, canvas, 0, terms).objectives()) == count


@pytest.mark.parametrize(
    ("kind", "settings", "rate", "in_waves"),
    [
        ("intensity", {}, 0.03, True),
        ("melody", {}, 0.01, False),
        ("melody", {"space": "waves"}, 0.03, True),
        ("intensity", {"space": "elements"}, 0.01, False),
        ("intensity", {"learning_rate": 0.2}, 0.2, True),
    ],
)
def test_adam_moves_what_fits_the_controls(
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    settings: dict[str, object],
    rate: float,
    in_waves: bool,
) -> None:
    """Elements for a melody, waves for the rest, unless the settings say otherwise."""
    told: list[tuple[float, bool]] = []

    def optimize(
        objectives: object, x_T: Tensor, *, learning_rate: float, waves: object, **_: object
    ) -> Optimized:
        told.append((learning_rate, waves is not None))
        return Optimized(x_T, torch.zeros(len(x_T)), (0.0,))

    monkeypatch.setattr(painter, "optimize", optimize)
    made, canvas = painting(Settings.model_validate({"iterations": 1, **settings}))
    term = Term(
        kind=kind,
        weight=1.0,
        enough=0.0,
        near=0.0,
        losses=lambda made, device: lambda mel: mel.sum(dim=(1, 2)),
    )
    made.window(canvas, 0, (term,), lambda share: False)
    assert told == [(rate, in_waves)]


@pytest.mark.parametrize(
    ("place", "settings", "polished", "target"),
    [
        (Outpaint(weight=2.0), {}, True, 2 * outpaint.ENOUGH + 0.125),
        (Loop(), {}, True, outpaint.ENOUGH + 0.125),
        (None, {}, True, 0.125),
        (Outpaint(), {"target_loss": 0.0}, True, 0.0),
        (Outpaint(), {"polish": 0}, True, 0.0),
        (Outpaint(), {}, False, 0.0),
        (Vary(), {"polish": 3}, True, 0.0),
        (None, {}, False, 0.0),
    ],
)
def test_how_near_is_near_enough(
    monkeypatch: pytest.MonkeyPatch,
    place: Place | None,
    settings: dict[str, object],
    polished: bool,
    target: float,
) -> None:
    """Nearer there is nothing to gain where polish leads on; else all iterations are used."""
    told: list[float | None] = []

    def optimize(_: object, x_T: Tensor, *, stop: Stop, **__: object) -> Optimized:
        told.append(stop.target)
        return Optimized(x_T, torch.zeros(len(x_T)), (0.0,))

    monkeypatch.setattr(painter, "optimize", optimize)
    made, canvas = painting(Settings.model_validate({"iterations": 1, **settings}))
    made.place, made.base = place, made.denoiser if polished else None
    made.window(canvas, 0, (sounding(0.0, near=0.125),), lambda share: False)
    assert told == [target] * len(told)
    assert told
