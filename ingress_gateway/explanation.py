"""Why a campaign does with a click what it does: every rule, and everything that comes before the rules."""

from dataclasses import dataclass

from ingress_gateway.decision import Decision, Hours
from ingress_gateway.facts import Click
from ingress_gateway.routing import Route, Routing, Verdict
from ingress_gateway.usage import Cap
from rule_language.evaluate import Verdict as Truth
from rule_language.explain import Explained, deciding, explain
from rule_language.parse import predicate_from_pb
from trellis.attribution.v1 import attribution_service_pb2 as pb
from trellis.attribution.v1 import rule_pb2


@dataclass(frozen=True, slots=True)
class RuleExplained:
    """What a rule says of a click."""

    rule: rule_pb2.Rule
    truth: Truth
    tree: Explained | None
    """None: it asks for nothing."""
    decides: bool
    why_not: tuple[str, ...]
    """In words for people; empty for the one that decides."""


@dataclass(frozen=True, slots=True)
class CapExplained:
    """How full a cap is, as far as this worker knows."""

    cap: Cap
    count: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """What becomes of a click, and why."""

    campaign: pb.Campaign
    verdict: Verdict
    rules: tuple[RuleExplained, ...]
    caps: tuple[CapExplained, ...]
    runs: bool
    """Its schedule has the click's time."""
    is_open: bool
    """It takes clicks that no link takes."""

    @property
    def decision(self) -> Decision | None:
        """Where the click goes in the end; None: nowhere."""
        return self.verdict.decision


def explain_campaign(routing: Routing, campaign: pb.Campaign, click: Click, user_id: str) -> Explanation:
    """Explain what a campaign, as given, does with a click on its link. Raise ValueError for one that cannot route."""
    route = Route.compile(campaign)
    rules = _rules(campaign, click)
    hours = Hours.compile(campaign.schedule) if campaign.HasField("schedule") else None
    counts = [
        CapExplained(
            cap,
            routing.usage.known(campaign.organization_id, campaign.campaign_id, cap, click.event_time_ms),
        )
        for cap in route.caps
    ]
    return Explanation(
        campaign=campaign,
        verdict=routing.decide(route, click, user_id, is_imagined=True),
        rules=tuple(rules),
        caps=tuple(counts),
        runs=hours is None or hours.runs_at(click.event_time_ms),
        is_open=route.is_open,
    )


def _rules(campaign: pb.Campaign, click: Click) -> list[RuleExplained]:
    time_zone = campaign.schedule.time_zone or "UTC"
    decider, facts = "", click.facts
    found: list[RuleExplained] = []
    for rule in campaign.rules:
        tree = None
        if rule.HasField("predicate"):
            predicate = predicate_from_pb(rule.predicate, path="predicate", violations=[])
            if predicate is None:
                raise ValueError(f"rule {rule.rule_id} cannot be read")
            tree = explain(predicate, facts, time_zone=time_zone)
        truth = True if tree is None else tree.verdict
        decides = bool(truth) and not rule.is_disabled and not decider
        found.append(RuleExplained(rule, truth, tree, decides, () if decides else _why_not(rule, tree, decider)))
        decider = rule.rule_id if decides else decider
    return found


def _why_not(rule: rule_pb2.Rule, tree: Explained | None, decider: str) -> tuple[str, ...]:
    reasons = ["it is disabled"] if rule.is_disabled else []
    if tree is not None:
        reasons += map(_in_words, deciding(tree))
    if not reasons:
        reasons = [f"the rule {decider} comes before it and matches too"]
    return tuple(reasons)


def _in_words(explained: Explained) -> str:
    condition, found = explained.condition, explained.found
    if condition is None or found is None:
        raise ValueError("only conditions are put into words")
    asked = f"{condition.field} {condition.operator} {', '.join(condition.values[:5])}".strip()
    if len(condition.values) > 5:
        asked += ", …"
    match found.state:
        case "unknown":
            return f"{asked}: {condition.field} cannot be told"
        case "missing":
            return f"{asked}: there is no {condition.field}"
        case _:
            return f"{asked}: {condition.field} is {found.text.decode('utf-8', 'replace')!r}"
