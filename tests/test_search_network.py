"""The network as the search calls it: near the exact one, whatever precision or compiler."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from segue.server.ditto import search_network
from segue.server.ditto.crew import Crew
from segue.server.ditto.search_network import Halved, SearchNetwork, half_pays, halved
from tests.compiler import needs_compiler
from tests.tiny import random_network

W = torch.tensor([2.0])


def noise(batch: int) -> Tensor:
    """The same each time."""
    return torch.randn(batch, 256, 512, generator=torch.Generator().manual_seed(5))


def estimate(network: Callable[..., Tensor], x_t: Tensor) -> Tensor:
    """What it says at one level, under two tags."""
    tags = torch.tensor([[1.0, 0.0, 1.0]])
    return network(x_t, torch.full((len(x_t),), 0.9), tags, W)


def answer(network: Callable[..., Tensor], batch: int = 1) -> tuple[Tensor, Tensor]:
    """What it says of noise, and the gradient of its mean square."""
    x_t = noise(batch).requires_grad_()
    D_x = estimate(network, x_t)
    (gradient,) = torch.autograd.grad(D_x.square().mean(), x_t)
    return D_x.detach(), gradient


def off(a: Tensor, b: Tensor) -> float:
    """Relative error."""
    return float((a - b).norm() / b.norm())


def measured_as(monkeypatch: pytest.MonkeyPatch, *seconds: float) -> None:
    """Iterations run as ever, and seem to take this long: the network's, then what is compiled."""
    run, said = SearchNetwork._seconds, iter(seconds)

    def measure(self: SearchNetwork, network: Callable[..., Tensor]) -> float:
        assert run(self, network) > 0
        return next(said)

    monkeypatch.setattr(SearchNetwork, "_seconds", measure)


def test_only_large_layers_are_halved() -> None:
    """Inside any module; the original stays as it was."""
    network = nn.Sequential(
        nn.Linear(128, 128), nn.Sequential(nn.Conv1d(64, 128, 3)), nn.Linear(8, 8), nn.ReLU()
    )
    twin = halved(network)
    assert [type(m) for m in (twin[0], twin[1][0], twin[2])] == [Halved, Halved, nn.Linear]  # type: ignore[index]
    assert not any(isinstance(m, Halved) for m in network.modules())
    assert all(p.dtype == torch.float32 for p in network.parameters())
    assert not any(p.requires_grad for p in twin.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_halved_layer_keeps_the_precision_of_its_input(dtype: torch.dtype) -> None:
    """Powers of two are exact in bfloat16."""
    layer = nn.Linear(2, 1, bias=False)
    nn.init.constant_(layer.weight, 0.5)
    y = Halved(layer)(torch.tensor([[2.0, 4.0]], dtype=dtype))
    assert y.dtype == dtype
    assert y.item() == 3.0


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((1, 4, 9), {"padding": 1}),
        ((2, 4, 9), {"padding": "same", "dilation": 2}),
        ((2, 4, 10), {"stride": 2, "groups": 2}),
        ((2, 4, 6, 5), {"padding": 1}),
    ],
)
def test_a_halved_convolution_is_the_convolution(
    shape: tuple[int, ...], options: dict[str, Any], bias: bool
) -> None:
    """Small whole numbers are exact in bfloat16, and so are the answer and its gradient."""
    kind = nn.Conv1d if len(shape) == 3 else nn.Conv2d
    layer = kind(4, 6, 3, bias=bias, **options)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randint(-2, 3, parameter.shape))
    x = torch.randint(-3, 4, shape).float().requires_grad_()
    found, wanted = Halved(layer)(x), layer(x)
    assert torch.equal(found, wanted)
    gradients = [torch.autograd.grad(y.sum(), x)[0] for y in (found, wanted)]
    assert torch.equal(*gradients)


@pytest.mark.parametrize(("half", "pays"), [(0.5, True), (0.8, False), (4.0, False)])
def test_a_processor_is_asked_once(
    monkeypatch: pytest.MonkeyPatch, half: float, pays: bool
) -> None:
    """What pays is tried and then known, by the time of products in bfloat16 (float32: 1)."""
    asked: list[torch.dtype] = []

    def seconds(a: Tensor, b: Tensor) -> float:
        asked.append(a.dtype)
        assert a.dtype == b.dtype
        return half if a.dtype == torch.bfloat16 else 1.0

    cpu = torch.device("cpu")
    assert search_network.product_seconds(torch.ones(4, 4), torch.ones(4, 4)) > 0
    monkeypatch.setattr(search_network, "product_seconds", seconds)
    half_pays.cache_clear()
    assert [half_pays(cpu), half_pays(cpu)] == [pays, pays]
    assert sorted(map(str, asked)) == ["torch.bfloat16", "torch.float32"]
    half_pays.cache_clear()


@pytest.mark.parametrize(("pays", "most"), [(False, 0.0), (True, 0.02)])
def test_it_says_what_the_network_says(
    monkeypatch: pytest.MonkeyPatch, pays: bool, most: float
) -> None:
    """Exactly, or about, and the gradient too."""
    monkeypatch.setattr(search_network, "half_pays", lambda device: pays)
    network = random_network()
    search = SearchNetwork(network)
    assert search.config is network.config
    for found, wanted in zip(answer(search), answer(network), strict=True):
        assert off(found, wanted) <= most


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # of what the compiler imports
@needs_compiler
def test_compiled_it_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """One row goes through the compiler's code; two go where they went before."""
    monkeypatch.setattr(search_network, "half_pays", lambda device: False)
    network = random_network()
    search = SearchNetwork(network)
    measured_as(monkeypatch, 2.0, 1.0)
    search.compile()
    assert search._compiled is not None
    with monkeypatch.context() as patch:
        stance = torch.compiler.set_stance
        patch.setattr(torch.compiler, "set_stance", lambda _: stance("fail_on_recompile"))
        one = answer(search)
        with torch.no_grad():
            plain = estimate(search, noise(1))
            bands_last = estimate(search, noise(1).mT.contiguous().mT)
        with pytest.raises(RuntimeError):
            answer(search, 2)
    assert not plain.requires_grad
    assert torch.equal(plain, one[0])
    assert torch.equal(bands_last, one[0])
    for found, wanted in zip(one, answer(network), strict=True):
        assert off(found, wanted) < 1e-5
    for found, wanted in zip(answer(search, 2), answer(network, 2), strict=True):
        assert torch.equal(found, wanted)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_more_counts_of_threads_than_pytorch_compiles_for_by_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At the nine counts of 256 cores: all are compiled."""
    monkeypatch.setattr(search_network, "half_pays", lambda device: False)
    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", lambda network, **_: compiled(network, backend="eager"))
    search = SearchNetwork(random_network())
    most = torch.get_num_threads()
    used: list[int] = []
    search._crew = Crew(256, use=used.append)
    measured_as(monkeypatch, 1.0, 0.5)
    try:
        search.compile()
    finally:
        torch.set_num_threads(most)
    assert search._compiled is not None
    assert "recompile_limit" not in caplog.text


@pytest.mark.parametrize("calls_before", range(8))
def test_a_trial_in_a_checkpoint_changes_no_gradient(calls_before: int) -> None:
    """Neither forwards nor when what was not kept is computed again."""
    network = random_network()
    search = SearchNetwork(network)
    ticks = count()
    used: list[int] = []
    search._crew = Crew(2, lambda: float(next(ticks)), used.append)
    for _ in range(calls_before):
        answer(search)

    def checkpointed(x_t: Tensor, *rest: Tensor) -> Tensor:
        D_x: Tensor = checkpoint(search, x_t, *rest, use_reentrant=False)
        return D_x

    wanted = answer(search)
    for found, exact in zip(answer(checkpointed), wanted, strict=True):
        assert torch.equal(found, exact)
    assert (1 in used) == (calls_before > 0)


def test_what_is_no_faster_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling does not always win."""
    monkeypatch.setattr(torch, "compile", lambda network, **_: network)
    for after, taken in ((1.0, False), (0.9, True)):
        with monkeypatch.context() as patch:
            search = SearchNetwork(random_network())
            measured_as(patch, 1.0, after)
            search.compile()
            assert (search._compiled is not None) == taken


@pytest.mark.parametrize("wrong", [1.1, torch.nan])
@pytest.mark.parametrize("narrow_is_right", [True, False])
def test_what_is_compiled_wrongly_is_not_taken(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    wrong: float,
    narrow_is_right: bool,
) -> None:
    """Another answer, or none; narrower registers may do."""

    def miscompile(
        network: nn.Module, *, dynamic: bool, options: dict[str, object]
    ) -> Callable[..., Tensor]:
        if narrow_is_right and options.get("cpp.simdlen") == 256:
            return network

        def call(*inputs: Tensor) -> Tensor:
            D_x: Tensor = network(*inputs)
            return wrong * D_x

        return call

    monkeypatch.setattr(torch, "compile", miscompile)
    search = SearchNetwork(random_network())
    measured_as(monkeypatch, 1.0, 0.5)
    with caplog.at_level(logging.WARNING):
        search.compile()
    assert "says something else" in caplog.text
    assert (search._compiled is not None) == narrow_is_right


def test_without_a_compiler_nothing_changes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says why."""

    def broken(network: nn.Module, **_: object) -> Callable[..., Tensor]:
        def fail(*_: object) -> Tensor:
            raise RuntimeError("no compiler found")

        return fail

    monkeypatch.setattr(torch, "compile", broken)
    network = random_network()
    search = SearchNetwork(network)
    before = answer(search)
    with caplog.at_level(logging.WARNING):
        search.compile()
    assert "no compiler found" in caplog.text
    assert all(map(torch.equal, answer(search), before))
