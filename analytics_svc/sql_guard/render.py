"""From the syntax tree to the text that runs, with every table replaced by the caller's own rows.

Nothing of the tenant's text is copied but names, strings and numbers, each quoted or checked here. What has no words in
this module and in ``expressions`` cannot be said: SETTINGS, FORMAT, FINAL, a table function, or the name of a table. A
name in FROM becomes the view of a tenant's table, or a CTE under a name that is ours. So it holds without ``check``,
and the other way round.
"""

from sqlglot import exp

from analytics_svc.sql_guard.expressions import Expressions
from analytics_svc.sql_guard.parameters import Binding
from analytics_svc.sql_guard.refusal import refuse, shown
from analytics_svc.sql_guard.schema import RESERVED, TenantSchema

_ALL = "SELECT * FROM"
_SET_OPERATIONS: dict[type[exp.Expr], str] = {
    exp.Union: "UNION",
    exp.Except: "EXCEPT",
    exp.Intersect: "INTERSECT",
}
_JOIN_WORDS = frozenset({"", "INNER", "OUTER", "CROSS", "LEFT", "RIGHT", "FULL", "ANY", "ALL", "SEMI", "ANTI", "ASOF"})


class Renderer(Expressions):
    """Writes one statement; ``tables`` is what it read of the schema."""

    def __init__(self, schema: TenantSchema, binding: Binding, *, rows: int) -> None:
        super().__init__(binding)
        self._schema = schema
        self._rows = rows
        self.tables: set[str] = set()
        self._ctes: set[str] = set()

    def statement(self, tree: exp.Query) -> str:
        """Return the text of the whole statement, which gives out at most one row more than is allowed.

        The one row more makes the engine's own limit speak up: an answer is whole, or an error.
        """
        self._ctes = {cte.alias for cte in tree.find_all(exp.CTE) if not cte.args.get("scalar")}
        while isinstance(tree, exp.Subquery) and not tree.alias and not _has_modifiers(tree):
            tree = tree.this
        if isinstance(tree, exp.Select) and self._row_limit(tree) is not None:
            return self._query(tree)
        if isinstance(tree, exp.Select) and not tree.args.get("offset"):
            return f"{self._query(tree)} LIMIT {self._rows + 1}"
        return f"{_ALL} ({self._query(tree)}) LIMIT {self._rows + 1}"

    # Queries

    def _query(self, node: exp.Expr) -> str:
        if isinstance(node, exp.Select):
            return self._select(node)
        if type(node) in _SET_OPERATIONS:
            return self._set_operation(node)
        if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Query):
            inner = self._query(node.this)
            tail = self._tail(node)
            return f"{self._with(node)}{_ALL} ({inner}){tail}" if tail or node.args.get("with_") else inner
        raise refuse(node, "a query is expected here")

    def _select(self, node: exp.Select) -> str:
        distinct = "DISTINCT " if node.args.get("distinct") else ""
        text = f"{self._with(node)}SELECT {distinct}{self._list(node.expressions, self._item)}"
        if source := node.args.get("from_"):
            text += f" FROM {self._source(source.this)}"
        text += "".join(self._join(join) for join in node.args.get("joins") or ())
        conditions = [node.args[key].this for key in ("prewhere", "where") if node.args.get(key)]
        if len(conditions) == 1:
            text += f" WHERE {self._expression(conditions[0])}"
        elif conditions:
            text += f" WHERE {' AND '.join(map(self._operand, conditions))}"
        if group := node.args.get("group"):
            text += " GROUP BY ALL" if group.args.get("all") else f" GROUP BY {self._list(group.expressions)}"
        for key, word in (("having", "HAVING"), ("qualify", "QUALIFY")):
            if part := node.args.get(key):
                text += f" {word} {self._expression(part.this)}"
        if windows := node.args.get("windows"):
            text += f" WINDOW {', '.join(f'{self._name(w.this)} AS ({self._frame(w)})' for w in windows)}"
        return text + self._tail(node)

    def _set_operation(self, node: exp.Expr) -> str:
        operands: list[exp.Expr] = [node.expression]
        first = node.this
        while type(first) is type(node) and _distinct(first) == _distinct(node) and not _has_modifiers(first):
            operands.append(first.expression)
            first = first.this
        operands.append(first)
        word = _SET_OPERATIONS[type(node)]
        if isinstance(node, exp.Union):
            word += " DISTINCT" if _distinct(node) else " ALL"
        elif _distinct(node):
            word += " DISTINCT"
        text = f" {word} ".join(f"({self._query(operand)})" for operand in reversed(operands))
        tail, head = self._tail(node), self._with(node)
        return f"{head}{_ALL} ({text}){tail}" if tail or head else text

    def _with(self, node: exp.Expr) -> str:
        clause = node.args.get("with_")
        if not clause:
            return ""
        return f"WITH {', '.join(map(self._cte, clause.expressions))} "

    def _cte(self, node: exp.Expr) -> str:
        name = node.args["alias"].this if isinstance(node, exp.CTE) else node
        if not isinstance(node, exp.CTE):
            raise refuse(node, "this cannot be in WITH")
        if node.args.get("scalar"):
            return f"{self._expression(node.this)} AS {self._name(name)}"
        return f"{self._cte_name(self._plain_name(name))} AS ({self._query(node.this)})"

    def _cte_name(self, name: str) -> str:
        return f"`{RESERVED}_with_{name}`"

    def _source(self, node: exp.Expr) -> str:
        alias = node.args.get("alias")
        name = self._name(alias.this) if alias and alias.this else None
        if isinstance(node, exp.Subquery):
            return f"({self._query(node.this)})" + (f" AS {name}" if name else "")
        if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Identifier) or _qualified(node):
            raise refuse(node, "this cannot be read from", _readable(self._schema))
        asked = node.name
        if table := self._schema.tables.get(asked):
            self.tables.add(asked)
            return f"({table.view()}) AS {name or self._name(node.this)}"
        if asked in self._ctes:
            return f"{self._cte_name(self._plain_name(node.this))} AS {name or self._name(node.this)}"
        raise refuse(node, f"there is no table {shown(asked)}", _readable(self._schema))

    def _join(self, node: exp.Expr) -> str:
        side, kind = (node.args.get("side") or "").upper(), (node.args.get("kind") or "").upper()
        if kind == "ARRAY" and side in ("", "LEFT"):
            columns = [node.this, *node.expressions]
            return f" {side} ARRAY JOIN {self._list(columns, self._item)}".replace("  ", " ")
        if side not in _JOIN_WORDS or kind not in _JOIN_WORDS:
            raise refuse(node, f"there is no {shown(f'{side} {kind}'.strip())} JOIN here")
        words = " ".join(word for word in (side, kind, "JOIN") if word)
        text = f" {words} {self._source(node.this)}"
        if on := node.args.get("on"):
            text += f" ON {self._expression(on)}"
        elif using := node.args.get("using"):
            text += f" USING ({self._list(using, self._name_of_using)})"
        return text

    def _tail(self, node: exp.Expr) -> str:
        text = ""
        if order := node.args.get("order"):
            text += f" ORDER BY {self._list(order.expressions, self._ordered)}"
        limit, offset = node.args.get("limit"), node.args.get("offset")
        if limit and not isinstance(limit, exp.Limit):
            raise refuse(limit, "rows are bounded by LIMIT here")
        if limit and limit.expressions:
            text += f" LIMIT {self._count(limit.expression)} BY {self._list(limit.expressions)}"
        elif limit:
            text += f" LIMIT {self._count(limit.expression)}"
        if offset:
            text += f" OFFSET {self._count(offset.expression)}"
        return text

    def _row_limit(self, node: exp.Select) -> int | None:
        limit = node.args.get("limit")
        if not isinstance(limit, exp.Limit) or limit.expressions:
            return None
        count = self._count(limit.expression)
        if count > self._rows:
            raise refuse(limit, f"LIMIT is {count}, at most {self._rows} rows are given out")
        return count


def _has_modifiers(node: exp.Expr) -> bool:
    return any(node.args.get(key) for key in ("order", "limit", "offset", "with_"))


def _distinct(node: exp.Expr) -> bool:
    return bool(node.args.get("distinct"))


def _qualified(node: exp.Expr) -> bool:
    return bool(node.args.get("db") or node.args.get("catalog"))


def _readable(schema: TenantSchema) -> str:
    return f"there are the tables {', '.join(sorted(schema.tables))}, and what WITH defines"
