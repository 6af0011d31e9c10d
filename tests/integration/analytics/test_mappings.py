"""A mapping from end to end: previewed, applied to what is there and to what comes, and undone."""

import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr

from analytics_svc.assembly import projecting
from analytics_svc.claims.claims import ClaimsInForce
from analytics_svc.mappings.mapping import FieldRule, WantedMapping, checked, version_of
from analytics_svc.mappings.mappings import MappingRegistry, MappingsInForce
from analytics_svc.mappings.preview import ReadingPreviewer
from analytics_svc.operation import Kind, Operation, State
from analytics_svc.projection.enricher import Enricher
from analytics_svc.settings import AnalyticsSettings
from analytics_svc.store.claims import ClickHouseClaimStore
from analytics_svc.store.connect import connect, open_client
from analytics_svc.store.mappings import ClickHouseMappingStore
from analytics_svc.store.operations import ClickHouseOperationStore
from analytics_svc.store.reader import ClickHouseReadingReader
from svc_runtime.clickhouse import Dsn, parse_dsn
from svc_runtime.clock import SystemClock
from svc_runtime.errors import FailedPreconditionError
from svc_runtime.grpc_client import Credentials, open_channel
from svc_runtime.paging import PageTokens
from tests.contract.analytics.fake_capture import MESH
from tests.contract.capture.things import make_event
from tests.integration.analytics.mapping_cases import rows
from tests.integration.analytics.rebuilding import Site, site
from tests.integration.analytics.rollup_check import assert_rollups_agree
from tests.integration.analytics.test_mapping_preview import compare, differences
from trellis.capture.v1 import event_pb2

pytestmark = [pytest.mark.store, pytest.mark.loopback]

ACME, OTHER = "org_a", "org_b"
START = datetime(2026, 2, 20, tzinfo=UTC)
SINCE = datetime(2026, 3, 3, tzinfo=UTC)
DAYS = 30
NOW = datetime(2026, 11, 20, tzinfo=UTC)
WANTED = WantedMapping(
    name="Zones of ads",
    source="ADS",
    rules=(FieldRule("Spot", "placement"), FieldRule("p3", "external_id")),
    start_time=SINCE,
)
Registry = MappingRegistry[Operation]


def clicks(organization_id: str, first: int, count: int) -> list[event_pb2.Event]:
    """Return clicks, each with its postback an hour later, which names it by ``p3`` alone."""
    events = []
    for number in range(first, first + count):
        time = START + timedelta(hours=(number * 7) % (DAYS * 24), seconds=number)
        source = ("ads", "facebook", "Ads")[number % 3]
        fields: dict[str, Any] = {"event_time_ms": int(time.timestamp() * 1000), "user_id": f"usr_{number % 50}"}
        target = f"/in/sale?source={source}&spot=s{number % 5}&p3=x{organization_id}{number}".encode()
        events.append(make_event(organization_id, target=target, click_id=f"tc{number}", **fields))
        fields |= {"event_time_ms": fields["event_time_ms"] + 3_600_000, "user_id": "", "route": "postback"}
        target = f"/postback?click_id=x{organization_id}{number}&amount={number}.5&currency=EUR".encode()
        postback = make_event(organization_id, event_type=b"purchase", target=target, click_id="", **fields)
        postback.external_click_id = b""
        events.append(postback)
    return events


class InForceOnSite(MappingsInForce):
    """Tells the site's follower and its makers what holds."""

    def __init__(self, store: ClickHouseMappingStore, found: Site) -> None:
        super().__init__(store)
        self._site = found

    async def refresh(self) -> None:
        """See ``MappingsInForce.refresh``."""
        await super().refresh()
        self._site.mappings.clear()
        self._site.mappings.update(self.active_mappings())


@pytest.fixture
async def running(make_dsn: Callable[[], Dsn]) -> AsyncIterator[Site]:
    """Run a capture_svc and a reading of it."""
    dsn = make_dsn()
    async with site(parse_dsn(f"chdb://{dsn.path}", default_database=f"{dsn.database}_raw"), dsn) as found:
        yield found


@pytest.fixture
async def registry(running: Site) -> AsyncIterator[Registry]:
    """The mappings of its organisations."""
    async with (
        ClickHouseMappingStore.open(running.dsn) as store,
        ClickHouseReadingReader.open(running.dsn, thread_count=2) as reader,
    ):
        yield MappingRegistry(
            store,
            InForceOnSite(store, running),
            ReadingPreviewer(reader, Enricher()),
            running.operations,
            PageTokens("m" * 32, "t"),
            clock=SystemClock(),
        )


def seen(found: Site, organization_id: str) -> dict[UUID, dict[str, Any]]:
    """Return an organisation's rows, after a check of the roll-ups."""
    client = open_client(found.dsn)
    try:
        assert_rollups_agree(client)
        return rows(client, organization_id)
    finally:
        client.close()


async def test_a_mapping_is_previewed_applied_followed_and_undone(running: Site, registry: Registry) -> None:
    events = [*clicks(ACME, 0, 300), *clicks(OTHER, 0, 50)]
    await running.send(events)
    await running.followed(len(events))
    before, others = seen(running, ACME), seen(running, OTHER)
    preview = await registry.preview(WANTED, organization_id=ACME)

    version, operation = await registry.apply(WANTED, organization_id=ACME, actor="key:1")
    done = await running.over(operation)
    assert (done.state, done.error) == (State.SUCCEEDED, "")
    assert [f"{month:%Y-%m}" for month in done.total_months] == ["2026-03"]
    label = version.as_active().label
    after = seen(running, ACME)
    assert compare(preview, before, after, label) == ""
    changed = differences(before, after)
    assert preview.changed_count == len(changed) > 150
    for event_id in changed:
        row = after[event_id]
        assert received(row) >= SINCE
        assert row["source"] == "ads"
        # Each conversion has found its click by the id that nobody had known for one.
        if row["event_type"] == "purchase":
            assert row["touch_event_id"] in changed
            click = after[row["touch_event_id"]]
            assert click["external_click_id"] == row["params"]["click_id"]
            assert row["placement"] == click["placement"]
        else:
            assert row["placement"] == row["params"]["spot"]
    assert {s.event_id for s in preview.samples} <= {str(event_id) for event_id in changed}
    for sample in preview.samples:
        assert {name: str(after[UUID(sample.event_id)][name]) for name in sample.after} == sample.after
        assert {name: str(before[UUID(sample.event_id)][name]) for name in sample.before} == sample.before
    assert seen(running, OTHER) == others

    live = clicks(ACME, 1000, 30)
    await running.send(live)
    await running.followed(len(events) + len(live))
    new = [row for event_id, row in seen(running, ACME).items() if event_id not in before]
    assert {row["placement"] for row in new if row["mapping_versions"] and row["route"] == "in"} >= {"s0", "s1"}
    assert all((label in row["mapping_versions"]) == _is_matched(row) for row in new)

    undone = await running.over(await registry.activate(version.mapping_id, 0, organization_id=ACME, actor="key:1"))
    assert (undone.state, undone.mapping_version) == (State.SUCCEEDED, 0)
    as_before = seen(running, ACME)
    assert {event_id: as_before[event_id] for event_id in before} == before
    assert not any(row["mapping_versions"] for row in as_before.values())
    assert seen(running, OTHER) == others


def received(row: dict[str, Any]) -> datetime:
    """Return when an event was received."""
    time: datetime = row["event_time"]
    return time.replace(tzinfo=UTC)


def _is_matched(row: dict[str, Any]) -> bool:
    return received(row) >= SINCE and row["route"] == "in" and row["params"]["source"].lower() == "ads"


async def test_versions_follow_one_another_and_are_made_again(running: Site, registry: Registry) -> None:
    events = clicks(ACME, 0, 200)
    await running.send(events)
    await running.followed(len(events))
    states = {0: seen(running, ACME)}
    first, operation = await registry.apply(WANTED, organization_id=ACME, actor="key:1")
    await running.over(operation)
    states[1] = seen(running, ACME)
    earlier = WantedMapping(mapping_id=first.mapping_id, rules=(FieldRule("p3", "campaign"),), source="facebook")
    preview = await registry.preview(earlier, organization_id=ACME)
    second, operation = await registry.apply(earlier, organization_id=ACME, actor="key:2")
    done = await running.over(operation)
    # What the first version had changed is as it was; what the second one speaks of begins earlier.
    assert [f"{month:%Y-%m}" for month in done.total_months] == ["2026-02", "2026-03"]
    states[2] = seen(running, ACME)
    assert second.version == 2
    assert compare(preview, states[1], states[2], second.as_active().label) == ""
    assert all(not differences({i: states[0][i]}, {i: row}) for i, row in states[2].items() if row["source"] == "ads")
    for number in (1, 2, 0):
        await running.over(await registry.activate(first.mapping_id, number, organization_id=ACME, actor="key:1"))
        assert seen(running, ACME) == states[number], number


async def test_one_change_of_an_organisations_reading_at_a_time(running: Site, registry: Registry) -> None:
    events = clicks(ACME, 0, 50)
    await running.send(events)
    await running.followed(len(events))
    async with running.store.writing():  # so that no month can take its place
        version, operation = await registry.apply(WANTED, organization_id=ACME, actor="key:1")
        with pytest.raises(FailedPreconditionError, match=operation.operation_id):
            await registry.apply(WANTED, organization_id=ACME, actor="key:1")
        with pytest.raises(FailedPreconditionError, match=operation.operation_id):
            await registry.activate(version.mapping_id, 0, organization_id=ACME, actor="key:1")
        _, theirs = await registry.apply(WANTED, organization_id=OTHER, actor="key:2")
    assert (await running.over(operation)).state is State.SUCCEEDED
    assert (await running.over(theirs)).state is State.SUCCEEDED
    page = await registry.list_page(organization_id=ACME, page_size=0, page_token="")
    assert len(page.mappings) == 1, "what was refused left nothing"


async def test_what_a_killed_process_wrote_of_a_change_is_done_by_the_next_one(running: Site) -> None:
    events = clicks(ACME, 0, 100)
    await running.send(events)
    await running.followed(len(events))
    operation = Operation("op_left", Kind.MAPPING, NOW, ACME, "key:1", mapping_id="map_left", mapping_version=1)
    async with contextlib.AsyncExitStack() as stack:
        mapping_store = await stack.enter_async_context(ClickHouseMappingStore.open(running.dsn))
        reader = await stack.enter_async_context(ClickHouseReadingReader.open(running.dsn, thread_count=1))
        # Killed after the operation was written down, and before the activation was.
        wanted = checked(WANTED)
        left = version_of(wanted, organization_id=ACME, mapping_id="map_left", version=1, actor="key:1", now=NOW)
        await mapping_store.add(left)
        clickhouse = connect(running.dsn)
        stack.push_async_callback(clickhouse.close)
        await ClickHouseOperationStore(clickhouse).put(operation)
        in_force = InForceOnSite(mapping_store, running)
        await in_force.refresh()
        assert not running.mappings
        await stack.enter_async_context(
            projecting(
                AnalyticsSettings(
                    clickhouse_dsn=SecretStr(f"chdb://{running.dsn.path}?database={running.dsn.database}")
                ),
                store=running.store,
                reader=reader,
                enricher=Enricher(),
                mapping_store=mapping_store,
                in_force=in_force,
                claim_store=(claim_store := ClickHouseClaimStore(clickhouse)),
                claims_in_force=ClaimsInForce(claim_store),
                capture_channel=await stack.enter_async_context(
                    open_channel(MESH, f"127.0.0.1:{running.capture.port}")
                ),
                credentials=Credentials(MESH, "analytics_svc"),
                page_tokens=PageTokens("m" * 32, "t"),
                clock=SystemClock(),
                watermark=lambda: None,
            )
        )
        assert (await running.over(operation)).state is State.SUCCEEDED
        assert [version.is_active for version in await mapping_store.versions(ACME, "map_left")] == [True]
    for row in seen(running, ACME).values():
        assert ("map_left/1" in row["mapping_versions"]) == _is_matched(row)
