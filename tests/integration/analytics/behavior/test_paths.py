"""The ways that visitors took."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_svc.behavior import path
from analytics_svc.behavior.path import PathSpec, compile_paths, paths_of
from analytics_svc.dimension import DIMENSIONS, dimension_of
from analytics_svc.slice import Slice
from svc_runtime.errors import QueryLimitError
from tests.integration.analytics.behavior.conftest import Asked, at
from tests.integration.analytics.behavior.path_reference import Act, Counted, paths
from tests.integration.analytics.behavior.test_funnel_random import asked as ask
from tests.integration.analytics.behavior.test_funnel_random import event_id
from tests.integration.analytics.behavior.test_funnel_vectors import march
from tests.reading import ACME, OTHER, insert_events
from trellis.analytics.v1 import behavior_pb2 as pb

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

pytestmark = [pytest.mark.store, pytest.mark.loopback]

PART = Slice(ACME, at(0), at(1000), currency="EUR")
SPEC = PathSpec(PART, DIMENSIONS["source"], timedelta(milliseconds=100), includes_unconverted=True)


def insert(client: "Client", acts: list[Act]) -> None:
    """Insert events; those with a value are conversions."""
    rows = [
        {
            "user_id": act.user,
            "event_time": at(act.at),
            "event_id": act.id,
            "event_type": act.kind,
            "source": act.source,
        }
        | ({"is_conversion": 1, "value": act.value, "currency": "EUR"} if act.value is not None else {})
        for act in acts
    ]
    insert_events(client, rows, counts=False)


def found(client: "Client", spec: PathSpec) -> list[Counted]:
    """Return the paths of an answer."""
    rows, count = paths_of(ask(client, compile_paths(spec)))
    assert count >= len(rows)
    return [(each.values, each.conversion_count, each.unconverted_count, each.revenue) for each in rows]


def act(user: str, ms: int, source: str, value: str | None = None, kind: str = "click") -> Act:
    """Return an event; its id follows its time."""
    return Act(user, ms, str(event_id(ms + 1000)), kind, source, None if value is None else Decimal(value))


def test_the_bounds_of_the_look_back_are_inside(client: "Client") -> None:
    insert(
        client,
        [
            act("u", 99, "too early"),
            act("u", 100, "first"),
            act("u", 150, "impression", kind="impression"),
            act("u", 200, "at the same time"),
            act("u", 200, "sale", "5", "sale"),
            act("u", 201, "too late"),
        ],
    )
    assert found(client, SPEC) == [(("first", "at the same time"), 1, 0, Decimal(5))]


def test_touches_reach_back_before_the_slice_and_conversions_do_not(client: "Client") -> None:
    insert(client, [act("u", -50, "before"), act("u", -40, "sale", "9", "sale"), act("u", 10, "sale", "5", "sale")])
    insert(client, [act("v", -50, "before"), act("w", -50, "before"), act("w", 30, "within")])
    assert found(client, SPEC) == [(("before",), 1, 0, Decimal(5)), (("before", "within"), 0, 1, Decimal(0))]


def test_every_conversion_has_a_path_of_its_own(client: "Client") -> None:
    insert(
        client,
        [act("u", 0, "a"), act("u", 10, "s", "1", "sale"), act("u", 20, "b"), act("u", 30, "s", "2", "sale")],
    )
    assert found(client, SPEC) == [(("a",), 1, 0, Decimal(1)), (("a", "b"), 1, 0, Decimal(2))]


def test_a_conversion_that_no_touch_led_to_is_counted_under_the_empty_path(client: "Client") -> None:
    insert(client, [act("u", 10, "s", "1", "sale"), act("", 20, "s", "1", "sale")])
    assert found(client, SPEC) == [((), 1, 0, Decimal(1))]


def test_repeats_are_one_where_asked_for(client: "Client") -> None:
    insert(client, [*(act("u", ms, source) for ms, source in enumerate("aabba")), act("u", 9, "s", "1", "sale")])
    assert [row[0] for row in found(client, SPEC)] == [tuple("aabba")]
    assert [row[0] for row in found(client, replace(SPEC, collapses_repeats=True))] == [tuple("aba")]


def test_a_long_path_keeps_its_end(client: "Client", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path, "LONGEST_PATH", 3)
    insert(client, [*(act("u", ms, source) for ms, source in enumerate("abcde")), act("u", 9, "s", "1", "sale")])
    assert [row[0] for row in found(client, SPEC)] == [tuple("cde")]
    monkeypatch.setattr(path, "MOST_VALUES", 2)
    with pytest.raises(QueryLimitError, match="collapse repeats"):
        found(client, SPEC)


def test_any_captured_parameter_is_a_dimension(client: "Client") -> None:
    rows = [{"user_id": "u", "event_time": at(1), "params": {"zone": "7"}}]
    rows += [{"user_id": "u", "event_time": at(2), "event_type": "sale", "is_conversion": 1}]
    insert_events(client, rows, counts=False)
    dimension = dimension_of("param.zone", path="", violations=[])
    assert dimension is not None
    assert found(client, replace(SPEC, dimension=dimension)) == [(("7",), 1, 0, Decimal(0))]


async def test_paths_over_grpc_are_limited_counted_and_in_one_currency(asked: Asked, client: "Client") -> None:
    for number, (user, code) in enumerate((("u", "EUR"), ("v", "EUR"), ("w", "USD"))):
        rows = [
            {"user_id": user, "event_time": at(1), "channel": f"c{number % 2}"},
            {"user_id": user, "event_time": at(2), "is_conversion": 1, "value": "1.5", "currency": code},
        ]
        insert_events(client, rows, counts=False)
    insert_events(client, [{"user_id": "u", "organization_id": OTHER, "event_time": at(1), "channel": "x"}])
    request = pb.QueryPathsRequest(slice=march(), limit=1)
    response = await asked.stub.QueryPaths(request, metadata=Asked.caller())
    assert list(response.paths) == [pb.Path(values=["c0"], conversion_count=2, revenue_micros=1_500_000)]
    assert response.path_count == 2
    assert response.info.currency == "EUR"
    assert [(money.currency, money.amount_micros) for money in response.info.other_revenue] == [("USD", 1_500_000)]


acts = st.builds(
    lambda place, user, ms, kind, source, value: Act(user, ms, str(event_id(place)), kind, source, value),
    st.integers(0, 10**6),
    st.sampled_from("uvw"),
    st.integers(-30, 40),
    st.sampled_from(["click", "pageview", "impression"]),
    st.sampled_from("ab"),
    st.none() | st.decimals(-5, 100, places=6),
)


@given(st.lists(acts, max_size=16, unique_by=lambda each: each.id), st.integers(1, 30), st.integers(1, 45))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_clickhouse_and_python_find_the_same_paths(client: "Client", done: list[Act], lookback: int, end: int) -> None:
    client.command("TRUNCATE TABLE events")
    insert(client, done)
    for collapses, includes_unconverted in ((False, True), (True, True), (True, False)):
        spec = PathSpec(
            replace(PART, end_time=at(end)),
            DIMENSIONS["source"],
            timedelta(milliseconds=lookback),
            collapses_repeats=collapses,
            includes_unconverted=includes_unconverted,
        )
        assert found(client, spec) == paths(
            done, start=0, end=end, lookback=lookback, collapses=collapses, includes_unconverted=includes_unconverted
        )
