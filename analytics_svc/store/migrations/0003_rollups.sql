-- Counts of `events`, which answer dashboards. They are made of `events` alone and agree with it at all times.
-- Unique counts are mergeable states of the same function that a report over `events` uses (analytics_svc/metric.py), so
-- both give the same number.
CREATE TABLE IF NOT EXISTS rollup_minute
(
    organization_id LowCardinality(String),
    minute          DateTime('UTC') CODEC(Delta, ZSTD),
    campaign_id     LowCardinality(String),
    is_bot          UInt8,
    -- Of `revenue`; '' where there is no value.
    currency        LowCardinality(String),
    -- Of `cost`; '' where there is none.
    cost_currency   LowCardinality(String),
    events          SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD),
    clicks          SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD),
    conversions     SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD),
    revenue         SimpleAggregateFunction(sum, Decimal(38, 6)) CODEC(ZSTD),
    cost            SimpleAggregateFunction(sum, Decimal(38, 6)) CODEC(ZSTD)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (organization_id, minute, campaign_id, is_bot, currency, cost_currency)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
-- One row per UTC day and value of one dimension; dimension '' is the day as a whole.
CREATE TABLE IF NOT EXISTS rollup_day
(
    organization_id LowCardinality(String),
    dimension       LowCardinality(String),
    day             Date,
    value           String CODEC(ZSTD),
    campaign_id     LowCardinality(String),
    is_bot          UInt8,
    currency        LowCardinality(String),
    cost_currency   LowCardinality(String),
    events          SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD),
    clicks          SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD),
    conversions     SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD),
    revenue         SimpleAggregateFunction(sum, Decimal(38, 6)) CODEC(ZSTD),
    cost            SimpleAggregateFunction(sum, Decimal(38, 6)) CODEC(ZSTD)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (organization_id, dimension, day, value, campaign_id, is_bot, currency, cost_currency)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
-- Who was there, per value of one dimension; dimension '' is everybody. Apart from the sums, whose keys are many more:
-- merging a state costs as much as reading the events that it is made of, until it is large.
CREATE TABLE IF NOT EXISTS rollup_unique
(
    organization_id LowCardinality(String),
    dimension       LowCardinality(String),
    -- A UTC day, of every dimension that `rollup_day` has; an hour, of '' and `campaign_id` alone.
    grain           Enum8('hour' = 1, 'day' = 2),
    -- Its first instant.
    time            DateTime('UTC') CODEC(Delta, ZSTD),
    value           String CODEC(ZSTD),
    is_bot          UInt8,
    users           AggregateFunction(uniqCombined64(14), String) CODEC(ZSTD),
    sessions        AggregateFunction(uniqCombined64(14), String) CODEC(ZSTD)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (organization_id, dimension, grain, time, value, is_bot)
-- Rows are large: one value's are found without reading many others.
SETTINGS index_granularity = 16, fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1
