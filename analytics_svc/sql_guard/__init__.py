"""Tenant SQL: an organisation runs its own statements over its own rows. Pure: no I/O in here.

``guard`` parses a statement (``reader``), refuses what is not on the allow-list (``check``), and writes it anew with
every table replaced by the organisation's view (``render``). How `organization_id` in a statement is treated:
``organization``. What stands behind the guard on a ClickHouse server: ``server_policies.sql``.
"""

from analytics_svc.sql_guard.guard import GuardedQuery, guard
from analytics_svc.sql_guard.limits import QueryLimits, StatementLimits
from analytics_svc.sql_guard.refusal import Position, SqlRefusedError
from analytics_svc.sql_guard.schema import Column, Table, TenantSchema
from analytics_svc.sql_guard.tenant_tables import tenant_schema

__all__ = [
    "Column",
    "GuardedQuery",
    "Position",
    "QueryLimits",
    "SqlRefusedError",
    "StatementLimits",
    "Table",
    "TenantSchema",
    "guard",
    "tenant_schema",
]
