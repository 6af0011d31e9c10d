-- What all gateways counted against caps, by window: the hour or the day that begins then, 1970 for a total.
CREATE TABLE cap_usage (
    organization_id text COLLATE "C" NOT NULL,
    campaign_id     text COLLATE "C" NOT NULL,
    kind            text             NOT NULL,
    period          text             NOT NULL,
    start_time      timestamptz      NOT NULL,
    count           bigint           NOT NULL,
    PRIMARY KEY (organization_id, campaign_id, kind, period, start_time)
);

-- The visitors that a window of uniques has counted, as 64-bit hashes.
CREATE TABLE cap_visitors (
    organization_id text COLLATE "C" NOT NULL,
    campaign_id     text COLLATE "C" NOT NULL,
    period          text             NOT NULL,
    start_time      timestamptz      NOT NULL,
    visitor         bigint           NOT NULL,
    PRIMARY KEY (organization_id, campaign_id, period, start_time, visitor)
);

CREATE INDEX cap_usage_age ON cap_usage (start_time) WHERE period <> 'total';
CREATE INDEX cap_visitors_age ON cap_visitors (start_time) WHERE period <> 'total';

-- The last exchange of each worker's life: one that is repeated counts once.
CREATE TABLE cap_exchanges (
    gateway_id    text PRIMARY KEY,
    number        bigint      NOT NULL,
    exchange_time timestamptz NOT NULL DEFAULT now()
);
