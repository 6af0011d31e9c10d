-- Work that goes on after a restart: of each id the row of the highest revision counts.
CREATE TABLE IF NOT EXISTS operations
(
    operation_id     String,
    revision         UInt64,
    -- Whose events are made again; '': everybody's.
    organization_id  String,
    kind             LowCardinality(String),
    state            LowCardinality(String),
    mapping_id       String,
    mapping_version  UInt32,
    -- Only months with events received within them; NULL: without that end.
    span_start       Nullable(DateTime64(3, 'UTC')),
    span_end         Nullable(DateTime64(3, 'UTC')),
    -- 1: the totals are known.
    is_planned       UInt8,
    total_months     Array(Date),
    done_months      Array(Date),
    total_events     UInt64,
    done_events      UInt64,
    error            String,
    actor            String,
    create_time      DateTime64(3, 'UTC'),
    end_time         Nullable(DateTime64(3, 'UTC'))
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY operation_id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
-- What organisations say about their parameters. Rows are never changed.
CREATE TABLE IF NOT EXISTS mappings
(
    organization_id String,
    mapping_id      String,
    version         UInt32,
    name            String,
    source          String,
    parameters      Array(String),
    fields          Array(String),
    start_time      Nullable(DateTime64(3, 'UTC')),
    end_time        Nullable(DateTime64(3, 'UTC')),
    actor           String,
    create_time     DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY (organization_id, mapping_id, version)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
-- Which version of a mapping holds: the row of the highest revision counts; version 0: none.
CREATE TABLE IF NOT EXISTS mapping_activations
(
    organization_id String,
    mapping_id      String,
    revision        UInt64,
    version         UInt32,
    actor           String,
    activate_time   DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY (organization_id, mapping_id, revision)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
-- Days for which the reading keeps an organisation's events ('': everybody's); the highest revision counts, 0: as
-- everybody.
CREATE TABLE IF NOT EXISTS retentions
(
    organization_id String,
    revision        UInt64,
    days            UInt32
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY organization_id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1
