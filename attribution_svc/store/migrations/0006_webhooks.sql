-- Destinations of conversions. The definition is as attribution_svc/webhooks/stored.py writes it. Secrets are sealed.
CREATE TABLE webhooks (
    organization_id text COLLATE "C" NOT NULL,
    webhook_id      text COLLATE "C" NOT NULL,
    kind            text             NOT NULL CHECK (kind IN ('postback', 'webhook')),
    definition      jsonb            NOT NULL,
    is_enabled      boolean          NOT NULL,
    disable_reason  text             NOT NULL,
    secrets         jsonb            NOT NULL,
    version         integer          NOT NULL CHECK (version >= 1),
    actor           text             NOT NULL,
    create_time     timestamptz      NOT NULL,
    update_time     timestamptz      NOT NULL,
    -- A webhook that was taken away stays until its deliveries are forgotten.
    delete_time     timestamptz,
    PRIMARY KEY (organization_id, webhook_id)
);

CREATE INDEX webhooks_newest ON webhooks (organization_id, create_time DESC, webhook_id DESC) WHERE delete_time IS NULL;

-- How a destination does: rows that change with nearly every request, apart from those that people change. Whoever
-- takes deliveries of a destination out of the queue holds its row's lock: its rate and its probe are one for all
-- replicas.
CREATE TABLE webhook_health (
    organization_id text COLLATE "C" NOT NULL,
    webhook_id      text COLLATE "C" NOT NULL,
    failure_count   integer          NOT NULL DEFAULT 0,
    open_until      timestamptz,
    paced_until     timestamptz,
    -- When its turn was last: the one that waits longest comes first.
    claim_time      timestamptz      NOT NULL DEFAULT '-infinity',
    PRIMARY KEY (organization_id, webhook_id),
    FOREIGN KEY (organization_id, webhook_id) REFERENCES webhooks ON DELETE CASCADE
) WITH (fillfactor = 70);

CREATE TABLE webhook_deliveries (
    organization_id   text COLLATE "C" NOT NULL,
    delivery_id       text COLLATE "C" NOT NULL,
    webhook_id        text COLLATE "C" NOT NULL,
    -- Of the log of changes; NULL for a sample that somebody asked for.
    change_id         bigint,
    kind              text             NOT NULL,
    conversion_id     text             NOT NULL,
    -- What became of the conversion, as it was then: requests are made of it. Not jsonb, which refuses some texts.
    change            json             NOT NULL,
    state             text             NOT NULL
        CHECK (state IN ('pending', 'delivering', 'failed', 'succeeded', 'dead', 'cancelled')),
    attempt_count     integer          NOT NULL DEFAULT 0,
    -- Of those, before it was replayed last.
    tried_before      integer          NOT NULL DEFAULT 0,
    -- While it is delivering: until when that attempt has the right to.
    next_attempt_time timestamptz      NOT NULL,
    expire_time       timestamptz      NOT NULL,
    create_time       timestamptz      NOT NULL,
    end_time          timestamptz,
    PRIMARY KEY (organization_id, delivery_id),
    -- A change is put into a destination's queue once, whoever plans it.
    UNIQUE (organization_id, webhook_id, change_id),
    FOREIGN KEY (organization_id, webhook_id) REFERENCES webhooks ON DELETE CASCADE
);

CREATE INDEX webhook_deliveries_due ON webhook_deliveries (organization_id, webhook_id, next_attempt_time, delivery_id)
    WHERE state IN ('pending', 'delivering', 'failed');
CREATE INDEX webhook_deliveries_newest
    ON webhook_deliveries (organization_id, webhook_id, create_time DESC, delivery_id DESC);
CREATE INDEX webhook_deliveries_expiry ON webhook_deliveries (expire_time)
    WHERE state IN ('pending', 'delivering', 'failed');
CREATE INDEX webhook_deliveries_age ON webhook_deliveries (end_time) WHERE end_time IS NOT NULL;

-- What was answered, or why there was no answer.
CREATE TABLE webhook_attempts (
    organization_id text COLLATE "C" NOT NULL,
    delivery_id     text COLLATE "C" NOT NULL,
    number          integer          NOT NULL,
    attempt_time    timestamptz      NOT NULL,
    method          text             NOT NULL,
    url             text             NOT NULL,
    failure         text             NOT NULL,
    status          integer          NOT NULL,
    duration_ms     integer          NOT NULL,
    body            bytea            NOT NULL,
    detail          text             NOT NULL,
    PRIMARY KEY (organization_id, delivery_id, number),
    FOREIGN KEY (organization_id, delivery_id) REFERENCES webhook_deliveries ON DELETE CASCADE
);

-- One row: the last change of which every delivery is in the queue. It moves in the transaction that puts them there.
CREATE TABLE webhook_cursor (
    only_row  boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    change_id bigint  NOT NULL
);
INSERT INTO webhook_cursor (change_id) VALUES (0);
