"""What campaigns may do with clicks, and what they may not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from attribution_svc.campaigns.rule import (
    MOST_RULES,
    Action,
    Cap,
    CapKind,
    CapPeriod,
    Destination,
    Fallback,
    ParameterPolicy,
    Rule,
    Schedule,
    WeeklyWindow,
    cap_violations,
    normalised_action,
    normalised_fallback,
    normalised_rules,
    schedule_violations,
)
from svc_runtime.errors import Violation

SHOP = Destination("https://shop.example/")
ACTION = Action((SHOP,))
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def told(action: Action) -> list[tuple[str, str]]:
    violations: list[Violation] = []
    normalised_action(action, "action", violations)
    return [(violation.field, violation.description) for violation in violations]


def test_one_destination_needs_no_weight_and_no_id() -> None:
    violations: list[Violation] = []
    assert normalised_action(ACTION, "action", violations).destinations == (
        Destination("https://shop.example/", "d1", 100),
    )
    assert not violations


@pytest.mark.parametrize(
    ("weights", "problems"),
    [
        ((50, 50), []),
        ((99, 1), []),
        ((0, 100), [("action.destinations[0].weight", "is 0, must be 1 to 100")]),
        ((50, 49), [("action.destinations", "have weights that sum to 99, must be 100")]),
        ((50, 60), [("action.destinations", "have weights that sum to 110, must be 100")]),
        ((), [("action.destinations", "are 0, must be 1 to 20")]),
        ((5,) * 21, [("action.destinations", "are 21, must be 1 to 20")]),
    ],
)
def test_weights_sum_to_a_hundred(weights: tuple[int, ...], problems: list[tuple[str, str]]) -> None:
    assert told(Action(tuple(replace(SHOP, weight=weight) for weight in weights))) == problems


@pytest.mark.parametrize(
    ("action", "path"),
    [
        (Action((replace(SHOP, destination_id="a b"),)), "action.destinations[0].destination_id"),
        (
            Action((Destination("https://a.example/", "d2", 50), Destination("https://b.example/", "", 50))),
            "action.destinations",
        ),
        (Action((Destination("javascript:alert(1)"),)), "action.destinations[0].url"),
        (Action((Destination("https://{source}.example/"),)), "action.destinations[0].url"),
        (replace(ACTION, parameter_policy=ParameterPolicy.ONLY), "action.parameter_names"),
        (replace(ACTION, parameter_names=("a",)), "action.parameter_names"),
        (replace(ACTION, parameter_policy=ParameterPolicy.ONLY, parameter_names=("",)), "action.parameter_names[0]"),
        (replace(ACTION, tags=("t",) * 21), "action.tags"),
        (replace(ACTION, tags=("",)), "action.tags[0]"),
        (replace(ACTION, tags=("a\n",)), "action.tags[0]"),
    ],
)
def test_what_is_wrong_with_an_action_is_named(action: Action, path: str) -> None:
    assert [field for field, _ in told(action)] == [path]


def test_rules_stand_in_the_order_in_which_they_decide() -> None:
    violations: list[Violation] = []
    rules = [Rule(ACTION, priority=priority, name=str(index)) for index, priority in enumerate([0, 5, 0, 10])]
    found = normalised_rules(rules, "rules", violations)
    assert [(rule.name, rule.rule_id) for rule in found] == [("3", "r4"), ("1", "r2"), ("0", "r1"), ("2", "r3")]
    assert normalised_rules(found, "rules", violations) == found
    assert not violations


@pytest.mark.parametrize(
    ("rules", "path"),
    [
        ([Rule(ACTION, rule_id="a"), Rule(ACTION, rule_id="a")], "rules"),
        ([Rule(ACTION, rule_id="a/b")], "rules[0].rule_id"),
        ([Rule(ACTION, priority=1_000_001)], "rules[0].priority"),
        ([Rule(ACTION, name="x" * 201)], "rules[0].name"),
        ([Rule(Action(()))], "rules[0].action.destinations"),
        ([Rule(ACTION)] * (MOST_RULES + 1), "rules"),
    ],
)
def test_what_is_wrong_with_rules_is_named(rules: list[Rule], path: str) -> None:
    violations: list[Violation] = []
    normalised_rules(rules, "rules", violations)
    assert [violation.field for violation in violations] == [path]


@pytest.mark.parametrize(
    ("schedule", "path"),
    [
        (Schedule(NOON, NOON), "schedule.end_time"),
        (Schedule(NOON, NOON - timedelta(days=1)), "schedule.end_time"),
        (Schedule(time_zone="Mars/Olympus"), "schedule.time_zone"),
        (Schedule(windows=(WeeklyWindow(("montag",)),)), "schedule.windows[0].weekdays"),
        (Schedule(windows=(WeeklyWindow((), 600, 600),)), "schedule.windows[0]"),
        (Schedule(windows=(WeeklyWindow((), 600, 1441),)), "schedule.windows[0]"),
        (Schedule(windows=(WeeklyWindow(),) * 51), "schedule.windows"),
    ],
)
def test_what_is_wrong_with_a_schedule_is_named(schedule: Schedule, path: str) -> None:
    assert [violation.field for violation in schedule_violations(schedule, "schedule")] == [path]


def test_a_schedule_that_is_right_is_fine() -> None:
    windows = (WeeklyWindow(("monday", "sunday"), 0, 1440), WeeklyWindow())
    assert not list(schedule_violations(Schedule(NOON, NOON + timedelta(days=1), windows, "Europe/Berlin"), "schedule"))


def test_what_is_wrong_with_caps_is_named() -> None:
    once = Cap(CapKind.CLICKS, CapPeriod.DAY, 1)
    assert not list(cap_violations([once, replace(once, kind=CapKind.UNIQUES)], "caps"))
    assert [v.field for v in cap_violations([replace(once, limit=0)], "caps")] == ["caps[0].limit"]
    assert [v.description for v in cap_violations([once, once], "caps")] == [
        "have 2 caps of clicks per day; one is enough"
    ]


@pytest.mark.parametrize(
    ("fallback", "paths"),
    [
        (None, []),
        (Fallback(), []),
        (Fallback(url="https://a.example/"), []),
        (Fallback(url="https://a.example/?{source}"), ["fallback.url"]),
        (Fallback(url="ftp://a.example/"), ["fallback.url"]),
        (Fallback(campaign_id="a b"), ["fallback.campaign_id"]),
    ],
)
def test_a_fallback_is_a_url_or_a_campaign_or_nothing(fallback: Fallback | None, paths: list[str]) -> None:
    violations: list[Violation] = []
    normalised_fallback(fallback, "fallback", violations)
    assert [violation.field for violation in violations] == paths
