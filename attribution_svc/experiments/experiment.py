"""The destinations of an action as the arms of a test, and what each rule of a campaign brought. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from attribution_svc.campaigns.campaign import Campaign
from attribution_svc.campaigns.rule import Action, Destination
from attribution_svc.models.experiment import (
    Arm,
    Interval,
    TestResult,
    probability_b_beats_a,
    sample_ratio_mismatch,
    sample_size,
    two_proportion_z,
    wilson_interval,
)
from svc_runtime.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, Violation

BROKEN_BELOW = 0.001
"""A split whose visitors are this unlikely, by its weights, is broken."""
DEFAULT_CONFIDENCE = 0.95
DEFAULT_EFFECT = 0.1


@dataclass(frozen=True, slots=True)
class RuleCount:
    """What one rule had, as analytics_svc counts it."""

    click_count: int = 0
    visitor_count: int = 0
    conversion_count: int = 0
    converted_visitor_count: int = 0
    last_click_time: datetime | None = None
    revenue_micros: Mapping[str, int] | None = None
    """By currency."""


@dataclass(frozen=True, slots=True)
class Design:
    """How a test is judged."""

    control_destination_id: str = ""
    """Empty: the first."""
    confidence: float = DEFAULT_CONFIDENCE
    minimum_effect: float = DEFAULT_EFFECT
    """The least change of the control's rate that is worth finding, as a part of it."""


@dataclass(frozen=True, slots=True)
class ArmResult:
    """One destination."""

    destination: Destination
    arm: Arm
    interval: Interval
    against_control: TestResult | None
    """None: it is the control."""
    beats_control: float | None
    missing_visitor_count: int | None
    """None where nothing can be said."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """A test."""

    control: ArmResult
    arms: tuple[ArmResult, ...]
    split: TestResult
    other_visitor_count: int

    @property
    def is_split_broken(self) -> bool:
        """The visitors did not come as the weights say: what the test says is worth nothing."""
        return self.split.p_value < BROKEN_BELOW


@dataclass(frozen=True, slots=True)
class RuleEffect:
    """What a rule brought; an empty id: clicks that no rule decided."""

    rule_id: str
    name: str
    is_disabled: bool
    is_removed: bool
    count: RuleCount
    share: float
    interval: Interval

    @property
    def rate(self) -> float:
        """The part of the visitors that converted."""
        return Arm(self.count.converted_visitor_count, self.count.visitor_count).rate


def action_of(campaign: Campaign, rule_id: str) -> Action:
    """Return the action of a rule, or, with an empty id, the campaign's own.

    Raise NotFoundError when there is none, FailedPreconditionError when it has fewer than two destinations.
    """
    if rule_id:
        found = next((rule.action for rule in campaign.definition.rules if rule.rule_id == rule_id), None)
    else:
        found = campaign.definition.action
    if found is None:
        what = f"rule {rule_id[:64]!r}" if rule_id else "action of its own: name a rule"
        raise NotFoundError(f"campaign {campaign.campaign_id!r} has no {what}")
    if len(found.destinations) < 2:
        raise FailedPreconditionError("a test has two destinations or more, this action has one")
    return found


def split_of(campaign: Campaign, rule_id: str) -> tuple[tuple[str, int], ...]:
    """Return ids and weights of an action's destinations; nothing where there is no such action."""
    try:
        return tuple((found.destination_id, found.weight) for found in action_of(campaign, rule_id).destinations)
    except (NotFoundError, FailedPreconditionError):
        return ()


def experiment(action: Action, counts: Mapping[str, Arm], design: Design) -> Experiment:
    """Compare destinations by how many visitors of each converted.

    Raise InvalidArgumentError for a control that is none of them, or a design that cannot be.
    """
    ids = [destination.destination_id for destination in action.destinations]
    control_id = design.control_destination_id or ids[0]
    _check(design, control_id, ids)
    arms = {destination_id: counts.get(destination_id, Arm(0, 0)) for destination_id in ids}
    control = arms[control_id]
    wanted = _wanted_visitors(control, design.minimum_effect)
    results = {
        destination.destination_id: _result(
            destination,
            arms[destination.destination_id],
            None if destination.destination_id == control_id else control,
            design.confidence,
            wanted,
        )
        for destination in action.destinations
    }
    split = sample_ratio_mismatch(
        [arms[destination_id].visitors for destination_id in ids],
        [destination.weight for destination in action.destinations],
    )
    others = sum(arm.visitors for destination_id, arm in counts.items() if destination_id not in arms)
    return Experiment(results[control_id], tuple(results.values()), split, others)


def _check(design: Design, control_id: str, ids: Sequence[str]) -> None:
    violations = []
    if control_id not in ids:
        violations.append(
            Violation("control_destination_id", f"{control_id[:64]!r} is none of the destinations {', '.join(ids)}")
        )
    if not 0 < design.confidence < 1:
        violations.append(Violation("confidence", f"is {design.confidence}, must be above 0 and below 1"))
    if not 0 < design.minimum_effect <= 10:
        violations.append(Violation("minimum_effect", f"is {design.minimum_effect}, must be above 0, at most 10"))
    if violations:
        raise InvalidArgumentError.of(violations)


def _wanted_visitors(control: Arm, effect: float) -> int | None:
    """Return how many visitors each arm needs; None where the control says nothing, or cannot be that much better."""
    wanted = control.rate * (1 + effect)
    return sample_size(control.rate, wanted) if control.rate > 0 and wanted < 1 else None


def _result(
    destination: Destination, arm: Arm, control: Arm | None, confidence: float, wanted: int | None
) -> ArmResult:
    return ArmResult(
        destination,
        arm,
        wilson_interval(arm, confidence=confidence),
        None if control is None else two_proportion_z(arm, control),
        None if control is None else probability_b_beats_a(control, arm),
        None if wanted is None else max(0, wanted - arm.visitors),
    )


def rule_effects(campaign: Campaign, counts: Mapping[str, RuleCount]) -> list[RuleEffect]:
    """Return what each rule brought: in the order in which they decide, then no rule, then those that are no more."""
    total = sum(count.click_count for count in counts.values())

    def effect(rule_id: str, name: str = "", *, is_disabled: bool = False, is_removed: bool = False) -> RuleEffect:
        count = counts.get(rule_id, RuleCount())
        return RuleEffect(
            rule_id,
            name,
            is_disabled,
            is_removed,
            count,
            share=count.click_count / total if total else 0.0,
            interval=wilson_interval(Arm(count.converted_visitor_count, count.visitor_count)),
        )

    rules = campaign.definition.rules
    known = {rule.rule_id for rule in rules} | {""}
    return [
        *(effect(rule.rule_id, rule.name, is_disabled=rule.is_disabled) for rule in rules),
        effect(""),
        *(effect(rule_id, is_removed=True) for rule_id in sorted(counts.keys() - known)),
    ]
