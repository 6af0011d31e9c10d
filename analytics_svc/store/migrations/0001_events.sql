-- A first reading of capture's events: each event id once. Durable before the cursor that passes it.
CREATE TABLE IF NOT EXISTS events
(
    organization_id   LowCardinality(String),
    event_id          UUID,
    event_time        DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    event_type        LowCardinality(String),
    click_id          String CODEC(ZSTD),
    external_click_id String CODEC(ZSTD),
    user_id           String CODEC(ZSTD),
    campaign_id       LowCardinality(String),
    scheme            LowCardinality(String),
    host              LowCardinality(String),
    target            String CODEC(ZSTD),
    url               String ALIAS if(startsWith(target, '/'), concat(scheme, '://', host, target), target),
    ip                String CODEC(ZSTD),
    marks             Array(LowCardinality(String)),
    journal_id        LowCardinality(String),
    sequence          UInt64 CODEC(Delta, ZSTD)
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(event_time)
ORDER BY (organization_id, event_time, event_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1
