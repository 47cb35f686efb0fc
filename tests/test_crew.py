"""The count of threads follows what is quickest, at little cost."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from segue.server.ditto.crew import PATIENCE, SOONEST, Crew

ALONE = {4: 0.010, 2: 0.015, 1: 0.025}
SHARED = {4: 0.200, 2: 0.100, 1: 0.025}


@dataclass
class Machine:
    """A clock that calls move on by what they cost on the count of threads that is set."""

    costs: dict[int, float]
    now: float = 0.0
    count: int = 0
    counts: list[int] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    def set(self, count: int) -> None:
        """What the crew does with a count."""
        self.count = count

    def run(self, crew: Crew, calls: int, work: object = "one row") -> float:
        """Seconds that so many calls take."""
        begun = self.now
        for _ in range(calls):
            self.answers.append(crew.run(work, self.call))
        return self.now - begun

    def call(self) -> int:
        """A call, whose answer is the count that it ran on."""
        self.now += self.costs[self.count]
        self.counts.append(self.count)
        return self.count


def crew_on(costs: dict[int, float]) -> tuple[Machine, Crew]:
    """Four cores."""
    machine = Machine(costs)
    return machine, Crew(4, lambda: machine.now, machine.set)


def test_alone_all_cores_compute() -> None:
    """Trials of fewer threads cost a few per cent, and say nothing: the answer is the best's."""
    machine, crew = crew_on(ALONE)
    assert machine.run(crew, 1000) < 1000 * ALONE[4] * (1 + 2 / PATIENCE)
    assert crew.count == 4
    assert set(machine.counts) == {4, 2}
    assert machine.answers == [4] * 1000


def test_shared_one_thread_computes_soon() -> None:
    """Three calls say what all threads cost, two each that fewer cost less; and it stays so."""
    machine, crew = crew_on(SHARED)
    machine.run(crew, 20)
    assert machine.counts[:6] == [4, 4, 4, 2, 2, 2]
    assert crew.count == 1
    assert machine.answers[15:] == [1] * 5
    assert machine.run(crew, 1000) < 1000 * SHARED[1] * (1 + 2 / PATIENCE)


def test_a_daw_that_starts_is_noticed() -> None:
    """What fewer threads cost is known from before, so few calls are lost."""
    machine, crew = crew_on(ALONE)
    machine.run(crew, 200)
    machine.costs = SHARED
    machine.run(crew, 20)
    assert crew.count == 1


def test_a_daw_that_ends_is_noticed() -> None:
    """Within the time that the last trial in vain is to be paid back in."""
    machine, crew = crew_on(SHARED)
    machine.run(crew, 50)
    assert crew.count == 1
    machine.costs = ALONE
    lost = 2 * SHARED[2]
    machine.run(crew, round((PATIENCE * lost + 4 * SOONEST) / ALONE[1]))
    assert crew.count == 4


def test_other_work_begins_anew() -> None:
    """A batch of sixteen takes longer on any count, and that says nothing about counts."""
    machine, crew = crew_on(ALONE)
    machine.run(crew, 200)
    machine.costs = {count: 16 * cost for count, cost in ALONE.items()}
    machine.run(crew, 3, work="sixteen rows")
    assert machine.counts[-3:] == [4, 4, 4]


@pytest.mark.parametrize(("most", "counts"), [(1, {1}), (6, {6, 3, 1})])
def test_counts_are_halves(most: int, counts: set[int]) -> None:
    """Down to one; a single core has nothing to try."""
    machine = Machine({6: 0.3, 3: 0.2, 1: 0.1})
    machine.run(Crew(most, lambda: machine.now, machine.set), 100)
    assert set(machine.counts) == counts
