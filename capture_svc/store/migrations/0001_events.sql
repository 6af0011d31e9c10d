-- What arrived, as it arrived. The columns named after fields of trellis.capture.v1.Event are filled by ClickHouse from
-- the journal's own bytes; every other column but ingest_time is an alias over them, so it costs nothing on the way in.
CREATE TABLE IF NOT EXISTS events ${on_cluster}
(
    organization_id   LowCardinality(String),
    event_id          UUID,
    event_time_ms     Int64 EPHEMERAL,
    event_time        DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(event_time_ms, 'UTC') CODEC(Delta, ZSTD),
    event_type        LowCardinality(String),
    route             LowCardinality(String),
    method            LowCardinality(String),
    target            String CODEC(ZSTD),
    http_version      LowCardinality(String),
    headers           String CODEC(ZSTD),
    body              String CODEC(ZSTD),
    peer_address      String CODEC(ZSTD),
    ip                String CODEC(ZSTD),
    scheme            LowCardinality(String),
    host              LowCardinality(String),
    click_id          String CODEC(ZSTD),
    external_click_id String CODEC(ZSTD),
    user_id           String CODEC(ZSTD),
    campaign_id       LowCardinality(String),
    campaign_version  UInt32 CODEC(ZSTD),
    location          String CODEC(ZSTD),
    status            UInt32 CODEC(ZSTD),
    marks             Array(LowCardinality(String)),
    trace_id          String CODEC(ZSTD),
    journal_id        LowCardinality(String),
    sequence          UInt64 CODEC(Delta, ZSTD),
    idempotency_key   String CODEC(ZSTD),
    item_index        UInt32 CODEC(ZSTD),
    key_id            LowCardinality(String),

    ingest_time       DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') CODEC(Delta, ZSTD),

    -- The specification's names, and ordered pairs: a repeated name stays repeated.
    timestamp         DateTime64(3, 'UTC') ALIAS event_time,
    ingested_at       DateTime64(3, 'UTC') ALIAS ingest_time,
    url               String ALIAS if(startsWith(target, '/'), concat(scheme, '://', host, target), target),
    header_pairs      Array(Tuple(name String, value String)) ALIAS
        arrayMap(line -> (substring(line, 1, position(line, ':') - 1), trim(BOTH ' \t' FROM substring(line, position(line, ':') + 1))),
                 arrayFilter(line -> position(line, ':') > 1, splitByString('\r\n', headers))),
    query_params      Array(Tuple(name String, value String)) ALIAS
        arrayMap(pair -> (decodeURLFormComponent(splitByChar('=', pair)[1]),
                          decodeURLFormComponent(substring(pair, position(concat(pair, '='), '=') + 1))),
                 arrayFilter(pair -> pair != '', splitByChar('&', if(position(target, '?') = 0, '', substring(target, position(target, '?') + 1))))),
    user_agent        String ALIAS arrayFirst(pair -> lower(pair.1) = 'user-agent', header_pairs).2,
    referer           String ALIAS arrayFirst(pair -> lower(pair.1) = 'referer', header_pairs).2,
    source            String ALIAS arrayFirst(pair -> pair.1 IN ('source', 'utm_source'), query_params).2,
    medium            String ALIAS arrayFirst(pair -> pair.1 IN ('medium', 'utm_medium'), query_params).2,
    campaign          String ALIAS arrayFirst(pair -> pair.1 IN ('campaign', 'utm_campaign'), query_params).2,
    session_id        String ALIAS arrayFirst(pair -> pair.1 = 'session_id', query_params).2,

    INDEX by_event_id event_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_click_id click_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_external_click_id external_click_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_user_id user_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_campaign_id campaign_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_mark marks TYPE bloom_filter(0.01) GRANULARITY 1,

    -- What must hold for every reader to be able to decode every row. A row that breaks one goes to the quarantine.
    CONSTRAINT is_owned CHECK organization_id != '',
    CONSTRAINT is_identified CHECK event_id != toUUID('00000000-0000-0000-0000-000000000000'),
    CONSTRAINT is_in_journal CHECK journal_id != '' AND sequence > 0,
    -- The gateway's clock made it; a broken clock must not make a thousand partitions.
    CONSTRAINT is_in_our_time CHECK event_time >= '2020-01-01 00:00:00' AND event_time < '2100-01-01 00:00:00',
    -- Fields of type `string` are UTF-8, or no protobuf reader takes the event.
    CONSTRAINT is_text CHECK isValidUTF8(concat(organization_id, ' ', route, ' ', method, ' ', http_version, ' ', peer_address, ' ', ip, ' ', scheme,
        ' ', click_id, ' ', user_id, ' ', campaign_id, ' ', trace_id, ' ', journal_id, ' ', key_id, ' ', arrayStringConcat(marks, ' ')))
)
ENGINE = ${replicated}MergeTree
PARTITION BY toYYYYMM(event_time)
ORDER BY (organization_id, event_time, event_id)
SETTINGS
    -- Acknowledged is durable: the gateway deletes its copy.
    fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1,
    -- A batch sent again under its token adds nothing.
    non_replicated_deduplication_window = 10000, replicated_deduplication_window = 10000,
    replicated_deduplication_window_seconds = 604800,
    -- Many small parts come in: fewer and wider merges take half of the work.
    merge_selector_base = 20;
