"""The first of many predicates that holds, found without asking each: what a campaign's rules are to a click.

A predicate that holds only for one of a few values of a field (`source` equals …, `param.zone` in …, and anything else)
need not be asked of any other value: one look-up for the field says it of all predicates that have one. The children of
`all` and `any` are asked the cheapest first; the outcome is the same in any order.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Generic, TypeVar

from rule_language.evaluate import Fact, Facts, Test, compile_test
from rule_language.field import TIME_KINDS, Kind, field_of
from rule_language.predicate import AllOf, AnyOf, Condition, Not, Operator, Predicate

T = TypeVar("T")
_EQUAL = frozenset({Operator.EQUALS, Operator.IN})
_READ = Callable[[Facts], Fact]
# What has to be read for it, roughly in microseconds; fields that are not here cost one.
_COST = {
    **dict.fromkeys(("device_type", "os", "browser", "is_bot"), 4),
    **dict.fromkeys(("country", "region", "city", "asn"), 6),
    **dict.fromkeys(("source", "medium", "campaign"), 8),
}
_EXTRA_COST = {Operator.MATCHES: 3, Operator.NOT_CONTAINS: 1, Operator.CIDR: 2}


class FirstMatch(Generic[T]):
    """Predicates in the order in which they decide, each with what it stands for; None matches everything."""

    __slots__ = ("_readers", "_runs", "_size", "_tables")

    def __init__(self, ranked: Iterable[tuple[Predicate | None, T]], *, time_zone: str = "UTC") -> None:
        """Compile; raise ValueError when a predicate was not checked, or the time zone does not exist."""
        predicates = list(ranked)
        keys = [_keys(predicate) for predicate, _ in predicates]
        popularity = Counter(field for found in keys for field in found)
        fields: list[str] = []
        self._tables: list[dict[bytes, int]] = []
        entries: list[tuple[int, int, Test | None, T]] = []
        for index, (predicate, thing) in enumerate(predicates):
            place = -1
            if keys[index]:
                # The field that most of them have: the fewer look-ups.
                field = max(keys[index], key=lambda name: (popularity[name], -_COST.get(name, 1)))
                if field not in fields:
                    fields.append(field)
                    self._tables.append({})
                place = fields.index(field)
                for value in keys[index][field]:
                    self._tables[place][value] = self._tables[place].get(value, 0) | 1 << index
            test = None if predicate is None else compile_test(_cheapest_first(predicate), time_zone=time_zone)
            entries.append((place, 1 << index, test, thing))
        self._readers = [_reader(field) for field in fields]
        self._size = len(entries)
        self._runs: list[tuple[int, int, list[tuple[int, Test | None, T]]]] = []
        """Neighbours that are found by the same field: which, all their bits, and each."""
        for place, run in groupby(entries, key=itemgetter(0)):
            members = [(bit, test, thing) for _, bit, test, thing in run]
            self._runs.append((place, sum(bit for bit, _, _ in members), members))

    def __len__(self) -> int:
        return self._size

    def find(self, facts: Facts) -> T | None:
        """Return what the first predicate stands for that is true; None when none is."""
        known: list[int | None] = [None] * len(self._readers)
        for place, bits, members in self._runs:
            possible = -1
            if place >= 0:
                held = known[place]
                if held is None:
                    value = self._readers[place](facts)
                    held = self._tables[place].get(value, 0) if isinstance(value, bytes) else 0
                    known[place] = held
                possible = held
                if not possible & bits:
                    continue
            for bit, test, thing in members:
                if possible & bit and (test is None or test(facts)):
                    return thing
        return None


def _keys(predicate: Predicate | None) -> dict[str, frozenset[bytes]]:
    """Return the fields, with their values, without one of which a predicate cannot be true."""
    match predicate:
        case Condition(name, operator, values) if operator in _EQUAL:
            field = field_of(name)
            if field is None or field.kind not in (Kind.TEXT, Kind.NAMED):
                return {}
            encoded = (value.encode() for value in values)
            return {field.name: frozenset(value.lower() if field.folds_case else value for value in encoded)}
        case AllOf(children):
            found: dict[str, frozenset[bytes]] = {}
            for child in children:
                found = {**_keys(child), **found}
            return found
        case _:
            return {}


def _reader(name: str) -> _READ:
    """Return what reads the text of a field as it is compared."""
    field = field_of(name)
    if field is None:
        raise ValueError(f"no field {name!r}: the predicate was not checked")
    if field.kind is Kind.NAMED:
        key = field.key.encode()
        return (lambda facts: facts.params.get(key)) if field.is_parameter else (lambda facts: facts.headers.get(key))

    def read(facts: Facts) -> Fact:
        try:
            text = facts.fields[name]
        except KeyError:
            return None
        return text.lower() if field.folds_case and isinstance(text, bytes) else text

    return read


def _cheapest_first(predicate: Predicate) -> Predicate:
    match predicate:
        case AllOf(children):
            return AllOf(_sorted(children))
        case AnyOf(children):
            return AnyOf(_sorted(children))
        case Not(child):
            return Not(_cheapest_first(child))
        case _:
            return predicate


def _sorted(children: Sequence[Predicate]) -> tuple[Predicate, ...]:
    return tuple(sorted(map(_cheapest_first, children), key=_cost))


def _cost(predicate: Predicate) -> int:
    match predicate:
        case Condition(name, operator, _):
            field = field_of(name)
            extra = 1 if field is not None and field.kind in TIME_KINDS else 0
            return _COST.get(name, 1) + _EXTRA_COST.get(operator, 0) + extra
        case Not(child):
            return _cost(child)
        case AllOf(children) | AnyOf(children):
            return sum(map(_cost, children))
