"""Whether a condition can be evaluated: every problem becomes a violation with its path, its value and the limit."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from rule_language.expression import compile_expression
from rule_language.field import FIELDS, HEADER, LONGEST_NAME_BYTES, OPERATORS, ORDERED, PARAM, Field, Kind, field_of
from rule_language.operand import NUMERIC, address_from, boolean_from, network_from, zone_from
from rule_language.predicate import Condition, Operator
from svc_runtime.errors import Violation

DEEPEST = 20
MOST_CONDITIONS = 500
MOST_CHILDREN = 100
MOST_VALUES = 10_000
MOST_EXPRESSIONS = 100
LONGEST_VALUE_BYTES = 4096
MOST_VALUE_BYTES = 1 << 20
_MOST_VIOLATIONS = 100
_LONGEST_SHOWN = 64
_NONE = frozenset({Operator.EXISTS, Operator.NOT_EXISTS})
_ONE = frozenset(ORDERED) - {Operator.BETWEEN}
_MAY_BE_EMPTY = frozenset({Operator.EQUALS, Operator.NOT_EQUALS, Operator.IN, Operator.NOT_IN})


def time_zone_violations(name: str, path: str) -> list[Violation]:
    """Say whether there is a time zone of that name."""
    try:
        zone_from(name)
    except ValueError as error:
        return [Violation(path, str(error))]
    return []


class Check:
    """Checks the conditions of one predicate and counts them against the limits of the whole."""

    def __init__(self, violations: list[Violation]) -> None:
        self._violations = violations
        self._found = 0
        self._conditions = 0
        self._value_bytes = 0

    def refuse(self, path: str, description: str) -> None:
        """Note a problem, but no more than anybody will read."""
        self._found += 1
        if self._found <= _MOST_VIOLATIONS:
            self._violations.append(Violation(path, description))

    def may_go_on(self, path: str, depth: int) -> bool:
        """Say whether a node of this depth, the root's being 1, may be read; refuse it if not."""
        if depth > DEEPEST:
            self.refuse(path, f"is nested {depth} deep, at most {DEEPEST}")
        return depth <= DEEPEST

    def children(self, path: str, count: int) -> bool:
        """Say whether a list may have so many children; refuse it if not."""
        is_allowed = 0 < count <= MOST_CHILDREN
        if not is_allowed:
            self.refuse(path, f"has {count} conditions, must have 1 to {MOST_CHILDREN}")
        return is_allowed

    def condition(self, path: str, field_name: str, operator: Operator | None, values: Sequence[str]) -> Condition:
        """Check one condition; ``operator`` None is one that was refused already."""
        self._count(path)
        field = field_of(field_name)
        if field is None:
            self.refuse(f"{path}.field", _no_field(field_name))
        elif operator is not None and operator not in OPERATORS[field.kind]:
            self.refuse(
                f"{path}.operator",
                f"`{field.name}` is {field.kind.value} and has no {operator}; it has "
                + ", ".join(OPERATORS[field.kind]),
            )
        elif operator is not None and self._values_fit(path, operator, values):
            self._check_values(path, field, operator, values)
        return Condition(field.name if field else field_name, operator or Operator.EXISTS, tuple(values))

    def _count(self, path: str) -> None:
        self._conditions += 1
        if self._conditions == MOST_CONDITIONS + 1:
            self.refuse(path, f"is condition {self._conditions}, at most {MOST_CONDITIONS} in one predicate")

    def _values_fit(self, path: str, operator: Operator, values: Sequence[str]) -> bool:
        """Check how many there are and how long."""
        wanted = _wrong_number(operator, len(values))
        if wanted:
            self.refuse(f"{path}.values", f"has {len(values)} values, {operator} needs {wanted}")
            return False
        fit = [self._is_storable(f"{path}.values[{at}]", value) for at, value in enumerate(values)]
        return all(fit)

    def _is_storable(self, path: str, value: str) -> bool:
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            self.refuse(path, f"{_shown(value)} is not valid Unicode: it has half of a surrogate pair")
            return False
        if size > LONGEST_VALUE_BYTES:
            self.refuse(path, f"has {size} bytes, at most {LONGEST_VALUE_BYTES}")
            return False
        was_within = self._value_bytes <= MOST_VALUE_BYTES
        self._value_bytes += size
        is_within = self._value_bytes <= MOST_VALUE_BYTES
        if was_within and not is_within:
            self.refuse(path, f"brings the values of the predicate over {MOST_VALUE_BYTES} bytes together")
        return is_within

    def _check_values(self, path: str, field: Field, operator: Operator, values: Sequence[str]) -> None:
        read = _reader(field, operator)
        operands = []
        for at, value in enumerate(values):
            try:
                operands.append(read(value))
            except ValueError as error:
                self.refuse(f"{path}.values[{at}]", f"{_shown(value)} {error}")
        if operator is Operator.BETWEEN and len(operands) == 2 and operands[0] > operands[1]:
            self.refuse(f"{path}.values", f"nothing is between {values[0]} and {values[1]}: the smaller goes first")


def _no_field(name: str) -> str:
    if name.startswith((PARAM, HEADER)):
        return (
            f"{_shown(name)} names no parameter or header: 1 to {LONGEST_NAME_BYTES} bytes, "
            "of a header letters, digits and !#$%&'*+-.^_`|~"
        )
    return f"there is no field {_shown(name)}; there are {', '.join(sorted(FIELDS))}, param.<name>, header.<name>"


def _wrong_number(operator: Operator, count: int) -> str:
    """Say how many values the operator needs when it has not got them, else nothing."""
    if operator in _NONE:
        return "" if count == 0 else "none"
    if operator is Operator.BETWEEN:
        return "" if count == 2 else "2"
    if operator in _ONE:
        return "" if count == 1 else "1"
    most = MOST_EXPRESSIONS if operator is Operator.MATCHES else MOST_VALUES
    return "" if 1 <= count <= most else f"1 to {most}"


# Any: a text, a number, an expression; they are only tried here, and two numbers compared.
def _reader(field: Field, operator: Operator) -> Callable[[str], Any]:
    """Choose what reads a value, raising ValueError when it cannot."""
    if operator is Operator.MATCHES:
        return partial(compile_expression, folds_case=field.folds_case)
    if operator is Operator.CIDR:
        return network_from
    if field.kind is Kind.BOOLEAN:
        return boolean_from
    if field.kind is Kind.ADDRESS:
        return address_from
    if field.kind in NUMERIC and (operator in ORDERED or field.kind is not Kind.NAMED):
        return NUMERIC[field.kind]
    return str if operator in _MAY_BE_EMPTY else _not_empty


def _not_empty(value: str) -> str:
    if not value:
        raise ValueError("is empty, which every text contains")
    return value


def _shown(value: str) -> str:
    """Quote a value, safe to print, cut where it is long."""
    text = value if len(value) <= _LONGEST_SHOWN else value[:_LONGEST_SHOWN] + "…"
    return ascii(text) if not text.isprintable() else f"`{text}`"
