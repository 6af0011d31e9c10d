"""What the numbers of reports rest on, over a reading with its roll-ups."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from pydantic import SecretStr

from analytics_svc.cache import Results
from analytics_svc.explain_cell import CellExplainer
from analytics_svc.operation import Kind, Operation
from analytics_svc.reports import Reports
from analytics_svc.servicer.explain import ExplainServicer
from analytics_svc.store.cache_memory import MemoryResultCache
from analytics_svc.store.reader import ClickHouseReadingReader
from svc_runtime.clickhouse import Dsn
from svc_runtime.errors import TrellisError
from svc_runtime.grpc_client import Credentials
from svc_runtime.grpc_server import GrpcServer
from svc_runtime.mesh_token import Caller, CallerKind
from svc_runtime.rpc_status import error_from_rpc
from svc_runtime.settings import MeshSettings
from tests.reading import ACME, NOON, OTHER, insert_events
from trellis.analytics.v1 import explain_service_pb2 as pb
from trellis.analytics.v1 import explain_service_pb2_grpc as pb_grpc
from trellis.analytics.v1 import report_pb2

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

pytestmark = [pytest.mark.store, pytest.mark.loopback]
MESH = MeshSettings(mesh_secret=SecretStr("m" * 32), drain_seconds=0)
CREDENTIALS = Credentials(MESH, "test")
DAY = datetime(2026, 3, 2, tzinfo=UTC)
SALE = {"event_type": "sale", "is_conversion": 1, "conversion_event": "sale"}


class StandingClock:
    """A week after everything."""

    def now(self) -> datetime:
        """Return it."""
        return DAY + timedelta(days=7)


def operation(organization_id: str, operation_id: str) -> Operation:
    """Return an operation at work."""
    return Operation(operation_id, Kind.MAPPING, DAY, organization_id)


class Asked:
    """A running service."""

    def __init__(self, stub: "pb_grpc.ExplainServiceAsyncStub") -> None:
        self._stub = stub

    async def cell(self, metric: str, organization_id: str = ACME, **more: Any) -> pb.ExplainCellResponse:
        """Ask for a cell of the day; raise what was answered."""
        request = pb.ExplainCellRequest(metric=metric, **more)
        request.slice.time_range.start_time.FromDatetime(DAY)
        request.slice.time_range.end_time.FromDatetime(DAY + timedelta(days=2))
        caller = Caller(CallerKind.ORGANIZATION, "key:1", organization_id, frozenset({"analytics:read"}))
        try:
            return await self._stub.ExplainCell(request, metadata=CREDENTIALS.as_caller(caller))
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from None


@pytest.fixture
async def asked(opened: tuple[Dsn, "Client"]) -> AsyncIterator[Asked]:
    """Serve the reading for the time of a test."""

    async def open_operations(organization_id: str) -> list[Operation]:
        return [operation("", "op_all"), operation(organization_id, "op_own")]

    async with ClickHouseReadingReader.open(opened[0], thread_count=1) as reader:
        reports = Reports(reader, Results(MemoryResultCache()), watermark=lambda: NOON, clock=StandingClock())
        explainer = CellExplainer(reports, reader, open_operations=open_operations)
        server = GrpcServer(MESH, service_names=[])
        servicer = ExplainServicer(explainer, clock=StandingClock())
        server.add(lambda s: pb_grpc.add_ExplainServiceServicer_to_server(servicer, s))
        port = await server.start("127.0.0.1:0")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Asked(pb_grpc.ExplainServiceStub(channel))
        await server.stop()


def fill(client: "Client") -> None:
    """Insert four clicks, a bot's, two sales of facebook's and one of google's, a rejected one, one without a value."""
    rows: list[dict[str, Any]] = [{"source": "facebook", "event_time": NOON + timedelta(hours=at)} for at in range(3)]
    rows += [{"source": "google"}, {"source": "facebook", "is_bot": 1}]
    rows += [{"source": "facebook", "value": "10.50", **SALE}, {"source": "facebook", "value": "4.25", **SALE}]
    rows += [
        {"source": "google", "value": "99", **SALE},
        {"source": "facebook", "value": "7", **SALE, "is_conversion": 0},
    ]
    rows += [{"source": "facebook", **SALE, "event_time": NOON + timedelta(days=1)}]
    insert_events(client, rows)
    insert_events(client, [{"organization_id": OTHER, "source": "facebook", "value": "1000", **SALE}])


def in_row(**values: str) -> list[pb.CellValue]:
    """Return a row."""
    return [pb.CellValue(dimension=name, value=value) for name, value in values.items()]


async def test_a_sum_is_explained_by_the_events_that_it_sums(asked: Asked, client: "Client") -> None:
    fill(client)
    answer = await asked.cell("revenue", values=in_row(source="facebook"))
    assert answer.value.amount_micros == answer.value_of_events.amount_micros == 14_750_000
    # The sale without a value sums up to nothing, and the roll-ups count it all the same.
    assert sorted(event.value_micros for event in answer.samples if event.HasField("value_micros")) == [
        4_250_000,
        10_500_000,
    ]
    assert answer.event_count == len(answer.samples)
    assert list(answer.info.sources) == ["day"]
    assert answer.info.watermark_time.ToDatetime(UTC) == NOON
    (measure,) = answer.measures
    assert (measure.name, measure.function, measure.of_events) == ("revenue", "sum", "value")
    assert "'USD'" in measure.where_event
    assert answer.metric.description.startswith("Values of the conversions")


async def test_a_quotient_is_explained_by_everything_that_it_is_made_of(asked: Asked, client: "Client") -> None:
    fill(client)
    answer = await asked.cell("conversion_rate", values=in_row(source="facebook"))
    assert answer.value.number == answer.value_of_events.number == 100.0
    assert (answer.event_count, [each.name for each in answer.measures]) == (6, ["conversions", "clicks"])


async def test_a_step_of_a_time_series_has_the_events_of_that_step(asked: Asked, client: "Client") -> None:
    fill(client)
    request: dict[str, Any] = {"granularity": report_pb2.GRANULARITY_DAY}
    step = report_pb2.Slice()
    step.time_range.start_time.FromDatetime(NOON + timedelta(days=1))
    answer = await asked.cell("conversions", step_time=step.time_range.start_time, **request)
    assert (answer.value.count, answer.event_count) == (1, 1)
    assert answer.info.time_range.start_time.ToDatetime(UTC) == DAY + timedelta(days=1)


async def test_bots_are_behind_the_number_that_counts_them_alone(asked: Asked, client: "Client") -> None:
    fill(client)
    for metric, count in (("bot_events", 1), ("clicks", 4)):
        answer = await asked.cell(metric)
        assert (answer.value.count, answer.value_of_events.count, answer.event_count) == (count, count, count), metric


async def test_a_cell_of_nothing_is_a_plain_zero(asked: Asked, client: "Client") -> None:
    fill(client)
    answer = await asked.cell("clicks", values=in_row(source="nowhere"))
    assert (answer.value.count, answer.event_count, list(answer.samples)) == (0, 0, [])


async def test_what_changes_the_reading_is_told_and_the_operators_id_is_not(asked: Asked, client: "Client") -> None:
    answer = await asked.cell("clicks")
    assert [(each.operation_id, each.kind, each.state) for each in answer.pending] == [
        ("", "mapping", "running"),
        ("op_own", "mapping", "running"),
    ]


async def test_another_organisation_sees_its_own_events_alone(asked: Asked, client: "Client") -> None:
    fill(client)
    answer = await asked.cell("revenue", OTHER, values=in_row(source="facebook"))
    assert (answer.value.amount_micros, answer.event_count) == (1_000_000_000, 1)


async def test_everything_that_is_wrong_with_a_cell_is_named(asked: Asked) -> None:
    with pytest.raises(TrellisError) as caught:
        await asked.cell("magic", values=in_row(shoe_size="9"), granularity=report_pb2.GRANULARITY_DAY)
    assert [violation.field for violation in caught.value.violations] == ["metric", "values[0].dimension", "step_time"]
    late = report_pb2.Slice()
    late.time_range.start_time.FromDatetime(DAY + timedelta(days=9))
    with pytest.raises(TrellisError, match="in no step"):
        await asked.cell("clicks", granularity=report_pb2.GRANULARITY_DAY, step_time=late.time_range.start_time)
