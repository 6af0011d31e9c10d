"""Answers what models credit, over the journeys of an organisation."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from attribution_svc.crediting.report import CreditReport, JourneyScope, ReportQuestion, Summary, report_of
from attribution_svc.crediting.turns import Turns
from attribution_svc.metrics import credit_report_seconds, credited_conversions
from attribution_svc.models.columns import Columns, Tally
from attribution_svc.models.paths import Path
from svc_runtime.mesh_token import Caller

_MANY_TOUCHES = 400_000
"""Touches that are credited at a time: many of one length together are quicker."""


@dataclass(frozen=True, slots=True)
class JourneyChunk:
    """Some conversions."""

    values: Sequence[str]
    """What the channels of the columns stand for."""
    columns: Columns


class Journeys(Protocol):
    """Where the journeys of many visitors come from. Both streams end with their summary.

    Raise InvalidArgumentError, QueryLimitError, RateLimitedError, UnavailableError.
    """

    def journeys(self, caller: Caller, scope: JourneyScope) -> AsyncGenerator[JourneyChunk | Summary, None]:
        """Stream the conversions of the caller's organisation."""
        ...

    def paths(self, caller: Caller, scope: JourneyScope) -> AsyncGenerator[Sequence[Path] | Summary, None]:
        """Stream the different paths of the caller's organisation, those without a conversion too."""
        ...


class CreditReports:
    """Answers questions. Errors are those of ``Journeys`` and ``Turns``, and what a model says to its paths."""

    def __init__(self, journeys: Journeys, turns: Turns) -> None:
        self._journeys = journeys
        self._turns = turns

    async def report(self, caller: Caller, question: ReportQuestion) -> CreditReport:
        """Credit the conversions."""
        began = time.monotonic()
        async with self._turns.turn(caller.organization_id):
            found = await self._made(caller, question)
        credit_report_seconds.record(time.monotonic() - began)
        credited_conversions.add(found.conversion_count)
        return found

    async def _made(self, caller: Caller, question: ReportQuestion) -> CreditReport:
        credit = _Crediting(question)
        summary = None
        async with contextlib.aclosing(self._journeys.journeys(caller, question.scope)) as parts:
            async for part in parts:
                if isinstance(part, Summary):
                    summary = part
                elif credit.take(part):
                    await asyncio.to_thread(credit.work)
        if summary is None:
            raise AssertionError("a stream of journeys ends with its summary")
        await asyncio.to_thread(credit.work)
        credit.tally.add_nobodys(summary.anonymous_count, summary.anonymous_micros)
        paths: list[Path] = []
        if any(model.learner for model in question.models):
            async with contextlib.aclosing(self._journeys.paths(caller, question.scope)) as pieces:
                async for piece in pieces:
                    if not isinstance(piece, Summary):
                        paths += piece
        return await asyncio.to_thread(report_of, question, credit.values, credit.tally, paths, summary)


class _Crediting:
    """Journeys as they come, and what was credited so far. Work is done in a thread while nobody takes."""

    def __init__(self, question: ReportQuestion) -> None:
        rules = {str(at): model.rule for at, model in enumerate(question.models) if model.rule is not None}
        self.tally = Tally(rules)
        self._numbers: dict[str, int] = {}
        self._waiting: list[JourneyChunk] = []
        self._touch_count = 0

    @property
    def values(self) -> list[str]:
        """What the tally's channels stand for."""
        return list(self._numbers)

    def take(self, chunk: JourneyChunk) -> bool:
        """Keep a chunk; say whether there is enough to do."""
        self._waiting.append(chunk)
        self._touch_count += len(chunk.columns.channels) + len(chunk.columns.micros)
        return self._touch_count >= _MANY_TOUCHES

    def work(self) -> None:
        """Credit what is kept."""
        chunks, self._waiting, self._touch_count = self._waiting, [], 0
        if not chunks:
            return
        channels = []
        for chunk in chunks:
            numbers = [self._numbers.setdefault(value, len(self._numbers)) for value in chunk.values]
            channels.append(np.array(numbers, np.int64)[chunk.columns.channels])
        every = [chunk.columns for chunk in chunks]
        self.tally.add(
            Columns(
                np.concatenate([each.micros for each in every]),
                np.concatenate([each.counts for each in every]),
                np.concatenate(channels),
                np.concatenate([each.ages_ms for each in every]),
                np.concatenate([each.directs for each in every]),
                np.concatenate([each.conversions for each in every]),
            )
        )
