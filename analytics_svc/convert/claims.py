"""Claims between the contract and ours."""

from collections.abc import Sequence
from datetime import datetime

from google.protobuf import timestamp_pb2

from analytics_svc.claims.claim import (
    LONGEST_ID_BYTES,
    MINUTES_OF_A_DAY,
    MOST_RULES,
    MOST_TAGS,
    MOST_WINDOWS,
    MOST_YIELDING,
    Claim,
    ClaimRule,
    Policy,
    Window,
)
from analytics_svc.convert.slices import instant_from_pb
from rule_language.check import time_zone_violations
from rule_language.parse import predicate_from_pb
from svc_runtime.errors import InvalidArgumentError, Violation
from trellis.analytics.v1 import overlay_service_pb2 as pb

_POLICIES = {
    pb.CLAIM_POLICY_UNSPECIFIED: Policy.UNATTRIBUTED,
    pb.CLAIM_POLICY_UNATTRIBUTED: Policy.UNATTRIBUTED,
    pb.CLAIM_POLICY_BY_PRIORITY: Policy.BY_PRIORITY,
}
_LONGEST_SLUG_BYTES = 2048


def claim_from_pb(message: pb.Claim, *, path: str = "claim", needs_version: bool = True) -> Claim:
    """Read a claim. Raise InvalidArgumentError with everything that is wrong."""
    violations: list[Violation] = []
    claim = Claim(
        campaign_id=id_from_pb(message.campaign_id, f"{path}.campaign_id", violations),
        version=message.version,
        priority=message.priority,
        rules=_rules(message.rules, f"{path}.rules", violations),
        slug=message.slug,
        start_time=_instant(message.time_range, "start_time", f"{path}.time_range", violations),
        end_time=_instant(message.time_range, "end_time", f"{path}.time_range", violations),
        forward_start_time=_instant(message, "forward_start_time", path, violations),
        close_time=_instant(message, "close_time", path, violations),
        windows=_windows(message.windows, f"{path}.windows", violations),
        time_zone=message.time_zone or "UTC",
        policy=_POLICIES.get(message.policy, Policy.UNATTRIBUTED),
        yielding=tuple(sorted({name for name in message.yielding_campaign_ids if name != message.campaign_id})),
    )
    violations += time_zone_violations(claim.time_zone, f"{path}.time_zone")
    if needs_version and not claim.version:
        violations.append(Violation(f"{path}.version", "is 0; versions begin with 1"))
    if len(claim.slug.encode()) > _LONGEST_SLUG_BYTES:
        violations.append(Violation(f"{path}.slug", f"is longer than {_LONGEST_SLUG_BYTES} bytes"))
    if claim.start_time and claim.end_time and claim.end_time < claim.start_time:
        violations.append(
            Violation(
                f"{path}.time_range", f"ends at {claim.end_time:%FT%TZ}, before its start {claim.start_time:%FT%TZ}"
            )
        )
    violations += _policy_violations(message, claim, path)
    if violations:
        raise InvalidArgumentError.of(violations)
    return claim


def claim_from_bytes(definition: bytes) -> Claim:
    """Read a claim that was kept."""
    return claim_from_pb(pb.Claim.FromString(definition))


def activation_from_pb(request: pb.ActivateClaimRequest) -> str:
    """Read whose version is to hold; raise InvalidArgumentError."""
    violations: list[Violation] = []
    campaign_id = id_from_pb(request.campaign_id, "campaign_id", violations)
    if violations:
        raise InvalidArgumentError.of(violations)
    return campaign_id


def id_from_pb(campaign_id: str, path: str, violations: list[Violation]) -> str:
    """Check a campaign's id."""
    size = len(campaign_id.encode())
    if not 0 < size <= LONGEST_ID_BYTES:
        violations.append(Violation(path, f"has {size} bytes; it must have 1 to {LONGEST_ID_BYTES}"))
    return campaign_id


def _policy_violations(message: pb.Claim, claim: Claim, path: str) -> list[Violation]:
    violations: list[Violation] = []
    if message.policy not in _POLICIES:
        violations.append(Violation(f"{path}.policy", f"{message.policy} is no policy"))
    if claim.yielding and claim.policy is Policy.UNATTRIBUTED:
        violations.append(Violation(f"{path}.yielding_campaign_ids", "needs the policy BY_PRIORITY"))
    if len(claim.yielding) > MOST_YIELDING:
        violations.append(
            Violation(f"{path}.yielding_campaign_ids", f"has {len(claim.yielding)}; the limit is {MOST_YIELDING}")
        )
    if any(not 0 < len(name.encode()) <= LONGEST_ID_BYTES for name in claim.yielding):
        violations.append(Violation(f"{path}.yielding_campaign_ids", f"ids have 1 to {LONGEST_ID_BYTES} bytes"))
    return violations


def _rules(messages: Sequence[pb.ClaimRule], path: str, violations: list[Violation]) -> tuple[ClaimRule, ...]:
    if len(messages) > MOST_RULES:
        violations.append(Violation(path, f"has {len(messages)} rules; the limit is {MOST_RULES}"))
        return ()
    rules = []
    for at, message in enumerate(messages):
        place = f"{path}[{at}]"
        predicate = None
        if message.HasField("predicate"):
            predicate = predicate_from_pb(message.predicate, path=f"{place}.predicate", violations=violations)
        if len(message.tags) > MOST_TAGS or any(len(tag.encode()) > LONGEST_ID_BYTES for tag in message.tags):
            violations.append(
                Violation(f"{place}.tags", f"there may be {MOST_TAGS} of at most {LONGEST_ID_BYTES} bytes each")
            )
        if len(message.rule_id.encode()) > LONGEST_ID_BYTES:
            violations.append(Violation(f"{place}.rule_id", f"is longer than {LONGEST_ID_BYTES} bytes"))
        rules.append(ClaimRule(message.rule_id, predicate, tuple(message.tags)))
    return tuple(rules)


def _windows(messages: Sequence[pb.ClaimWindow], path: str, violations: list[Violation]) -> tuple[Window, ...]:
    if len(messages) > MOST_WINDOWS:
        violations.append(Violation(path, f"has {len(messages)} windows; the limit is {MOST_WINDOWS}"))
        return ()
    for at, message in enumerate(messages):
        if any(not 1 <= day <= 7 for day in message.weekdays):
            violations.append(Violation(f"{path}[{at}].weekdays", "are 1 (Monday) to 7 (Sunday)"))
        if not message.start_minute < message.end_minute <= MINUTES_OF_A_DAY:
            violations.append(
                Violation(
                    f"{path}[{at}]",
                    f"is from minute {message.start_minute} to {message.end_minute}; it must end after it starts, at"
                    f" {MINUTES_OF_A_DAY} at the latest",
                )
            )
    return tuple(Window(tuple(one.weekdays), one.start_minute, one.end_minute) for one in messages)


def _instant(message: object, name: str, path: str, violations: list[Violation]) -> datetime | None:
    if not message.HasField(name):  # type: ignore[attr-defined]  # any message with a Timestamp of that name
        return None
    timestamp: timestamp_pb2.Timestamp = getattr(message, name)
    try:
        return instant_from_pb(timestamp)
    except (ValueError, OverflowError):
        violations.append(Violation(f"{path}.{name}", "is no instant of the years 1 to 9999"))
        return None
