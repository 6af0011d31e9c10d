-- How far the feed has been read: the row of the highest generation counts.
CREATE TABLE IF NOT EXISTS cursors
(
    follower       LowCardinality(String),
    generation     UInt64,
    -- In hexadecimal: it may hold any bytes.
    cursor         String CODEC(ZSTD),
    -- 1970: not known.
    watermark_time DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(generation)
ORDER BY follower
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
-- What is about to be changed in `events`, kept before the change: whoever starts after a crash counts the roll-ups of
-- these days anew. A row with `is_done = 1` of the same id closes it.
CREATE TABLE IF NOT EXISTS intents
(
    intent_id        UUID,
    is_done          UInt8,
    organization_ids Array(String),
    -- UTC days.
    days             Array(Date),
    intent_time      DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(is_done)
ORDER BY intent_id
TTL toDateTime(intent_time) + INTERVAL 1 DAY DELETE WHERE is_done = 1
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1
