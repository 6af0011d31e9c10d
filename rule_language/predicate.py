"""The tree of a rule. Made by ``rule_language.parse``, which checks it; the evaluators trust it."""

import enum
from dataclasses import dataclass
from typing import TypeAlias


class Operator(enum.StrEnum):
    """How a condition compares; the values are the names in the JSON form."""

    EQUALS = "equals"
    NOT_EQUALS = "not_equals"
    CONTAINS = "contains"
    NOT_CONTAINS = "not_contains"
    STARTS_WITH = "starts_with"
    ENDS_WITH = "ends_with"
    IN = "in"
    NOT_IN = "not_in"
    MATCHES = "matches"
    EXISTS = "exists"
    NOT_EXISTS = "not_exists"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    BETWEEN = "between"
    CIDR = "cidr"


POSITIVE_OF = {
    Operator.NOT_EQUALS: Operator.EQUALS,
    Operator.NOT_CONTAINS: Operator.CONTAINS,
    Operator.NOT_IN: Operator.IN,
    Operator.NOT_EXISTS: Operator.EXISTS,
}
"""Each negative operator is the negation of a positive one, whatever the fact."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison of a field with values, as they were written."""

    field: str
    """A name of the catalogue in ``rule_language.field``; a header's is in lower case."""
    operator: Operator
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AllOf:
    """True when every child is."""

    children: tuple["Predicate", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """True when at least one child is."""

    children: tuple["Predicate", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """True when the child is false."""

    child: "Predicate"


Predicate: TypeAlias = Condition | AllOf | AnyOf | Not


def positive(condition: Condition) -> Predicate:
    """Say a negative condition as the negation of its positive one; leave any other as it is."""
    operator = POSITIVE_OF.get(condition.operator)
    return Not(Condition(condition.field, operator, condition.values)) if operator else condition


def fields_of(predicate: Predicate) -> frozenset[str]:
    """Name the fields that the predicate asks for, so that nobody works out the others."""
    match predicate:
        case Condition():
            return frozenset({predicate.field})
        case Not():
            return fields_of(predicate.child)
        case AllOf() | AnyOf():
            return frozenset().union(*map(fields_of, predicate.children))
