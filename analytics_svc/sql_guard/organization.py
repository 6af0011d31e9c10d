"""What a statement says about its organisation, and why that changes nothing.

The organisation is the caller's, whatever the text says. Statements may still name it, as the specification's do:
`organization_id = 'your_org'`, `= ?`, or `a.organization_id = b.organization_id`, as a condition of its own in WHERE or
ON, alone or under AND. Such a comparison is dropped: its value, right or wrong, selects nothing. The tenants' tables
have no column of that name, so every other use of it is refused: under OR or NOT its value would seem to matter.
"""

from sqlglot import exp

from analytics_svc.sql_guard.schema import ORGANIZATION_COLUMN


def drop_comparisons(tree: exp.Query) -> None:
    """Take comparisons of the organisation out of every WHERE, PREWHERE and ON of ``tree``."""
    for holder in list(tree.find_all(exp.Where, exp.PreWhere)):
        kept = _without(holder.this)
        if kept is None:
            holder.pop()
        else:
            holder.set("this", kept)
    for join in tree.find_all(exp.Join):
        condition = join.args.get("on")
        if condition is not None:
            join.set("on", _without(condition) or exp.true())


def is_organization(name: str) -> bool:
    """Return whether a name is that of the organisation, in any case."""
    return name.lower() == ORGANIZATION_COLUMN


def _without(condition: exp.Expr) -> exp.Expr | None:
    terms = _terms(condition)
    kept = [term for term in terms if not _compares(term)]
    if len(kept) == len(terms):
        return condition
    result: exp.Expr | None = None
    for term in kept:
        result = term if result is None else exp.And(this=result, expression=term)
    return result


def _terms(condition: exp.Expr) -> list[exp.Expr]:
    found: list[exp.Expr] = []
    waiting = [condition]
    while waiting:
        node = waiting.pop()
        if isinstance(node, exp.Paren):
            waiting.append(node.this)
        elif isinstance(node, exp.And):
            waiting += [node.expression, node.this]
        else:
            found.append(node)
    return found


def _compares(term: exp.Expr) -> bool:
    if type(term) is not exp.EQ:
        return False
    sides = (term.this.unnest(), term.expression.unnest())
    return any(map(_is_column, sides)) and all(_is_column(side) or _is_value(side) for side in sides)


def _is_column(node: exp.Expr) -> bool:
    return isinstance(node, exp.Column) and isinstance(node.this, exp.Identifier) and is_organization(node.name)


def _is_value(node: exp.Expr) -> bool:
    return isinstance(node, exp.Literal | exp.Placeholder)
