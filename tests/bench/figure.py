"""One line of the table."""

import dataclasses
from collections.abc import Sequence
from statistics import median
from typing import Any

from tests.bench.run import Round


@dataclasses.dataclass(frozen=True, slots=True)
class Figure:
    """What was measured, what it was measured against in the same run, and what is wanted of it."""

    name: str
    measured: str
    """With its unit."""
    comparison: str = ""
    """What it is measured against, with its unit; empty where the figure stands alone."""
    result: str = ""
    """The ratio or value that is judged."""
    wanted: str = ""
    """What it should be; empty for a figure that is only reported."""
    is_met: bool | None = None
    """None for a figure that is only reported."""
    notes: tuple[str, ...] = ()
    """Lines below the table."""
    details: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Everything behind it, for ``bench.json``."""


@dataclasses.dataclass(frozen=True, slots=True)
class Ratios:
    """Quotients of measurements that ran in turn."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, ours: Sequence[float], theirs: Sequence[float]) -> "Ratios":
        """Divide round by round."""
        return cls(tuple(a / b if b else 0.0 for a, b in zip(ours, theirs, strict=True)))

    @property
    def median(self) -> float:
        """The one that counts."""
        return median(self.values)

    def __str__(self) -> str:
        return f"{self.median:.2f} ({min(self.values):.2f}-{max(self.values):.2f})"


def against(
    name: str,
    ours: Sequence[Round],
    theirs: Sequence[Round],
    *,
    their_name: str,
    least: float | None = None,
    hoped: float | None = None,
) -> Figure:
    """Return the figure of a server against another one, by how much each answered in its turns."""
    ratios = Ratios.of([r.report.rate for r in ours], [r.report.rate for r in theirs])
    by_cpu = Ratios.of([r.cpu_us for r in theirs], [r.cpu_us for r in ours])
    wanted = "" if least is None else f">= {least:.2f}"
    return Figure(
        name=name,
        measured=_in_words(ours),
        comparison=f"{their_name} {_in_words(theirs)}",
        result=f"{ratios}, by CPU {by_cpu.median:.2f}",
        wanted=wanted + (f" ({hoped:.2f} hoped for)" if hoped else ""),
        is_met=None if least is None else ratios.median >= least,
        details={
            "ratios": ratios.values,
            "ratios_by_cpu": by_cpu.values,
            "ours": [dataclasses.asdict(r) for r in ours],
            "theirs": [dataclasses.asdict(r) for r in theirs],
        },
    )


def _in_words(rounds: Sequence[Round]) -> str:
    rate = median(r.report.rate for r in rounds)
    p99_ms, cpu_us = median(r.report.p99_ms for r in rounds), median(r.cpu_us for r in rounds)
    return f"{rate:,.0f}/s, p99 {p99_ms:.1f} ms, {cpu_us:.0f} us"


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as text in columns."""
    head = ("figure", "measured", "in the same run", "result", "wanted", "")
    rows = [
        (f.name, f.measured, f.comparison, f.result, f.wanted, {None: "", True: "met", False: "NOT MET"}[f.is_met])
        for f in figures
    ]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)
    ]
    notes = [f"{figure.name}: {note}" for figure in figures for note in figure.notes]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:], *notes])
