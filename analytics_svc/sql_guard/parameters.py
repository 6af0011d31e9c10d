"""The values of a statement's placeholders: bound by the server, never part of the text."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from sqlglot import exp

from analytics_svc.sql_guard.limits import StatementLimits
from analytics_svc.sql_guard.reader import ORDER
from analytics_svc.sql_guard.refusal import SqlRefusedError, refuse, shown
from analytics_svc.sql_guard.types import type_text

Parameters = Sequence[object] | Mapping[str, object]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_TAKES = "a value is a string, a number, true, false, null, a time, a date, or a list of one kind of these"


@dataclass(slots=True)
class Binding:
    """The values that came with a statement, and what became of them."""

    given: Parameters
    bound: dict[str, object] = field(default_factory=dict)
    """Name in the regenerated statement → value."""

    def check(self, tree: exp.Query, limits: StatementLimits) -> None:
        """Raise SqlRefusedError unless each placeholder has its value and each value its placeholder."""
        if isinstance(self.given, str | bytes):
            raise SqlRefusedError("parameters are a list or an object")
        found = list(tree.find_all(exp.Placeholder))
        positional = [node for node in found if ORDER in node.meta]
        named = {_name(node) for node in found if ORDER not in node.meta}
        values = list(self.given.values()) if isinstance(self.given, Mapping) else list(self.given)
        count = sum(len(value) if isinstance(value, list | tuple) else 1 for value in values)
        if count > limits.parameters:
            raise SqlRefusedError(f"there are {count} values in parameters, at most {limits.parameters} are taken")
        if isinstance(self.given, Mapping):
            self._check_named(positional, named)
        elif named:
            raise SqlRefusedError("the statement has named placeholders, and parameters is a list: send an object")
        elif len(positional) != len(values):
            raise SqlRefusedError(f"the statement has {len(positional)} `?`, and parameters has {len(values)} values")

    def _check_named(self, positional: Sequence[exp.Placeholder], named: set[str]) -> None:
        names = set(self.given) if isinstance(self.given, Mapping) else set()
        if positional and names:
            raise refuse(positional[0], "the statement has `?`, and parameters is an object: send a list")
        if positional:
            raise refuse(positional[0], "there is a `?` without a value")
        if named - names:
            raise SqlRefusedError(f"no parameter has the name {', '.join(map(shown, sorted(named - names)))}")
        if names - named:
            raise SqlRefusedError(f"no placeholder has the name {', '.join(map(shown, sorted(names - named)))}")

    def value(self, node: exp.Placeholder) -> object:
        """Return what ``node`` stands for."""
        if isinstance(self.given, Mapping):
            return self.given[_name(node)]
        return self.given[node.meta[ORDER]]

    def bind(self, node: exp.Placeholder) -> str:
        """Bind the value of ``node``; return the text that stands for it."""
        value = self.value(node)
        natural = type_of(value, node)
        kind = type_text(node.args["kind"]) if node.args.get("kind") else natural
        if value is None and not kind.startswith("Nullable"):
            return "NULL"
        name = f"p{len(self.bound)}"
        self.bound[name] = _ready(value)
        return f"{{{name}:{kind}}}"


def type_of(value: object, node: exp.Expr) -> str:
    """Return the ClickHouse type of a value that has none written."""
    match value:
        case None:
            return "Nullable(Nothing)"
        case bool():
            return "Bool"
        case int():
            return _integer(value, node)
        case float() if math.isfinite(value):
            return "Float64"
        case str() if _is_text(value):
            return "String"
        case datetime():
            return "DateTime64(6, 'UTC')"
        case date():
            return "Date32"
        case []:
            return "Array(Nothing)"
        case [first, *_]:
            kinds = {type_of(item, node) for item in value}
            if kinds <= {"Int64", "Float64"}:
                return "Array(Float64)" if "Float64" in kinds else "Array(Int64)"
            if len(kinds) == 1 and first is not None and not isinstance(first, list | tuple):
                return f"Array({kinds.pop()})"
    raise refuse(node, f"this value cannot be bound ({type(value).__name__})", _TAKES)


def _integer(value: int, node: exp.Expr) -> str:
    if -(2**63) <= value < 2**63:
        return "Int64"
    if value < 2**64:
        return "UInt64"
    raise refuse(node, "this number has more than 64 bits")


def _is_text(value: str) -> bool:
    return value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value)


def _ready(value: object) -> object:
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return list(value) if isinstance(value, tuple) else value


def _name(node: exp.Placeholder) -> str:
    name = node.name
    if not _NAME.fullmatch(name) or name.lower().startswith("trellis"):
        raise refuse(node, f"{shown(name)} is no name for a parameter", "letters, digits and _, not trellis…")
    if not isinstance(node.args.get("kind"), exp.DataType):
        raise refuse(node, f"{{{shown(name)}}} needs a type", "write `?` or {name:Type}")
    return name
