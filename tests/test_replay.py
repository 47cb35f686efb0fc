"""Iterations as CUDA graphs: what has to hold for that, and the order of calls. No GPU here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from segue.presets.controls import (
    Control,
    Inpaint,
    Intensity,
    Loop,
    Melody,
    Note,
    Outpaint,
    Structure,
    Text,
    Vary,
)
from segue.presets.vocabulary import Settings
from segue.server.ditto.optimize import Iteration
from segue.server.ditto.replay import EAGER, Replay
from segue.server.engine import Engine
from tests.music import write_track
from tests.tiny import quick_request

WAITS = ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal")
COPIES = ("aten::lift_fresh",)  # a Python number made a tensor


class OnTheDevice(TorchDispatchMode):
    """Notes every operation for which a GPU would wait for its host, or be copied to."""

    def __init__(self) -> None:
        super().__init__()
        self.found, self.count = list[str](), 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, self.count = func.name().split(".")[0], self.count + 1
        masks = [
            each
            for each in (args[1] if name in ("aten::index", "aten::index_put_") else ())
            if each is not None and each.dtype == torch.bool
        ]
        if name in WAITS + COPIES or masks:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def test_what_waits_is_found() -> None:
    """The check itself: each of these makes a GPU's host wait, or copies to the device."""
    x = torch.ones(3)
    with OnTheDevice() as watch:
        float(x[0])
        x[x > 0]
        x.nonzero()
        torch.as_tensor(0.5)
        bool(x.all())
    expected = ("_local_scalar_dense", "index", "nonzero", "lift_fresh", "_local_scalar_dense")
    assert watch.found == [f"aten::{name}" for name in expected]


@pytest.mark.parametrize(
    "controls",
    [
        (Outpaint(),),
        (Inpaint(),),
        (Loop(),),
        (Vary(), Intensity(points=((0, 0), (1, -6)))),
        (Outpaint(), Melody(notes=(Note(start=0, length=1, pitch=60),))),
        (Outpaint(), Structure(sections="ABA")),
        (Outpaint(), Text(text="warm slow strings"), Intensity(points=((0, 0.5),), scale="share")),
    ],
)
def test_an_iteration_stays_on_the_device(
    controls: tuple[Control, ...],
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once its caches are filled nothing in it looks at a value or makes a tensor of a number.

    Adam's own step is PyTorch's to keep so (`capturable`), and left out.
    """
    write_track(tmp_path / "a.wav", 8.0)
    engine = Engine.load(str(tiny_model))
    watch, calls, step = OnTheDevice(), list[object](), Iteration.step

    def watched(self: Iteration, objective: Any) -> None:
        warm = calls.count(objective) >= EAGER
        calls.append(objective)
        if not warm:
            return step(self, objective)
        with monkeypatch.context() as patch, watch:
            patch.setattr(torch.optim.Adam, "step", lambda self: None)
            step(self, objective)

    monkeypatch.setattr(Iteration, "step", watched)
    request = quick_request(tmp_path / "a.wav", 8.0, 2.0)
    settings = Settings(iterations=2 * EAGER + 4)  # half of them one step, half corrected
    request = request.model_copy(update={"controls": controls, "settings": settings})
    engine.run(request, tmp_path / "clip.wav", lambda progress: None)
    assert watch.count > 500
    assert watch.found == []


def test_each_turn_is_recorded_and_replayed_in_order() -> None:
    """A few calls as they are, one recording a turn, then replays; another objective, all anew."""
    log: list[str] = []

    class Objective:
        turns = 2

    def step(objective: object) -> None:
        log.append("step")

    def record(run: Callable[[], None]) -> Callable[[], None]:
        run()
        log.append("recorded")
        number = log.count("recorded")
        return lambda: log.append(f"replay {number}")

    replay, pair, single = Replay(step, record), Objective(), object()
    for _ in range(EAGER + 5):
        replay(pair)
    assert log[:EAGER] == ["step"] * EAGER
    assert log[EAGER:] == [*("step", "recorded") * 2, "replay 1", "replay 2", "replay 1"]
    log.clear()
    for _ in range(EAGER + 3):
        replay(single)
    assert log == [*["step"] * (EAGER + 1), "recorded", "replay 1", "replay 1"]
