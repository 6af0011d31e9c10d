"""The whole way of a report, from ClickHouse over gRPC to credits in columns, against the pure models."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_svc.behavior import export, exports
from analytics_svc.behavior.export import LookbackRule
from attribution_svc.models.paths import Path, credited, paths_of, split
from attribution_svc.models.registry import KINDS, RuleKind, learner_named, rule_named
from attribution_svc.models.totals import Assists, assists, totals
from attribution_svc.models.touch import Conversion, Journey, Touch
from svc_runtime.errors import QueryLimitError, TrellisError
from tests.integration.analytics.behavior.conftest import at
from tests.integration.analytics.behavior.test_exports import SPEC as EXPORT
from tests.integration.analytics.behavior.test_exports import Act, act, acts, insert, reference, sale
from tests.integration.attribution_report.conftest import Asked
from tests.reading import OTHER
from trellis.analytics.v1 import report_pb2
from trellis.attribution.v1 import model_service_pb2 as pb

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

pytestmark = [pytest.mark.store, pytest.mark.loopback]
RULES = [name for name, kind in KINDS.items() if isinstance(kind, RuleKind)]
LEARNERS = [name for name, kind in KINDS.items() if not isinstance(kind, RuleKind)]


def question(models: Sequence[str] = RULES, *, lookback_ms: int = 100, **fields: Any) -> pb.QueryAttributionRequest:
    """Ask for the second after the noon of the tests, in EUR."""
    request = pb.QueryAttributionRequest(
        slice=report_pb2.Slice(currency="EUR"),
        models=[pb.ModelChoice(model=name) for name in models],
        dimension="source",
        limit=10_000,
        **fields,
    )
    request.slice.time_range.start_time.FromDatetime(at(0))
    request.slice.time_range.end_time.FromDatetime(at(1000))
    request.lookbacks.add().duration.FromMilliseconds(lookback_ms)
    return request


def micros_of(answer: pb.QueryAttributionResponse, place: int) -> dict[str | None, int]:
    """Return what a model gives to somebody; None is nobody."""
    found: dict[str | None, int] = {row.value: row.credits[place].value_micros for row in answer.rows}
    found[None] = answer.nobody[place].value_micros
    return {value: micros for value, micros in found.items() if micros}


def journeys_of(walked: Sequence[Any]) -> list[Journey]:
    """Return the journeys of the export's reference as the models take them."""
    return [
        Journey(
            Conversion("", 0, value),
            tuple(Touch("", -age, source, place, direct) for place, (source, age, direct) in enumerate(touches)),
        )
        for value, touches, _ in walked
    ]


def nonzero(values: dict[str | None, int]) -> dict[str | None, int]:
    """Leave out who got nothing."""
    return {name: value for name, value in values.items() if value}


# Sales and refunds together are shown as they are, to the micro: an amount of both signs is in every list.
REFUNDED = [
    Act("refunded", 500, 2_000_001, "click", "refunds"),
    Act("refunded", 500, 2_000_002, "sale", "", "", "sale", sale("", 0, "-0.000007").value),
    Act("sold", 500, 2_000_003, "click", "sold"),
    Act("sold", 500, 2_000_004, "sale", "", "", "sale", sale("", 0, "1.000001").value),
]


@given(st.lists(acts, max_size=14, unique_by=lambda each: each.id), st.integers(1, 30), st.sampled_from([1, 3, 10**6]))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_report_over_a_reading_is_what_the_pure_models_say(
    asked: Asked, client: "Client", done: list[Act], lookback: int, share_events: int
) -> None:
    client.command("TRUNCATE TABLE events")
    done = [*done, *REFUNDED]
    insert(client, done)
    spec = type(EXPORT)(EXPORT.slice, EXPORT.dimension, default_rule=LookbackRule(timedelta(milliseconds=lookback)))
    walked, unconverted = reference(done, spec, start=0, end=1000)
    journeys = journeys_of(walked)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exports, "SHARE_EVENTS", share_events)
        patch.setattr(export, "ROW_ENTRIES", share_events)
        answer = await asked.report(question([*RULES, *LEARNERS], lookback_ms=lookback))
    anonymous = [each for each in done if each.type and not each.user and each.at >= 0 and not each.is_bot]
    nobodys = sum(int((each.value or 0) * 1_000_000) for each in anonymous)
    whole = sum(of.conversion.value_micros for of in journeys) + nobodys
    sold = [of for of, (_, _, counts) in zip(journeys, walked, strict=True) if counts]
    count = len(sold) + sum(not each.adjusts for each in anonymous)
    assert (answer.conversion_count, answer.value_micros) == (count, whole)
    expected = totals(journeys, {name: rule_named(name) for name in RULES})
    paths = _paths(journeys, [counts for _, _, counts in walked], unconverted)
    for place, name in enumerate([*RULES, *LEARNERS]):
        if name in RULES:
            micros = Counter({channel: total.value_micros for channel, total in expected[name].items()})
        else:
            micros = learned(name, paths)
        micros[None] += nobodys
        if name != "participation" and not (min(micros.values()) < 0 < max(micros.values())):
            continue  # rounded to cents: another test
        assert micros_of(answer, place) == nonzero(dict(micros)), name
        if KINDS[name] is not KINDS["participation"]:
            assert sum(micros_of(answer, place).values()) == whole
    assisted = assists(sold)
    for row in answer.rows:
        found = assisted.get(row.value, Assists(0, 0, 0))
        assert (row.last_touch_count, row.assisted_count) == (found.last, found.assisted)


def _paths(journeys: Sequence[Journey], counts: Sequence[int], unconverted: "Counter[Any]") -> list[Path]:
    """Count paths; what only adjusts brings its value, and no conversion."""
    of_sales = [of for of, counted in zip(journeys, counts, strict=True) if counted]
    apart = [of for of, counted in zip(journeys, counts, strict=True) if not counted]
    by_path = {path.channels: path for path in paths_of(of_sales, unconverted.elements())}
    for path in paths_of(apart):
        known = by_path.get(path.channels, Path(path.channels))
        by_path[path.channels] = replace(known, value_micros=known.value_micros + path.value_micros)
    return list(by_path.values())


def learned(name: str, paths: Sequence[Path]) -> "Counter[str | None]":
    """Return the credits of a model that learns, and nobody's."""
    _, micros = credited(paths)
    found: Counter[str | None] = Counter(split(micros, learner_named(name)(paths).shares))
    found[None] += sum(path.value_micros for path in paths if not path.channels)
    return found


async def test_amounts_are_in_cents_and_add_up(asked: Asked, client: "Client") -> None:
    for user, sources in (("u", "abc"), ("v", "ab"), ("w", "a"), ("x", "")):
        insert(client, [Act(user, ms, ord(user) * 100 + ms, "click", source) for ms, source in enumerate(sources)])
        insert(client, [Act(user, 50, ord(user) * 100 + 50, "sale", "", "", "sale", sale("", 0, "33.33").value)])
    answer = await asked.report(question())
    for place, model in enumerate(answer.models):
        found = micros_of(answer, place)
        if model.is_additive:
            assert sum(found.values()) == answer.value_micros == 133_320_000
            assert not any(micros % 10_000 for micros in found.values())
    linear = RULES.index("linear")
    assert micros_of(answer, linear) == {"a": 61_110_000, "b": 27_770_000, "c": 11_110_000, None: 33_330_000}


async def test_rows_over_the_limit_are_summed_up(asked: Asked, client: "Client") -> None:
    insert(client, [act("u", 1, "a"), act("u", 2, "b"), act("u", 3, "c"), sale("u", 9, "10")])
    request = question(["linear"])
    request.limit = 1
    answer = await asked.report(request)
    assert [row.value for row in answer.rows] == ["a"]
    assert answer.rows[0].credits[0].value_micros == 3_340_000
    assert answer.rest.credits[0].value_micros == 6_660_000
    assert (answer.rest.last_touch_count, answer.rest.assisted_count) == (1, 1)


async def test_another_organisations_conversions_are_credited_to_nobody_here(asked: Asked, client: "Client") -> None:
    insert(client, [act("u", 1, "a"), sale("u", 9, "10")])
    answer = await asked.report(question(["linear"]), organization_id=OTHER)
    assert (answer.conversion_count, list(answer.rows)) == (0, [])


async def test_what_the_reading_refuses_is_told_as_it_says(
    asked: Asked, client: "Client", monkeypatch: pytest.MonkeyPatch
) -> None:
    insert(client, [act("u", 1, "a"), sale("u", 9, "10")])
    monkeypatch.setattr(exports, "MOST_TOUCHES", 0)
    with pytest.raises(TrellisError, match="1 touches; the limit is 0") as caught:
        await asked.report(question(["linear"]))
    assert caught.value.code is QueryLimitError.code
    wrong = question(["linear"])
    wrong.dimension = "shoe_size"
    wrong.slice.time_zone = "Mars/Olympus"
    with pytest.raises(TrellisError) as caught:
        await asked.report(wrong)
    assert [violation.field for violation in caught.value.violations] == ["slice.time_zone", "dimension"]
