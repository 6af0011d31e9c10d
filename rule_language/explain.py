"""Why a predicate is true, false or unknown of one event: its tree again, with what was asked and what was found."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal, TypeAlias

from rule_language.evaluate import Fact, Facts, Verdict, compile_test
from rule_language.field import TIME_KINDS, Field, Kind, field_of
from rule_language.operand import WEEKDAYS, zone_from
from rule_language.predicate import AllOf, AnyOf, Condition, Not, Predicate

FactState: TypeAlias = Literal["known", "missing", "unknown"]


@dataclass(frozen=True, slots=True)
class Found:
    """What an event has in a field."""

    state: FactState
    """``missing``: known not to be there. ``unknown``: nobody could tell."""
    text: bytes = b""
    """As a condition reads it, but for its case."""


@dataclass(frozen=True, slots=True)
class Explained:
    """A node of the tree."""

    kind: Literal["condition", "all", "any", "not"]
    verdict: Verdict
    condition: Condition | None = None
    found: Found | None = None
    """Of a condition."""
    children: tuple["Explained", ...] = ()


def explain(predicate: Predicate, facts: Facts, *, time_zone: str = "UTC") -> Explained:
    """Evaluate a checked predicate, every part of it, and say what each came to.

    The verdict of the whole is that of ``compile_test``. Raise ValueError as it does.
    """
    match predicate:
        case Condition():
            verdict = compile_test(predicate, time_zone=time_zone)(facts)
            return Explained("condition", verdict, predicate, _found(predicate.field, facts, time_zone))
        case Not(child):
            inner = explain(child, facts, time_zone=time_zone)
            return Explained("not", None if inner.verdict is None else not inner.verdict, children=(inner,))
        case AllOf(children):
            parts = tuple(explain(child, facts, time_zone=time_zone) for child in children)
            return Explained("all", _all(parts), children=parts)
        case AnyOf(children):
            parts = tuple(explain(child, facts, time_zone=time_zone) for child in children)
            return Explained("any", _any(parts), children=parts)


def deciding(explained: Explained) -> list[Explained]:
    """Return the conditions because of which the whole is not true; none when it is."""
    if explained.verdict:
        return []
    match explained.kind:
        case "condition":
            return [explained]
        case "not":
            return _leaves(explained.children[0])
        case "any":
            return [leaf for child in explained.children for leaf in deciding(child)]
        case _:
            failed = [child for child in explained.children if child.verdict is False]
            return [leaf for child in failed or explained.children for leaf in deciding(child)]


def _leaves(explained: Explained) -> list[Explained]:
    if explained.kind == "condition":
        return [explained]
    return [leaf for child in explained.children for leaf in _leaves(child)]


def _all(parts: tuple[Explained, ...]) -> Verdict:
    verdicts = [part.verdict for part in parts]
    return False if False in verdicts else None if None in verdicts else True


def _any(parts: tuple[Explained, ...]) -> Verdict:
    verdicts = [part.verdict for part in parts]
    return True if True in verdicts else None if None in verdicts else False


def _found(name: str, facts: Facts, time_zone: str) -> Found:
    field = field_of(name)
    if field is None:
        raise ValueError(f"no field {name!r}: the predicate was not checked")
    if field.kind in TIME_KINDS:
        return Found("known", _of_time(field.kind, facts, time_zone).encode())
    if field.kind is Kind.NAMED:
        named = (facts.params if field.is_parameter else facts.headers).get(field.key.encode())
        return Found("missing") if named is None else Found("known", named)
    try:
        fact = facts.fields[field.name]
    except KeyError:
        fact = None
    return _of_fact(field, fact)


def _of_fact(field: Field, fact: Fact) -> Found:
    if fact is None:
        return Found("missing" if field.absent_is_missing else "unknown")
    match fact:
        case bytes():
            return Found("known", fact)
        case bool():
            return Found("known", b"true" if fact else b"false")
        case _ if field.zero_is_missing and not fact:
            return Found("missing")
        case _:
            return Found("known", format(Decimal(fact), "f").encode())


def _of_time(kind: Kind, facts: Facts, time_zone: str) -> str:
    local = datetime.fromtimestamp(facts.event_time_ms // 1000, zone_from(time_zone))
    if kind is Kind.HOUR:
        return str(local.hour)
    return WEEKDAYS[local.weekday()] if kind is Kind.WEEKDAY else local.date().isoformat()
