-- The version whose claim holds over history, and the version that one was restored from; 0: none.
ALTER TABLE campaigns ADD COLUMN claim_version integer NOT NULL DEFAULT 0;
ALTER TABLE campaigns ADD COLUMN restored_version integer NOT NULL DEFAULT 0;
ALTER TABLE campaign_versions ADD COLUMN claim_version integer NOT NULL DEFAULT 0;
ALTER TABLE campaign_versions ADD COLUMN restored_version integer NOT NULL DEFAULT 0;

-- What analytics_svc is to make of history for a campaign: written with the version that wants it, worked off until it is
-- taken. A newer version's takes its place.
CREATE TABLE pending_claims (
    organization_id text COLLATE "C" NOT NULL,
    campaign_id     text COLLATE "C" NOT NULL,
    version         integer          NOT NULL,
    claim_version   integer          NOT NULL,
    actor           text             NOT NULL,
    state           text             NOT NULL CHECK (state IN ('waiting', 'taken', 'refused')),
    operation_id    text             NOT NULL,
    error           text             NOT NULL,
    attempts        integer          NOT NULL,
    try_time        timestamptz      NOT NULL,
    PRIMARY KEY (organization_id, campaign_id),
    FOREIGN KEY (organization_id, campaign_id) REFERENCES campaigns
);

CREATE INDEX pending_claims_due ON pending_claims (try_time) WHERE state = 'waiting';
