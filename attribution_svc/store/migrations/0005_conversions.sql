-- What was reported of conversions, each event as it was read when it came. Rows are never changed.
CREATE TABLE conversion_events (
    organization_id     text COLLATE "C" NOT NULL,
    event_id            text COLLATE "C" NOT NULL,
    group_key           text COLLATE "C" NOT NULL,
    event_time          timestamptz      NOT NULL,
    conversion_time     timestamptz      NOT NULL,
    event_type          text             NOT NULL,
    is_type_status      boolean          NOT NULL,
    status_text         text             NOT NULL,
    status_name         text             NOT NULL,
    status              text             NOT NULL,
    amount_text         text             NOT NULL,
    value_micros        bigint,
    currency            text             NOT NULL,
    is_currency_assumed boolean          NOT NULL,
    order_id            text COLLATE "C" NOT NULL,
    click_references    text[]           NOT NULL,
    network             text             NOT NULL,
    route               text             NOT NULL,
    user_id             text             NOT NULL,
    marks               text[]           NOT NULL,
    is_test             boolean          NOT NULL,
    is_read             boolean          NOT NULL,
    is_counted          boolean          NOT NULL,
    -- Of an order with more events than are ever folded: kept, and counted for nothing.
    is_beyond           boolean          NOT NULL,
    arrive_time         timestamptz      NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, event_id)
);
CREATE INDEX conversion_events_group ON conversion_events (organization_id, group_key);

-- What the events amount to under the rules that hold. The first columns follow from the events alone; those of the
-- match say which click it goes back to.
CREATE TABLE conversions (
    organization_id         text COLLATE "C" NOT NULL,
    conversion_id           text COLLATE "C" NOT NULL,
    group_key               text COLLATE "C" NOT NULL,
    conversion_type         text COLLATE "C" NOT NULL,
    event_type              text             NOT NULL,
    order_id                text COLLATE "C" NOT NULL,
    status                  text             NOT NULL,
    is_counted              boolean          NOT NULL,
    value_micros            bigint,
    gross_micros            bigint,
    refunded_micros         bigint           NOT NULL,
    currency                text             NOT NULL,
    is_currency_assumed     boolean          NOT NULL,
    is_test                 boolean          NOT NULL,
    conversion_time         timestamptz      NOT NULL,
    create_time             timestamptz      NOT NULL,
    last_event_time         timestamptz      NOT NULL,
    event_ids               text[]           NOT NULL,
    click_references        text[]           NOT NULL,
    network                 text             NOT NULL,
    user_id                 text             NOT NULL,
    marks                   text[]           NOT NULL,
    -- The conversion that it is part of under the rules of now; empty: it stands for itself.
    merged_into             text COLLATE "C" NOT NULL DEFAULT '',
    revision                bigint           NOT NULL DEFAULT 1,
    update_time             timestamptz      NOT NULL DEFAULT now(),
    match_state             text             NOT NULL DEFAULT 'pending'
        CHECK (match_state IN ('pending', 'matched', 'orphan')),
    orphan_reason           text             NOT NULL DEFAULT '',
    touch_event_id          text COLLATE "C" NOT NULL DEFAULT '',
    touch_time              timestamptz,
    touch_click_id          text             NOT NULL DEFAULT '',
    touch_external_click_id text             NOT NULL DEFAULT '',
    campaign_id             text COLLATE "C" NOT NULL DEFAULT '',
    campaign_version        integer          NOT NULL DEFAULT 0,
    rule_id                 text             NOT NULL DEFAULT '',
    destination_id          text             NOT NULL DEFAULT '',
    touch_user_id           text             NOT NULL DEFAULT '',
    source                  text             NOT NULL DEFAULT '',
    medium                  text             NOT NULL DEFAULT '',
    channel                 text             NOT NULL DEFAULT '',
    is_outside_window       boolean          NOT NULL DEFAULT false,
    is_accepted             boolean          NOT NULL DEFAULT false,
    suggestions             jsonb            NOT NULL DEFAULT '[]',
    match_count             integer          NOT NULL DEFAULT 0,
    next_match_time         timestamptz      DEFAULT now(),
    PRIMARY KEY (organization_id, conversion_id)
);
CREATE INDEX conversions_group ON conversions (organization_id, group_key);
CREATE INDEX conversions_newest ON conversions (organization_id, create_time DESC, conversion_id DESC)
    WHERE merged_into = '';
CREATE INDEX conversions_campaign ON conversions (organization_id, campaign_id, conversion_time)
    WHERE is_counted AND merged_into = '' AND campaign_id <> '';
CREATE INDEX conversions_orphans ON conversions (organization_id, create_time DESC, conversion_id DESC)
    WHERE match_state = 'orphan' AND merged_into = '';
CREATE INDEX conversions_to_match ON conversions (next_match_time) WHERE next_match_time IS NOT NULL;

-- Every id by which a conversion may be asked for: what its events said of the click, and the ids of the click itself.
CREATE TABLE conversion_clicks (
    organization_id text COLLATE "C" NOT NULL,
    reference       text COLLATE "C" NOT NULL,
    conversion_id   text COLLATE "C" NOT NULL,
    PRIMARY KEY (organization_id, reference, conversion_id)
);

-- What happened to conversions, in the order in which it became visible: whoever has read a change has read all before.
CREATE TABLE conversion_changes (
    organization_id text COLLATE "C" NOT NULL,
    change_id       bigserial        PRIMARY KEY,
    conversion_id   text COLLATE "C" NOT NULL,
    kind            text             NOT NULL
        CHECK (kind IN ('created', 'status', 'value', 'refund', 'matched', 'policy')),
    before          jsonb,
    after           jsonb            NOT NULL,
    change_time     timestamptz      NOT NULL DEFAULT now()
);
CREATE INDEX conversion_changes_of ON conversion_changes (organization_id, conversion_id, change_id);

-- Of events that count for something else than what they say: what the reading is to be told, until it has heard.
CREATE TABLE conversion_verdicts (
    organization_id text COLLATE "C" NOT NULL,
    event_id        text COLLATE "C" NOT NULL,
    event_time      timestamptz      NOT NULL,
    is_conversion   boolean          NOT NULL,
    is_adjustment   boolean          NOT NULL,
    value_micros    bigint,
    currency        text             NOT NULL,
    status          text             NOT NULL,
    revision        bigint           NOT NULL,
    sent_revision   bigint           NOT NULL DEFAULT 0,
    PRIMARY KEY (organization_id, event_id)
);
CREATE INDEX conversion_verdicts_unsent ON conversion_verdicts (revision) WHERE revision > sent_revision;

-- Where the follower of capture_svc's feed is; it moves with the rows.
CREATE TABLE conversion_feed (
    follower       text        PRIMARY KEY,
    cursor         bytea       NOT NULL,
    watermark_time timestamptz
);
INSERT INTO conversion_feed (follower, cursor) VALUES ('attribution', '');

-- How an organisation wants its conversions read. Rows are never changed: the highest version holds.
CREATE TABLE conversion_rules (
    organization_id text COLLATE "C" NOT NULL,
    version         integer          NOT NULL,
    policies        jsonb            NOT NULL,
    vocabularies    jsonb            NOT NULL,
    actor           text             NOT NULL,
    create_time     timestamptz      NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, version)
);

-- Other rules make other conversions of the same events: how far that is, by group.
CREATE TABLE conversion_operations (
    operation_id    text COLLATE "C" PRIMARY KEY,
    organization_id text COLLATE "C" NOT NULL,
    rules_version   integer          NOT NULL,
    state           text             NOT NULL CHECK (state IN ('running', 'done', 'superseded')),
    position        text COLLATE "C" NOT NULL DEFAULT '',
    done_count      bigint           NOT NULL DEFAULT 0,
    changed_count   bigint           NOT NULL DEFAULT 0,
    create_time     timestamptz      NOT NULL DEFAULT now(),
    end_time        timestamptz
);
CREATE INDEX conversion_operations_newest ON conversion_operations (organization_id, create_time DESC);
