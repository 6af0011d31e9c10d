"""What stands behind the guard on a server, against the tables and the limits that there are."""

import re
from pathlib import Path

import pytest

from analytics_svc import sql_guard
from analytics_svc.sql_guard import QueryLimits, tenant_schema
from analytics_svc.store.clickhouse import MIGRATIONS
from svc_runtime.migrations import read_migrations

DIRECTORY = Path(sql_guard.__file__).parent
ONCE = (DIRECTORY / "server_policies.sql").read_text()
OF_ORGANIZATION = (DIRECTORY / "server_policies_of_organization.sql").read_text()
TABLES = {
    table
    for migration in read_migrations(MIGRATIONS)
    for table in re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)", migration.sql)
}


def statements(sql: str) -> list[str]:
    """Return a file's statements, without its comments, on one line each."""
    bare = re.sub(r"--[^\n]*", "", sql)
    return [" ".join(part.split()) for part in bare.split(";") if part.strip()]


def tables_of(start: str, sql: str) -> set[str]:
    """Return the tables that the statements beginning so name."""
    return {
        table
        for statement in statements(sql)
        if statement.startswith(start)
        for table in re.findall(r"\$\{database\}\.(\w+)", statement)
    }


def test_every_table_of_the_migrations_has_a_policy() -> None:
    closed = tables_of("CREATE ROW POLICY IF NOT EXISTS trellis_closed", ONCE)
    own = tables_of("CREATE ROW POLICY IF NOT EXISTS `only_", OF_ORGANIZATION)
    assert not closed & own
    assert closed | own == TABLES, "a new table is closed in server_policies.sql, or gets an organisation's policy"


def test_what_is_granted_is_what_tenants_tables_are_made_of() -> None:
    granted = tables_of("GRANT SELECT", ONCE)
    assert granted == {table.physical for table in tenant_schema().tables.values()}
    assert granted == tables_of("CREATE ROW POLICY IF NOT EXISTS `only_", OF_ORGANIZATION)


def test_a_closed_table_shows_nothing_and_an_open_one_the_organisations_rows() -> None:
    (closed,) = [s for s in statements(ONCE) if "trellis_closed" in s]
    assert closed.endswith("AS RESTRICTIVE FOR SELECT USING 0 TO trellis_tenant")
    (only,) = [s for s in statements(OF_ORGANIZATION) if "`only_" in s]
    assert "AS RESTRICTIVE FOR SELECT USING organization_id = '${organization_id}'" in only


def test_a_role_is_given_to_somebody_only_when_its_policies_stand() -> None:
    found = statements(OF_ORGANIZATION)
    last_policy = max(index for index, s in enumerate(found) if s.startswith("CREATE ROW POLICY"))
    assert all(index > last_policy for index, s in enumerate(found) if s.startswith("GRANT"))


def test_a_query_of_the_guard_fits_into_the_profile() -> None:
    (profile,) = [s for s in statements(ONCE) if s.startswith("CREATE SETTINGS PROFILE")]
    asked = QueryLimits().settings()
    for name, value, constraint in re.findall(r"(\w+) = ('?\w+'?) ([^,]*?)(?:,| TO)", profile):
        if name in asked and "READONLY" in constraint:
            assert asked[name] == value.strip("'"), name
        elif name in asked and (most := re.search(r"MAX (\d+)", constraint)):
            assert float(asked[name]) <= float(most[1]), name


@pytest.mark.parametrize("text", [ONCE, OF_ORGANIZATION])
def test_the_files_say_that_they_are_not_for_the_embedded_engine(text: str) -> None:
    assert "NOT RUN IN EMBEDDED MODE" in text
