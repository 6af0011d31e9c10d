"""Explains how a conversion is credited."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from attribution_svc.crediting.explanation import CandidateSource, ConversionCandidates, Explanation, explained
from attribution_svc.crediting.report import JourneyScope, Summary
from attribution_svc.crediting.reports import Journeys
from attribution_svc.crediting.settings import AskedModel, ModelSettings, TypedLookback
from attribution_svc.crediting.turns import Turns
from attribution_svc.models.paths import Path
from attribution_svc.models.rules import ByChannel, Rule
from attribution_svc.models.touch import Lookback
from svc_runtime.mesh_token import Caller

LEARNED_FROM = timedelta(days=30)
"""Up to the conversion: what a model that learns is shown by."""
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class ExplainQuestion:
    """What is to be explained."""

    event_id: str
    dimension: str
    model: AskedModel | None
    """None: that of the settings."""
    lookback: Lookback | None
    """None: that of the settings."""


@dataclass(frozen=True, slots=True)
class ExplainedConversion:
    """The answer."""

    found: ConversionCandidates
    explanation: Explanation
    model: AskedModel
    lookback: Lookback
    dimension: str
    settings_version: int


class ConversionExplainer:
    """Explains. ``part_of`` writes which conversions a model learns from, as analytics_svc reads it."""

    def __init__(
        self,
        candidates: CandidateSource,
        journeys: Journeys,
        turns: Turns,
        *,
        part_of: Callable[[datetime, datetime], bytes],
    ) -> None:
        self._candidates = candidates
        self._journeys = journeys
        self._turns = turns
        self._part_of = part_of

    async def explain(self, caller: Caller, asked: ExplainQuestion, settings: ModelSettings) -> ExplainedConversion:
        """Explain a conversion. Errors are those of ``CandidateSource``, ``Journeys`` and ``Turns``."""
        found = await self._candidates.candidates(caller, asked.event_id, asked.dimension)
        kind = found.conversion.conversion_type
        model = asked.model or settings.model([kind])
        own = {each.conversion_type: each.lookback for each in settings.lookbacks()}
        lookback = asked.lookback or own.get(kind, own[""])
        rule = model.rule
        if rule is None:
            async with self._turns.turn(caller.organization_id):
                rule = await self._learned(caller, asked, model, lookback, found.conversion.event_time)
        explanation = await asyncio.to_thread(explained, found, model, rule, lookback)
        return ExplainedConversion(found, explanation, model, lookback, asked.dimension, settings.version)

    async def _learned(
        self, caller: Caller, asked: ExplainQuestion, model: AskedModel, lookback: Lookback, until: datetime
    ) -> Rule:
        """Return the shares of the channels that a model learned."""
        if model.learner is None:
            raise TypeError(f"{model.name} learns nothing")
        part = self._part_of(until - LEARNED_FROM, until + _MILLISECOND)
        scope = JourneyScope(part, asked.dimension, (), (TypedLookback("", lookback),))
        paths: list[Path] = []
        async with contextlib.aclosing(self._journeys.paths(caller, scope)) as pieces:
            async for piece in pieces:
                if not isinstance(piece, Summary):
                    paths += piece
        learned = await asyncio.to_thread(model.learner, paths)
        return ByChannel(learned.shares)
