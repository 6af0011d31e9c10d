-- What we make of capture's events: each event id once, derived from the raw event alone (and from the visitor's and the
-- click's other events, for `session_id` and what a conversion takes from its click). It can be made again at any time.
-- '' is "nobody said"; NULL is "cannot be told", which no rule matches.
CREATE TABLE IF NOT EXISTS events
(
    organization_id    LowCardinality(String),
    event_id           UUID,
    -- When the gateway had it, by its own clock: a client's clock makes no partition.
    event_time         DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    -- What the client says about when it happened, where that is plausible.
    client_time        Nullable(DateTime64(3, 'UTC')) CODEC(Delta, ZSTD),
    event_type         LowCardinality(String),
    route              LowCardinality(String),
    -- Of the raw event and of its reading (`literal_macro`, `double_encoded`, `client_time_implausible`…).
    marks              Array(LowCardinality(String)),

    click_id           String CODEC(ZSTD),
    external_click_id  String CODEC(ZSTD),
    -- What the gateway took for it, where one of the organisation's mappings knew better.
    gateway_click_id   String CODEC(ZSTD),
    user_id            String CODEC(ZSTD),
    session_id         String CODEC(ZSTD),

    source             LowCardinality(String),
    medium             LowCardinality(String),
    channel            LowCardinality(String),
    -- `tagged`, `click_mark`, `referrer`, `internal`, `direct`, or `click` for what a conversion took from its click.
    traffic_rule       LowCardinality(String),
    -- The name that the traffic carries, as sent; `campaign_id` is ours.
    campaign           String CODEC(ZSTD),
    campaign_id        LowCardinality(String),
    campaign_version   UInt32 CODEC(ZSTD),
    -- The campaign's rule that decided, and the destination that was chosen.
    rule_id            LowCardinality(String),
    destination_id     LowCardinality(String),
    source_campaign_id String CODEC(ZSTD),
    term               String CODEC(ZSTD),
    content            String CODEC(ZSTD),
    placement          String CODEC(ZSTD),
    tags               Array(LowCardinality(String)),

    country            LowCardinality(Nullable(String)),
    region             LowCardinality(Nullable(String)),
    city               LowCardinality(Nullable(String)),
    asn                Nullable(UInt32) CODEC(ZSTD),
    device_type        LowCardinality(String),
    device             LowCardinality(String),
    os                 LowCardinality(String),
    os_version         LowCardinality(String),
    browser            LowCardinality(String),
    browser_version    LowCardinality(String),
    language           LowCardinality(String),
    is_bot             UInt8,
    bot_reasons        Array(LowCardinality(String)),
    -- 0 to 100. Until traffic is scored: 100 for what is marked as a bot.
    fraud_score        Float32 DEFAULT if(is_bot = 1, 100, 0),

    scheme             LowCardinality(String),
    host               LowCardinality(String),
    path               String CODEC(ZSTD),
    url                String CODEC(ZSTD),
    referer            String CODEC(ZSTD),
    referer_host       LowCardinality(String),
    user_agent         String CODEC(ZSTD),
    ip                 String CODEC(ZSTD),
    -- The first value by name, decoded once; names of headers in lower case.
    params             Map(String, String) CODEC(ZSTD),
    headers            Map(String, String) CODEC(ZSTD),

    -- A conversion has an event name here; `value` is what it brought, exact to the millionth of `currency`'s unit.
    conversion_event   LowCardinality(String),
    -- `lead`, `sale`, `rejected`… as the sender's word is read; '' where nobody said.
    conversion_status  LowCardinality(String),
    -- 1: it counts. Rejected ones and those of a test do not.
    is_conversion      UInt8,
    value              Nullable(Decimal(18, 6)) CODEC(ZSTD),
    currency           LowCardinality(String),
    order_id           String CODEC(ZSTD),
    conversion_time    Nullable(DateTime64(3, 'UTC')) CODEC(Delta, ZSTD),
    -- What may be the id of a click that this event goes back to, in the order of belief.
    references         Array(String) CODEC(ZSTD),
    -- The click that it was found to be, and when that was; nil where none is known.
    touch_event_id     UUID CODEC(ZSTD),
    touch_time         Nullable(DateTime64(3, 'UTC')) CODEC(ZSTD),
    -- What a conversion had of its own before it took its click's, in the order of store/touches.py; empty: it took
    -- nothing. So another click can be found for it later.
    own                Array(Nullable(String)) CODEC(ZSTD),
    cost               Nullable(Decimal(18, 6)) CODEC(ZSTD),
    cost_currency      LowCardinality(String),

    trace_id           String CODEC(ZSTD),
    -- Which rules and data made this row (enrichment/version.py), and which of the organisation's mappings, as
    -- `id/version`.
    enrichment_version UInt16,
    mapping_versions   Array(LowCardinality(String)),

    -- Finds the events of a visitor among others; 0: not part of a session by its own user.
    user_key           UInt32 MATERIALIZED if(
        user_id = '' OR touch_event_id != toUUID('00000000-0000-0000-0000-000000000000'),
        0, sipHash64(organization_id, user_id)
    ),

    -- The specification's names.
    timestamp          DateTime64(3, 'UTC') ALIAS event_time,
    ip_address         String ALIAS ip,
    query_params       Map(String, String) ALIAS params,
    conversion_value   Decimal(18, 6) ALIAS ifNull(value, 0),

    INDEX by_event_id event_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_click_id click_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_external_click_id external_click_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_user_id user_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_session_id session_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_order_id order_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_reference references TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_campaign_id campaign_id TYPE set(100) GRANULARITY 4
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(event_time)
ORDER BY (organization_id, event_time, event_id)
SETTINGS
    fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1,
    -- Lightweight updates, for what later events say about earlier ones.
    enable_block_number_column = 1, enable_block_offset_column = 1,
    -- One parameter of many is read without the others.
    map_serialization_version = 'with_buckets', map_buckets_min_avg_size = 0, map_buckets_strategy = 'linear'
