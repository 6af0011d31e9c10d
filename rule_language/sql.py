"""Compiles a predicate to a ClickHouse expression over the columns of the reading; NULL is unknown.

What a rule says becomes a server-side parameter (``{p0:String}``), never text of the query. What it means: the
package's text.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from ipaddress import IPv6Address
from types import MappingProxyType

from rule_language.expression import written_for_both
from rule_language.field import FIELDS, ORDERED, Field, Kind, field_of
from rule_language.operand import (
    ADDRESS_BITS,
    FRACTION_DIGITS,
    NUMBER_PATTERN,
    NUMERIC,
    address_from,
    boolean_from,
    networks_by_prefix,
    zone_from,
)
from rule_language.predicate import AllOf, AnyOf, Condition, Not, Operator, Predicate, positive

READING: Mapping[str, str] = MappingProxyType(
    {name: name for name, known in FIELDS.items() if known.kind not in {Kind.HOUR, Kind.WEEKDAY, Kind.DATE}}
    | {"event_time": "event_time", "params": "params", "headers": "headers"}
)
"""The columns by field. Texts, ``ip`` and ``is_bot`` (UInt8): NULL is unknown. ``asn`` (UInt32): NULL is unknown, 0
missing. ``value`` (Decimal(38, 6), exact as money is): NULL is missing. ``event_time``: DateTime64(3, 'UTC').
``params`` and ``headers``: Map of String to String, the first value by name, names of headers in lower case."""

_MOST_NEEDLES = 255  # of multiSearchAny
_DECIMAL = f"Decimal(76,{FRACTION_DIGITS})"
_NUMBER_LITERAL = "'(?-i)^" + NUMBER_PATTERN.replace("\t", "\\t").replace("\r", "\\r").replace("\n", "\\n") + "\\\\z'"
# toIPv6OrNull takes a part of an IPv4 address with zeros before it, the closure does not: it may be meant as octal.
_OCTAL_LITERAL = "'(?-i)(^|[.:])0[0-9]+([.]|\\\\z)'"
_SIGNS = {Operator.GT: ">", Operator.GTE: ">=", Operator.LT: "<", Operator.LTE: "<="}


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of a query."""

    text: str
    """An expression of UInt8 or Nullable(UInt8)."""
    parameters: dict[str, object]
    """The values of its ``{name:Type}``."""


def compile_sql(
    predicate: Predicate, *, columns: Mapping[str, str] = READING, time_zone: str = "UTC", prefix: str = "p"
) -> Sql:
    """Compile a checked predicate.

    ``columns`` says which expression holds a field (our text, never a user's), ``prefix`` begins the names of the
    parameters: another for each predicate of one query. Raise ValueError when the predicate was not checked, or the
    time zone does not exist.
    """
    compiler = _Compiler({**READING, **columns}, zone_from(time_zone).key, prefix)
    return Sql(compiler.predicate(predicate), compiler.parameters)


class _Compiler:
    def __init__(self, columns: Mapping[str, str], time_zone: str, prefix: str) -> None:
        self._columns = columns
        self._time_zone = time_zone
        self._prefix = prefix
        self.parameters: dict[str, object] = {}

    def predicate(self, predicate: Predicate) -> str:
        match predicate:
            case Condition():
                changed = positive(predicate)
                return self._condition(changed) if isinstance(changed, Condition) else self.predicate(changed)
            case Not(child):
                return f"(NOT {self.predicate(child)})"
            case AllOf(children):
                return f"({' AND '.join(map(self.predicate, children))})"
            case AnyOf(children):
                return f"({' OR '.join(map(self.predicate, children))})"

    def _bind(self, value: object, kind: str) -> str:
        name = f"{self._prefix}{len(self.parameters)}"
        self.parameters[name] = value
        return f"{{{name}:{kind}}}"

    def _condition(self, condition: Condition) -> str:
        found = field_of(condition.field)
        if found is None:
            raise ValueError(f"no field {condition.field!r}: the predicate was not checked")
        compiled: dict[Kind, Callable[[Field, Condition], str]] = {
            Kind.TEXT: self._text,
            Kind.NAMED: self._named,
            Kind.NUMBER: self._number,
            Kind.BOOLEAN: self._boolean,
            Kind.ADDRESS: self._address,
            Kind.HOUR: self._time,
            Kind.WEEKDAY: self._time,
            Kind.DATE: self._time,
        }
        return compiled[found.kind](found, condition)

    def _text(self, found: Field, condition: Condition) -> str:
        return self._text_test(found, self._columns[found.name], condition)

    def _named(self, found: Field, condition: Condition) -> str:
        names = self._columns["params" if found.is_parameter else "headers"]
        key = self._bind(found.key, "String")
        if condition.operator in ORDERED:
            number = f"toDecimal256OrNull(extract({names}[{key}], {_NUMBER_LITERAL}), {FRACTION_DIGITS})"
            return f"ifNull({self._compared(found, number, condition)}, 0)"
        test = self._text_test(found, f"{names}[{key}]", condition)
        # A key that is not there reads as empty text: ask for it where empty text would do.
        if condition.operator is Operator.MATCHES or "" in condition.values:
            return f"(mapContains({names}, {key}) AND {test})"
        return test

    def _text_test(self, found: Field, column: str, condition: Condition) -> str:
        if condition.operator is Operator.EXISTS:
            return f"({column} != '')"
        if condition.operator is Operator.MATCHES:
            return self._matches(found, column, condition.values)
        values: Sequence[str] = condition.values
        if found.folds_case:
            column, values = f"lower({column})", [_ascii_lower(value) for value in values]
        match condition.operator:
            case Operator.CONTAINS:
                return self._contains(column, values)
            case Operator.STARTS_WITH:
                return self._at_the_end("left", column, values)
            case Operator.ENDS_WITH:
                return self._at_the_end("right", column, values)
            case _:
                return self._one_of(column, values, "String")

    def _one_of(self, expression: str, values: Sequence[object], kind: str) -> str:
        if len(values) == 1:
            return f"({expression} = {self._bind(values[0], kind)})"
        return f"({expression} IN {self._bind(list(values), f'Array({kind})')})"

    def _contains(self, column: str, values: Sequence[str]) -> str:
        if len(values) == 1:
            return f"(position({column}, {self._bind(values[0], 'String')}) > 0)"
        parts = [values[at : at + _MOST_NEEDLES] for at in range(0, len(values), _MOST_NEEDLES)]
        return _any(f"multiSearchAny({column}, {self._bind(part, 'Array(String)')})" for part in map(list, parts))

    def _at_the_end(self, function: str, column: str, values: Sequence[str]) -> str:
        """Compare so many bytes of either end with all values of that length: a look-up for each length."""
        by_size: dict[int, list[str]] = {}
        for value in values:
            by_size.setdefault(len(value.encode()), []).append(value)
        return _any(self._one_of(f"{function}({column}, {size})", same, "String") for size, same in by_size.items())

    def _matches(self, found: Field, column: str, patterns: Sequence[str]) -> str:
        written = [written_for_both(pattern, folds_case=found.folds_case) for pattern in patterns]
        return _any(f"match({column}, {self._bind(pattern, 'String')})" for pattern in written)

    def _number(self, found: Field, condition: Condition) -> str:
        column = self._columns[found.name]
        if condition.operator is Operator.EXISTS:
            return f"isNotNull({column})" if found.absent_is_missing else f"({column} != 0)"
        test = self._compared(found, f"toDecimal256({column}, {FRACTION_DIGITS})", condition)
        if found.absent_is_missing:
            return f"ifNull({test}, 0)"
        return f"({column} != 0 AND {test})" if found.zero_is_missing else test

    def _compared(self, found: Field, expression: str, condition: Condition) -> str:
        """Compare a number, hour, weekday or date."""
        kind = _DECIMAL if found.kind in {Kind.NUMBER, Kind.NAMED} else "UInt32"
        wanted = [NUMERIC[found.kind](value) for value in condition.values]
        if condition.operator is Operator.BETWEEN:
            low, high = (self._bind(_plain(bound), kind) for bound in wanted)
            return f"({expression} BETWEEN {low} AND {high})"
        if condition.operator in _SIGNS:
            return f"({expression} {_SIGNS[condition.operator]} {self._bind(_plain(wanted[0]), kind)})"
        return self._one_of(expression, wanted, kind)

    def _boolean(self, found: Field, condition: Condition) -> str:
        column = self._columns[found.name]
        if condition.operator is Operator.EXISTS:
            return f"if(isNull({column}), NULL, 1)"
        return _any(f"({column} {'!=' if boolean_from(value) else '='} 0)" for value in condition.values)

    def _address(self, found: Field, condition: Condition) -> str:
        column = self._columns[found.name]
        if condition.operator is Operator.EXISTS:
            return f"({column} != '')"
        text = f"ifNull({column}, '')"
        is_address = f"isNotNull(toIPv6OrNull({text})) AND NOT match({text}, {_OCTAL_LITERAL})"
        within = self._within(f"toIPv6OrDefault({text})", condition)
        return f"if(isNull({column}), NULL, {is_address} AND {within})"

    def _within(self, address: str, condition: Condition) -> str:
        if condition.operator is Operator.CIDR:
            grouped = networks_by_prefix(condition.values)
        else:
            grouped = {ADDRESS_BITS: frozenset(map(address_from, condition.values))}
        return _any(
            self._one_of(
                f"tupleElement(IPv6CIDRToRange({address}, {bits}), 1)",
                [str(IPv6Address(first)) for first in sorted(firsts)],
                "IPv6",
            )
            for bits, firsts in grouped.items()
        )

    def _time(self, found: Field, condition: Condition) -> str:
        time, zone = self._columns["event_time"], self._bind(self._time_zone, "String")
        part = {
            Kind.HOUR: f"toHour({time}, {zone})",
            Kind.WEEKDAY: f"toDayOfWeek({time}, 0, {zone})",
            Kind.DATE: f"toYYYYMMDD({time}, {zone})",
        }[found.kind]
        return self._compared(found, part, condition)


def _any(tests: Iterable[str]) -> str:
    return f"({' OR '.join(tests)})"


def _ascii_lower(value: str) -> str:
    return value.encode().lower().decode()


def _plain(number: int | Decimal) -> object:
    """Write a decimal out: a driver could write it with an exponent."""
    return format(number, "f") if isinstance(number, Decimal) else number
