"""What a campaign does with clicks: rules, actions, destinations, schedules, caps and fallbacks. Pure."""

import enum
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from attribution_svc.campaigns.destination import own_host_problems, read_destination
from rule_language.check import time_zone_violations
from rule_language.predicate import Predicate
from svc_runtime.errors import Violation

MOST_RULES = 100
MOST_DESTINATIONS = 20
MOST_PARAMETER_NAMES = 100
MOST_TAGS = 20
MOST_CAPS = 20
MOST_WINDOWS = 50
WHOLE = 100
"""What the weights of an action sum to."""
HIGHEST_PRIORITY = 1_000_000
MINUTES_OF_A_DAY = 1440
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
NO_HOSTS: frozenset[str] = frozenset()
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class ParameterPolicy(enum.Enum):
    """Which incoming parameters reach the destination."""

    MERGE = "merge"
    NONE = "none"
    ONLY = "only"


class RedirectType(enum.Enum):
    """How a visitor is sent on."""

    FOUND = "302"
    MOVED_PERMANENTLY = "301"
    SEE_OTHER = "303"
    TEMPORARY = "307"
    PERMANENT = "308"
    META_REFRESH = "meta_refresh"


@dataclass(frozen=True, slots=True)
class Destination:
    """A place to send visitors to."""

    url: str
    destination_id: str = ""
    """Empty until it is normalised: `d1`, `d2`… by position."""
    weight: int = 0
    """Percent of the visitors; 0 in a single destination: all of them."""


@dataclass(frozen=True, slots=True)
class Action:
    """What becomes of a click."""

    destinations: tuple[Destination, ...]
    redirect_type: RedirectType = RedirectType.FOUND
    parameter_policy: ParameterPolicy = ParameterPolicy.MERGE
    parameter_names: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """Sends those clicks that it matches somewhere of their own."""

    action: Action
    predicate: Predicate | None = None
    """Checked; None matches every click."""
    rule_id: str = ""
    """Empty until it is normalised: `r1`, `r2`… by position."""
    name: str = ""
    priority: int = 0
    """The highest that matches decides; of equals, the one that stands first."""
    is_disabled: bool = False


@dataclass(frozen=True, slots=True)
class WeeklyWindow:
    """Some hours of some weekdays."""

    weekdays: tuple[str, ...] = ()
    """Empty: every day."""
    start_minute: int = 0
    end_minute: int = MINUTES_OF_A_DAY


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a campaign runs."""

    start_time: datetime | None = None
    end_time: datetime | None = None
    windows: tuple[WeeklyWindow, ...] = ()
    time_zone: str = "UTC"


class CapKind(enum.Enum):
    """What a cap counts."""

    CLICKS = "clicks"
    UNIQUES = "uniques"
    CONVERSIONS = "conversions"


class CapPeriod(enum.Enum):
    """When a cap begins anew."""

    HOUR = "hour"
    DAY = "day"
    TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Cap:
    """A most."""

    kind: CapKind
    period: CapPeriod
    limit: int


@dataclass(frozen=True, slots=True)
class Fallback:
    """Where traffic goes instead: a URL, another campaign, or, with neither, a 404 page."""

    url: str = ""
    campaign_id: str = ""


def normalised_rules(
    rules: Sequence[Rule], path: str, violations: list[Violation], own_hosts: frozenset[str] = NO_HOSTS
) -> tuple[Rule, ...]:
    """Return rules with their ids, in the order in which they decide; add what is wrong to ``violations``."""
    if len(rules) > MOST_RULES:
        violations.append(Violation(path, f"has {len(rules)} rules, {MOST_RULES} are allowed"))
        return ()
    found = [
        _normalised_rule(rule, f"{path}[{index}]", f"r{index + 1}", violations, own_hosts)
        for index, rule in enumerate(rules)
    ]
    violations += _repeated((rule.rule_id for rule in found), path, "rule_id")
    # Sorting keeps the order of equals.
    return tuple(sorted(found, key=lambda rule: -rule.priority))


def _normalised_rule(
    rule: Rule, path: str, minted_id: str, violations: list[Violation], own_hosts: frozenset[str]
) -> Rule:
    rule_id = rule.rule_id or minted_id
    violations += _id_violations(rule_id, f"{path}.rule_id")
    violations += name_violations(rule.name, f"{path}.name")
    violations += priority_violations(rule.priority, f"{path}.priority")
    action = normalised_action(rule.action, f"{path}.action", violations, own_hosts)
    return replace(rule, rule_id=rule_id, action=action)


def normalised_action(
    action: Action, path: str, violations: list[Violation], own_hosts: frozenset[str] = NO_HOSTS
) -> Action:
    """Return an action with ids, weights and URLs in normal form; add what is wrong to ``violations``."""
    count = len(action.destinations)
    if not 1 <= count <= MOST_DESTINATIONS:
        violations.append(Violation(f"{path}.destinations", f"are {count}, must be 1 to {MOST_DESTINATIONS}"))
        return action
    destinations = tuple(
        _normalised_destination(
            destination, f"{path}.destinations[{index}]", f"d{index + 1}", count, violations, own_hosts
        )
        for index, destination in enumerate(action.destinations)
    )
    violations += _repeated((found.destination_id for found in destinations), f"{path}.destinations", "destination_id")
    total = sum(destination.weight for destination in destinations)
    if total != WHOLE:
        violations.append(Violation(f"{path}.destinations", f"have weights that sum to {total}, must be {WHOLE}"))
    violations += _policy_violations(action, path)
    violations += _tag_violations(action.tags, f"{path}.tags")
    return replace(action, destinations=destinations)


def _normalised_destination(
    destination: Destination,
    path: str,
    minted_id: str,
    count: int,
    violations: list[Violation],
    own_hosts: frozenset[str],
) -> Destination:
    found = read_destination(destination.url, takes_macros=True)
    problems = (*found.problems, *own_host_problems(found.url, own_hosts))
    violations += (Violation(f"{path}.url", problem) for problem in problems)
    destination_id = destination.destination_id or minted_id
    violations += _id_violations(destination_id, f"{path}.destination_id")
    weight = WHOLE if count == 1 and destination.weight == 0 else destination.weight
    if not 0 < weight <= WHOLE:
        violations.append(Violation(f"{path}.weight", f"is {weight}, must be 1 to {WHOLE}"))
    return Destination(found.url, destination_id, weight)


def _policy_violations(action: Action, path: str) -> Iterator[Violation]:
    names = action.parameter_names
    if action.parameter_policy is not ParameterPolicy.ONLY:
        if names:
            yield Violation(f"{path}.parameter_names", "are for the policy `only`")
        return
    if not 1 <= len(names) <= MOST_PARAMETER_NAMES:
        yield Violation(f"{path}.parameter_names", f"are {len(names)}, must be 1 to {MOST_PARAMETER_NAMES}")
    for index, name in enumerate(names):
        if not 1 <= len(name.encode()) <= 256:
            yield Violation(f"{path}.parameter_names[{index}]", f"has {len(name.encode())} bytes, must have 1 to 256")


def _tag_violations(tags: Sequence[str], path: str) -> Iterator[Violation]:
    if len(tags) > MOST_TAGS:
        yield Violation(path, f"are {len(tags)}, {MOST_TAGS} are allowed")
    for index, tag in enumerate(tags):
        if not 1 <= len(tag) <= 64:
            yield Violation(f"{path}[{index}]", f"has {len(tag)} characters, must have 1 to 64")
        elif _has_control(tag):
            yield Violation(f"{path}[{index}]", "has a control character")


def normalised_fallback(
    fallback: Fallback | None, path: str, violations: list[Violation], own_hosts: frozenset[str] = NO_HOSTS
) -> Fallback | None:
    """Return a fallback with its URL in normal form; add what is wrong to ``violations``."""
    if fallback is None or not (fallback.url or fallback.campaign_id):
        return fallback
    if fallback.campaign_id:
        violations += _id_violations(fallback.campaign_id, f"{path}.campaign_id")
        return fallback
    found = read_destination(fallback.url)
    problems = (*found.problems, *own_host_problems(found.url, own_hosts))
    violations += (Violation(f"{path}.url", problem) for problem in problems)
    return Fallback(url=found.url)


def schedule_violations(schedule: Schedule, path: str) -> Iterator[Violation]:
    """Say everything that is wrong with a schedule."""
    start, end = schedule.start_time, schedule.end_time
    if start is not None and end is not None and end <= start:
        yield Violation(f"{path}.end_time", f"is {end:%FT%TZ}, must be after start_time, {start:%FT%TZ}")
    yield from time_zone_violations(schedule.time_zone, f"{path}.time_zone")
    if len(schedule.windows) > MOST_WINDOWS:
        yield Violation(f"{path}.windows", f"are {len(schedule.windows)}, {MOST_WINDOWS} are allowed")
    for index, window in enumerate(schedule.windows):
        for weekday in window.weekdays:
            if weekday not in WEEKDAYS:
                yield Violation(
                    f"{path}.windows[{index}].weekdays", f"{weekday[:20]!r} is none of {', '.join(WEEKDAYS)}"
                )
        if not 0 <= window.start_minute < window.end_minute <= MINUTES_OF_A_DAY:
            text = f"is {window.start_minute} to {window.end_minute}, must rise within 0 to {MINUTES_OF_A_DAY}"
            yield Violation(f"{path}.windows[{index}]", text)


def cap_violations(caps: Sequence[Cap], path: str) -> Iterator[Violation]:
    """Say everything that is wrong with caps."""
    if len(caps) > MOST_CAPS:
        yield Violation(path, f"are {len(caps)}, {MOST_CAPS} are allowed")
    for index, cap in enumerate(caps):
        if cap.limit < 1:
            yield Violation(f"{path}[{index}].limit", "must be at least 1")
    for (kind, period), count in Counter((cap.kind, cap.period) for cap in caps).items():
        if count > 1:
            yield Violation(path, f"have {count} caps of {kind.value} per {period.value}; one is enough")


def name_violations(name: str, path: str, *, longest: int = 200) -> Iterator[Violation]:
    """Say everything that is wrong with a name for people."""
    if len(name) > longest:
        yield Violation(path, f"has {len(name)} characters, {longest} are allowed")
    if _has_control(name):
        yield Violation(path, "has a control character")


def priority_violations(priority: int, path: str) -> Iterator[Violation]:
    """Say whether a priority is out of its range."""
    if abs(priority) > HIGHEST_PRIORITY:
        yield Violation(path, f"is {priority}, must be -{HIGHEST_PRIORITY} to {HIGHEST_PRIORITY}")


def _id_violations(text: str, path: str) -> Iterator[Violation]:
    if not _ID.fullmatch(text):
        yield Violation(path, "must be 1 to 64 of A-Z a-z 0-9 _ -")


def _repeated(ids: Iterator[str], path: str, noun: str) -> list[Violation]:
    return [
        Violation(path, f"have the {noun} {found!r} {count} times")
        for found, count in Counter(ids).items()
        if count > 1
    ]


def _has_control(text: str) -> bool:
    return any(unicodedata.category(character) == "Cc" for character in text)
