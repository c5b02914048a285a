"""The benchmark's result as values, as Markdown and as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.bench.samples import Spread

#: A cell of a table: text, a number, or nothing known.
Value = str | float | Spread | None

_FACTORS = {"ms": 1e3, "s": 1.0, "MB": 1e-6, "kB": 1e-3, "Gbit/s": 1e-9, "": 1.0, "count": 1.0}


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One target and the figure reached.

    limit, figure: in `unit`'s base (seconds, bytes, or a plain ratio or number); the median counts.
    why_not: why there is no figure.  least: more is better.
    """

    name: str
    limit: float
    unit: str = ""
    figure: Spread | None = None
    why_not: str = "not measured in this run"
    least: bool = False

    @property
    def verdict(self) -> str:
        if self.figure is None:
            return "not measured"
        median = self.figure.median
        return "reached" if (median >= self.limit if self.least else median <= self.limit) else "missed"


@dataclass(frozen=True, kw_only=True)
class Column:
    """unit: that the numbers of the column are shown in; JSON keeps them in base units."""

    title: str
    unit: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with its heading and the sentences below it."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Value]]
    notes: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one measure found."""

    goals: Sequence[Goal] = ()
    tables: Sequence[Table] = ()


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything of one run. machine: facts, in the order they are shown."""

    machine: Mapping[str, str]
    pairs: int
    parts: Sequence[Part] = field(default_factory=tuple)

    @property
    def goals(self) -> list[Goal]:
        return [goal for part in self.parts for goal in part.goals]

    @property
    def tables(self) -> list[Table]:
        return [table for part in self.parts for table in part.tables]


def number(value: float, unit: str) -> str:
    """A number in a unit, with three digits that count: 0.0123 s in ms is "12.3"."""
    scaled = value * _FACTORS[unit]
    if unit == "count" or scaled == 0:
        return f"{scaled:.0f}"
    digits = 0 if abs(scaled) >= 100 else 1 if abs(scaled) >= 10 else 2
    if abs(scaled) < 0.1:
        digits = 3
    return f"{scaled:.{digits}f}"


def cell(value: Value, unit: str) -> str:
    """One cell; a spread as its median, with quartiles and minimum in brackets."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.replace("|", "\\|").replace("\n", " ")
    if isinstance(value, Spread):
        if value.count == 1:
            return number(value.median, unit)
        low, high, least = (number(v, unit) for v in (value.low, value.high, value.minimum))
        return f"{number(value.median, unit)} ({low} to {high}; min {least})"
    return number(value, unit)


def _lines(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines.extend(f"| {' | '.join(row)} |" for row in rows)
    return lines


def _heading(column: Column) -> str:
    return f"{column.title} [{column.unit}]" if column.unit not in ("", "count") else column.title


def markdown(report: Report) -> str:
    """The whole report as a page."""
    lines = [
        "# Benchmark",
        "",
        (
            "Written by `python3 build.py bench`; do not edit. Times and ratios of starts are medians of "
            f"{report.pairs} rounds in one run; a round runs each program once, in an order shuffled anew, "
            "and a ratio is taken within a round. In brackets: lower to upper quartile; minimum."
        ),
        "",
        "## Targets",
        "",
    ]
    goals = [
        (
            goal.name,
            f"at {'least' if goal.least else 'most'} {number(goal.limit, goal.unit)}{_suffix(goal.unit)}",
            cell(goal.figure, goal.unit) if goal.figure else goal.why_not,
            goal.verdict if goal.verdict != "missed" else "**missed**",
        )
        for goal in report.goals
    ]
    lines += _lines(("what", "target", "figure", "result"), goals)
    for table in report.tables:
        lines += ["", f"## {table.title}", ""]
        rows = [
            [cell(value, column.unit) for value, column in zip(row, table.columns, strict=True)]
            for row in table.rows
        ]
        lines += _lines([_heading(column) for column in table.columns], rows)
        for note in table.notes:
            lines += ["", note]
    lines += ["", "## Machine", ""]
    lines += _lines(("what", "value"), [(key, cell(text, "")) for key, text in report.machine.items()])
    return "\n".join(lines) + "\n"


def _suffix(unit: str) -> str:
    return "" if unit in ("", "count") else f" {unit}"


def as_json(report: Report) -> str:
    """The same as JSON: seconds, bytes and plain numbers; spreads as objects."""

    def plain(value: Value) -> object:
        return dataclasses.asdict(value) if isinstance(value, Spread) else value

    whole = {
        "machine": dict(report.machine),
        "pairs": report.pairs,
        "goals": [
            {
                "name": goal.name,
                "limit": goal.limit,
                "least": goal.least,
                "unit": goal.unit,
                "figure": plain(goal.figure),
                "verdict": goal.verdict,
                "why_not": "" if goal.figure else goal.why_not,
            }
            for goal in report.goals
        ],
        "tables": [
            {
                "title": table.title,
                "columns": [dataclasses.asdict(column) for column in table.columns],
                "rows": [[plain(value) for value in row] for row in table.rows],
                "notes": list(table.notes),
            }
            for table in report.tables
        ],
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"
