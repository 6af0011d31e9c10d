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
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1
