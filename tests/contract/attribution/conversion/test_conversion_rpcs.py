"""ConversionService on a real port, by the generated stub."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import grpc
import pytest

from attribution_svc.conversions.conversions import Conversions
from attribution_svc.conversions.orphans import Orphans
from attribution_svc.conversions.ruling import Ruling
from attribution_svc.conversions.servicer import ConversionServicer
from svc_runtime.grpc_server import GrpcServer
from svc_runtime.paging import PageTokens
from tests.contract.attribution.conversion.memory_conversions import MemoryConversionStore
from tests.contract.attribution.conversion.store_contract import take
from tests.contract.attribution.rpc import MESH, caller_of
from tests.unit.attribution.conversion.reports import at, event_id_of, postback
from trellis.attribution.v1 import conversion_service_pb2 as pb
from trellis.attribution.v1 import conversion_service_pb2_grpc as pb_grpc

pytestmark = pytest.mark.loopback
READ = caller_of("org_a", "conversions:read")
OTHER = caller_of("org_b", "conversions:read")


@pytest.fixture
def store() -> MemoryConversionStore:
    return MemoryConversionStore()


@pytest.fixture
async def stub(store: MemoryConversionStore) -> AsyncIterator["pb_grpc.ConversionServiceAsyncStub"]:
    """A server over the store in memory; rules and clicks are held to PostgreSQL in the integration tests."""
    async with contextlib.AsyncExitStack() as stack:
        servicer = ConversionServicer(
            Conversions(store, PageTokens("m" * 32, "attribution_svc")),
            Orphans(store, store),  # type: ignore[arg-type]  # not asked here
            Ruling(store),  # type: ignore[arg-type]  # as above
        )
        server = GrpcServer(MESH, service_names=[])
        server.add(lambda s: pb_grpc.add_ConversionServiceServicer_to_server(servicer, s))
        port = await server.start("127.0.0.1:0")
        stack.push_async_callback(server.stop)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
        yield pb_grpc.ConversionServiceStub(channel)


async def test_a_conversion_is_read_with_all_that_is_known_of_it(
    store: MemoryConversionStore, stub: "pb_grpc.ConversionServiceAsyncStub"
) -> None:
    await take(
        store,
        postback(1, "txid=A1&status=lead&click_id=c1&source=neta"),
        postback(2, "txid=A1&status=sale&payout=9,50&cur=EUR"),
    )
    found = await stub.GetConversion(pb.GetConversionRequest(conversion_id=event_id_of(1)), metadata=READ)
    conversion = found.conversion
    assert (conversion.conversion_type, conversion.event_type, conversion.status) == ("conversion", "lead", "sale")
    assert (conversion.value_micros, conversion.currency, conversion.order_id) == (9_500_000, "EUR", "A1")
    assert conversion.create_time.ToDatetime(UTC) == at(1)
    assert (conversion.match_state, conversion.network) == (pb.MATCH_STATE_PENDING, "neta")
    assert [(event.status_text, event.amount_text) for event in found.events] == [("lead", ""), ("sale", "9,50")]
    assert not found.events[0].HasField("value_micros")


async def test_another_organisations_conversion_is_like_none(
    store: MemoryConversionStore, stub: "pb_grpc.ConversionServiceAsyncStub"
) -> None:
    await take(store, postback(1, "txid=A1"))
    texts = []
    for metadata, conversion_id in ((OTHER, event_id_of(1)), (READ, event_id_of(2))):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.GetConversion(pb.GetConversionRequest(conversion_id=conversion_id), metadata=metadata)
        assert error.value.code() is grpc.StatusCode.NOT_FOUND
        texts.append((error.value.details() or "").replace(conversion_id, "…"))
    assert texts[0] == texts[1]
    assert not (await stub.ListConversions(pb.ListConversionsRequest(), metadata=OTHER)).conversions


async def test_a_list_comes_in_pages_of_the_same_question(
    store: MemoryConversionStore, stub: "pb_grpc.ConversionServiceAsyncStub"
) -> None:
    await take(store, *(postback(number, f"txid={number}&click_id=c") for number in range(5)))
    request = pb.ListConversionsRequest(page_size=2, click_id="c")
    found: list[str] = []
    while True:
        page = await stub.ListConversions(request, metadata=READ)
        found += [conversion.order_id for conversion in page.conversions]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert found == ["4", "3", "2", "1", "0"]
    request = pb.ListConversionsRequest(page_size=2, click_id="d", page_token=request.page_token)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.ListConversions(request, metadata=READ)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_what_is_wrong_with_a_filter_is_told_at_once(stub: "pb_grpc.ConversionServiceAsyncStub") -> None:
    request = pb.ListConversionsRequest(status="sold")
    request.time_range.start_time.FromDatetime(datetime(2026, 3, 2, tzinfo=UTC))
    request.time_range.end_time.FromDatetime(datetime(2026, 3, 1, tzinfo=UTC))
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.ListConversions(request, metadata=READ)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "time_range.end_time" in (error.value.details() or "")
    assert "'sold'" in (error.value.details() or "")


async def test_each_call_takes_its_scope(stub: "pb_grpc.ConversionServiceAsyncStub") -> None:
    no_read, no_write = caller_of("org_a", "conversions:write"), READ
    for call, request, metadata in (
        (stub.GetConversion, pb.GetConversionRequest(), no_read),
        (stub.ListConversions, pb.ListConversionsRequest(), no_read),
        (stub.GetOrphanSummary, pb.GetOrphanSummaryRequest(), no_read),
        (stub.GetConversionPolicies, pb.GetConversionPoliciesRequest(), no_read),
        (stub.GetStatusVocabulary, pb.GetStatusVocabularyRequest(), no_read),
        (stub.MatchConversion, pb.MatchConversionRequest(), no_write),
        (stub.SetConversionPolicy, pb.SetConversionPolicyRequest(), no_write),
        (stub.SetStatusVocabulary, pb.SetStatusVocabularyRequest(), no_write),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call(request, metadata=metadata)  # type: ignore[operator]  # each with its own request
        assert error.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_store_that_is_away_is_unavailable(
    store: MemoryConversionStore, stub: "pb_grpc.ConversionServiceAsyncStub"
) -> None:
    store.is_down = True
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.ListConversions(pb.ListConversionsRequest(), metadata=READ)
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE
