-- What an overlay put in the place of, as `own` does for a click's: what routing said (campaign, version, rule, then the
-- tags) where a claim has the event or the click that it takes its traffic from; empty: nothing was changed.
ALTER TABLE events ADD COLUMN IF NOT EXISTS routed Array(String) CODEC(ZSTD);
-- What the event says of itself (is_conversion, value, currency, conversion_status) where a verdict says otherwise.
ALTER TABLE events ADD COLUMN IF NOT EXISTS told Array(Nullable(String)) CODEC(ZSTD);
-- 1: its value changes the revenue without being a conversion.
ALTER TABLE events ADD COLUMN IF NOT EXISTS is_adjustment UInt8;
ALTER TABLE events ADD COLUMN IF NOT EXISTS routed_campaign_id String
    ALIAS if(empty(routed), campaign_id, routed[1]);
ALTER TABLE events ADD COLUMN IF NOT EXISTS routed_campaign_version UInt32
    ALIAS if(empty(routed), campaign_version, toUInt32OrZero(routed[2]));
ALTER TABLE events ADD COLUMN IF NOT EXISTS routed_rule_id String
    ALIAS if(empty(routed), rule_id, routed[3]);
-- Claims of campaigns on traffic that they did not route; of a version that was applied twice the last one counts.
CREATE TABLE IF NOT EXISTS claims
(
    organization_id String,
    campaign_id     String,
    version         UInt32,
    -- The contract's `Claim`, in hexadecimal.
    definition      String CODEC(ZSTD),
    actor           String,
    claim_time      DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY (organization_id, campaign_id, version)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
-- Which version of a campaign's claim holds: the row of the highest revision counts; version 0: none.
CREATE TABLE IF NOT EXISTS claim_activations
(
    organization_id String,
    campaign_id     String,
    revision        UInt64,
    version         UInt32,
    -- Of that version: where two hold on an event the higher has it, of equals the one that was made first.
    priority        Int32,
    claim_time      DateTime64(3, 'UTC'),
    actor           String,
    activate_time   DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY (organization_id, campaign_id, revision)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
-- The events that a version of a claim may have. They count while that version holds.
CREATE TABLE IF NOT EXISTS claim_assignments
(
    organization_id LowCardinality(String),
    campaign_id     LowCardinality(String),
    version         UInt32,
    event_time      DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    event_id        UUID,
    rule_id         LowCardinality(String),
    tags            Array(LowCardinality(String))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(event_time)
ORDER BY (organization_id, campaign_id, version, event_time, event_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
-- What events count for, whatever they say of themselves: of each event the row of the highest revision.
CREATE TABLE IF NOT EXISTS verdicts
(
    organization_id LowCardinality(String),
    event_time      DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    event_id        UUID,
    revision        UInt64,
    is_conversion   UInt8,
    is_adjustment   UInt8,
    value           Nullable(Decimal(18, 6)) CODEC(ZSTD),
    currency        LowCardinality(String),
    status          LowCardinality(String),
    verdict_time    DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(event_time)
ORDER BY (organization_id, event_time, event_id, revision)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
-- The claim that an operation is about: of which campaign, which version is to hold, and which did before.
ALTER TABLE operations ADD COLUMN IF NOT EXISTS campaign_id String;
ALTER TABLE operations ADD COLUMN IF NOT EXISTS claim_version UInt32;
ALTER TABLE operations ADD COLUMN IF NOT EXISTS previous_version UInt32;
-- 1: the version is applied, not one that was before.
ALTER TABLE operations ADD COLUMN IF NOT EXISTS is_new_claim UInt8
