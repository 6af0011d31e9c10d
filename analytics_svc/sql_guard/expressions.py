"""Expressions, written anew: operators, calls, names, values. The half of ``render`` that reads no table."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

from sqlglot import exp

from analytics_svc.sql_guard.functions import canonical, is_aggregate, reads_by_name
from analytics_svc.sql_guard.parameters import Binding
from analytics_svc.sql_guard.refusal import refuse, shown
from analytics_svc.sql_guard.schema import RESERVED
from analytics_svc.sql_guard.types import type_text

CALLS = (
    exp.Anonymous,
    exp.AnonymousAggFunc,
    exp.CombinedAggFunc,
    exp.ParameterizedAgg,
    exp.CombinedParameterizedAgg,
)
UNITS = frozenset(
    ("NANOSECOND", "MICROSECOND", "MILLISECOND", "SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR")
)
LONGEST_NAME = 128

_BINARY: dict[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NEQ: "!=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.Add: "+",
    exp.Sub: "-",
    exp.Mul: "*",
    exp.Div: "/",
    exp.Mod: "%",
    exp.IntDiv: "DIV",
    exp.DPipe: "||",
    exp.RegexpLike: "REGEXP",
}
_NUMBER = re.compile(r"(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_FRAME_SIDES = frozenset({"PRECEDING", "FOLLOWING", ""})


class Expressions(ABC):
    """Writes expressions; how a query within one is written, the subclass knows."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding

    @abstractmethod
    def _query(self, node: exp.Expr) -> str:
        """Return the text of a query, without brackets."""

    def _ordered(self, node: exp.Expr) -> str:
        if not isinstance(node, exp.Ordered):
            return self._expression(node)
        direction = " DESC" if node.args.get("desc") else ""
        return f"{self._expression(node.this)}{direction}{' NULLS FIRST' if node.args.get('nulls_first') else ''}"

    def _count(self, node: exp.Expr) -> int:
        value: object = node.name if isinstance(node, exp.Literal) and not node.is_string else None
        if isinstance(node, exp.Placeholder):
            value = self._binding.value(node)
        if isinstance(value, bool) or not re.fullmatch(r"\d{1,18}", str(value)):
            raise refuse(node, "LIMIT and OFFSET take a whole number")
        return int(str(value))

    def _list(self, nodes: Iterable[Any], write: Callable[[Any], str] | None = None) -> str:
        return ", ".join(map(write or self._expression, nodes))

    def _item(self, node: exp.Expr) -> str:
        if isinstance(node, exp.Alias):
            return f"{self._expression(node.this)} AS {self._name(node.args['alias'])}"
        return self._expression(node)

    def _operand(self, node: exp.Expr) -> str:
        node = node.unnest()
        text = self._expression(node)
        return text if isinstance(node, _ATOMS) else f"({text})"

    def _expression(self, node: exp.Expr) -> str:
        if isinstance(node, CALLS):
            return self._call(node)
        if type(node) in _BINARY:
            return f"{self._operand(node.this)} {_BINARY[type(node)]} {self._operand(node.expression)}"
        write = _WRITERS.get(type(node))
        if write is None:
            raise refuse(node, f"{shown(node.key.upper())} cannot be used here")
        return write(self, node)

    def _call(self, node: exp.Expr) -> str:
        name = node.this
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) or reads_by_name(name):
            raise refuse(node, f"the function {shown(str(name))} cannot be called")
        name = canonical(name) or name
        arguments = node.expressions
        if node.args.get("params"):
            if not is_aggregate(name):
                raise refuse(node, f"{name} takes no second list of arguments")
            return f"{name}({self._list(arguments)})({self._list(node.args['params'])})"
        if name in ("lag", "lead") and 1 <= len(arguments) <= 2:
            # NULL where there is no such row, as SQL has it. ClickHouse gives the type's default, here 1970.
            first, *rest = arguments
            return f"{name}(toNullable({self._expression(first)}){''.join(f', {self._expression(r)}' for r in rest)})"
        return f"{name}({self._list(arguments, self._argument)})"

    def _argument(self, node: exp.Expr) -> str:
        if isinstance(node, exp.Distinct):
            return f"DISTINCT {self._list(node.expressions)}"
        return self._expression(node)

    def _connected(self, node: exp.Expr) -> str:
        word = "AND" if isinstance(node, exp.And) else "OR"
        return f" {word} ".join(self._operand(term) for term in node.flatten())

    def _in(self, node: exp.Expr) -> str:
        left = self._operand(node.this)
        if query := node.args.get("query"):
            return f"{left} IN ({self._query(query.this if isinstance(query, exp.Subquery) else query)})"
        if isinstance(field := node.args.get("field"), exp.Placeholder):
            return f"{left} IN {self._placeholder(field)}"
        items = node.expressions
        # A name to the right of IN is a table to ClickHouse, in brackets too.
        if not items or any(item.find(exp.Column, exp.Identifier, exp.Star) for item in items):
            raise refuse(node, "IN takes a list of values or a SELECT", "write has(array, value) to look into an array")
        return f"{left} IN ({self._list(items)})"

    def _column(self, node: exp.Expr) -> str:
        if node.args.get("db") or node.args.get("catalog"):
            raise refuse(node, "a column has at most one name before it")
        table = node.args.get("table")
        before = f"{self._name(table)}." if table else ""
        if isinstance(node.this, exp.Star):
            return f"{before}*"
        if isinstance(node.this, exp.Literal) and table:
            return f"{before}{self._index(node.this)}"
        return f"{before}{self._name(node.this)}"

    def _index(self, node: exp.Expr) -> str:
        if not re.fullmatch(r"\d{1,3}", node.name) or node.is_string:
            raise refuse(node, "an element of a tuple is a small number here", "tupleElement(tuple, 'name')")
        return str(node.name)

    def _dot(self, node: exp.Expr) -> str:
        return f"({self._expression(node.this)}).{self._index(node.expression)}"

    def _plain_name(self, node: exp.Expr) -> str:
        name = node.name
        is_fit = isinstance(node, exp.Identifier) and 0 < len(name) <= LONGEST_NAME and name.isprintable()
        if not is_fit or any(char in name for char in "`\"'\\") or name.lower().startswith(RESERVED):
            raise refuse(node, f"{shown(name)} is no name here", "letters, digits, blanks and signs but quotes and \\")
        return str(name)

    def _name(self, node: exp.Expr) -> str:
        return f"`{self._plain_name(node)}`"

    def _name_of_using(self, node: exp.Expr) -> str:
        return self._name(node.this if isinstance(node, exp.Column) else node)

    def _literal(self, node: exp.Expr) -> str:
        if node.is_string:
            return string_text(node.name)
        text = node.name.replace("_", "")
        if not _NUMBER.fullmatch(text):
            raise refuse(node, f"{shown(node.name)} is no number")
        return str(text)

    def _placeholder(self, node: exp.Placeholder) -> str:
        return self._binding.bind(node)

    def _interval(self, node: exp.Expr) -> str:
        amount = node.this
        if isinstance(amount, exp.Literal) and re.fullmatch(r"\d{1,9}", amount.name):
            return f"INTERVAL {amount.name} {self._unit(node.args.get('unit'), node)}"
        return f"INTERVAL {self._operand(amount)} {self._unit(node.args.get('unit'), node)}"

    def _unit(self, node: exp.Expr | None, near: exp.Expr) -> str:
        unit = (node.name if isinstance(node, exp.Var) else "").upper().removesuffix("S")
        if unit not in UNITS:
            raise refuse(near, "this is no unit of time", ", ".join(sorted(UNITS)))
        return unit

    def _case(self, node: exp.Expr) -> str:
        text = "CASE" + (f" {self._operand(node.this)}" if node.this else "")
        for branch in node.args["ifs"]:
            text += f" WHEN {self._expression(branch.this)} THEN {self._expression(branch.args['true'])}"
        default = node.args.get("default")
        return f"{text}{f' ELSE {self._expression(default)}' if default else ''} END"

    def _window(self, node: exp.Expr) -> str:
        function = self._expression(node.this)
        if named := node.args.get("alias"):
            return f"{function} OVER {self._name(named)}"
        return f"{function} OVER ({self._frame(node)})"

    def _frame(self, node: exp.Expr) -> str:
        parts = []
        if partition := node.args.get("partition_by"):
            parts.append(f"PARTITION BY {self._list(partition)}")
        if order := node.args.get("order"):
            parts.append(f"ORDER BY {self._list(order.expressions, self._ordered)}")
        if spec := node.args.get("spec"):
            kind = str(spec.args.get("kind") or "").upper()
            if kind not in ("ROWS", "RANGE"):
                raise refuse(node, "a frame has ROWS or RANGE")
            start = self._bound(spec, "start")
            end = self._bound(spec, "end") if spec.args.get("end") else "CURRENT ROW"
            parts.append(f"{kind} BETWEEN {start} AND {end}")
        return " ".join(parts)

    def _bound(self, spec: exp.Expr, key: str) -> str:
        value, side = spec.args.get(key), str(spec.args.get(f"{key}_side") or "").upper()
        if side not in _FRAME_SIDES:
            raise refuse(spec, "a frame ends PRECEDING, FOLLOWING or at the CURRENT ROW")
        if isinstance(value, exp.Expr):
            return f"{self._count(value)} {side}"
        if str(value).upper() == "CURRENT ROW":
            return "CURRENT ROW"
        if str(value).upper() == "UNBOUNDED" and side:
            return f"UNBOUNDED {side}"
        raise refuse(spec, "this is no frame of a window")

    def _lambda(self, node: exp.Expr) -> str:
        return f"({self._list(node.expressions, self._name)}) -> {self._operand(node.this)}"

    def _star(self, node: exp.Expr) -> str:
        if any(node.args.values()):
            raise refuse(node, "after * there is no EXCEPT, REPLACE or APPLY here", "name the columns")
        return "*"

    def _not(self, node: exp.Expr) -> str:
        inner = node.this.unnest()
        if isinstance(inner, exp.Is) and isinstance(inner.expression, exp.Null):
            return f"{self._operand(inner.this)} IS NOT NULL"
        return f"NOT {self._operand(inner)}"

    def _is(self, node: exp.Expr) -> str:
        if not isinstance(node.expression, exp.Null):
            raise refuse(node, "IS takes NULL or NOT NULL here")
        return f"{self._operand(node.this)} IS NULL"

    def _like(self, node: exp.Expr) -> str:
        word = f"{'NOT ' if node.args.get('negate') else ''}{'ILIKE' if isinstance(node, exp.ILike) else 'LIKE'}"
        return f"{self._operand(node.this)} {word} {self._operand(node.expression)}"

    def _between(self, node: exp.Expr) -> str:
        low, high = self._operand(node.args["low"]), self._operand(node.args["high"])
        return f"{self._operand(node.this)} BETWEEN {low} AND {high}"

    def _ternary(self, node: exp.Expr) -> str:
        return f"if({self._list((node.this, node.args['true'], node.args['false']))})"

    def _tuple(self, node: exp.Expr) -> str:
        return f"{'tuple' if len(node.expressions) < 2 else ''}({self._list(node.expressions)})"

    def _extract(self, node: exp.Expr) -> str:
        return f"EXTRACT({self._unit(node.this, node)} FROM {self._operand(node.expression)})"


def string_text(value: str) -> str:
    r"""Return a string literal: `'` and `\` escaped, and every control character as ``\xNN``."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return "'" + "".join(char if char >= " " and char != "\x7f" else f"\\x{ord(char):02X}" for char in escaped) + "'"


_ATOMS = (
    *CALLS,
    exp.Array,
    exp.Boolean,
    exp.Bracket,
    exp.Cast,
    exp.Column,
    exp.Dot,
    exp.Exists,
    exp.Extract,
    exp.Identifier,
    exp.If,
    exp.Interval,
    exp.Literal,
    exp.Null,
    exp.Placeholder,
    exp.Select,
    exp.Star,
    exp.Subquery,
    exp.Tuple,
    exp.Union,
    exp.Window,
)

_WRITERS: dict[type[exp.Expr], Callable[[Expressions, Any], str]] = {
    exp.And: Expressions._connected,
    exp.Array: lambda r, n: f"[{r._list(n.expressions)}]",
    exp.Between: Expressions._between,
    exp.Boolean: lambda _r, n: "true" if n.this else "false",
    exp.Bracket: lambda r, n: f"{r._operand(n.this)}[{r._list(n.expressions)}]",
    exp.Case: Expressions._case,
    exp.Cast: lambda r, n: f"CAST({r._expression(n.this)} AS {type_text(n.args['to'])})",
    exp.Column: Expressions._column,
    exp.Dot: Expressions._dot,
    exp.Exists: lambda r, n: f"exists({r._query(n.this)})",
    exp.Extract: Expressions._extract,
    exp.ILike: Expressions._like,
    exp.Identifier: Expressions._name,
    exp.If: Expressions._ternary,
    exp.In: Expressions._in,
    exp.Interval: Expressions._interval,
    exp.Is: Expressions._is,
    exp.Lambda: Expressions._lambda,
    exp.Like: Expressions._like,
    exp.Literal: Expressions._literal,
    exp.Neg: lambda r, n: f"-{r._operand(n.this)}",
    exp.Not: Expressions._not,
    exp.Null: lambda _r, _n: "NULL",
    exp.Or: Expressions._connected,
    exp.Paren: lambda r, n: r._expression(n.this),
    exp.Placeholder: Expressions._placeholder,
    exp.Star: Expressions._star,
    # sqlglot takes the brackets off a query that is an argument.
    exp.Select: lambda r, n: f"({r._query(n)})",
    exp.Subquery: lambda r, n: f"({r._query(n)})",
    exp.Tuple: Expressions._tuple,
    exp.Union: lambda r, n: f"({r._query(n)})",
    exp.Window: Expressions._window,
}
