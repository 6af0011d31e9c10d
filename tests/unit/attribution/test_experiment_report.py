"""The destinations of an action as the arms of a test, and what rules brought."""

from dataclasses import replace

import pytest

from attribution_svc.campaigns.campaign import Campaign, NewCampaign, new_campaign
from attribution_svc.campaigns.rule import Action, Destination, Rule
from attribution_svc.experiments.experiment import (
    Design,
    RuleCount,
    action_of,
    experiment,
    rule_effects,
)
from attribution_svc.models.experiment import Arm
from svc_runtime.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from tests.contract.attribution.store_contract import EVERYTHING, NOW

TWO = Action((Destination("https://a.example/", "a", 50), Destination("https://b.example/", "b", 50)))


def campaign(*rules: Rule) -> Campaign:
    wanted = NewCampaign(campaign_id="c", definition=replace(EVERYTHING, action=TWO, rules=rules, claim=None))
    return new_campaign(wanted, organization_id="org_a", minted_id="", now=NOW)


def test_arms_are_compared_with_the_control() -> None:
    # The vectors of correctness.md E5: 200 of 1,000 against 250 of 1,000.
    found = experiment(TWO, {"a": Arm(200, 1000), "b": Arm(250, 1000)}, Design())
    control, other = found.arms
    assert found.control is control
    assert (control.against_control, control.beats_control) == (None, None)
    assert other.against_control is not None
    assert other.against_control.statistic == pytest.approx(2.6774, abs=1e-4)
    assert other.against_control.p_value == pytest.approx(0.0074, abs=1e-4)
    assert (control.interval.low, control.interval.high) == pytest.approx((0.1764, 0.2259), abs=1e-4)
    assert other.beats_control is not None
    assert other.beats_control > 0.99
    assert not found.is_split_broken
    # A tenth more of 20 %: 6,510 visitors an arm.
    assert (control.missing_visitor_count, other.missing_visitor_count) == (5510, 5510)


def test_another_destination_can_be_the_control() -> None:
    found = experiment(TWO, {"a": Arm(1, 10), "b": Arm(2, 10)}, Design(control_destination_id="b"))
    assert found.control.destination.destination_id == "b"
    assert [arm.against_control is None for arm in found.arms] == [False, True]


def test_a_split_that_is_not_what_the_weights_say_is_broken() -> None:
    assert experiment(TWO, {"a": Arm(0, 1200), "b": Arm(0, 1000)}, Design()).is_split_broken
    assert not experiment(TWO, {"a": Arm(0, 1030), "b": Arm(0, 1000)}, Design()).is_split_broken


def test_without_visitors_nothing_is_said() -> None:
    found = experiment(TWO, {"gone": Arm(1, 3), "": Arm(0, 2)}, Design())
    assert found.other_visitor_count == 5
    assert [arm.missing_visitor_count for arm in found.arms] == [None, None]
    assert (found.split.p_value, found.is_split_broken) == (1.0, False)
    assert (found.arms[1].interval.low, found.arms[1].interval.high) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("design", "field"),
    [
        (Design(control_destination_id="c"), "control_destination_id"),
        (Design(confidence=1.0), "confidence"),
        (Design(minimum_effect=-0.1), "minimum_effect"),
    ],
)
def test_a_design_that_cannot_be_is_refused(design: Design, field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        experiment(TWO, {}, design)
    assert [violation.field for violation in caught.value.violations] == [field]


def test_an_action_without_a_choice_is_no_test() -> None:
    one = Rule(Action((Destination("https://a.example/"),)), rule_id="one")
    made = campaign(Rule(TWO, rule_id="two"), one)
    assert len(action_of(made, "two").destinations) == 2
    assert len(action_of(made, "").destinations) == 2
    with pytest.raises(FailedPreconditionError, match="two destinations"):
        action_of(made, "one")
    with pytest.raises(NotFoundError, match="no rule 'three'"):
        action_of(made, "three")


def test_rules_that_never_match_are_there_and_rules_that_are_gone_too() -> None:
    made = campaign(Rule(TWO, rule_id="used", name="Used"), Rule(TWO, rule_id="never", is_disabled=True))
    counts = {"used": RuleCount(30, 20, 5, 4), "": RuleCount(60, 50), "gone": RuleCount(10, 10)}
    found = rule_effects(made, counts)
    assert [(effect.rule_id, effect.is_disabled, effect.is_removed, effect.share) for effect in found] == [
        ("used", False, False, 0.3),
        ("never", True, False, 0.0),
        ("", False, False, 0.6),
        ("gone", False, True, 0.1),
    ]
    assert found[0].rate == 0.2
    assert found[1].count == RuleCount()
    assert sum(effect.share for effect in rule_effects(made, {})) == 0
