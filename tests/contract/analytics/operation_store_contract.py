"""What every ``OperationStore`` must keep: subclass, and give a fixture ``store``."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from analytics_svc.operation import Kind, Operation, State
from analytics_svc.store import OperationPosition, OperationStore

NOW = datetime(2026, 11, 20, 12, 0, 0, 123_000, tzinfo=UTC)


def operation(number: int = 1, organization_id: str = "", **fields: object) -> Operation:
    """Return an operation, begun after those of lower numbers."""
    found = Operation(f"op_{number}", Kind.REBUILD, NOW + timedelta(seconds=number), organization_id)
    return replace(found, **fields)  # type: ignore[arg-type]  # a test's own names


class OperationStoreContract:
    """``OperationStore``."""

    async def test_an_operation_comes_back_as_it_was_put_last(self, store: OperationStore) -> None:
        whole = Operation(
            "op_x",
            Kind.MAPPING,
            NOW,
            organization_id="org_'\\x",
            actor="key:k",
            state=State.FAILED,
            mapping_id="map_1",
            mapping_version=3,
            span_start=NOW - timedelta(days=40),
            span_end=NOW,
            is_planned=True,
            total_months=(date(2026, 10, 1), date(2026, 11, 1)),
            done_months=(date(2026, 10, 1),),
            total_events=10**12,
            done_events=7,
            error="ClickHouse: \n'x'",
            end_time=NOW + timedelta(hours=1),
        )
        await store.put(replace(whole, state=State.RUNNING, done_events=1, end_time=None))
        await store.put(whole)
        assert await store.get("op_x") == whole
        assert await store.get("op_y") is None
        plain = operation()
        await store.put(plain)
        assert await store.get("op_1") == plain

    async def test_the_last_operation_of_a_claim_is_found(self, store: OperationStore) -> None:
        claim = replace(
            Operation("op_1", Kind.CLAIM, NOW, "org_a"),
            campaign_id="cmp_1",
            claim_version=2,
            previous_version=1,
            is_new_claim=True,
        )
        later = replace(claim, operation_id="op_2", create_time=NOW + timedelta(seconds=1), is_new_claim=False)
        others = [
            replace(later, operation_id="op_3", organization_id="org_b"),
            replace(later, operation_id="op_4", campaign_id="cmp_2"),
            replace(later, operation_id="op_5", claim_version=0),
        ]
        for one in (claim, later, *others):
            await store.put(one)
        assert await store.last_of_claim("org_a", "cmp_1", 2) == later
        assert await store.get("op_1") == claim
        assert await store.last_of_claim("org_a", "cmp_1", 3) is None

    async def test_what_is_open_comes_oldest_first(self, store: OperationStore) -> None:
        assert await store.open() == []
        for number, state in enumerate(State, 1):
            await store.put(operation(number, state=state))
        await store.put(operation(9))
        await store.put(operation(1, state=State.SUCCEEDED))
        assert [found.operation_id for found in await store.open()] == ["op_2", "op_9"]

    async def test_pages_go_from_new_to_old(self, store: OperationStore) -> None:
        for number in range(1, 8):
            await store.put(operation(number, "org_a" if number % 2 else "org_b"))
        await store.put(operation(8, "org_a", kind=Kind.MAPPING, mapping_id="m", mapping_version=1))
        found: list[str] = []
        after: OperationPosition | None = None
        while page := await store.list_page("org_a", None, after=after, limit=2):
            found += [one.operation_id for one in page]
            after = OperationPosition(page[-1].create_time, page[-1].operation_id)
        assert found == ["op_8", "op_7", "op_5", "op_3", "op_1"]
        rebuilds = await store.list_page(None, Kind.REBUILD, after=None, limit=2)
        assert [one.operation_id for one in rebuilds] == ["op_7", "op_6"]
        assert await store.list_page("org_c", None, after=None, limit=2) == []
