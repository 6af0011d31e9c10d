-- Who may store an event that carries a client's idempotency key: of several claims of one event_id the first that the
-- table took stands, which the block number tells, also after merges. Looked up by many random ids at once, so the
-- granules are small.
CREATE TABLE IF NOT EXISTS claims ${on_cluster}
(
    event_id   UUID,
    journal_id LowCardinality(String),
    sequence   UInt64 CODEC(ZSTD),
    -- The claimant keeps no journal: should it die before it stored the event, nobody repeats it.
    is_direct  Bool,
    claim_time DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') CODEC(Delta, ZSTD)
)
ENGINE = ${replicated}MergeTree
ORDER BY event_id
SETTINGS
    index_granularity = 256, enable_block_number_column = 1, enable_block_offset_column = 1,
    fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1,
    non_replicated_deduplication_window = 10000, replicated_deduplication_window = 10000,
    replicated_deduplication_window_seconds = 604800,
    -- Many small parts come in: fewer and wider merges take half of the work.
    merge_selector_base = 20;
