"""What the events of an order amount to."""

import random
from collections import defaultdict
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attribution_svc.conversions.conversion import Conversion, Folded
from attribution_svc.conversions.event import ConversionEvent
from attribution_svc.conversions.fold import fold
from attribution_svc.conversions.rules import Choice, Policy, Rules
from enrichment.status import Status
from tests.unit.attribution.conversion.reports import event_id_of, postback

PLAIN = Rules()


def choosing(choice: Choice, conversion_type: str = "*") -> Rules:
    return Rules(policies={conversion_type: Policy(choice)})


def the_only(folded: Folded) -> Conversion:
    (conversion,) = folded.conversions
    return conversion


def brief(conversion: Conversion) -> tuple[str, bool, float | None, float]:
    """Return status, whether it counts, value and refunds in units."""
    value = None if conversion.value_micros is None else conversion.value_micros / 1e6
    return conversion.status, conversion.is_counted, value, conversion.refunded_micros / 1e6


@pytest.mark.parametrize(
    ("queries", "expected"),
    [
        (["status=lead"], ("lead", True, None, 0)),
        (["status=lead", "status=approved&payout=5"], ("sale", True, 5, 0)),
        (["status=lead&payout=3", "status=approved&payout=5"], ("sale", True, 5, 0)),
        (["status=approved&payout=5", "status=lead&payout=3"], ("sale", True, 5, 0)),
        (["status=approved&payout=5", "status=approved&payout=6"], ("sale", True, 5, 0)),
        (["status=approved&payout=5", "status=rejected"], ("rejected", False, 0, 0)),
        (["status=rejected", "status=approved&payout=5"], ("sale", True, 5, 0)),
        (["status=approved&payout=5", "status=refund"], ("refunded", True, 0, 5)),
        (["status=approved&payout=5", "status=chargeback&payout=2"], ("sale", True, 3, 2)),
        (["status=approved&payout=5", "payout=-2"], ("sale", True, 3, 2)),
        (["status=approved&payout=5", "payout=-2", "payout=-9"], ("refunded", True, 0, 5)),
        (["payout=-2", "status=approved&payout=5"], ("sale", True, 3, 2)),
        (["status=approved&payout=5", "event=refund&status=rejected&payout=5"], ("sale", True, 5, 0)),
        (["status=approved&payout=5&currency=USD", "payout=-2&currency=EUR"], ("sale", True, 5, 0)),
        (["event=purchase", "event=purchase&payout=5"], ("", True, 5, 0)),
        (["event=lead", "event=sale&payout=5"], ("sale", True, 5, 0)),
        (["status=onwards", "status=hold2&payout=5"], ("unmapped", True, 5, 0)),
        (["status=onwards&payout=1", "status=lead&payout=5"], ("lead", True, 5, 0)),
    ],
)
def test_the_life_of_one_order(queries: list[str], expected: tuple[str, bool, float | None, float]) -> None:
    events = [postback(number, f"txid=1&{query}") for number, query in enumerate(queries, start=1)]
    assert brief(the_only(fold(events, PLAIN))) == expected


def test_a_refund_of_nothing_counts_for_nothing_until_its_order_is_known() -> None:
    refund, order = postback(2, "txid=1&event=refund&payout=5"), postback(1, "txid=1&event=purchase&payout=7")
    alone = the_only(fold([refund], PLAIN))
    assert (alone.conversion_type, alone.is_counted, alone.value_micros) == ("refund", False, None)
    assert fold([refund], PLAIN).shares[refund.event_id].value_micros is None
    assert brief(the_only(fold([refund, order], PLAIN))) == ("", True, 2, 5)


def test_goals_of_one_order_are_conversions_of_their_own() -> None:
    events = [postback(1, "txid=1&goal=reg"), postback(2, "txid=1&goal=ftd&payout=5"), postback(3, "txid=1&goal=ftd")]
    assert [made.conversion_type for made in fold(events, PLAIN).conversions] == ["reg", "ftd"]


def test_a_test_is_kept_apart_and_counts_nowhere() -> None:
    folded = fold([postback(1, "txid=1&payout=5&status=test")], PLAIN)
    conversion = the_only(folded)
    assert (conversion.is_test, conversion.is_counted, conversion.value_micros) == (True, False, 0)
    assert conversion.group_key == f"e:{event_id_of(1)}"


@pytest.mark.parametrize(
    ("choice", "values"),
    [
        (Choice.FIRST, [5]),
        (Choice.LAST, [3]),
        (Choice.SUM, [15]),
        (Choice.MAX, [7]),
        (Choice.PER_EVENT, [5, 7, 3]),
    ],
)
def test_a_policy_says_which_events_make_the_value(choice: Choice, values: list[int]) -> None:
    events = [postback(number, f"txid=1&event=purchase&payout={value}") for number, value in enumerate([5, 7, 3])]
    for rules in (choosing(choice), choosing(choice, "purchase")):
        found = [made.value_micros for made in fold(events, rules).conversions]
        assert found == [value * 1_000_000 for value in values]
    assert len(fold(events, choosing(choice, "lead")).conversions) == 1


def test_a_networks_word_for_a_status_comes_before_the_organisations_and_ours() -> None:
    events = [postback(1, "status=2&payout=5&source=NetA&txid=1"), postback(2, "status=2&payout=5&source=netb&txid=2")]
    rules = Rules(vocabularies={"": {"2": Status.REJECTED}, "neta": {"2": Status.SALE}})
    assert the_only(fold(events[:1], rules)).status == "sale"
    assert the_only(fold(events[1:], rules)).status == "rejected"
    assert the_only(fold(events[:1], PLAIN)).status == "unmapped"


def test_what_each_event_counts_for_says_where_the_value_comes_from() -> None:
    lead, sale, again, refund = (
        postback(1, "txid=1&status=lead"),
        postback(2, "txid=1&status=sale&payout=5&cur=EUR"),
        postback(3, "txid=1&status=sale&payout=5&cur=EUR"),
        postback(4, "txid=1&status=refund&payout=2&cur=EUR"),
    )
    shares = fold([lead, sale, again, refund], PLAIN).shares
    told = {
        number: (share.is_conversion, share.is_adjustment, share.value_micros, share.currency)
        for number, share in enumerate((shares[event.event_id] for event in (lead, sale, again, refund)), start=1)
    }
    assert told == {
        1: (True, False, None, ""),
        2: (False, True, 5_000_000, "EUR"),
        3: (False, False, None, ""),
        4: (False, True, -2_000_000, "EUR"),
    }


def test_a_sum_that_no_column_holds_leaves_amounts_out() -> None:
    most = "999999999999"
    events = [postback(number, f"txid=1&payout={value}") for number, value in enumerate([most, most, "0.5"])]
    made = the_only(fold(events, choosing(Choice.SUM)))
    assert made.value_micros == 999_999_999_999_500_000


_STATUSES = ("lead", "approved", "rejected", "refund", "2", "chargeback", "onwards")
_queries = st.builds(
    lambda *parts: "&".join(("txid=1", *(part for part in parts if part))),
    st.sampled_from(["", "event=purchase", "event=refund", "event=lead", "goal=reg", "event=install"]),
    st.sampled_from(
        ["", *(f"status={word}" for word in ["lead", "approved", "rejected", "refund", "2", "chargeback", "onwards"])]
    ),
    st.sampled_from(["", "payout=5", "payout=7.25", "payout=-2", "payout=0", "payout=1e30", "payout=-5"]),
    st.sampled_from(["", "cur=EUR", "cur=USD"]),
)
_events = st.lists(st.tuples(_queries, st.integers(0, 3)), min_size=1, max_size=7).map(
    lambda made: [postback(number, query, seconds=seconds) for number, (query, seconds) in enumerate(made)]
)
_rules = st.sampled_from([*map(choosing, Choice), Rules(vocabularies={"": {"2": Status.SALE}})])


@given(_events, _rules, st.integers(0, 1000))
@settings(max_examples=300, deadline=None)
def test_the_order_of_arrival_and_repeats_make_no_difference(
    events: list[ConversionEvent], rules: Rules, seed: int
) -> None:
    shuffled = [*events, *events[:2]]
    random.Random(seed).shuffle(shuffled)
    assert fold(shuffled, rules) == fold(events, rules)


@given(_events, _rules)
@settings(max_examples=300, deadline=None)
def test_what_the_events_count_for_adds_up_to_the_conversions(events: list[ConversionEvent], rules: Rules) -> None:
    folded = fold(events, rules)
    assert set(folded.shares) == {event.event_id for event in events}
    by_share: dict[str, int] = defaultdict(int)
    by_conversion: dict[str, int] = defaultdict(int)
    for share in folded.shares.values():
        assert not (share.is_conversion and share.is_adjustment)
        assert share.value_micros is None or share.is_conversion or share.is_adjustment
        by_share[share.currency] += share.value_micros or 0
    for conversion in folded.conversions:
        by_conversion[conversion.currency] += conversion.value_micros or 0
        assert (conversion.value_micros or 0) >= 0
        assert conversion.refunded_micros >= 0
    assert {c: v for c, v in by_share.items() if v} == {c: v for c, v in by_conversion.items() if v}
    count = sum(share.is_conversion for share in folded.shares.values())
    assert count == sum(conversion.is_counted for conversion in folded.conversions)


@given(_events, _rules)
@settings(max_examples=200, deadline=None)
def test_every_event_belongs_to_one_conversion(events: list[ConversionEvent], rules: Rules) -> None:
    homes = [event_id for made in fold(events, rules).conversions for event_id in made.event_ids]
    assert sorted(homes) == sorted(event.event_id for event in events)


def test_all_orders_of_a_life_are_one() -> None:
    events = [
        postback(number, f"txid=1&{query}")
        for number, query in enumerate(["status=lead", "status=sale&payout=9", "payout=-4", "status=sale&payout=8"])
    ]
    assert len({repr(fold(order, PLAIN)) for order in permutations(events)}) == 1
