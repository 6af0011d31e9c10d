"""Compiles a predicate to a closure over the facts of one event. What it means: the package's text."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

from rule_language.expression import compile_expression
from rule_language.field import TIME_KINDS, Field, Kind, field_of
from rule_language.operand import (
    ADDRESS_BITS,
    NUMERIC,
    address_from,
    address_in,
    boolean_from,
    networks_by_prefix,
    number_in,
    zone_from,
)
from rule_language.predicate import AllOf, AnyOf, Condition, Not, Operator, Predicate, positive

Fact: TypeAlias = bytes | int | Decimal | bool | None
Number: TypeAlias = int | Decimal
_NUMBERS = (int, Decimal)  # a tuple: `int | Decimal` would be made anew by every question


@dataclass(slots=True)  # not frozen, though nobody changes it: it is made for every click, and that takes half the time
class Facts:
    """What is known of one event."""

    event_time_ms: int
    """Milliseconds since 1970, UTC."""
    fields: Mapping[str, Fact] = field(default_factory=dict)
    """By field: bytes for a text and for ``ip``, int for ``asn``, Decimal or int for ``value``, bool for ``is_bot``.
    None, or a KeyError, is unknown (of ``value``: not there). May be lazy: only what a rule asks for is read."""
    params: Mapping[bytes, bytes] = field(default_factory=dict)
    """The first value by name, decoded."""
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    """The first value by name in lower case."""


Verdict: TypeAlias = bool | None
Test: TypeAlias = Callable[[Facts], Verdict]

_COMPARE: dict[Operator, Callable[[Number, Number], bool]] = {
    Operator.GT: operator.gt,
    Operator.GTE: operator.ge,
    Operator.LT: operator.lt,
    Operator.LTE: operator.le,
}


def compile_test(predicate: Predicate, *, time_zone: str = "UTC") -> Test:
    """Compile a checked predicate; the closure answers true, false, or None for unknown.

    Raise ValueError when the predicate was not checked, or the time zone does not exist.
    """
    match predicate:
        case Condition():
            changed = positive(predicate)
            if isinstance(changed, Not):
                return _not(compile_test(changed.child, time_zone=time_zone))
            return _condition(predicate, time_zone)
        case Not(child):
            return _not(compile_test(child, time_zone=time_zone))
        case AllOf(children):
            return _all_of([compile_test(child, time_zone=time_zone) for child in children])
        case AnyOf(children):
            return _any_of([compile_test(child, time_zone=time_zone) for child in children])


def _not(test: Test) -> Test:
    def negated(facts: Facts) -> Verdict:
        verdict = test(facts)
        return None if verdict is None else not verdict

    return negated


def _all_of(tests: list[Test]) -> Test:
    def conjunction(facts: Facts) -> Verdict:
        result: Verdict = True
        for test in tests:
            verdict = test(facts)
            if verdict is None:
                result = None
            elif not verdict:
                return False
        return result

    return conjunction


def _any_of(tests: list[Test]) -> Test:
    def disjunction(facts: Facts) -> Verdict:
        result: Verdict = False
        for test in tests:
            verdict = test(facts)
            if verdict:
                return True
            if verdict is None:
                result = None
        return result

    return disjunction


def _condition(condition: Condition, time_zone: str) -> Test:
    found = field_of(condition.field)
    if found is None:
        raise ValueError(f"no field {condition.field!r}: the predicate was not checked")
    if found.kind in TIME_KINDS:
        return _of_time(found.kind, _number_test(found, condition), time_zone)
    if found.kind is Kind.NUMBER:
        return _of_number(found, _number_test(found, condition))
    if found.kind is Kind.BOOLEAN:
        return _of_boolean(found, condition)
    return _of_text(found, _text_test(found, condition))


def _of_text(found: Field, test: Callable[[bytes], bool]) -> Test:
    if found.kind is Kind.NAMED:
        return _of_named(found, test)
    name, folds_case = found.name, found.folds_case

    def of_field(facts: Facts) -> Verdict:
        try:
            text = facts.fields[name]
        except KeyError:
            return None
        if not isinstance(text, bytes):
            return None
        return test(text.lower() if folds_case else text)

    return of_field


def _of_named(found: Field, test: Callable[[bytes], bool]) -> Test:
    key = found.key.encode()

    def of_parameter(facts: Facts) -> Verdict:
        text = facts.params.get(key)
        return text is not None and test(text)

    def of_header(facts: Facts) -> Verdict:
        text = facts.headers.get(key)
        return text is not None and test(text)

    return of_parameter if found.is_parameter else of_header


def _text_test(found: Field, condition: Condition) -> Callable[[bytes], bool]:
    """Compile what a text must be; the text comes folded where its field folds."""
    if condition.operator is Operator.EXISTS:
        return bool
    if condition.operator is Operator.MATCHES:
        return _matches(found, condition.values)
    if found.kind is Kind.ADDRESS:
        return _address_test(condition)
    if condition.operator in _COMPARE or condition.operator is Operator.BETWEEN:
        return _number_in_text(_number_test(found, condition))
    values = [value.encode() for value in condition.values]
    return _PART_TESTS[condition.operator]([value.lower() for value in values] if found.folds_case else values)


def _equals(values: list[bytes]) -> Callable[[bytes], bool]:
    if len(values) == 1:
        (value,) = values
        return lambda text: text == value
    return frozenset(values).__contains__


def _contains(values: list[bytes]) -> Callable[[bytes], bool]:
    if len(values) == 1:
        (value,) = values
        return lambda text: value in text
    return lambda text: any(value in text for value in values)


def _starts_with(values: list[bytes]) -> Callable[[bytes], bool]:
    prefixes = tuple(values)
    return lambda text: text.startswith(prefixes)


def _ends_with(values: list[bytes]) -> Callable[[bytes], bool]:
    suffixes = tuple(values)
    return lambda text: text.endswith(suffixes)


_PART_TESTS: dict[Operator, Callable[[list[bytes]], Callable[[bytes], bool]]] = {
    Operator.EQUALS: _equals,
    Operator.IN: _equals,
    Operator.CONTAINS: _contains,
    Operator.STARTS_WITH: _starts_with,
    Operator.ENDS_WITH: _ends_with,
}


def _matches(found: Field, patterns: tuple[str, ...]) -> Callable[[bytes], bool]:
    searches = [compile_expression(pattern, folds_case=found.folds_case).search for pattern in patterns]
    if len(searches) == 1:
        (search,) = searches
        return lambda text: search(text) is not None
    return lambda text: any(search(text) is not None for search in searches)


def _address_test(condition: Condition) -> Callable[[bytes], bool]:
    if condition.operator is Operator.CIDR:
        grouped = networks_by_prefix(condition.values)
    else:
        grouped = {ADDRESS_BITS: frozenset(map(address_from, condition.values))}
    # One look-up for each length of prefix: ten thousand networks cost as much as ten.
    shifted = [
        (ADDRESS_BITS - bits, frozenset(first >> (ADDRESS_BITS - bits) for first in firsts))
        for bits, firsts in grouped.items()
    ]

    def within(text: bytes) -> bool:
        address = address_in(text)
        return address is not None and any(address >> shift in firsts for shift, firsts in shifted)

    return within


def _number_in_text(test: Callable[[Number], bool]) -> Callable[[bytes], bool]:
    def compared(text: bytes) -> bool:
        number = number_in(text)
        return number is not None and test(number)

    return compared


def _number_test(found: Field, condition: Condition) -> Callable[[Number], bool]:
    """Compile what a number, hour, weekday or date must be."""
    if condition.operator is Operator.EXISTS:
        return lambda _: True
    wanted = [NUMERIC[found.kind](value) for value in condition.values]
    if condition.operator is Operator.BETWEEN:
        low, high = wanted
        return lambda number: low <= number <= high
    if condition.operator in _COMPARE:
        compare, (bound,) = _COMPARE[condition.operator], wanted
        return lambda number: compare(number, bound)
    return frozenset(wanted).__contains__


def _of_number(found: Field, test: Callable[[Number], bool]) -> Test:
    name, absent = found.name, False if found.absent_is_missing else None
    zero_is_missing = found.zero_is_missing

    def of_field(facts: Facts) -> Verdict:
        try:
            number = facts.fields[name]
        except KeyError:
            return absent
        if not isinstance(number, _NUMBERS):
            return absent
        if zero_is_missing and not number:
            return False
        return test(number)

    return of_field


def _of_boolean(found: Field, condition: Condition) -> Test:
    name, exists = found.name, condition.operator is Operator.EXISTS
    wanted = frozenset(map(boolean_from, condition.values))

    def of_field(facts: Facts) -> Verdict:
        try:
            value = facts.fields[name]
        except KeyError:
            return None
        if value is None:
            return None
        return exists or bool(value) in wanted

    return of_field


def _of_time(kind: Kind, test: Callable[[Number], bool], time_zone: str) -> Test:
    zone, part = zone_from(time_zone), _PARTS_OF_TIME[kind]

    def of_time(facts: Facts) -> Verdict:
        return test(part(datetime.fromtimestamp(facts.event_time_ms // 1000, zone)))

    return of_time


_PARTS_OF_TIME: dict[Kind, Callable[[datetime], int]] = {
    Kind.HOUR: operator.attrgetter("hour"),
    Kind.WEEKDAY: datetime.isoweekday,
    Kind.DATE: lambda local: local.year * 10_000 + local.month * 100 + local.day,
}
