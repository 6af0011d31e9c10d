"""Reports on the tests and rules of campaigns: the definitions are here, the numbers are analytics_svc's."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from attribution_svc.campaigns.campaign import Campaign, is_campaign_id, no_such_campaign
from attribution_svc.experiments.experiment import (
    Design,
    Experiment,
    RuleCount,
    RuleEffect,
    action_of,
    experiment,
    rule_effects,
    split_of,
)
from attribution_svc.models.experiment import Arm
from attribution_svc.store import CampaignStore
from svc_runtime.clock import Clock
from svc_runtime.errors import InvalidArgumentError, Violation
from svc_runtime.mesh_token import Caller

DEFAULT_RANGE = timedelta(days=30)
_PAGE = 100


@dataclass(frozen=True, slots=True)
class Period:
    """When."""

    start_time: datetime
    end_time: datetime


class CampaignNumbers(Protocol):
    """Counts of the people of an organisation. Raises what analytics_svc does, UnavailableError for one."""

    async def arms(
        self, caller: Caller, campaign_id: str, rule_id: str, period: Period
    ) -> tuple[Mapping[str, Arm], datetime | None]:
        """Count visitors by the destination of their first click, and those of them that converted.

        The instant is the watermark.
        """
        ...

    async def rules(
        self, caller: Caller, campaign_id: str, period: Period
    ) -> tuple[Mapping[str, RuleCount], datetime | None]:
        """Count by rule; the empty id is no rule."""
        ...


@dataclass(frozen=True, slots=True)
class ExperimentReport:
    """A test and what it rests on."""

    campaign: Campaign
    rule_id: str
    period: Period
    experiment: Experiment
    watermark_time: datetime | None


@dataclass(frozen=True, slots=True)
class RuleReport:
    """Rules and what it rests on."""

    campaign: Campaign
    period: Period
    effects: list[RuleEffect]
    watermark_time: datetime | None


class ExperimentReports:
    """What a caller of one organisation may ask."""

    def __init__(self, store: CampaignStore, numbers: CampaignNumbers, *, clock: Clock) -> None:
        self._store = store
        self._numbers = numbers
        self._clock = clock

    async def experiment(
        self,
        caller: Caller,
        campaign_id: str,
        rule_id: str,
        *,
        start_time: datetime | None,
        end_time: datetime | None,
        design: Design,
    ) -> ExperimentReport:
        """Compare. Raise NotFoundError, FailedPreconditionError, InvalidArgumentError, UnavailableError."""
        campaign = await self._campaign(caller, campaign_id)
        action = action_of(campaign, rule_id)
        start = start_time or await self._split_began(campaign, rule_id)
        period = self._period(start, end_time or self._clock.now())
        counts, watermark = await self._numbers.arms(caller, campaign_id, rule_id, period)
        return ExperimentReport(campaign, rule_id, period, experiment(action, counts, design), watermark)

    async def rules(
        self, caller: Caller, campaign_id: str, *, start_time: datetime | None, end_time: datetime | None
    ) -> RuleReport:
        """Say what each rule brought. Raise NotFoundError, InvalidArgumentError or UnavailableError."""
        campaign = await self._campaign(caller, campaign_id)
        end = end_time or self._clock.now()
        period = self._period(start_time or end - DEFAULT_RANGE, end)
        counts, watermark = await self._numbers.rules(caller, campaign_id, period)
        return RuleReport(campaign, period, rule_effects(campaign, counts), watermark)

    async def _campaign(self, caller: Caller, campaign_id: str) -> Campaign:
        if not is_campaign_id(campaign_id):
            raise no_such_campaign(campaign_id)
        return await self._store.get(caller.organization_id, campaign_id)

    async def _split_began(self, campaign: Campaign, rule_id: str) -> datetime:
        """Return when the destinations and weights became what they are: visitors of another split came otherwise."""
        split, began, before = split_of(campaign, rule_id), campaign.update_time, campaign.version + 1
        while before > 1:
            page = await self._store.versions(
                campaign.organization_id, campaign.campaign_id, before=before, limit=_PAGE
            )
            for version in page:
                if split_of(version.campaign, rule_id) != split:
                    return began
                began, before = version.campaign.update_time, version.campaign.version
            if not page:
                break
        return began

    @staticmethod
    def _period(start: datetime, end: datetime) -> Period:
        if end <= start:
            raise InvalidArgumentError.of(
                [Violation("time_range", f"ends at {end:%FT%TZ}, must end after its start, {start:%FT%TZ}")]
            )
        return Period(start, end)
