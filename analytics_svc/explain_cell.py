"""Explains the cells of reports."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from analytics_svc.cell import (
    Cell,
    CellSpec,
    compile_count,
    compile_of_events,
    compile_samples,
    samples_of,
)
from analytics_svc.dimension import DIMENSIONS
from analytics_svc.operation import Operation
from analytics_svc.query import BreakdownSpec
from analytics_svc.report import numbers_of
from analytics_svc.reports import Reports
from analytics_svc.store import ReadingReader

OpenOperations = Callable[[str], Awaitable[Sequence[Operation]]]
"""Operations of an organisation, and of all, that are not over."""


class CellExplainer:
    """Explains. Errors are those of ``Reports``."""

    def __init__(self, reports: Reports, reader: ReadingReader, *, open_operations: OpenOperations) -> None:
        self._reports = reports
        self._reader = reader
        self._open_operations = open_operations

    async def explain(self, spec: CellSpec) -> Cell:
        """Explain a cell: the number is asked for as its report does, then of the events."""
        pending = await self._open_operations(spec.part.organization_id)
        # Filtered by the dimensions that it is split by, a report reads the same tables as without.
        dimensions = tuple(chosen.dimension for chosen in spec.row)
        part = replace(spec.inside, includes_bots=spec.part.includes_bots)
        report = await self._reports.breakdown(
            BreakdownSpec(part, dimensions or (DIMENSIONS["event_type"],), (spec.metric,), page_size=1)
        )
        currency = report.basis.currency
        of_events = await self._reader.rows(compile_of_events(spec, currency).statement)
        counted = await self._reader.rows(compile_count(spec, currency))
        sampled = await self._reader.rows(compile_samples(spec, currency))
        return Cell(
            report.totals[0],
            numbers_of((spec.metric,), of_events.rows[0])[0],
            int(counted.rows[0][0]),
            samples_of(sampled),
            pending,
            report.basis,
        )
