-- What stands behind the guard on a ClickHouse server: a reader of its own, row policies, a settings profile and a quota.
--
-- NOT RUN IN EMBEDDED MODE: chDB has no users, roles, row policies or quotas, and there the guard holds alone (its tests
-- run on chDB). On a server an administrator runs this once, as a user with ACCESS MANAGEMENT, with the values in ${…}
-- filled in; run again it changes nothing. EXPLAIN shows a policy's text to readers: it holds their own organisation's
-- id, and may hold no secret. There was no server to run this on when it was written: try it before relying on it.
--
-- A server must be recent enough to have no known way around row policies: at least 26.7.6.5, 26.6.4.10, 26.5.8.18 or
-- 26.3.22.6 (mergeTreeIndex, mergeTreeProjection, loop, FINAL with deferred policies).

-- 1. Roles. One per organisation, `trellis_tenant_<organisation>`, is made with the organisation
-- (server_policies_of_organization.sql).
CREATE ROLE IF NOT EXISTS trellis_tenant;

-- 2. Limits: the guard sends smaller ones with each query; these hold for whatever comes without. `readonly = 2` lets a
-- query carry settings, so every limit has a MAX here, and the rest cannot be changed.
CREATE SETTINGS PROFILE IF NOT EXISTS trellis_tenant SETTINGS
    readonly = 2 READONLY,
    allow_ddl = 0 READONLY,
    allow_introspection_functions = 0 READONLY,
    enable_analyzer = 1 READONLY,
    use_query_cache = 0 READONLY,
    use_query_condition_cache = 0 READONLY,
    max_execution_time = 30 MIN 0.1 MAX 300,
    max_memory_usage = 2147483648 MIN 1 MAX 8589934592,
    max_memory_usage_for_user = 17179869184 READONLY,
    max_rows_to_read = 2000000000 MIN 1 MAX 20000000000,
    max_bytes_to_read = 209715200000 MIN 1 MAX 2097152000000,
    max_result_rows = 100000 MIN 1 MAX 10000000,
    max_result_bytes = 268435456 MIN 1 MAX 4294967296,
    max_bytes_in_join = 536870912 MIN 1 MAX 4294967296,
    max_bytes_in_set = 536870912 MIN 1 MAX 4294967296,
    max_temporary_data_on_disk_size_for_query = 8589934592 MIN 1 MAX 107374182400,
    max_threads = 2 MIN 1 MAX 16,
    max_ast_depth = 500 MAX 1000,
    max_ast_elements = 50000 MAX 50000,
    max_expanded_ast_elements = 200000 MAX 500000,
    max_subquery_depth = 100 MAX 100,
    max_query_size = 4194304 MAX 4194304,
    timeout_overflow_mode = 'throw' READONLY,
    read_overflow_mode = 'throw' READONLY,
    result_overflow_mode = 'throw' READONLY,
    join_overflow_mode = 'throw' READONLY,
    set_overflow_mode = 'throw' READONLY
TO trellis_tenant;

-- 3. The user that tenants' queries run as: from analytics_svc's own hosts, with a password that nothing else has.
CREATE USER IF NOT EXISTS trellis_tenant_reader
    IDENTIFIED WITH sha256_hash BY '${tenant_reader_password_sha256}'
    HOST IP '${analytics_svc_network}'
    DEFAULT ROLE NONE
    SETTINGS PROFILE trellis_tenant;

-- 4. SELECT on the table that tenants' views are made of, and on nothing else. What is not granted is refused: no
-- SOURCES (url, file, s3, remote …), no dictGet, no CREATE TEMPORARY TABLE, no KILL of others' queries, no SHOW, no
-- INTROSPECTION.
REVOKE ALL ON *.* FROM trellis_tenant;
GRANT SELECT ON ${database}.events TO trellis_tenant;

-- 5. Rows. The reader has no role of its own and gets `events` only through an organisation's role, whose policies stand
-- in server_policies_of_organization.sql. Every other table is closed to tenants, roll-ups too, should a grant on it ever
-- be given by mistake: RESTRICTIVE policies are joined by AND. A test compares the list with the migrations.
CREATE ROW POLICY IF NOT EXISTS trellis_closed ON
    ${database}.cursors,
    ${database}.intents,
    ${database}.rollup_minute,
    ${database}.rollup_day,
    ${database}.rollup_unique,
    ${database}.operations,
    ${database}.mappings,
    ${database}.mapping_activations,
    ${database}.claims,
    ${database}.claim_activations,
    ${database}.claim_assignments,
    ${database}.verdicts,
    ${database}.identity_edges,
    ${database}.identity_decisions,
    ${database}.identity_months,
    ${database}.retentions,
    ${database}.click_keys,
    ${database}.reference_keys
    AS RESTRICTIVE FOR SELECT USING 0 TO trellis_tenant;

-- 6. The service itself: where a table has a policy, whom none names sees nothing.
CREATE ROW POLICY IF NOT EXISTS trellis_service ON ${database}.* AS PERMISSIVE FOR SELECT
    USING 1 TO ${analytics_svc_user};

-- 7. Per organisation and hour, told apart by the quota key that the service sends.
CREATE QUOTA IF NOT EXISTS trellis_tenant KEYED BY client_key
    FOR INTERVAL 1 HOUR MAX queries = 10000, errors = 2000, read_rows = 200000000000, execution_time = 7200
    TO trellis_tenant_reader;

-- 8. Afterwards, and after every release: an answer other than no rows means that a table is readable without a policy.
--
--   SELECT database, name FROM system.tables WHERE database = '${database}' AND name != 'schema_migrations'
--       AND (database, name) NOT IN (SELECT database, table FROM system.row_policies WHERE is_restrictive);
