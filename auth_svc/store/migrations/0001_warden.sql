-- Warden's tables. Instants are UTC, written by the service's clock; revisions come from this database alone.

-- One row. Every act updates it first, so acts happen one after the other and revisions rise in commit order.
CREATE TABLE directory_state (
    is_only  boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    revision bigint  NOT NULL
);
INSERT INTO directory_state (revision) VALUES (0);

CREATE TABLE organizations (
    organization_id text COLLATE "C" PRIMARY KEY,
    name            text        NOT NULL,
    status          text        NOT NULL CHECK (status IN ('active', 'suspended')),
    create_time     timestamptz NOT NULL,
    revision        bigint      NOT NULL
);
CREATE INDEX organizations_by_revision ON organizations (revision);

CREATE TABLE roles (
    organization_id text COLLATE "C" NOT NULL REFERENCES organizations,
    name            text COLLATE "C" NOT NULL,
    scopes          text[]           NOT NULL CHECK (cardinality(scopes) > 0),
    create_time     timestamptz      NOT NULL,
    PRIMARY KEY (organization_id, name)
);

CREATE TABLE keys (
    key_id          text COLLATE "C" PRIMARY KEY,
    organization_id text COLLATE "C" NOT NULL REFERENCES organizations,
    name            text             NOT NULL,
    kind            text             NOT NULL CHECK (kind IN ('sk', 'pk')),
    environment     text             NOT NULL CHECK (environment IN ('live', 'test')),
    scopes          text[]           NOT NULL,
    role            text COLLATE "C" NOT NULL,
    hash            bytea            NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    last_four       text             NOT NULL,
    is_fixed        boolean          NOT NULL,
    create_time     timestamptz      NOT NULL,
    expire_time     timestamptz,
    revoke_time     timestamptz,
    last_use_time   timestamptz,
    rotated_from    text COLLATE "C" NOT NULL,
    rotation_id     text COLLATE "C" NOT NULL REFERENCES keys,
    revision        bigint           NOT NULL,
    CONSTRAINT publishable_keys_write_traffic_alone
        CHECK (kind <> 'pk' OR (scopes = ARRAY ['traffic:write'] AND role = ''))
);
CREATE INDEX keys_by_organization ON keys (organization_id, create_time DESC, key_id DESC);
CREATE INDEX keys_by_rotation ON keys (rotation_id);
CREATE INDEX keys_by_revision ON keys (revision);

-- A revocation is for ever, whoever writes.
CREATE FUNCTION refuse_to_revive() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a revoked key stays revoked' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER keys_stay_revoked BEFORE UPDATE OF revoke_time ON keys FOR EACH ROW
    WHEN (OLD.revoke_time IS NOT NULL AND NEW.revoke_time IS DISTINCT FROM OLD.revoke_time)
    EXECUTE FUNCTION refuse_to_revive();

CREATE TABLE domains (
    host            text COLLATE "C" PRIMARY KEY,
    organization_id text COLLATE "C" NOT NULL REFERENCES organizations,
    create_time     timestamptz      NOT NULL,
    revision        bigint           NOT NULL
);
CREATE INDEX domains_by_organization ON domains (organization_id, host);
CREATE INDEX domains_by_revision ON domains (revision);

-- Hosts that are gone, so that a watcher who was away learns of it.
CREATE TABLE removed_hosts (
    host     text COLLATE "C" PRIMARY KEY,
    revision bigint NOT NULL
);
CREATE INDEX removed_hosts_by_revision ON removed_hosts (revision);

CREATE TABLE audit_entries (
    entry_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization_id text COLLATE "C" NOT NULL,
    actor           text             NOT NULL,
    action          text             NOT NULL,
    target          text             NOT NULL,
    details         jsonb            NOT NULL,
    create_time     timestamptz      NOT NULL,
    trace_id        text             NOT NULL
);
CREATE INDEX audit_entries_by_organization ON audit_entries (organization_id, entry_id DESC);

CREATE FUNCTION refuse_to_rewrite_the_audit_log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only: % is refused', TG_OP USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER audit_entries_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_rewrite_the_audit_log();
-- For replication sessions too, which skip ordinary triggers.
ALTER TABLE audit_entries ENABLE ALWAYS TRIGGER audit_entries_stay;
