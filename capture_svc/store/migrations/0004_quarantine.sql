-- What the store refused, and what no organisation claims (organization_id ''): the latter is kept for 30 days.
CREATE TABLE IF NOT EXISTS quarantine ${on_cluster}
(
    quarantine_id   UUID,
    organization_id LowCardinality(String),
    reason          LowCardinality(String),
    quarantine_time DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    journal_id      LowCardinality(String),
    sequence        UInt64 CODEC(ZSTD),
    -- 1, or the organisation's events in a payload that does not split into events.
    event_count     UInt64 CODEC(ZSTD),
    event           String CODEC(ZSTD),

    INDEX by_quarantine_id quarantine_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ${replicated}MergeTree
ORDER BY (quarantine_time, quarantine_id)
TTL toDateTime(quarantine_time) + INTERVAL 30 DAY DELETE WHERE organization_id = ''
SETTINGS
    fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1,
    non_replicated_deduplication_window = 10000, replicated_deduplication_window = 10000,
    replicated_deduplication_window_seconds = 604800;
-- How a replay goes: an `intent` fixes the event's place in the replay's journal before it is stored, the outcome
-- follows. An item waits until one of its rows says `stored` or `duplicate`.
CREATE TABLE IF NOT EXISTS replays ${on_cluster}
(
    quarantine_id   UUID,
    journal_id      LowCardinality(String),
    sequence        UInt64 CODEC(ZSTD),
    -- Whose event it is now.
    organization_id LowCardinality(String),
    step            Enum8('intent' = 1, 'stored' = 2, 'duplicate' = 3, 'refused' = 4),
    replay_time     DateTime64(3, 'UTC') CODEC(Delta, ZSTD)
)
ENGINE = ${replicated}MergeTree
ORDER BY (journal_id, sequence, step)
SETTINGS
    fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1,
    non_replicated_deduplication_window = 10000, replicated_deduplication_window = 10000,
    replicated_deduplication_window_seconds = 604800;
