-- Who may send an organisation's conversions. Tokens are kept as keyed hashes, signing secrets sealed.
CREATE TABLE partners (
    partner_id            text COLLATE "C" PRIMARY KEY,
    organization_id       text COLLATE "C" NOT NULL REFERENCES organizations,
    name                  text             NOT NULL,
    network               text COLLATE "C" NOT NULL,
    token_id              text COLLATE "C" NOT NULL UNIQUE,
    token_hash            bytea            NOT NULL CHECK (octet_length(token_hash) = 32),
    token_last_four       text             NOT NULL,
    token_create_time     timestamptz      NOT NULL,
    -- The token before, which lives on for a while; NULL: there is none.
    old_token_id          text COLLATE "C",
    old_token_hash        bytea CHECK (octet_length(old_token_hash) = 32),
    old_token_last_four   text,
    old_token_create_time timestamptz,
    old_token_expire_time timestamptz,
    -- Empty: it does not sign.
    sealed_secret         bytea            NOT NULL,
    addresses             text[]           NOT NULL,
    return_text           text             NOT NULL,
    is_enabled            boolean          NOT NULL,
    create_time           timestamptz      NOT NULL,
    revoke_time           timestamptz,
    revision              bigint           NOT NULL,
    CONSTRAINT an_old_token_is_whole CHECK (
        num_nulls(old_token_id, old_token_hash, old_token_last_four, old_token_create_time, old_token_expire_time)
            IN (0, 5)
    )
);
CREATE INDEX partners_by_organization ON partners (organization_id, create_time DESC, partner_id DESC);
CREATE INDEX partners_by_revision ON partners (revision);

CREATE FUNCTION refuse_to_revive_a_partner() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a revoked partner stays revoked' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER partners_stay_revoked BEFORE UPDATE OF revoke_time ON partners FOR EACH ROW
    WHEN (OLD.revoke_time IS NOT NULL AND NEW.revoke_time IS DISTINCT FROM OLD.revoke_time)
    EXECUTE FUNCTION refuse_to_revive_a_partner();
