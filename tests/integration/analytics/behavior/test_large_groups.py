"""More visitors than there is memory for."""

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from analytics_svc.admission import Weight
from analytics_svc.behavior.funnel import FunnelSpec, FunnelStep, compile_funnel, funnels_of
from analytics_svc.behavior.retention import RetentionSpec, cohorts_of, compile_retention
from analytics_svc.slice import Slice
from analytics_svc.store.reader import ClickHouseReadingReader, QueryMemoryError
from rule_language.predicate import Condition, Operator
from svc_runtime.clickhouse import Dsn
from tests.integration.analytics.behavior.conftest import at
from tests.reading import ACME

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

pytestmark = pytest.mark.store

VISITORS = 1_200_000
_MIB = 1024**2


async def test_visitors_who_do_not_fit_into_memory_are_counted_with_the_help_of_the_disk(
    opened: tuple[Dsn, "Client"], client: "Client"
) -> None:
    client.command(
        "INSERT INTO events (organization_id, event_id, event_time, event_type, user_id)"
        " SELECT {org:String}, generateUUIDv4(), {from:DateTime64(3, 'UTC')} + toIntervalMillisecond(number),"
        f" if(number < {VISITORS}, 'a', 'b'), toString(number % {VISITORS}) FROM numbers({VISITORS * 7 // 2})",
        parameters={"org": ACME, "from": at(0)},
    )
    part = Slice(ACME, at(0), at(10**8))
    steps = tuple(FunnelStep("", Condition("event_type", Operator.EQUALS, (kind,))) for kind in "ab")
    spec = FunnelSpec(part, steps, timedelta(days=1), is_strict_once=True)
    weight = Weight("small", 352 * _MIB, running_per_organization=1, waiting_per_organization=1)
    async with ClickHouseReadingReader.open(opened[0], thread_count=1) as plain:
        reader = plain.weighing(weight)
        statement = compile_funnel(spec)
        with pytest.raises(QueryMemoryError):
            await reader.rows(type(statement)(statement.sql, statement.parameters))
        assert funnels_of(spec, await reader.rows(statement))[0].counts == (VISITORS, VISITORS)
        retention = RetentionSpec(part, period_count=1)
        cohorts, _ = cohorts_of(
            retention, await reader.rows(compile_retention(retention)), now=part.end_time, known_until=part.end_time
        )
        assert sum(cohort.size for cohort in cohorts) == VISITORS
