"""The guard as a whole, each of its layers alone, and guards that are broken on purpose."""

from dataclasses import dataclass
from typing import Any

from analytics_svc.sql_guard import QueryLimits, StatementLimits, Table, TenantSchema, guard, tenant_schema
from analytics_svc.sql_guard.check import check
from analytics_svc.sql_guard.organization import drop_comparisons
from analytics_svc.sql_guard.parameters import Binding
from analytics_svc.sql_guard.reader import read
from analytics_svc.sql_guard.render import Renderer
from analytics_svc.sql_guard.schema import ORGANIZATION_PARAMETER
from tests.integration.sql_guard.warehouse import ALONE, OWN, SHARED, Answer, Warehouse

LIMITS = QueryLimits(run_seconds=10, memory_bytes=512 * 1024 * 1024, result_rows=10_000, threads=1)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the organisation sees with and without somebody else in the warehouse."""

    shared: Answer
    alone: Answer

    def findings(self) -> list[str]:
        """Return what the organisation learns of the other: nothing, it is to be hoped."""
        found = [f"shows {canary}" for canary in self.shared.canaries()]
        if self.shared.error_code != self.alone.error_code:
            found.append(f"fails with {self.shared.error_code}, and alone with {self.alone.error_code}")
        elif (self.shared.columns, self.shared.rows) != (self.alone.columns, self.alone.rows):
            found.append(f"answers {self.shared.text[:200]!r}, and alone {self.alone.text[:200]!r}")
        return found


def ask(warehouse: Warehouse, sql: str, parameters: Any = ()) -> Comparison:
    """Run a statement through the whole guard. Raises SqlRefusedError."""
    answers = []
    for database in (SHARED, ALONE):
        query = guard(sql, parameters, organization_id=OWN, schema=tenant_schema(database), query_limits=LIMITS)
        answers.append(warehouse.ask(query.sql, query.parameters, query.settings))
    return Comparison(*answers)


def check_alone(sql: str, parameters: Any = ()) -> None:
    """Put a statement before the allow-list, and nothing else. Raises SqlRefusedError."""
    tree = read(sql, StatementLimits())
    Binding(parameters).check(tree, StatementLimits())
    drop_comparisons(tree)
    check(tree, tenant_schema())


def ask_rewritten(
    warehouse: Warehouse, sql: str, parameters: Any, *, schemas: tuple[TenantSchema, ...]
) -> list[Answer]:
    """Run a statement rewritten over each schema, without the allow-list. Raises SqlRefusedError."""
    answers = []
    for schema in schemas:
        tree = read(sql, StatementLimits())
        binding = Binding(parameters)
        binding.check(tree, StatementLimits())
        drop_comparisons(tree)
        text = Renderer(schema, binding, rows=LIMITS.result_rows).statement(tree)
        values = (
            {**binding.bound, ORGANIZATION_PARAMETER: OWN} if "{" + ORGANIZATION_PARAMETER in text else binding.bound
        )
        answers.append(warehouse.ask(text, values, LIMITS.settings()))
    return answers


class UnfilteredTable(Table):
    """Broken on purpose: everybody's rows."""

    def view(self) -> str:
        """Return a SELECT that compares the organisation with itself."""
        whole = Table.view(self)
        return whole.replace(
            f"= {{{ORGANIZATION_PARAMETER}:String}}", f"!= concat('!', {{{ORGANIZATION_PARAMETER}:String}})"
        )


class MergedFilterTable(Table):
    """Broken on purpose: the comparison in WHERE, where the engine may put the tenant's conditions before it."""

    def view(self) -> str:
        """Return a SELECT that looks right."""
        return Table.view(self).replace(" WHERE ", " AND ").replace(" PREWHERE ", " WHERE ")


def broken(kind: type[Table], database: str) -> TenantSchema:
    """Return the tenants' schema with tables that are broken."""
    return TenantSchema.of(
        kind(table.name, table.columns, table.database, table.physical, table.where, table.group_by)
        for table in tenant_schema(database).tables.values()
    )
