"""Reports as they were known at an earlier instant."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from analytics_svc.convert.reports import breakdown_from_pb, campaign_from_pb
from svc_runtime.errors import InvalidArgumentError, NotFoundError
from svc_runtime.paging import PageTokens
from svc_runtime.timestamps import timestamp_of
from tests.integration.analytics.claim_site import SERVICE, Service, service
from tests.integration.analytics.test_claim_rpcs import click, sale, tiktok
from tests.reading import ACME, NOON, insert_events
from trellis.analytics.v1 import overlay_service_pb2, report_pb2
from trellis.type.v1 import time_range_pb2

pytestmark = [pytest.mark.store, pytest.mark.loopback, pytest.mark.timeout(180)]
DAY = timedelta(days=1)
TOKENS = PageTokens("m" * 32, "t")


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Service]:
    """Three clicks of TikTok, a sale of the first."""
    async with service(tmp_path) as found:
        ids = insert_events(found.client, [click(number, "tiktok", NOON + number * DAY) for number in range(3)])
        insert_events(found.client, [sale(ids[0], NOON + DAY)])
        yield found


async def table(site: Service, as_of: datetime | None) -> dict[str, tuple[object, ...]]:
    """Return clicks, conversions and revenue by campaign."""
    span = time_range_pb2.TimeRange(start_time=timestamp_of(NOON - DAY), end_time=timestamp_of(NOON + 9 * DAY))
    request = report_pb2.QueryBreakdownRequest(
        slice=report_pb2.Slice(time_range=span, as_of_time=timestamp_of(as_of)),
        dimensions=["campaign_id"],
        metrics=["clicks", "conversions", "revenue", "unique_users"],
    )
    spec = breakdown_from_pb(request, organization_id=ACME, now=datetime.now(UTC), tokens=TOKENS)
    return {row.values[0]: row.numbers for row in (await site.reports.breakdown(spec)).rows}


async def instant() -> datetime:
    """Return an instant that nothing else shares."""
    await asyncio.sleep(0.01)
    now = datetime.now(UTC)
    await asyncio.sleep(0.01)
    return now


async def test_each_instant_has_its_own_answer(site: Service) -> None:
    before = await instant()
    await site.apply(tiktok(), ACME)
    claimed = await instant()
    await site.activate("cmp_tiktok", 0, ACME)
    undone = await instant()
    nobodys, its = {"": (3, 1, 12_500_000, 3)}, {"cmp_tiktok": (3, 1, 12_500_000, 3)}
    assert await table(site, None) == nobodys
    assert [await table(site, as_of) for as_of in (before, claimed, undone)] == [nobodys, its, nobodys]
    assert await table(site, NOON + DAY / 2) == {"": (1, 0, 0, 1)}


async def test_a_verdict_counts_from_when_it_was_given(site: Service) -> None:
    before = await instant()
    ((event_id, time_ms),) = site.query(
        "SELECT toString(event_id), toUnixTimestamp64Milli(event_time) FROM events WHERE is_conversion = 1"
    )
    verdict = overlay_service_pb2.Verdict(
        organization_id=ACME,
        event_id=event_id,
        event_time=timestamp_of(datetime.fromtimestamp(time_ms / 1000, UTC)),
        revision=1,
        status="rejected",
    )
    await site.overlays.PutVerdicts(overlay_service_pb2.PutVerdictsRequest(verdicts=[verdict]), metadata=SERVICE)
    after = await instant()
    assert (await table(site, before))[""][1:3] == (1, 12_500_000)
    assert (await table(site, after))[""][1:3] == (await table(site, None))[""][1:3] == (0, 0)


async def test_a_campaigns_page_is_what_it_was(site: Service) -> None:
    await site.apply(tiktok(), ACME)
    claimed = await instant()
    await site.activate("cmp_tiktok", 0, ACME)
    request = report_pb2.GetCampaignReportRequest(
        campaign_id="cmp_tiktok",
        slice=report_pb2.Slice(as_of_time=timestamp_of(claimed)),
        metrics=["clicks", "conversions"],
    )
    report = await site.reports.campaign(campaign_from_pb(request, organization_id=ACME, now=datetime.now(UTC)))
    assert (report.numbers, report.basis.start_time, report.basis.sources) == ((3, 1), NOON, ("events",))
    request.slice.ClearField("as_of_time")
    with pytest.raises(NotFoundError):
        await site.reports.campaign(campaign_from_pb(request, organization_id=ACME, now=datetime.now(UTC)))


def test_what_is_still_to_come_cannot_be_asked() -> None:
    now = datetime.now(UTC)
    part = report_pb2.Slice(as_of_time=timestamp_of(now + DAY))
    request = report_pb2.GetCampaignReportRequest(campaign_id="c", slice=part)
    with pytest.raises(InvalidArgumentError) as raised:
        campaign_from_pb(request, organization_id=ACME, now=now)
    assert [violation.field for violation in raised.value.violations] == ["slice.as_of_time"]
