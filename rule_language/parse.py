"""The two written forms of a predicate: the contract's message and JSON. Reading checks everything, at once.

JSON: ``{"field": "referer", "operator": "contains", "value": "tiktok.com"}`` (or ``"values": […]``; a number or a truth
value may stand for its text), ``{"all": […]}``, ``{"any": […]}``, ``{"not": {…}}``; a bare list is an ``all``.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, TypeAlias

from rule_language.check import Check
from rule_language.predicate import AllOf, AnyOf, Condition, Not, Operator, Predicate
from svc_runtime.errors import Violation
from trellis.type.v1 import predicate_pb2 as pb

Json: TypeAlias = Any  # what a JSON parser returns: anything

_TO_PB = {operator: pb.Operator.Value(f"OPERATOR_{operator.name}") for operator in Operator}
_FROM_PB = {number: operator for operator, number in _TO_PB.items()}
_LISTS: dict[str, type[AllOf] | type[AnyOf]] = {"all": AllOf, "any": AnyOf}
_NOTHING = AllOf(())
"""Stands for what could not be read; whoever gets a violation gets no predicate."""
_FORMS = "a condition is an object with field, operator and value (or values); or one of all, any, not"


def predicate_from_pb(message: pb.Predicate, *, path: str, violations: list[Violation]) -> Predicate | None:
    """Read a message; add what is wrong with it to ``violations`` and return None then."""
    before = len(violations)
    predicate = _from_pb(message, path, 1, Check(violations))
    return predicate if len(violations) == before else None


def predicate_to_pb(predicate: Predicate) -> pb.Predicate:
    """Write a message."""
    match predicate:
        case Condition(field, operator, values):
            return pb.Predicate(condition=pb.Condition(field=field, operator=_TO_PB[operator], values=values))
        case Not(child):
            message = pb.Predicate()
            getattr(message, "not").CopyFrom(predicate_to_pb(child))
            return message
        case AllOf(children):
            return pb.Predicate(all_of=pb.PredicateList(predicates=map(predicate_to_pb, children)))
        case AnyOf(children):
            return pb.Predicate(any_of=pb.PredicateList(predicates=map(predicate_to_pb, children)))


def predicate_from_json(value: Json, *, path: str, violations: list[Violation]) -> Predicate | None:
    """Read what a JSON parser returned; add what is wrong with it to ``violations`` and return None then."""
    before = len(violations)
    predicate = _from_json(value, path, 1, Check(violations))
    return predicate if len(violations) == before else None


def predicate_to_json(predicate: Predicate) -> dict[str, Json]:
    """Write what a JSON writer takes."""
    match predicate:
        case Condition(field, operator, values):
            rest = {"value": values[0]} if len(values) == 1 else {"values": list(values)} if values else {}
            return {"field": field, "operator": operator.value, **rest}
        case Not(child):
            return {"not": predicate_to_json(child)}
        case AllOf(children):
            return {"all": [predicate_to_json(child) for child in children]}
        case AnyOf(children):
            return {"any": [predicate_to_json(child) for child in children]}


def _from_pb(message: pb.Predicate, path: str, depth: int, check: Check) -> Predicate:
    if not check.may_go_on(path, depth):
        return _NOTHING
    match message.WhichOneof("kind"):
        case "condition":
            return _condition_from_pb(message.condition, f"{path}.condition", check)
        case "all_of":
            return AllOf(_list_from_pb(message.all_of.predicates, f"{path}.all_of.predicates", depth, check))
        case "any_of":
            return AnyOf(_list_from_pb(message.any_of.predicates, f"{path}.any_of.predicates", depth, check))
        case "not":
            return Not(_from_pb(getattr(message, "not"), f"{path}.not", depth + 1, check))
        case _:
            check.refuse(path, "is empty: set condition, all_of, any_of or not")
            return _NOTHING


def _list_from_pb(messages: Sequence[pb.Predicate], path: str, depth: int, check: Check) -> tuple[Predicate, ...]:
    if not check.children(path, len(messages)):
        return ()
    return tuple(_from_pb(child, f"{path}[{at}]", depth + 1, check) for at, child in enumerate(messages))


def _condition_from_pb(message: pb.Condition, path: str, check: Check) -> Predicate:
    operator = _FROM_PB.get(message.operator)
    if operator is None:
        names = ", ".join(f"OPERATOR_{known.name}" for known in Operator)
        check.refuse(f"{path}.operator", f"there is no operator {int(message.operator)}; there are {names}")
    return check.condition(path, message.field, operator, message.values)


def _from_json(value: Json, path: str, depth: int, check: Check) -> Predicate:
    if not check.may_go_on(path, depth):
        return _NOTHING
    if isinstance(value, list):
        return AllOf(_list_from_json(value, path, depth, check))
    if not isinstance(value, dict):
        check.refuse(path, f"is {_kind(value)}; {_FORMS}")
        return _NOTHING
    for name, kind in _LISTS.items():
        if set(value) == {name}:
            return kind(_list_from_json(value[name], f"{path}.{name}", depth, check))
    if set(value) == {"not"}:
        return Not(_from_json(value["not"], f"{path}.not", depth + 1, check))
    return _condition_from_json(value, path, check)


def _list_from_json(value: Json, path: str, depth: int, check: Check) -> tuple[Predicate, ...]:
    if not isinstance(value, list):
        check.refuse(path, f"is {_kind(value)}, must be a list of conditions")
        return ()
    if not check.children(path, len(value)):
        return ()
    return tuple(_from_json(child, f"{path}[{at}]", depth + 1, check) for at, child in enumerate(value))


def _condition_from_json(value: dict[str, Json], path: str, check: Check) -> Predicate:
    field, name = value.get("field"), value.get("operator")
    strange = sorted(set(value) - {"field", "operator", "value", "values"})
    if strange or not isinstance(field, str) or not isinstance(name, str) or {"value", "values"} <= set(value):
        found = ", ".join(str(key)[:64] for key in list(value)[:10]) or "nothing"
        check.refuse(path, f"has {found}; {_FORMS}")
        return _NOTHING
    operator = Operator(name) if name in Operator.__members__.values() else None
    if operator is None:
        check.refuse(f"{path}.operator", f"there is no operator `{name[:64]}`; there are {', '.join(Operator)}")
    return check.condition(path, field, operator, _values_from_json(value, path, check))


def _values_from_json(value: dict[str, Json], path: str, check: Check) -> list[str]:
    given = value.get("values", value.get("value", []))
    texts = []
    for at, item in enumerate(given if isinstance(given, list) else [given]):
        text = _text_from_json(item)
        if text is None:
            check.refuse(f"{path}.values[{at}]", f"is {_kind(item)}, must be a text, a number, true or false")
        texts.append(text or "")
    return texts


def _text_from_json(item: Json) -> str | None:
    match item:
        case str():
            return item
        case bool():
            return "true" if item else "false"
        case int():
            return format(Decimal(item), "f")  # str() refuses very large ones
        case float() | Decimal():
            return format(Decimal(str(item)), "f")
        case _:
            return None


def _kind(value: Json) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")
