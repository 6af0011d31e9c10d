-- Every version that a webhook ever had, with who made it and when: the record of administrative acts on webhooks. The
-- last one says that it was taken away.
CREATE TABLE webhook_versions (
    organization_id text COLLATE "C" NOT NULL,
    webhook_id      text COLLATE "C" NOT NULL,
    version         integer          NOT NULL,
    definition      jsonb            NOT NULL,
    is_enabled      boolean          NOT NULL,
    is_deleted      boolean          NOT NULL,
    actor           text             NOT NULL,
    version_time    timestamptz      NOT NULL,
    PRIMARY KEY (organization_id, webhook_id, version)
);

INSERT INTO webhook_versions
SELECT organization_id, webhook_id, version, definition, is_enabled, delete_time IS NOT NULL, actor,
       coalesce(delete_time, update_time)
FROM webhooks;

CREATE FUNCTION refuse_to_change_webhook_versions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'webhook_versions is append-only';
END
$$;

CREATE TRIGGER webhook_versions_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON webhook_versions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_webhook_versions();
