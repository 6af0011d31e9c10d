"""What the touches of one visitor are credited with."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from attribution_svc.crediting.visitor import Attribution, Visitor, VisitorEvent, attribute
from attribution_svc.models.registry import rule_named
from attribution_svc.models.touch import Lookback

CONVERTED = datetime(2024, 6, 5, 19, 55, tzinfo=UTC)


def event(event_id: str, at: datetime, source: str = "", **fields: Any) -> VisitorEvent:
    values = {"event_type": "click", "medium": "", "channel": "", "campaign_id": "", "session_id": "", **fields}
    return VisitorEvent(event_id, at, source=source, **{"is_conversion": False, **values})


def purchase(event_id: str, at: datetime, micros: int, currency: str = "USD") -> VisitorEvent:
    return event(event_id, at, event_type="purchase", is_conversion=True, value_micros=micros, currency=currency)


SEED = (
    event("1", datetime(2024, 6, 1, 10, 15, tzinfo=UTC), "facebook", medium="cpc", campaign_id="summer_awareness"),
    event("2", datetime(2024, 6, 3, 14, 22, tzinfo=UTC), "google", medium="organic"),
    event("3", datetime(2024, 6, 5, 19, 45, tzinfo=UTC), "email", medium="newsletter", campaign_id="june_promo"),
    event("4", datetime(2024, 6, 5, 19, 52, tzinfo=UTC), "direct"),
    purchase("5", CONVERTED, 149_990_000),
)


def credit(events: tuple[VisitorEvent, ...], model: str, currency: str = "", **parameters: float) -> Attribution:
    return attribute(
        Visitor("usr_1", events, None),
        rule_named(model, parameters),
        lookback=Lookback.days(30),
        start_time=CONVERTED - timedelta(days=60),
        end_time=CONVERTED + timedelta(days=60),
        currency=currency,
    )


@pytest.mark.parametrize(
    ("half_life", "cents", "percents"),
    [
        (7, [2813, 3488, 4348, 4350], [18.76, 23.26, 28.99, 29.00]),
        (3, [1834, 3029, 5065, 5070], [12.23, 20.20, 33.77, 33.81]),
        (1, [315, 1417, 6622, 6645], [2.10, 9.45, 44.15, 44.30]),
    ],
)
def test_the_specifications_journey_by_the_published_formula(
    half_life: float, cents: list[int], percents: list[float]
) -> None:
    found = credit(SEED, "time_decay", half_life_days=half_life)
    values = [point.value_micros // 10_000 for point in found.touchpoints]
    # Each within a cent of the rounded cell: the sum is forced to the total.
    assert all(abs(value - expected) <= 1 for value, expected in zip(values, cents, strict=True))
    assert sum(point.value_micros for point in found.touchpoints) == found.total_micros == 149_990_000
    assert [point.percent for point in found.touchpoints] == pytest.approx(percents, abs=0.015)
    assert sum(point.percent for point in found.touchpoints) == pytest.approx(100)
    days = [point.days_before_conversion for point in found.touchpoints]
    assert days == pytest.approx([4.4028, 2.2313, 0.0069, 0.0021], abs=0.0001)


@pytest.mark.parametrize(
    ("model", "values"),
    [
        ("first_touch", [149_990_000, 0, 0, 0]),
        ("last_touch", [0, 0, 0, 149_990_000]),
        ("last_non_direct_touch", [0, 0, 149_990_000, 0]),
        ("linear", [37_500_000, 37_500_000, 37_500_000, 37_490_000]),
        ("position_based", [60_000_000, 15_000_000, 15_000_000, 59_990_000]),
    ],
)
def test_other_models_share_the_same_total(model: str, values: list[int]) -> None:
    found = credit(SEED, model)
    got = [point.value_micros for point in found.touchpoints]
    assert sum(got) == 149_990_000
    assert got == pytest.approx(values, abs=10_000)
    assert all(value % 10_000 == 0 for value in got), "nobody is owed a part of a cent"


def test_what_is_seen_is_said() -> None:
    assert credit(SEED, "time_decay").insights == (
        "Email was the final major touchpoint before conversion",
        "Customer journey spanned 4.4 days with 4 touchpoints",
        "Facebook initiated awareness, email drove conversion",
    )
    assert credit(SEED, "last_touch").insights[-1] == "Facebook initiated awareness, direct drove conversion"


def test_each_conversion_is_credited_by_itself() -> None:
    later = (
        *SEED,
        event("6", CONVERTED + timedelta(days=1), "bing"),
        purchase("7", CONVERTED + timedelta(days=2), 10**7),
    )
    found = credit(later, "last_touch")
    assert found.conversion_count == 2
    assert [point.value_micros for point in found.touchpoints] == [0, 0, 0, 149_990_000, 10_000_000]
    assert found.total_micros == 159_990_000


def test_what_no_touch_leads_to_is_nobodys() -> None:
    found = credit(
        (purchase("1", CONVERTED, 5_000_000), event("2", CONVERTED + timedelta(seconds=1), "late")), "linear"
    )
    assert (found.nobody_micros, found.total_micros) == (5_000_000, 5_000_000)
    assert [(p.value_micros, p.days_before_conversion) for p in found.touchpoints] == [(0, None)]
    assert found.insights == ()


def test_a_touch_older_than_the_look_back_gets_nothing() -> None:
    found = credit((event("1", CONVERTED - timedelta(days=31), "old"), purchase("2", CONVERTED, 10**6)), "linear")
    assert found.nobody_micros == 10**6


def test_money_of_one_currency_is_credited() -> None:
    events = (*SEED, purchase("6", CONVERTED, 2_000_000_000, "JPY"), purchase("7", CONVERTED, 10_000_000))
    assert (credit(events, "last_touch").currency, credit(events, "last_touch").total_micros) == ("USD", 159_990_000)
    yen = credit(events, "linear", currency="JPY")
    assert yen.total_micros == 2_000_000_000
    assert all(point.value_micros % 1_000_000 == 0 for point in yen.touchpoints)


def test_a_visitor_without_conversions_has_touches_and_no_credits() -> None:
    found = credit(SEED[:4], "linear")
    assert (found.total_micros, found.conversion_count, found.currency) == (0, 0, "")
    assert [point.percent for point in found.touchpoints] == [0.0] * 4


def test_a_refund_takes_back_what_was_credited() -> None:
    refund = (*SEED[:4], purchase("5", CONVERTED, -149_990_000))
    got = [point.value_micros for point in credit(refund, "linear").touchpoints]
    assert got == [-point.value_micros for point in credit(SEED, "linear").touchpoints]
