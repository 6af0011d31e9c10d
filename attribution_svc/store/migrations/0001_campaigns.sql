-- Ids and slugs compare by their bytes: the order of a list must not depend on the server's language.
CREATE TABLE campaigns (
    organization_id  text COLLATE "C" NOT NULL,
    campaign_id      text COLLATE "C" NOT NULL,
    slug             text COLLATE "C" NOT NULL,
    name             text             NOT NULL,
    status           text             NOT NULL CHECK (status IN ('active', 'paused', 'archived')),
    destination_url  text             NOT NULL,
    parameter_policy text             NOT NULL CHECK (parameter_policy IN ('merge', 'none')),
    fallback_url     text             NOT NULL,
    version          integer          NOT NULL CHECK (version >= 1),
    revision         bigint           NOT NULL UNIQUE,
    create_time      timestamptz      NOT NULL,
    update_time      timestamptz      NOT NULL,
    CONSTRAINT campaigns_id PRIMARY KEY (organization_id, campaign_id)
);

-- An archived campaign gives its slug back.
CREATE UNIQUE INDEX campaigns_slug ON campaigns (organization_id, slug) WHERE status <> 'archived';

CREATE INDEX campaigns_newest ON campaigns (organization_id, create_time DESC, campaign_id DESC);

-- Every version that a campaign ever had, with who made it and when: the record of administrative acts on campaigns.
CREATE TABLE campaign_versions (
    organization_id  text COLLATE "C" NOT NULL,
    campaign_id      text COLLATE "C" NOT NULL,
    version          integer          NOT NULL,
    slug             text COLLATE "C" NOT NULL,
    name             text             NOT NULL,
    status           text             NOT NULL,
    destination_url  text             NOT NULL,
    parameter_policy text             NOT NULL,
    fallback_url     text             NOT NULL,
    actor            text             NOT NULL,
    version_time     timestamptz      NOT NULL,
    PRIMARY KEY (organization_id, campaign_id, version),
    FOREIGN KEY (organization_id, campaign_id) REFERENCES campaigns
);

CREATE FUNCTION refuse_to_change_versions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'campaign_versions is append-only';
END
$$;

CREATE TRIGGER campaign_versions_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON campaign_versions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_versions();

-- One row. Whoever changes a campaign adds one to the revision and so holds the row's lock until its commit:
-- revisions are committed in their order. The incarnation tells the database from a copy of it (see the store).
CREATE TABLE routing_state (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch       bigint  NOT NULL,
    revision    bigint  NOT NULL,
    incarnation text    NOT NULL
);

INSERT INTO routing_state (epoch, revision, incarnation)
VALUES ((extract(epoch FROM clock_timestamp()) * 1000000)::bigint, 0, '');
