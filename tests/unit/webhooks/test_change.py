"""Which webhooks hear of a change."""

import re
from dataclasses import replace
from typing import Any

import pytest

from attribution_svc.webhooks.change import Change, Click, heard_by, meets_condition
from attribution_svc.webhooks.planner import delivery_id_of
from attribution_svc.webhooks.webhook import SUBSCRIBABLE, EventKind
from rule_language.predicate import AllOf, Condition, Not, Operator
from tests.contract.webhooks.things import make_change, make_webhook

LINKED = {"touch_event_id": "e1", "campaign_id": "cmp_1"}


@pytest.mark.parametrize(
    ("definition", "conversion", "is_heard"),
    [
        ({}, {}, True),
        ({"event_kinds": (EventKind.REFUND,)}, {}, False),
        ({"campaign_ids": ("cmp_1",)}, {"campaign_id": "cmp_1"}, True),
        ({"campaign_ids": ("cmp_1",)}, {"campaign_id": "cmp_2"}, False),
        ({"campaign_ids": ("cmp_1",)}, {}, False),
        ({"conversion_types": ("sale", "lead")}, {}, True),
        ({"conversion_types": ("lead",)}, {}, False),
        ({"statuses": ("sale",)}, {}, True),
        ({"statuses": ("sale",)}, {"status": ""}, False),
        ({}, {"is_test": True}, False),
    ],
)
def test_filters_must_all_agree(definition: dict[str, Any], conversion: dict[str, Any], is_heard: bool) -> None:
    change = make_change(1, **conversion)
    assert heard_by(make_webhook(**definition), change) == (change if is_heard else None)


def test_one_that_is_off_hears_nothing() -> None:
    assert heard_by(make_webhook(is_enabled=False), make_change()) is None


def test_one_that_waits_hears_of_a_conversion_when_its_click_is_known() -> None:
    waiting = make_webhook(waits_for_click=True)
    unlinked = make_change(1)
    assert heard_by(waiting, unlinked) is None
    matched = make_change(2, kind=EventKind.MATCHED, previous=unlinked.conversion, **LINKED)
    assert heard_by(waiting, matched) == replace(matched, kind=EventKind.CREATED, previous=None)
    # Whoever does not wait has heard of it already, and did not ask for matches.
    assert heard_by(make_webhook(), matched) is None
    assert heard_by(make_webhook(), unlinked) == unlinked


def test_one_that_waits_hears_at_once_of_what_is_linked_from_the_beginning() -> None:
    change = make_change(1, **LINKED)
    assert heard_by(make_webhook(waits_for_click=True), change) == change


def test_another_click_is_a_match_and_no_creation() -> None:
    first = make_change(1, **LINKED).conversion
    again = make_change(2, kind=EventKind.MATCHED, previous=first, touch_event_id="e2")
    assert heard_by(make_webhook(waits_for_click=True), again) is None
    both = make_webhook(waits_for_click=True, event_kinds=SUBSCRIBABLE)
    assert heard_by(both, again) == again


def test_a_status_before_the_click_is_known_waits_with_the_rest() -> None:
    waiting = make_webhook(waits_for_click=True, event_kinds=SUBSCRIBABLE)
    before = make_change(1, status="lead").conversion
    assert heard_by(waiting, make_change(2, kind=EventKind.STATUS, previous=before)) is None


def heard_condition(condition: Any, change: Change) -> bool:
    """Whether a webhook with this condition is told."""
    return meets_condition(make_webhook(condition=condition), change)


def test_a_condition_asks_the_conversion_and_its_click() -> None:
    click = Click({"country": "DE", "ip": "192.0.2.7", "term": "shoes"}, {"zone": "7"})
    change = make_change(1, source="facebook", click=click)
    told = (
        Condition("value", Operator.GTE, ("12.5",)),
        Condition("event_type", Operator.EQUALS, ("sale",)),
        Condition("source", Operator.EQUALS, ("Facebook",)),
        Condition("country", Operator.EQUALS, ("DE",)),
        Condition("param.zone", Operator.EQUALS, ("7",)),
        Condition("date", Operator.EQUALS, ("2026-11-20",)),
    )
    assert heard_condition(AllOf(told), change)
    for condition in told:
        assert not heard_condition(Not(condition), change)


def test_what_nobody_can_tell_does_not_match_either_way() -> None:
    unknown = Condition("country", Operator.EQUALS, ("DE",))
    for condition in (unknown, Not(unknown), Condition("country", Operator.EXISTS, ())):
        assert not heard_condition(condition, make_change())


def test_a_creation_has_one_id_for_a_webhook_whenever_it_is_told() -> None:
    first = delivery_id_of(make_webhook(), make_change(1, conversion_id="c"))
    assert re.fullmatch(r"msg_[0-9A-Za-z]{22}", first)
    assert delivery_id_of(make_webhook(), make_change(2, conversion_id="c", **LINKED)) == first
    others = {
        delivery_id_of(make_webhook(), make_change(1, conversion_id="d")),
        delivery_id_of(make_webhook("wh_2"), make_change(1, conversion_id="c")),
        delivery_id_of(make_webhook(organization_id="org_b"), make_change(1, conversion_id="c")),
        *(delivery_id_of(make_webhook(), make_change(3, conversion_id="c", kind=EventKind.STATUS)) for _ in range(2)),
    }
    assert len(others - {first}) == 5
