"""What becomes of a click: a campaign's rules, compiled for the hot path, and the choice that they make."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import accumulate
from typing import TypeAlias
from zoneinfo import ZoneInfo

from ingress_gateway.facts import READERS, Click
from ingress_gateway.target import Target
from macro_language.template import HEADER, PARAM
from rule_language.first_match import FirstMatch
from rule_language.parse import predicate_from_pb
from rule_language.predicate import Predicate
from svc_runtime.errors import Violation
from trellis.attribution.v1 import attribution_service_pb2 as pb
from trellis.attribution.v1 import rule_pb2

MOST_HOPS = 5
"""Campaigns that a click is handed on to, at most: two edits at once can close a circle."""
_STATUS = {
    rule_pb2.REDIRECT_TYPE_MOVED_PERMANENTLY: 301,
    rule_pb2.REDIRECT_TYPE_SEE_OTHER: 303,
    rule_pb2.REDIRECT_TYPE_TEMPORARY: 307,
    rule_pb2.REDIRECT_TYPE_PERMANENT: 308,
    rule_pb2.REDIRECT_TYPE_META_REFRESH: 200,
}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
Names: TypeAlias = frozenset[bytes] | None
"""Of the parameters that go along; None: all."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a click goes, and why."""

    target: Target
    destination_id: str
    status: int
    """200: a page that refreshes."""
    names: Names
    rule_id: str = ""
    """Empty: no rule, but the campaign's own action or fallback."""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """A destination of an action."""

    decision: Decision
    """To take it."""
    bound: float
    """Where its share ends, from 0 to 1: that of the last is 1."""

    @property
    def destination_id(self) -> str:
        """Its id in the action."""
        return self.decision.destination_id


@dataclass(frozen=True, slots=True)
class Act:
    """An action, ready to be taken."""

    choices: tuple[Choice, ...]
    salt: bytes
    """Of the split: a visitor stays with a destination for as long as it does not change."""

    @classmethod
    def compile(cls, action: rule_pb2.Action, campaign_id: str, *rule_ids: str) -> "Act":
        """Compile an action, of a rule or of the campaign itself. Raise ValueError for a destination that is none."""
        if not action.destinations:
            raise ValueError("an action without destinations")
        weights = [found.weight for found in action.destinations]
        shares = accumulate(weight / (sum(weights) or 1) for weight in weights)
        status, names, tags = _STATUS.get(action.redirect_type, 302), _names(action), tuple(action.tags)
        choices = [
            Choice(
                Decision(Target.compile(found.url), found.destination_id, status, names, "".join(rule_ids), tags),
                share,
            )
            for found, share in zip(action.destinations, shares, strict=True)
        ]
        choices[-1] = replace(choices[-1], bound=1.0)
        place = (campaign_id, *rule_ids)
        split = repr((place, [(found.destination_id, weight) for found, weight in zip(choices, weights, strict=True)]))
        return cls(tuple(choices), hashlib.blake2b(split.encode(), digest_size=16).digest())

    def choose(self, user_id: str) -> Choice:
        """Return a visitor's destination: the same each time, others for others, each as often as its weight says."""
        if len(self.choices) == 1:
            return self.choices[0]
        digest = hashlib.blake2b(user_id.encode(), key=self.salt, digest_size=8).digest()
        point = int.from_bytes(digest, "big") / 2**64
        return next(choice for choice in self.choices if point < choice.bound or choice.bound >= 1.0)


@dataclass(frozen=True, slots=True)
class Fallback:
    """Where traffic goes instead; with neither, nowhere."""

    target: Target | None = None
    campaign_id: str = ""

    @classmethod
    def compile_url(cls, url: str) -> "Fallback":
        """Compile a URL; empty: nowhere."""
        return cls(Target.compile(url)) if url else cls()


@dataclass(frozen=True, slots=True)
class Rule:
    """What a rule does."""

    rule_id: str
    act: Act


Rules: TypeAlias = FirstMatch[Rule]
"""Of a campaign, in the order in which they decide."""


@dataclass(frozen=True, slots=True)
class Hours:
    """When a campaign runs."""

    start_ms: int
    end_ms: int
    minutes_by_weekday: Mapping[int, tuple[tuple[int, int], ...]]
    """First minute and the one after the last; empty: at any hour."""
    zone: ZoneInfo

    @classmethod
    def compile(cls, schedule: rule_pb2.Schedule) -> "Hours":
        """Compile a schedule."""
        windows: dict[int, list[tuple[int, int]]] = {}
        for window in schedule.windows:
            for weekday in window.weekdays or _WEEKDAYS:
                windows.setdefault(_WEEKDAYS.index(weekday), []).append((window.start_minute, window.end_minute))
        return cls(
            schedule.start_time.ToMilliseconds() if schedule.HasField("start_time") else -(2**63),
            schedule.end_time.ToMilliseconds() if schedule.HasField("end_time") else 2**63,
            {weekday: tuple(found) for weekday, found in windows.items()},
            ZoneInfo(schedule.time_zone or "UTC"),
        )

    def runs_at(self, time_ms: int) -> bool:
        """Whether it runs at an instant."""
        if not self.start_ms <= time_ms < self.end_ms:
            return False
        if not self.minutes_by_weekday:
            return True
        local = datetime.fromtimestamp(time_ms // 1000, UTC).astimezone(self.zone)
        minute = local.hour * 60 + local.minute
        return any(start <= minute < end for start, end in self.minutes_by_weekday.get(local.weekday(), ()))


def _names(action: rule_pb2.Action) -> Names:
    if action.parameter_policy == rule_pb2.PARAMETER_POLICY_NONE:
        return frozenset()
    if action.parameter_policy == rule_pb2.PARAMETER_POLICY_ONLY:
        return frozenset(name.encode() for name in action.parameter_names)
    return None


def compile_rules(campaign: pb.Campaign) -> Rules:
    """Compile a campaign's rules. Raise ValueError for one that cannot be."""
    rules: list[tuple[Predicate | None, Rule]] = []
    for rule in campaign.rules:
        if rule.is_disabled:
            continue
        predicate = None
        if rule.HasField("predicate"):
            violations: list[Violation] = []
            predicate = predicate_from_pb(rule.predicate, path="predicate", violations=violations)
            if predicate is None:
                raise ValueError(f"rule {rule.rule_id}: {violations[0].description}")
        act = Act.compile(rule.action, campaign.campaign_id, rule.rule_id)
        rules.append((predicate, Rule(rule.rule_id, act)))
    return FirstMatch(rules, time_zone=campaign.schedule.time_zone or "UTC")


def value_of(click: Click, minted: Mapping[str, str]) -> Callable[[str], bytes]:
    """Return what says the value of a macro: ``minted`` are the ids that we gave the click."""

    def value(name: str) -> bytes:
        if name in minted:
            return minted[name].encode()
        if name.startswith(PARAM):
            return click.params.get(name.removeprefix(PARAM).encode(), b"")
        if name.startswith(HEADER):
            return click.headers.get(name.removeprefix(HEADER).encode(), b"")
        reader = _MACROS.get(name)
        return reader(click) if reader else b""

    return value


def _plain(name: str) -> Callable[[Click], bytes]:
    reader = READERS[name]

    def read(click: Click) -> bytes:
        fact = reader(click)
        return fact if isinstance(fact, bytes) else b"" if fact is None else str(fact).encode()

    return read


def _alias(name: str) -> Callable[[Click], bytes]:
    return lambda click: click.alias(name)


_MACROS: Mapping[str, Callable[[Click], bytes]] = {
    **{name: _plain(name) for name in READERS if name not in ("is_bot", "event_type", "value", "url", "path")},
    **{name: _alias(name) for name in ("term", "content", "placement", "cost")},
    "device": lambda click: click.agent.device.encode(),
    "os_version": lambda click: click.agent.os_version.encode(),
    "browser_version": lambda click: click.agent.browser_version.encode(),
    "referer_host": lambda click: click.traffic.referrer_host.encode(),
    "host": lambda click: click.host,
    "date": lambda click: f"{datetime.fromtimestamp(click.event_time_ms // 1000, UTC):%F}".encode(),
    "timestamp": lambda click: str(click.event_time_ms // 1000).encode(),
}
