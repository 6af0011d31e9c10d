-- How far each mirror is. Rows are versions, the highest counts; of several writers of one version the first one's row
-- is taken and the others' are dropped by its token, so every writer looks afterwards whose it is.
CREATE TABLE IF NOT EXISTS mirror_states ${on_cluster}
(
    mirror     String,
    version    UInt64,
    writer     UUID,
    state      String CODEC(ZSTD),
    write_time DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ${replicated}ReplacingMergeTree(version)
ORDER BY mirror
SETTINGS
    fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1,
    non_replicated_deduplication_window = 10000, replicated_deduplication_window = 10000,
    replicated_deduplication_window_seconds = 604800;
-- Events that a mirror's warehouse refuses for what is in them. The events themselves stay in `events`, found by their
-- journal and sequence.
CREATE TABLE IF NOT EXISTS mirror_refusals ${on_cluster}
(
    mirror      LowCardinality(String),
    journal_id  LowCardinality(String),
    sequence    UInt64 CODEC(ZSTD),
    reason      LowCardinality(String),
    refuse_time DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') CODEC(ZSTD)
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (mirror, journal_id, sequence)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
