"""Which events a claim is about, as SQL over rows of ``events``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from analytics_svc.claims.claim import Claim, MadeClaim, Window
from analytics_svc.statement import ORGANIZATION
from analytics_svc.store.overlay import ACTIVE, winners
from analytics_svc.store.touches import NIL, OWN_VALUE, PEOPLE
from rule_language.field import Kind, field_of
from rule_language.predicate import AllOf, AnyOf, Condition, Not, Operator, Predicate
from rule_language.sql import compile_sql

# What the event says of itself, as live routing would see it, whatever was laid over it since.
_COLUMNS = {"is_bot": PEOPLE["is_bot"], "value": f"({OWN_VALUE})"}
_ALWAYS_THERE = frozenset({Kind.HOUR, Kind.WEEKDAY, Kind.DATE, Kind.BOOLEAN})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# A conversion that has a click follows it.
_IS_UNLINKED = f"touch_event_id = {NIL}"
_OWN = f"organization_id = {{{ORGANIZATION}:String}}"
_LOWEST = -(2**40)


@dataclass(slots=True)
class Matching:
    """A claim as SQL over rows of ``events``."""

    claim: Claim
    prefix: str = "m"
    """The names of its parameters begin so."""
    parameters: dict[str, object] = field(default_factory=dict)
    """Of what was asked for until now."""

    def within(self) -> str:
        """Return the condition that an event lies in its ranges and hours."""
        claim = self.claim
        bounds = [
            f"event_time {sign} {self._instant(bound)}"
            for sign, bound in ((">=", claim.start_time), ("<", claim.end_time))
            if bound is not None
        ]
        text = " AND ".join(bounds) or "1"
        if claim.forward_start_time is not None and bounds:
            text = f"(({text}) OR event_time >= {self._instant(claim.forward_start_time)})"
        if claim.close_time is not None:
            text = f"{text} AND event_time < {self._instant(claim.close_time)}"
        if claim.windows:
            text = f"{text} AND ({' OR '.join(map(self._window, claim.windows))})"
        return f"({text})"

    def rule(self) -> str:
        """Return the number of the rule that matches, from 1; the one after the last is the link; 0: none."""
        return self._number(self._plain)

    def rule_of_what_is_there(self) -> str:
        """Return the same where a condition on a field that is not there, or is empty, is unknown."""
        return self._number(self._strict)

    def may_take(self, holder: str) -> str:
        """Return the condition that the policy lets it take an event that ``holder`` has."""
        if not self.claim.yielding:
            return f"{holder} = ''"
        yielding = self._bind("yielding", list(self.claim.yielding), "Array(String)")
        return f"({holder} = '' OR has({yielding}, {holder}))"

    def _number(self, compiled: Callable[[Predicate], str]) -> str:
        tests = [
            f"{'1' if rule.predicate is None else compiled(rule.predicate)}, {number}"
            for number, rule in enumerate(self.claim.rules, 1)
        ]
        if self.claim.slug:
            path = self._bind("link", f"/in/{self.claim.slug}", "String")
            link = f"event_type = 'click' AND route = 'in' AND decodeURLComponent(path) = {path}"
            tests.append(f"{link}, {len(self.claim.rules) + 1}")
        # An unknown condition is none that matches.
        return f"multiIf({', '.join(tests)}, 0)" if tests else "0"

    def _plain(self, predicate: Predicate) -> str:
        compiled = compile_sql(
            predicate,
            columns=_COLUMNS,
            time_zone=self.claim.time_zone,
            prefix=f"{self.prefix}{len(self.parameters)}_",
        )
        self.parameters |= compiled.parameters
        return compiled.text

    def _strict(self, predicate: Predicate) -> str:
        match predicate:
            case Condition(name):
                found = field_of(name)
                if found is None or found.kind in _ALWAYS_THERE:
                    return self._plain(predicate)
                is_there = self._plain(Condition(name, Operator.EXISTS))
                return f"if({is_there}, {self._plain(predicate)}, NULL)"
            case Not(child):
                return f"(NOT {self._strict(child)})"
            case AllOf(children):
                return f"({' AND '.join(map(self._strict, children))})"
            case AnyOf(children):
                return f"({' OR '.join(map(self._strict, children))})"

    def _window(self, window: Window) -> str:
        zone = self._bind("zone", self.claim.time_zone, "String")
        minute = f"(toHour(event_time, {zone}) * 60 + toMinute(event_time, {zone}))"
        hours = f"{minute} >= {int(window.start_minute)} AND {minute} < {int(window.end_minute)}"
        if not window.weekdays:
            return f"({hours})"
        days = ", ".join(str(int(day)) for day in window.weekdays)
        return f"({hours} AND toDayOfWeek(event_time, 0, {zone}) IN ({days}))"

    def _instant(self, instant: datetime) -> str:
        return instant_sql(self._bind(f"at{len(self.parameters)}", milliseconds(instant), "Int64"))

    def _bind(self, name: str, value: object, kind: str) -> str:
        self.parameters[f"{self.prefix}_{name}"] = value
        return f"{{{self.prefix}_{name}:{kind}}}"


@dataclass(frozen=True, slots=True)
class Candidates:
    """The events that the rules of a claim match, as a SELECT.

    Columns: those that were asked for, ``rule`` (its number), ``holder`` (who has it, as if the campaign claimed
    nothing), ``may_take`` (the policy lets the claim take it), ``gives_way`` (no claim with as high a priority has it),
    and ``is_missing`` (it matches only because a field is not there) where that was asked for.
    """

    sql: str
    parameters: Mapping[str, object]


def compile_candidates(
    claim: Claim,
    organization_id: str,
    holding: Sequence[MadeClaim],
    columns: Sequence[str],
    *,
    where: str = "1",
    finds_missing: bool = False,
) -> Candidates:
    """Compile a claim of an organisation. ``holding`` are the claims of the organisation that hold.

    ``columns`` are expressions over ``events`` with their names, ``where`` a condition on it.
    """
    matching = Matching(claim)
    others = [made for made in holding if made.claim.campaign_id != claim.campaign_id]
    has_own = len(others) < len(holding)
    holder, is_claimed, join = _holder(has_own=has_own, has_others=bool(others))
    given = [*columns, f"{matching.rule()} AS rule", f"{holder} AS holder", f"{is_claimed} AS is_claimed"]
    if finds_missing:
        given.append(f"{matching.rule_of_what_is_there()} = 0 AS is_missing")
    inner = (
        f"SELECT {', '.join(given)} FROM events {join} PREWHERE {_OWN}"  # noqa: S608 - our own text
        f" WHERE {_IS_UNLINKED} AND {matching.within()} AND {where} AND rule > 0"
    )
    outranked = "transform(holder, {held:Array(String)}, {held_priorities:Array(Int64)}, toInt64({lowest:Int64}))"
    sql = (
        f"SELECT *, {matching.may_take('holder')} AS may_take,"  # noqa: S608 - our own text
        f" (NOT is_claimed OR {outranked} < {{priority:Int64}}) AS gives_way FROM ({inner})"
    )
    parameters = {
        **matching.parameters,
        ORGANIZATION: organization_id,
        "campaign": claim.campaign_id,
        "priority": claim.priority,
        "held": [made.claim.campaign_id for made in others] or [""],
        "held_priorities": [made.claim.priority for made in others] or [_LOWEST],
        "lowest": _LOWEST,
    }
    return Candidates(sql, parameters)


def _holder(*, has_own: bool, has_others: bool) -> tuple[str, str, str]:
    """Return who has an event but for the claim's campaign, whether by a claim, and the join that tells."""
    if not has_own:
        return "toString(campaign_id)", "notEmpty(routed)", ""
    is_own = "(notEmpty(routed) AND campaign_id = {campaign:String})"
    if not has_others:
        return f"if({is_own}, routed[1], toString(campaign_id))", f"(notEmpty(routed) AND NOT {is_own})", ""
    is_own = "(notEmpty(routed) AND events.campaign_id = {campaign:String})"
    return (
        f"if({is_own}, if(other.campaign_id != '', other.campaign_id, routed[1]), toString(events.campaign_id))",
        f"(notEmpty(routed) AND (NOT {is_own} OR other.campaign_id != ''))",
        f"LEFT ANY JOIN ({_others()}) AS other ON other.event_id = events.event_id",
    )


def _others() -> str:
    """Return the SELECT of who would have the events that the campaign's own claim may have now."""
    others = ACTIVE.format(where=f"{_OWN} AND campaign_id != {{campaign:String}}")
    own = ACTIVE.format(where=f"{_OWN} AND campaign_id = {{campaign:String}}")
    chosen = (
        f"{_OWN} AND (campaign_id, version) IN (SELECT campaign_id, version FROM ({others})) AND event_id IN ("  # noqa: S608 - our own text
        f"SELECT event_id FROM claim_assignments WHERE {_OWN}"
        f" AND (campaign_id, version) IN (SELECT campaign_id, version FROM ({own})))"
    )
    return f"SELECT event_id, campaign_id FROM ({winners(others, chosen)})"  # noqa: S608 - our own text


def milliseconds(instant: datetime) -> int:
    """Return an instant as Unix milliseconds."""
    return (instant - _EPOCH) // _MILLISECOND


def instant_sql(place: str) -> str:
    """Return the instant of a parameter in Unix milliseconds."""
    return f"fromUnixTimestamp64Milli({place}, 'UTC')"
