"""Explanations over a reading: every reason to be out, and the same credits as a report of the same conversion."""

from typing import TYPE_CHECKING, Any

import grpc
import pytest

from svc_runtime.errors import NotFoundError, TrellisError
from svc_runtime.mesh_token import Caller, CallerKind
from svc_runtime.rpc_status import error_from_rpc
from tests.integration.analytics.behavior.conftest import at
from tests.integration.attribution_report.conftest import CREDENTIALS, Asked
from tests.reading import ACME, OTHER, insert_events
from trellis.attribution.v1 import model_service_pb2 as pb

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

pytestmark = [pytest.mark.store, pytest.mark.loopback]


def row(user: str, ms: int, source: str, **more: Any) -> dict[str, Any]:
    """Return an event."""
    return {"user_id": user, "event_time": at(ms), "source": source, "session_id": "s1", **more}


def sold(ms: int, **more: Any) -> dict[str, Any]:
    """Return a conversion of u, of 10 EUR."""
    counts = {"is_conversion": 1, "conversion_event": "sale", "event_type": "sale", "value": "10", "currency": "EUR"}
    return row("u", ms, "", **counts, **more)


async def explain(asked: Asked, event_id: object, organization_id: str = ACME, **fields: Any) -> Any:
    """Ask; raise what was answered."""
    request = pb.ExplainConversionRequest(event_id=str(event_id), dimension="source", **fields)
    caller = Caller(CallerKind.ORGANIZATION, "key:1", organization_id, frozenset({"analytics:read"}))
    try:
        return await asked.stub.ExplainConversion(request, metadata=CREDENTIALS.as_caller(caller))
    except grpc.aio.AioRpcError as error:
        raise error_from_rpc(error) from None


def look_back(ms: int, **more: Any) -> pb.Lookback:
    """Return a look-back."""
    message = pb.Lookback(**more)
    message.duration.FromMilliseconds(ms)
    return message


async def test_every_event_around_a_conversion_is_in_or_out_for_a_reason(asked: Asked, client: "Client") -> None:
    (linked,) = insert_events(client, [row("somebody else", 150, "theirs")], counts=False)
    rows = [
        row("u", 99, "old"),
        row("u", 100, "first"),
        row("u", 120, "robot", is_bot=1),
        row("u", 130, "seen", event_type="impression"),
        sold(140),
        row("u", 200, "last"),
        row("u", 201, "late"),
        row("v", 110, "not in it"),
        sold(200, touch_event_id=linked),
    ]
    *_, converted = insert_events(client, rows, counts=False)
    answer = await explain(asked, converted, model=pb.ModelChoice(model="linear"), lookback=look_back(100))
    found = [
        (each.event.source, pb.CandidateVerdict.Name(each.verdict)[18:], each.value_micros)
        for each in answer.candidates
    ]
    assert found == [
        ("old", "TOO_OLD", 0),
        ("first", "IN", 5_000_000),
        ("robot", "BOT", 0),
        ("seen", "NO_TOUCH", 0),
        ("", "CONVERSION", 0),
        ("theirs", "OTHER_VISITOR", 0),
        ("last", "IN", 5_000_000),
        ("late", "AFTER_CONVERSION", 0),
    ]
    assert [each.event.source for each in answer.candidates if each.is_linked_click] == ["theirs"]
    assert (answer.is_counted, answer.conversion.value_micros, answer.weight_sum) == (True, 10_000_000, 2)


async def test_only_the_converting_session_counts_where_that_was_asked(asked: Asked, client: "Client") -> None:
    rows = [row("u", 1, "a", session_id="s0"), row("u", 2, "b"), sold(9)]
    *_, converted = insert_events(client, rows, counts=False)
    answer = await explain(asked, converted, lookback=look_back(1000, is_same_session=True))
    assert [pb.CandidateVerdict.Name(each.verdict)[18:] for each in answer.candidates] == ["OTHER_SESSION", "IN"]
    assert answer.model.choice.model == "last_touch"


async def test_a_conversion_that_does_not_count_is_explained_and_says_so(asked: Asked, client: "Client") -> None:
    rows = [row("u", 1, "a"), sold(9) | {"is_conversion": 0, "conversion_status": "rejected"}]
    *_, converted = insert_events(client, rows, counts=False)
    answer = await explain(asked, converted)
    assert (answer.is_counted, answer.conversion.conversion_status) == (False, "rejected")
    assert [each.value_micros for each in answer.candidates] == [10_000_000]


async def test_what_a_refund_leaves_is_what_is_split(asked: Asked, client: "Client") -> None:
    refunds = {"is_conversion": 0, "is_adjustment": 1, "order_id": "o"}
    rows = [
        row("u", 1, "a"),
        row("u", 2, "b"),
        sold(20) | refunds | {"value": "-4"},
        sold(30) | refunds | {"value": "-1"},
        sold(31) | refunds | {"value": "-1", "currency": "USD"},
        sold(10, order_id="o"),
        sold(9, order_id="o"),
    ]
    *_, second, first = insert_events(client, rows, counts=False)
    answer = await explain(asked, first, model=pb.ModelChoice(model="linear"))
    assert (answer.conversion.value_micros, answer.adjustment_count, answer.adjustment_micros) == (
        10_000_000,
        2,
        -5_000_000,
    )
    touches = [each for each in answer.candidates if each.verdict == pb.CANDIDATE_VERDICT_IN]
    assert [each.value_micros for each in touches] == [2_500_000, 2_500_000]
    answer = await explain(asked, second, model=pb.ModelChoice(model="linear"))
    assert (answer.adjustment_count, answer.adjustment_micros) == (0, 0)


async def test_a_conversion_of_nobody_known_is_nobodys(asked: Asked, client: "Client") -> None:
    (converted,) = insert_events(client, [sold(9) | {"user_id": ""}], counts=False)
    answer = await explain(asked, converted)
    assert (list(answer.candidates), answer.nobody_micros) == ([], 10_000_000)


async def test_what_is_no_conversion_of_ours_is_missing_in_the_same_words(asked: Asked, client: "Client") -> None:
    click, converted = insert_events(client, [row("u", 1, "a"), sold(9)], counts=False)
    for event_id, organization_id in ((click, ACME), (converted, OTHER), ("nonsense", ACME)):
        with pytest.raises(TrellisError) as caught:
            await explain(asked, event_id, organization_id)
        assert caught.value.code is NotFoundError.code
        assert caught.value.message == f"no conversion {str(event_id)!r}"


async def test_a_long_journey_shows_its_last_touches(asked: Asked, client: "Client") -> None:
    rows = [*(row("u", ms % 900, f"s{ms}") for ms in range(1005)), sold(901)]
    *_, converted = insert_events(client, rows, counts=False)
    answer = await explain(asked, converted, model=pb.ModelChoice(model="linear"))
    assert (len(answer.candidates), answer.weight_sum, answer.has_earlier) == (1000, 1000, True)
    assert sum(each.value_micros for each in answer.candidates) == 10_000_000


@pytest.mark.parametrize("model", ["position_based", "time_decay", "participation", "last_non_direct_touch"])
async def test_an_explanation_gives_what_a_report_of_that_conversion_gives(
    asked: Asked, client: "Client", model: str
) -> None:
    rows = [row("u", 1, "a"), row("u", 5, "b"), row("u", 6, "a"), row("u", 8, ""), sold(9)]
    *_, converted = insert_events(client, rows, counts=False)
    answer = await explain(asked, converted, model=pb.ModelChoice(model=model))
    request = pb.QueryAttributionRequest(models=[pb.ModelChoice(model=model)], dimension="source")
    request.slice.time_range.start_time.FromDatetime(at(0))
    request.slice.time_range.end_time.FromDatetime(at(1000))
    report = await asked.report(request)
    explained: dict[str, int] = {}
    for each in answer.candidates:
        source = each.event.source
        explained[source] = explained.get(source, 0) + each.value_micros
    for line in report.rows:
        # Reports are in cents.
        assert abs(explained[line.value] - line.credits[0].value_micros) < 10_000
    if model != "participation":
        assert sum(explained.values()) == report.value_micros == 10_000_000
