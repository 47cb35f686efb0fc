"""What the model must reach, beside what it reaches: one row a figure, drawn from the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from segue.export.evaluation.tables import Cell, Table

Tables = dict[str, Table]


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """A figure that may be at most `limit`. `value` raises KeyError when a row is missing."""

    text: str
    limit: float
    value: Callable[[Tables], float]


def cell(tables: Tables, name: str, column: str, *start: Cell) -> float:
    """The number in the row of a table that starts so. Raises KeyError when there is none."""
    table = tables[name]
    for row in table.rows:
        if row[: len(start)] == start:
            value = row[table.columns.index(column)]
            if not isinstance(value, str):
                return float(value)
    raise KeyError(start)


def _samples(column: str, above: tuple[str, int], below: tuple[str, int]) -> Requirement:
    limits = {("ctm", 2): 1.15, ("ctm", 1): 0.5}
    limit = 1.0 if above[0] == below[0] else limits[above]
    sides = [f"{name.upper() if name != 'base' else name} T = {t}" for name, t in (above, below)]

    def value(tables: Tables) -> float:
        return cell(tables, "generators", column, *above) / cell(
            tables, "generators", column, *below
        )

    return Requirement(text=f"{column}: {sides[0]} / {sides[1]}", limit=limit, value=value)


def _decoder(tables: Tables) -> float:
    table = tables["decoder"]
    column = table.columns.index("FAD to the original")
    ours, baseline = (row[column] for row in table.rows[:2])
    assert isinstance(ours, float)
    assert isinstance(baseline, float)
    return ours / baseline


def _flicker(name: str) -> Requirement:
    def value(tables: Tables) -> float:
        return cell(tables, "coherence", "flicker / real", name)

    return Requirement(text=f"flicker of {name} / held-out music", limit=1.2, value=value)


PAIRS = ((("ctm", 2), ("base", 20)), (("ctm", 2), ("ctm", 1)), (("ctm", 1), ("base", 1)))
REQUIREMENTS = (
    Requirement(text="decoder: FAD / Griffin-Lim's", limit=0.2, value=_decoder),
    Requirement(
        text="decoder: torch - ONNX, max",
        limit=1e-3,
        value=lambda tables: cell(tables, "decoder", "torch - ONNX, max", "decoder"),
    ),
    *(
        _samples(f"FAD to {where}", above, below)
        for above, below in PAIRS
        for where in ("held-out", "training")
    ),
    _flicker("ctm T=1"),
    _flicker("ctm T=2"),
)


def requirement_table(done: Iterable[Table], note: str) -> Table:
    """Each requirement whose rows are there: value, limit, and whether it is met."""
    tables = {table.name: table for table in done}
    rows: list[tuple[Cell, ...]] = []
    for requirement in REQUIREMENTS:
        try:
            value = requirement.value(tables)
        except KeyError:
            rows.append((requirement.text, "-", requirement.limit, "not measured"))
            continue
        met = "met" if value <= requirement.limit else "missed"
        rows.append((requirement.text, value, requirement.limit, met))
    columns = ("figure", "value", "at most", "")
    title = "What must be shown"
    return Table(name="requirements", title=title, note=note, columns=columns, rows=tuple(rows))
