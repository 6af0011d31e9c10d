"""The statements of the PostgreSQL store. Every one about an organisation's things takes its id as $1."""

from auth_svc.store.rows import KEY_COLUMNS

# Whoever acts holds this row to the end of its transaction: acts happen one after the other.
WAIT_FOR_OUR_TURN = "SELECT revision FROM directory_state FOR UPDATE"

REVISION = "SELECT revision FROM directory_state"

# The clock in it makes a restored copy of the database overtake what watchers held of the one that was lost, with its
# first act; a plain count would stay behind for as many acts as were lost.
NEXT_REVISION = """
WITH moved AS (
    UPDATE directory_state
    SET revision = GREATEST(revision + 1, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
    RETURNING revision
)
SELECT revision, pg_notify($1, revision::text) FROM moved
"""

INSERT_ORGANIZATION = """
INSERT INTO organizations (organization_id, name, status, create_time, revision) VALUES ($1, $2, $3, $4, $5)
"""
GET_ORGANIZATION = "SELECT organization_id, name, status, create_time FROM organizations WHERE organization_id = $1"
LIST_ORGANIZATIONS = """
SELECT organization_id, name, status, create_time FROM organizations
WHERE organization_id > $1 ORDER BY organization_id LIMIT $2
"""
UPDATE_ORGANIZATION = "UPDATE organizations SET name = $2, status = $3, revision = $4 WHERE organization_id = $1"

INSERT_KEY = f"""
INSERT INTO keys ({KEY_COLUMNS}, revision)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
"""  # noqa: S608 - a constant list of columns
GET_KEY = f"SELECT {KEY_COLUMNS} FROM keys WHERE organization_id = $1 AND key_id = $2"  # noqa: S608 - a constant list of columns
LIST_KEYS = f"""
SELECT {KEY_COLUMNS} FROM keys
WHERE organization_id = $1
  AND ($2::timestamptz IS NULL OR revoke_time IS NULL AND (expire_time IS NULL OR expire_time > $2))
  AND ($3::timestamptz IS NULL OR (create_time, key_id) < ($3, $4::text))
ORDER BY create_time DESC, key_id DESC LIMIT $5
"""  # noqa: S608 - a constant list of columns
LIST_ROTATION = f"SELECT {KEY_COLUMNS} FROM keys WHERE organization_id = $1 AND rotation_id = $2"  # noqa: S608 - a constant list of columns
UPDATE_KEY = "UPDATE keys SET expire_time = $2, revoke_time = $3, revision = $4 WHERE key_id = $1"

# Rows are locked in one order, so that two reports do not wait for each other.
MARK_KEY_USES = """
WITH uses AS (
    SELECT key_id, use_time FROM unnest($1::text[], $2::timestamptz[]) AS u (key_id, use_time)
), later AS (
    SELECT keys.key_id, uses.use_time FROM keys JOIN uses USING (key_id)
    WHERE keys.last_use_time IS NULL OR keys.last_use_time < uses.use_time
    ORDER BY keys.key_id FOR NO KEY UPDATE OF keys
)
UPDATE keys SET last_use_time = GREATEST(keys.last_use_time, later.use_time) FROM later WHERE keys.key_id = later.key_id
"""

INSERT_DOMAIN = "INSERT INTO domains (host, organization_id, create_time, revision) VALUES ($1, $2, $3, $4)"
LIST_DOMAINS = """
SELECT host, organization_id, create_time FROM domains WHERE organization_id = $1 AND host > $2 ORDER BY host LIMIT $3
"""
DELETE_DOMAIN = "DELETE FROM domains WHERE organization_id = $1 AND host = $2 RETURNING host"
REMEMBER_REMOVED_HOST = """
INSERT INTO removed_hosts (host, revision) VALUES ($1, $2)
ON CONFLICT (host) DO UPDATE SET revision = excluded.revision
"""
FORGET_REMOVED_HOST = "DELETE FROM removed_hosts WHERE host = $1"

INSERT_ROLE = "INSERT INTO roles (organization_id, name, scopes, create_time) VALUES ($1, $2, $3, $4)"
FIND_ROLE = "SELECT name, scopes FROM roles WHERE organization_id = $1 AND name = $2"
LIST_ROLES = "SELECT name, scopes FROM roles WHERE organization_id = $1 ORDER BY name"

INSERT_AUDIT_ENTRY = """
INSERT INTO audit_entries (organization_id, actor, action, target, details, create_time, trace_id)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
LIST_AUDIT_ENTRIES = """
SELECT entry_id, organization_id, actor, action, target, details, create_time, trace_id FROM audit_entries
WHERE organization_id = $1 AND ($2::bigint IS NULL OR entry_id < $2) ORDER BY entry_id DESC LIMIT $3
"""

CHANGED_KEYS = """
SELECT k.key_id, k.organization_id, k.hash, k.kind, k.environment, k.scopes, k.role, k.is_fixed, k.expire_time,
       k.revoke_time, r.scopes AS role_scopes
FROM keys k LEFT JOIN roles r ON r.organization_id = k.organization_id AND r.name = k.role
WHERE k.revision > $1
"""
CHANGED_DOMAINS = "SELECT host, organization_id FROM domains WHERE revision > $1"
REMOVED_HOSTS = "SELECT host FROM removed_hosts WHERE revision > $1"
CHANGED_ORGANIZATIONS = "SELECT organization_id, status FROM organizations WHERE revision > $1"
