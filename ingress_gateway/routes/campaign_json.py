"""Campaigns as JSON: rules, actions, schedules, caps and fallbacks, read with every problem named, and written."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from ingress_gateway.given import Given, shown_value, text_problem
from ingress_gateway.instants import parse_instant, timestamp_text
from rule_language.parse import predicate_from_json, predicate_from_pb, predicate_to_json, predicate_to_pb
from svc_runtime.errors import Violation
from svc_runtime.timestamps import timestamp_of
from trellis.attribution.v1 import attribution_service_pb2 as pb
from trellis.attribution.v1 import rule_pb2
from trellis.type.v1 import predicate_pb2

Json: TypeAlias = Any  # what a JSON parser returns: anything
POLICIES = {
    "merge": rule_pb2.PARAMETER_POLICY_MERGE,
    "none": rule_pb2.PARAMETER_POLICY_NONE,
    "only": rule_pb2.PARAMETER_POLICY_ONLY,
}
REDIRECT_TYPES = {
    "302": rule_pb2.REDIRECT_TYPE_FOUND,
    "301": rule_pb2.REDIRECT_TYPE_MOVED_PERMANENTLY,
    "303": rule_pb2.REDIRECT_TYPE_SEE_OTHER,
    "307": rule_pb2.REDIRECT_TYPE_TEMPORARY,
    "308": rule_pb2.REDIRECT_TYPE_PERMANENT,
    "meta_refresh": rule_pb2.REDIRECT_TYPE_META_REFRESH,
}
CAP_KINDS = {
    "clicks": rule_pb2.CAP_KIND_CLICKS,
    "uniques": rule_pb2.CAP_KIND_UNIQUES,
    "conversions": rule_pb2.CAP_KIND_CONVERSIONS,
}
CAP_PERIODS = {
    "hour": rule_pb2.CAP_PERIOD_HOUR,
    "day": rule_pb2.CAP_PERIOD_DAY,
    "total": rule_pb2.CAP_PERIOD_TOTAL,
}
POLICY_WORDS = {number: word for word, number in POLICIES.items()}
_TYPE_WORDS = {number: word for word, number in REDIRECT_TYPES.items()}
_KIND_WORDS = {number: word for word, number in CAP_KINDS.items()}
_PERIOD_WORDS = {number: word for word, number in CAP_PERIODS.items()}
_LARGEST_LIMIT = 2**53
_MINUTES = 1440


class Member:
    """One JSON object inside a body, read member by member; problems are named by their whole path."""

    def __init__(self, given: Given, path: str, value: Json) -> None:
        self._given = given
        self.path = path
        self._known: list[str] = []
        self._values: Mapping[str, Json] = value if isinstance(value, dict) else {}
        if not isinstance(value, dict):
            given.refuse(path, f"is {shown_value(value)}, must be an object")

    def take(self, name: str, kind: type | tuple[type, ...], noun: str) -> Json:
        """Return a member, or None when it is not there or not of its kind."""
        self._known.append(name)
        value = self._values.get(name)
        if value is None:
            return None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.refuse(name, f"is {shown_value(value)}, must be {noun}")
            return None
        return value

    def text(self, name: str) -> str:
        """Return a text, empty when it is not there."""
        value: str = self.take(name, str, "a text") or ""
        if problem := text_problem(value):
            self.refuse(name, problem)
            return ""
        return value

    def number(self, name: str, lowest: int, highest: int, default: int = 0) -> int:
        """Return a whole number in a range."""
        value = self.take(name, int, "a whole number")
        if value is None:
            return default
        if not lowest <= value <= highest:
            self.refuse(name, f"is {value}, must be {lowest} to {highest}")
            return default
        return int(value)

    def choice(self, name: str, choices: Mapping[str, int]) -> int:
        """Return what one of a few words stands for; 0 when it is not there."""
        value = self.take(name, (str, int), "a text")
        if value is None:
            return 0
        if str(value) not in choices:
            self.refuse(name, f"is {shown_value(value)}, must be one of: {', '.join(choices)}")
            return 0
        return choices[str(value)]

    def texts(self, name: str) -> list[str]:
        """Return a list of texts; empty when it is not there."""
        found = self.take(name, list, "a list of texts") or []
        if not all(isinstance(item, str) and not text_problem(item) for item in found):
            self.refuse(name, "must be a list of texts")
            return []
        return list(found)

    def instant(self, name: str) -> Timestamp | None:
        """Return an instant."""
        text = self.text(name)
        if not text:
            return None
        found = parse_instant(text)
        if found is None:
            self.refuse(name, f"is {shown_value(text)}, must be RFC 3339, for example 2026-11-03T10:00:00Z")
        return timestamp_of(found)

    def members(self, name: str) -> "list[Member]":
        """Return the objects of a list."""
        found = self.take(name, list, "a list of objects") or []
        return [Member(self._given, f"{self.path}.{name}[{index}]", item) for index, item in enumerate(found)]

    def member(self, name: str) -> "Member | None":
        """Return the object inside; None when it is not there."""
        found = self.take(name, dict, "an object")
        return None if found is None else Member(self._given, f"{self.path}.{name}", found)

    def refuse(self, name: str, description: str) -> None:
        """Note that something is wrong with a member."""
        self._given.refuse(f"{self.path}.{name}" if name else self.path, description)

    def check(self) -> None:
        """Refuse members that nobody asked for."""
        for name in self._values:
            if name not in self._known:
                self.refuse(name[:60], f"is not known here; there are: {', '.join(self._known)}")


def action_given(given: Given, name: str) -> rule_pb2.Action | None:
    """Return an action of the body; None when it is not there, an empty one for null."""
    value = given.anything(name)
    if not given.has(name):
        return None
    return rule_pb2.Action() if value is None else _action(Member(given, name, value))


def _action(member: Member) -> rule_pb2.Action:
    # The specification's short form: {"type": "redirect", "destination": url, "tags": […]}.
    kind = member.text("type")
    if kind not in ("", "redirect"):
        member.refuse("type", f"is {shown_value(kind)}, must be redirect")
    destinations = []
    for found in member.members("destinations"):
        destinations.append(
            rule_pb2.Destination(
                destination_id=found.text("destination_id"),
                url=found.text("url"),
                weight=found.number("weight", 0, 100),
            )
        )
        found.check()
    short, long = member.text("destination"), member.text("destination_url")
    single = long or short
    if single and destinations:
        member.refuse("destination", "is given, and destinations too; give one of them")
    if single:
        destinations.append(rule_pb2.Destination(url=single))
    action = rule_pb2.Action(
        destinations=destinations,
        redirect_type=member.choice("redirect_type", REDIRECT_TYPES),  # type: ignore[arg-type]  # one of its numbers
        parameter_policy=member.choice("parameter_policy", POLICIES),  # type: ignore[arg-type]  # as above
        parameter_names=member.texts("parameter_names"),
        tags=member.texts("tags"),
    )
    member.check()
    return action


def rules_given(given: Given, name: str = "rules") -> list[rule_pb2.Rule] | None:
    """Return the rules of the body; None when they are not there."""
    value = given.anything(name)
    if not given.has(name):
        return None
    if not isinstance(value, list):
        given.refuse(name, f"is {shown_value(value)}, must be a list of rules")
        return []
    return [_rule(given, Member(given, f"{name}[{index}]", item)) for index, item in enumerate(value)]


def _rule(given: Given, member: Member) -> rule_pb2.Rule:
    member.text("type")  # the specification's `custom` says nothing
    action = member.member("action")
    if action is None:
        member.refuse("action", "is required")
    rule = rule_pb2.Rule(
        rule_id=member.text("rule_id"),
        name=member.text("name"),
        priority=member.number("priority", -(2**31), 2**31 - 1),
        predicate=_predicate(given, member),
        action=None if action is None else _action(action),
        is_disabled=bool(member.take("is_disabled", bool, "true or false")),
    )
    member.check()
    return rule


def _predicate(given: Given, member: Member) -> predicate_pb2.Predicate | None:
    """`conditions`, all of which must hold, or `when`, any predicate; without them: every click."""
    conditions = member.take("conditions", (list, dict), "a list of conditions")
    when = member.take("when", (list, dict), "a predicate")
    if conditions is not None and when is not None:
        member.refuse("when", "is given, and conditions too; give one of them")
    name, value = ("conditions", conditions) if conditions is not None else ("when", when)
    if value is None or value == []:
        return None
    violations: list[Violation] = []
    predicate = predicate_from_json(value, path=f"{member.path}.{name}", violations=violations)
    for violation in violations:
        given.refuse(violation.field, violation.description)
    return None if predicate is None else predicate_to_pb(predicate)


def fallback_given(given: Given, name: str) -> rule_pb2.Fallback | None:
    """Return a fallback of the body; None when it is not there, an empty one for null."""
    value = given.anything(name)
    if not given.has(name):
        return None
    if value is None:
        return rule_pb2.Fallback()
    member = Member(given, name, value)
    url, campaign_id = member.text("url"), member.text("campaign_id")
    member.check()
    if url and campaign_id:
        member.refuse("", "has a url and a campaign_id; give one of them")
    return rule_pb2.Fallback(campaign_id=campaign_id) if campaign_id else rule_pb2.Fallback(url=url)


def schedule_given(given: Given, name: str = "schedule") -> rule_pb2.Schedule | None:
    """Return the schedule of the body; None when it is not there, an empty one for null."""
    value = given.anything(name)
    if not given.has(name):
        return None
    if value is None:
        return rule_pb2.Schedule()
    member = Member(given, name, value)
    windows = []
    for window in member.members("windows"):
        windows.append(
            rule_pb2.WeeklyWindow(
                weekdays=[word.lower() for word in window.texts("weekdays")],
                start_minute=_minute(window, "start", 0),
                end_minute=_minute(window, "end", _MINUTES),
            )
        )
        window.check()
    schedule = rule_pb2.Schedule(
        start_time=member.instant("start_time"),
        end_time=member.instant("end_time"),
        windows=windows,
        time_zone=member.text("time_zone"),
    )
    member.check()
    return schedule


def _minute(window: Member, name: str, default: int) -> int:
    """Read `HH:MM`; `24:00` is the end of the day."""
    text = window.text(name)
    if not text:
        return default
    hour, _, minute = text.partition(":")
    if not (len(text) == 5 and hour.isdecimal() and minute.isdecimal() and int(minute) < 60):
        window.refuse(name, f"is {shown_value(text)}, must be a time of day such as 09:30")
        return default
    return min(int(hour) * 60 + int(minute), _MINUTES + 1)


def caps_given(given: Given, name: str = "caps") -> list[rule_pb2.Cap] | None:
    """Return the caps of the body; None when they are not there."""
    value = given.anything(name)
    if not given.has(name):
        return None
    if not isinstance(value, list):
        given.refuse(name, f"is {shown_value(value)}, must be a list of caps")
        return []
    caps = []
    for index, item in enumerate(value):
        member = Member(given, f"{name}[{index}]", item)
        caps.append(
            rule_pb2.Cap(
                kind=member.choice("kind", CAP_KINDS),  # type: ignore[arg-type]  # one of its numbers
                period=member.choice("period", CAP_PERIODS),  # type: ignore[arg-type]  # as above
                limit=member.number("limit", 1, _LARGEST_LIMIT),
            )
        )
        member.check()
    return caps


def definition_json(campaign: pb.Campaign) -> dict[str, Json]:
    """Write what a campaign does with its traffic."""
    return {
        "action": _action_json(campaign.action) if campaign.HasField("action") else None,
        "rules": [_rule_json(rule) for rule in campaign.rules],
        "paused_fallback": _fallback_json(campaign.paused_fallback),
        "expired_fallback": _fallback_json(campaign.expired_fallback),
        "over_cap_fallback": _fallback_json(campaign.over_cap_fallback),
        "schedule": _schedule_json(campaign.schedule) if campaign.HasField("schedule") else None,
        "caps": [
            {"kind": _KIND_WORDS[cap.kind], "period": _PERIOD_WORDS[cap.period], "limit": cap.limit}
            for cap in campaign.caps
        ],
        "priority": campaign.priority,
    }


def _action_json(action: rule_pb2.Action) -> dict[str, Json]:
    return {
        "destinations": [
            {"destination_id": found.destination_id, "url": found.url, "weight": found.weight}
            for found in action.destinations
        ],
        "redirect_type": _TYPE_WORDS.get(action.redirect_type, "302"),
        "parameter_policy": POLICY_WORDS.get(action.parameter_policy, "merge"),
        "parameter_names": list(action.parameter_names),
        "tags": list(action.tags),
    }


def _rule_json(rule: rule_pb2.Rule) -> dict[str, Json]:
    when = None
    if rule.HasField("predicate"):
        predicate = predicate_from_pb(rule.predicate, path="when", violations=[])
        when = None if predicate is None else predicate_to_json(predicate)
    return {
        "rule_id": rule.rule_id,
        "name": rule.name,
        "priority": rule.priority,
        "when": when,
        "action": _action_json(rule.action),
        "is_disabled": rule.is_disabled,
    }


def _fallback_json(fallback: rule_pb2.Fallback) -> dict[str, Json] | None:
    if fallback.campaign_id:
        return {"campaign_id": fallback.campaign_id}
    return {"url": fallback.url} if fallback.url else None


def _schedule_json(schedule: rule_pb2.Schedule) -> dict[str, Json]:
    instant: Callable[[str], str | None] = lambda name: (  # noqa: E731 - twice, here alone
        timestamp_text(getattr(schedule, name)) if schedule.HasField(name) else None  # type: ignore[arg-type]  # a field
    )
    return {
        "start_time": instant("start_time"),
        "end_time": instant("end_time"),
        "windows": [
            {
                "weekdays": list(window.weekdays),
                "start": f"{window.start_minute // 60:02d}:{window.start_minute % 60:02d}",
                "end": f"{window.end_minute // 60:02d}:{window.end_minute % 60:02d}",
            }
            for window in schedule.windows
        ],
        "time_zone": schedule.time_zone,
    }
