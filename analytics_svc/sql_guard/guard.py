"""The guard: what an organisation wrote goes in, what may run comes out."""

from dataclasses import dataclass

from analytics_svc.sql_guard.check import check
from analytics_svc.sql_guard.limits import QueryLimits, StatementLimits
from analytics_svc.sql_guard.organization import drop_comparisons
from analytics_svc.sql_guard.parameters import Binding, Parameters
from analytics_svc.sql_guard.reader import read
from analytics_svc.sql_guard.refusal import SqlRefusedError
from analytics_svc.sql_guard.render import Renderer
from analytics_svc.sql_guard.schema import ORGANIZATION_PARAMETER, TenantSchema

DEFAULT_STATEMENT_LIMITS = StatementLimits()
DEFAULT_QUERY_LIMITS = QueryLimits()


@dataclass(frozen=True, slots=True)
class GuardedQuery:
    """A statement that may run, as it is to run."""

    sql: str
    """Made anew from the syntax tree; nothing of the tenant's own text."""
    parameters: dict[str, object]
    """Values by the names in ``sql``, for the server to bind: the caller's organisation, where a table is read."""
    settings: dict[str, str]
    """ClickHouse's settings for this query."""
    tables: frozenset[str]
    """The tenants' tables that it reads."""


def guard(
    sql: str,
    parameters: Parameters = (),
    *,
    organization_id: str,
    schema: TenantSchema,
    statement_limits: StatementLimits = DEFAULT_STATEMENT_LIMITS,
    query_limits: QueryLimits = DEFAULT_QUERY_LIMITS,
) -> GuardedQuery:
    """Return the statement bound to the rows of ``organization_id``. Raises SqlRefusedError.

    ``parameters`` are the values of `?`, in order, or of `{name:Type}`, by name. Two layers that hold alone: ``check``
    lets only known things through, and ``Renderer`` can print no table but the organisation's views.
    """
    if not organization_id:
        raise ValueError("a query needs an organisation")
    binding = Binding(parameters)
    try:
        tree = read(sql, statement_limits)
        binding.check(tree, statement_limits)
        drop_comparisons(tree)
        check(tree, schema)
        renderer = Renderer(schema, binding, rows=query_limits.result_rows)
        text = renderer.statement(tree)
    except RecursionError:
        raise SqlRefusedError("the statement is nested too deeply") from None
    # A value that the text has no place for would make a driver look for one of its own kind, `%(name)s`.
    owner = {ORGANIZATION_PARAMETER: organization_id} if renderer.tables else {}
    return GuardedQuery(
        text,
        {**binding.bound, **owner},
        query_limits.settings(),
        frozenset(renderer.tables),
    )
