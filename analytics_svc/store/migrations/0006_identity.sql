-- Who is one person: two ends that one event named, once for each UTC day on which one did, from either side. Ends but
-- visitors' and events' are keyed hashes. Derived from `events` alone: it can be made again at any time.
CREATE TABLE IF NOT EXISTS identity_edges
(
    organization_id LowCardinality(String),
    day             Date,
    -- The rules and the key that made it; others than the current one are not looked at.
    edition         LowCardinality(String),
    -- `visitor_…`, `login_…`, `email_…`, `order_…`, `click_…` or `event_…`.
    side            String CODEC(ZSTD),
    other           String CODEC(ZSTD),
    -- The first event of the day that named both, and when the last was received.
    evidence        SimpleAggregateFunction(min, Tuple(DateTime64(3, 'UTC'), UUID)),
    last_time       SimpleAggregateFunction(max, DateTime64(3, 'UTC'))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (organization_id, side, other, day, edition)
SETTINGS index_granularity = 1024, fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
-- What people said about edges: rows are only added, the last revision on a target holds.
CREATE TABLE IF NOT EXISTS identity_decisions
(
    organization_id LowCardinality(String),
    -- An edge from either side; `other` is '' for an end, which stands for all of its edges.
    side            String,
    other           String,
    revision        UInt64,
    is_revoked      UInt8,
    actor           String,
    decide_time     DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY (organization_id, side, other, revision)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
-- Months whose events have been looked at for edges, by edition: what came before there were edges.
CREATE TABLE IF NOT EXISTS identity_months
(
    month   Date,
    edition LowCardinality(String)
)
ENGINE = ReplacingMergeTree
ORDER BY (edition, month)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1
