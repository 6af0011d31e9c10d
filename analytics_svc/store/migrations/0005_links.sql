-- Where to look for the clicks that an id names: the times of all events of that id. Hints: a row too many does no harm,
-- a missing one would. `key` is sipHash64(organization_id, id).
CREATE TABLE IF NOT EXISTS click_keys
(
    key        UInt64 CODEC(Delta, ZSTD),
    event_time DateTime64(3, 'UTC') CODEC(ZSTD)
)
ENGINE = ReplacingMergeTree
PARTITION BY toYear(event_time)
ORDER BY (key, event_time)
SETTINGS index_granularity = 1024, fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
-- The same for the conversions that refer to an id: a click may come after its conversion.
CREATE TABLE IF NOT EXISTS reference_keys
(
    key        UInt64 CODEC(Delta, ZSTD),
    event_time DateTime64(3, 'UTC') CODEC(ZSTD)
)
ENGINE = ReplacingMergeTree
PARTITION BY toYear(event_time)
ORDER BY (key, event_time)
SETTINGS index_granularity = 1024, fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1
