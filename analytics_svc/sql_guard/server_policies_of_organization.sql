-- What an organisation needs on a ClickHouse server before it runs SQL: its own role, which sees its own events.
--
-- NOT RUN IN EMBEDDED MODE: see server_policies.sql, which goes first. An administrator runs this once for each
-- organisation, in this order: the role can read before anybody can take it only if its policies came later. Run again it
-- changes nothing. analytics_svc takes the role by the `role` parameter of the HTTP interface, once
-- ANALYTICS_SQL_CLICKHOUSE_DSN names the reader.

CREATE ROLE IF NOT EXISTS `trellis_tenant_${organization_id}`;

-- RESTRICTIVE beside PERMISSIVE: permissive policies are joined by OR, so one more of them would widen what is seen.
CREATE ROW POLICY IF NOT EXISTS `tenant_${organization_id}` ON ${database}.events AS PERMISSIVE FOR SELECT
    USING organization_id = '${organization_id}' TO `trellis_tenant_${organization_id}`;
CREATE ROW POLICY IF NOT EXISTS `only_${organization_id}` ON ${database}.events AS RESTRICTIVE FOR SELECT
    USING organization_id = '${organization_id}' TO `trellis_tenant_${organization_id}`;

GRANT trellis_tenant TO `trellis_tenant_${organization_id}`;
GRANT `trellis_tenant_${organization_id}` TO trellis_tenant_reader;
ALTER USER trellis_tenant_reader DEFAULT ROLE NONE;
