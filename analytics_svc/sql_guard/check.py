"""The allow-list: which clauses, tables, columns and functions a statement may be made of.

Holds alone: what it lets through names nothing but the tenants' tables and their columns, and calls nothing but
functions that compute from their arguments. Whose rows the tables have is the matter of ``render``.
"""

from collections.abc import Iterator

from sqlglot import exp

from analytics_svc.sql_guard.expressions import CALLS
from analytics_svc.sql_guard.functions import NAMES, WINDOW_ONLY, canonical, is_aggregate
from analytics_svc.sql_guard.organization import is_organization
from analytics_svc.sql_guard.refusal import nearest, refuse, shown
from analytics_svc.sql_guard.schema import ORGANIZATION_COLUMN, RESERVED, TenantSchema
from analytics_svc.sql_guard.types import type_text

_TWO = frozenset({"this", "expression"})
_ONE = frozenset({"this"})
_LIST = frozenset({"expressions"})
_CALL = frozenset({"this", "expressions"})
_TAIL = frozenset({"order", "limit", "offset", "with_"})

_SHAPES: dict[type[exp.Expr], frozenset[str]] = {
    exp.Alias: frozenset({"this", "alias"}),
    exp.And: _TWO,
    exp.Add: _TWO,
    exp.Anonymous: _CALL,
    exp.AnonymousAggFunc: _CALL,
    exp.Array: frozenset({"expressions", "bracket_notation", "value_constructor"}),
    exp.Between: frozenset({"this", "low", "high"}),
    exp.Boolean: _ONE,
    exp.Bracket: frozenset({"this", "expressions"}),
    exp.CTE: frozenset({"this", "alias", "scalar"}),
    exp.Case: frozenset({"this", "ifs", "default"}),
    exp.Cast: frozenset({"this", "to"}),
    exp.Column: frozenset({"this", "table"}),
    exp.CombinedAggFunc: _CALL,
    exp.CombinedParameterizedAgg: _CALL | {"params"},
    exp.DPipe: frozenset({"this", "expression", "safe"}),
    exp.DataType: frozenset({"this", "expressions", "nested", "nullable"}),
    exp.DataTypeParam: _ONE,
    exp.Distinct: _LIST,
    exp.Div: frozenset({"this", "expression", "typed", "safe"}),
    exp.Dot: _TWO,
    exp.EQ: _TWO,
    exp.Except: _TWO | _TAIL | {"distinct"},
    exp.Exists: _ONE,
    exp.Extract: _TWO,
    exp.From: _ONE,
    exp.GT: _TWO,
    exp.GTE: _TWO,
    exp.Group: frozenset({"expressions", "all"}),
    exp.Having: _ONE,
    exp.ILike: _TWO | {"negate"},
    exp.Identifier: frozenset({"this", "quoted"}),
    exp.If: frozenset({"this", "true", "false"}),
    exp.In: frozenset({"this", "expressions", "query", "field"}),
    exp.IntDiv: _TWO,
    exp.Intersect: _TWO | _TAIL | {"distinct"},
    exp.Interval: frozenset({"this", "unit"}),
    exp.Is: _TWO,
    exp.Join: frozenset({"this", "expressions", "side", "kind", "on", "using"}),
    exp.LT: _TWO,
    exp.LTE: _TWO,
    exp.Lambda: frozenset({"this", "expressions"}),
    exp.Like: _TWO | {"negate"},
    exp.Limit: frozenset({"expression", "expressions"}),
    exp.Literal: frozenset({"this", "is_string"}),
    exp.Mod: _TWO,
    exp.Mul: _TWO,
    exp.NEQ: _TWO,
    exp.Neg: _ONE,
    exp.Not: _ONE,
    exp.Null: frozenset(),
    exp.Offset: frozenset({"expression"}),
    exp.Or: _TWO,
    exp.Order: _LIST,
    exp.Ordered: frozenset({"this", "desc", "nulls_first"}),
    exp.ParameterizedAgg: _CALL | {"params"},
    exp.Paren: _ONE,
    exp.Placeholder: frozenset({"this", "kind"}),
    exp.PreWhere: _ONE,
    exp.Qualify: _ONE,
    exp.RegexpLike: _TWO,
    exp.Select: _TAIL
    | {"expressions", "from_", "joins", "prewhere", "where", "group", "having", "qualify", "windows", "distinct"},
    exp.Star: frozenset(),
    exp.Sub: _TWO,
    exp.Subquery: frozenset({"this", "alias"}) | _TAIL,
    exp.Table: frozenset({"this", "alias"}),
    exp.TableAlias: _ONE,
    exp.Tuple: _LIST,
    exp.Union: _TWO | _TAIL | {"distinct"},
    exp.Var: _ONE,
    exp.Where: _ONE,
    exp.Window: frozenset({"this", "partition_by", "order", "spec", "alias", "over"}),
    exp.WindowSpec: frozenset({"kind", "start", "start_side", "end", "end_side"}),
    exp.With: _LIST,
}
"""The nodes of the syntax tree that are let through, each with the parts that it may have."""

_NO_SAYING = {
    "settings": "SETTINGS",
    "format": "FORMAT",
    "into": "INTO",
    "sample": "SAMPLE",
    "locks": "FOR UPDATE",
    "db": "a database's name",
    "catalog": "a database's name",
    "recursive": "RECURSIVE",
    "global_": "GLOBAL",
    "is_global": "GLOBAL",
    "method": "NATURAL",
    "columns": "a list of columns after an alias",
    "except_": "EXCEPT after *",
    "replace": "REPLACE after *",
    "with_fill": "WITH FILL",
    "totals": "WITH TOTALS",
    "rollup": "ROLLUP",
    "cube": "CUBE",
    "on": "DISTINCT ON",
}


def check(tree: exp.Query, schema: TenantSchema) -> None:
    """Raise SqlRefusedError, with the place, unless ``tree`` is made of what is allowed.

    Comparisons of the organisation have been dropped from it.
    """
    for node in tree.walk():
        _check_shape(node)
    _check_tables(tree, schema)
    for membership in tree.find_all(exp.In):
        _check_membership(membership)
    _check_names(tree, schema)
    for call in tree.find_all(*CALLS):
        _check_call(call)
    for kind in tree.find_all(exp.DataType):
        type_text(kind)


def _check_shape(node: exp.Expr) -> None:
    parts = _SHAPES.get(type(node))
    if parts is None:
        raise refuse(node, f"{shown(node.key.upper())} is not allowed", "allowed are SELECT queries in plain SQL")
    for name, value in node.args.items():
        if value and name not in parts:
            place = next((part for part in (value if isinstance(value, list) else [value]) if _is_node(part)), node)
            raise refuse(place, f"{_NO_SAYING.get(name, name.upper().rstrip('_'))} is not allowed")
    if isinstance(node, exp.Alias) and not isinstance(node.parent, exp.Select | exp.Join):
        raise refuse(node, "an alias is given in the list of SELECT, WITH or ARRAY JOIN only")
    if isinstance(node, exp.Star) and not isinstance(_holder(node), (exp.Select, *CALLS)):
        raise refuse(node, "* stands in the list of SELECT or in count(*) only", "name the columns")
    if isinstance(node, exp.Distinct) and node.parent and not isinstance(node.parent, (exp.Select, *CALLS)):
        raise refuse(node, "DISTINCT stands after SELECT or in an aggregate only")


def _is_node(part: object) -> bool:
    return isinstance(part, exp.Expr)


def _holder(star: exp.Star) -> exp.Expr | None:
    return star.parent.parent if isinstance(star.parent, exp.Column) else star.parent


def _check_tables(tree: exp.Query, schema: TenantSchema) -> None:
    readable = f"there are the tables {', '.join(sorted(schema.tables))}, and what WITH defines"
    defined: set[str] = set()
    for cte in tree.find_all(exp.CTE):
        name = cte.alias
        if name.lower() in {table.lower() for table in schema.tables}:
            raise refuse(cte, f"WITH cannot define {shown(name)}: a table has this name")
        if name in defined:
            raise refuse(cte, f"WITH defines {shown(name)} a second time")
        defined.add(name)
    for table in tree.find_all(exp.Table):
        if not isinstance(table.this, exp.Identifier):
            raise refuse(table, "a table function is not allowed", readable)
        if table.name not in schema.tables and table.name not in _visible_ctes(table):
            raise refuse(
                table, f"there is no table {shown(table.name)}", nearest(table.name, schema.tables) or readable
            )
    for subquery in tree.find_all(exp.Subquery):
        if not isinstance(subquery.this, exp.Query):
            raise refuse(subquery, "brackets in FROM hold a SELECT", readable)


def _visible_ctes(node: exp.Expr) -> Iterator[str]:
    """Yield the names that WITH gave before and around ``node``, nearest first."""
    below: exp.Expr = node
    while (above := below.parent) is not None:
        if isinstance(above, exp.With):
            yield from (cte.alias for cte in above.expressions[: below.index or 0] if not cte.args.get("scalar"))
            below = above.parent or above
            continue
        if clause := above.args.get("with_"):
            yield from (cte.alias for cte in clause.expressions if not cte.args.get("scalar"))
        below = above


def _check_names(tree: exp.Query, schema: TenantSchema) -> None:
    for identifier in tree.find_all(exp.Identifier):
        _check_identifier(identifier)
    sources = {table.alias_or_name: table.name for table in tree.find_all(exp.Table)}
    columns = {
        name for table in set(sources.values()) & set(schema.tables) for name in schema.tables[table].column_names
    }
    aliases = {alias.alias for alias in tree.find_all(exp.Alias)}
    aliases |= {cte.alias for cte in tree.find_all(exp.CTE) if cte.args.get("scalar")}
    qualifiers = set(sources) | {subquery.alias for subquery in tree.find_all(exp.Subquery) if subquery.alias}
    parameters = {name.name for function in tree.find_all(exp.Lambda) for name in function.expressions}
    for column in tree.find_all(exp.Column):
        _check_column(column, columns | aliases | parameters, qualifiers, columns | aliases)
    for identifier in tree.find_all(exp.Identifier):
        is_bare = not isinstance(identifier.parent, _NAMED)
        if is_bare and identifier.name not in columns | aliases | parameters:
            raise refuse(identifier, f"there is no {shown(identifier.name)} here")


_NAMED = (exp.Column, exp.Table, exp.Alias, exp.TableAlias, exp.Window)


def _check_identifier(identifier: exp.Identifier) -> None:
    name = identifier.name
    if is_organization(name):
        raise refuse(
            identifier,
            f"{ORGANIZATION_COLUMN} has no place here",
            f"`{ORGANIZATION_COLUMN} = value` may be a condition under AND; you see your own rows either way",
        )
    if name.lower().startswith(RESERVED):
        raise refuse(identifier, f"names that begin with {RESERVED} are ours")


def _check_column(column: exp.Column, names: set[str], qualifiers: set[str], before_dot: set[str]) -> None:
    table, name = column.args.get("table"), column.this
    if table is not None:
        is_element = isinstance(name, exp.Literal)
        if table.name not in (before_dot if is_element else qualifiers):
            raise refuse(
                column, f"there is no table or alias {shown(table.name)} here", nearest(table.name, qualifiers)
            )
    if isinstance(name, exp.Identifier) and name.name not in names:
        hint = nearest(name.name, names) or f"there are {_some(names)}"
        raise refuse(column, f"there is no column {shown(name.name)}", hint)


def _some(names: set[str]) -> str:
    return ", ".join(sorted(names)[:60]) or "none, as nothing is read"


def _check_call(call: exp.Expr) -> None:
    name = call.this
    found = canonical(name) if isinstance(name, str) else None
    if found is None:
        asked = name if isinstance(name, str) else name.name
        hint = nearest(asked, NAMES) or "docs/sql.md lists the functions"
        raise refuse(call, f"the function {shown(asked)} is not allowed", hint)
    if found in WINDOW_ONLY and not isinstance(call.parent, exp.Window):
        raise refuse(call, f"{found} needs OVER")
    if call.args.get("params") and not is_aggregate(found):
        raise refuse(call, f"{found} takes no second list of arguments")
    if any(isinstance(argument, exp.Distinct) for argument in call.expressions) and not is_aggregate(found):
        raise refuse(call, f"{found} takes no DISTINCT")


def _check_membership(node: exp.In) -> None:
    named = [item.find(exp.Column, exp.Identifier, exp.Star) for item in node.expressions]
    field = node.args.get("field")
    if any(named) or (field is not None and not isinstance(field, exp.Placeholder)):
        # ClickHouse looks for a table of this name, in brackets too.
        raise refuse(node, "IN takes a list of values or a SELECT", "write has(array, value) to look into an array")
