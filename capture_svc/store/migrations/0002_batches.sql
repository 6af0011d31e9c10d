-- One receipt per settled batch and organisation: the truth of what is settled, what the feed gives out and what the
-- ledger sums. Every row balances: received = stored + duplicates + quarantined + dropped. Rows are never changed.
-- No partitions: a receipt sent again in the next month must meet its own token.
CREATE TABLE IF NOT EXISTS batches ${on_cluster}
(
    journal_id       LowCardinality(String),
    sequence         UInt64 CODEC(Delta, ZSTD),
    last_sequence    UInt64 CODEC(Delta, ZSTD),
    organization_id  LowCardinality(String),
    received         Int64 CODEC(ZSTD),
    stored           Int64 CODEC(ZSTD),
    duplicates       Int64 CODEC(ZSTD),
    -- Less than 0 in the receipt of a replay, which takes events out of the quarantine.
    quarantined      Int64 CODEC(ZSTD),
    -- Unclaimed events over the bound of the unclaimed quarantine; 0 for an organisation.
    dropped          Int64 CODEC(ZSTD),
    -- Of the whole batch, the same in each of its rows.
    batch_stored     UInt64 CODEC(ZSTD),
    batch_bytes      UInt64 CODEC(ZSTD),
    first_event_time DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    last_event_time  DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    settle_time      DateTime64(3, 'UTC') CODEC(Delta, ZSTD),

    INDEX by_settle_time settle_time TYPE minmax GRANULARITY 1,
    INDEX by_last_sequence last_sequence TYPE minmax GRANULARITY 1
)
ENGINE = ${replicated}MergeTree
ORDER BY (journal_id, sequence, organization_id)
SETTINGS
    fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1,
    non_replicated_deduplication_window = 10000, replicated_deduplication_window = 10000,
    replicated_deduplication_window_seconds = 604800,
    -- Many small parts come in: fewer and wider merges take half of the work.
    merge_selector_base = 20;
