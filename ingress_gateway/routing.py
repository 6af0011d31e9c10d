"""Where does a link lead? Campaigns compiled for the hot path, from a snapshot that attribution_svc pushes."""

from bisect import insort
from dataclasses import dataclass
from typing import NamedTuple

from ingress_gateway.decision import MOST_HOPS, Act, Decision, Fallback, Hours, Rules, compile_rules
from ingress_gateway.facts import Click
from ingress_gateway.usage import Cap, Usage
from rule_language.evaluate import Facts
from svc_runtime.logs import get_logger
from trellis.attribution.v1 import attribution_service_pb2 as pb
from trellis.attribution.v1 import rule_pb2

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Route:
    """A campaign, ready to route by."""

    campaign_id: str
    organization_id: str
    slug: str
    version: int
    is_paused: bool
    act: Act | None
    """For clicks that no rule matches."""
    rules: Rules
    hours: Hours | None
    caps: tuple[Cap, ...]
    paused: Fallback
    expired: Fallback
    over_cap: Fallback
    plain: Decision | None
    """The decision on every click, where there is nothing to decide."""
    is_open: bool = False
    """Its rules are asked of clicks that no link takes: it claims such clicks of history too."""
    rank: tuple[int, int, str] = (0, 0, "")
    """Among the open ones, the lowest first, as among claims: by priority, then the claim that is older, then by id."""

    @classmethod
    def compile(cls, campaign: pb.Campaign) -> "Route":
        """Compile a campaign; raise ValueError for one that cannot be routed by."""
        act = _act(campaign)
        rules = compile_rules(campaign)
        hours = Hours.compile(campaign.schedule) if campaign.HasField("schedule") else None
        caps = Cap.compile_all(campaign)
        paused = _fallback(campaign, "paused_fallback", Fallback.compile_url(campaign.fallback_url))
        is_paused = campaign.status == pb.CAMPAIGN_STATUS_PAUSED
        has_conditions = is_paused or bool(rules) or hours is not None or bool(caps)
        return cls(
            campaign_id=campaign.campaign_id,
            organization_id=campaign.organization_id,
            slug=campaign.slug,
            version=campaign.version,
            is_paused=is_paused,
            act=act,
            rules=rules,
            hours=hours,
            caps=caps,
            paused=paused,
            expired=_fallback(campaign, "expired_fallback", paused),
            over_cap=_fallback(campaign, "over_cap_fallback", paused),
            plain=act.choices[0].decision if act and len(act.choices) == 1 and not has_conditions else None,
            is_open=campaign.HasField("claim") and not campaign.claim.is_withdrawn and not is_paused and bool(rules),
            rank=(-campaign.priority, campaign.claim.make_time.ToNanoseconds(), campaign.campaign_id),
        )


def _act(campaign: pb.Campaign) -> Act | None:
    """Compile what becomes of clicks that no rule matches; None: nothing."""
    if campaign.HasField("action"):
        return Act.compile(campaign.action, campaign.campaign_id)
    # Of a release without actions: it has a destination and a policy.
    if not campaign.destination_url:
        return None
    action = rule_pb2.Action(
        destinations=[rule_pb2.Destination(destination_id="d1", url=campaign.destination_url, weight=100)],
        parameter_policy=campaign.parameter_policy,
    )
    return Act.compile(action, campaign.campaign_id)


def _fallback(campaign: pb.Campaign, name: str, otherwise: Fallback) -> Fallback:
    if not campaign.HasField(name):  # type: ignore[arg-type]  # one of its fields
        return otherwise
    message: rule_pb2.Fallback = getattr(campaign, name)
    return Fallback(campaign_id=message.campaign_id) if message.campaign_id else Fallback.compile_url(message.url)


class Verdict(NamedTuple):
    """What becomes of a click."""

    route: Route
    """The campaign that it went to in the end."""
    decision: Decision | None
    """None: it leads nowhere."""
    marks: tuple[str, ...]
    """Why not as the campaign would have it."""


def _decided(route: Route, click: Click, user_id: str) -> Decision | None:
    """Ask the rules, then the campaign's own action; None when there is none."""
    found = _by_rule(route, click.facts, user_id) if route.rules else None
    if found is not None or route.act is None:
        return found
    return route.act.choose(user_id).decision


def _by_rule(route: Route, facts: Facts, user_id: str) -> Decision | None:
    """Ask the rules; None when none matches."""
    rule = route.rules.find(facts)
    return None if rule is None else rule.act.choose(user_id).decision


class Routing:
    """The snapshot, looked up by organisation and slug. Used on the event loop only."""

    def __init__(self) -> None:
        self.revision = 0
        self.epoch = 0
        self.usage = Usage()
        self.is_ready = False
        """True once a snapshot, of attribution_svc or of the disk, is there."""
        self._campaigns: dict[tuple[str, str], pb.Campaign] = {}
        self._slugs: dict[tuple[str, str], Route] = {}
        self._open: dict[str, list[Route]] = {}
        """By organisation, in the order in which they are asked."""

    def apply(self, change: pb.WatchRoutingResponse) -> bool:
        """Take a snapshot or a change in; return whether anything changed.

        A snapshot of an older epoch, or of the same epoch and a lower revision, is refused: a database restored from a
        backup cannot silently roll live campaigns back.
        """
        if change.is_snapshot:
            if (change.epoch, change.revision) < (self.epoch, self.revision):
                _log.error(
                    "a snapshot of campaigns older than the one held is refused",
                    held=(self.epoch, self.revision),
                    got=(change.epoch, change.revision),
                )
                return False
            self._campaigns, self._slugs, self._open = {}, {}, {}
        for campaign in change.campaigns:
            self._put(campaign)
        self.revision, self.epoch = change.revision, change.epoch
        self.is_ready = True
        return True

    def _put(self, campaign: pb.Campaign) -> None:
        key = (campaign.organization_id, campaign.campaign_id)
        before = self._campaigns.pop(key, None)
        if before is not None:
            held = self._slugs.get((before.organization_id, before.slug))
            if held is not None and held.campaign_id == campaign.campaign_id:
                del self._slugs[before.organization_id, before.slug]
            self._close(before.organization_id, before.campaign_id)
        if campaign.status == pb.CAMPAIGN_STATUS_ARCHIVED:
            return
        try:
            route = Route.compile(campaign)
        except ValueError as error:
            # It was validated where it was stored. What went wrong there must not stop every other link.
            _log.error("a campaign cannot be routed by", campaign_id=campaign.campaign_id, error=str(error))
            return
        self._campaigns[key] = campaign
        self._slugs[campaign.organization_id, campaign.slug] = route
        if route.is_open:
            insort(self._open.setdefault(campaign.organization_id, []), route, key=lambda known: known.rank)

    def _close(self, organization_id: str, campaign_id: str) -> None:
        kept = [route for route in self._open.get(organization_id, ()) if route.campaign_id != campaign_id]
        if kept:
            self._open[organization_id] = kept
        else:
            self._open.pop(organization_id, None)

    def find(self, organization_id: str, slug: str) -> Route | None:
        """Return the route of a slug, paused ones too."""
        return self._slugs.get((organization_id, slug))

    def campaign(self, organization_id: str, campaign_id: str) -> pb.Campaign | None:
        """Return a campaign as it is routed by; None for one that is archived or not known here."""
        return self._campaigns.get((organization_id, campaign_id))

    def find_campaign(self, organization_id: str, campaign_id: str) -> Route | None:
        """Return the route of a campaign, paused ones too."""
        campaign = self._campaigns.get((organization_id, campaign_id))
        return self.find(organization_id, campaign.slug) if campaign is not None else None

    def decide(self, route: Route, click: Click, user_id: str, *, is_imagined: bool = False) -> Verdict:
        """Say where a click on a route goes; a campaign may hand it on to another, a few times.

        One that is imagined leaves no trace in the counts of caps.
        """
        is_over = self.usage.would_be_over if is_imagined else self.usage.is_over
        marks: tuple[str, ...] = ()
        for _ in range(MOST_HOPS):
            fallback, mark = None, ""
            if route.is_paused:
                fallback, mark = route.paused, "campaign_paused"
            elif route.hours is not None and not route.hours.runs_at(click.event_time_ms):
                fallback, mark = route.expired, "campaign_expired"
            elif route.caps and is_over(
                route.organization_id, route.campaign_id, route.caps, user_id, click.event_time_ms
            ):
                fallback, mark = route.over_cap, "campaign_over_cap"
            else:
                decision = route.plain or _decided(route, click, user_id)
                if decision is not None:
                    return Verdict(route, decision, marks)
                fallback, mark = route.paused, "no_rule_matched"
            marks = (*marks, mark)
            if fallback.target is not None:
                return Verdict(route, Decision(fallback.target, "", 302, None), marks)
            following = (
                self.find_campaign(route.organization_id, fallback.campaign_id) if fallback.campaign_id else None
            )
            if following is None:
                return Verdict(route, None, marks)
            route = following
        return Verdict(route, None, (*marks, "campaign_circle"))

    def has_open(self, organization_id: str) -> bool:
        """Whether any campaign takes clicks that no link takes."""
        return organization_id in self._open

    def decide_open(self, organization_id: str, click: Click, user_id: str) -> Verdict | None:
        """Say where a click that no link takes goes: by the rules of the first open campaign that has one for it.

        Only rules count, as in the campaign's claim on history. One that is outside its schedule or over a cap takes
        no such click, and hands none on.
        """
        facts = click.facts
        for route in self._open.get(organization_id, ()):
            if route.hours is not None and not route.hours.runs_at(click.event_time_ms):
                continue
            decision = _by_rule(route, facts, user_id)
            if decision is None:
                continue
            if route.caps and self.usage.is_over(
                organization_id, route.campaign_id, route.caps, user_id, click.event_time_ms
            ):
                continue
            return Verdict(route, decision, ())
        return None

    def snapshot(self) -> pb.WatchRoutingResponse:
        """Return everything held, as one snapshot, for the disk."""
        return pb.WatchRoutingResponse(
            revision=self.revision, epoch=self.epoch, is_snapshot=True, campaigns=self._campaigns.values()
        )
