-- Groups that an operation has to go through, as far as known when it began.
ALTER TABLE conversion_operations ADD COLUMN total_count bigint NOT NULL DEFAULT 0;

-- Words for a status that nobody mapped: what an organisation is to be asked about.
CREATE INDEX conversion_events_unmapped ON conversion_events (organization_id, network, status_text)
    WHERE status = 'unmapped';

-- What somebody said is the click of a conversion. It is part of the truth: nothing that is computed takes it away.
CREATE TABLE conversion_accepts (
    organization_id  text COLLATE "C" NOT NULL,
    conversion_id    text COLLATE "C" NOT NULL,
    click_event_id   text COLLATE "C" NOT NULL,
    click_event_time timestamptz      NOT NULL,
    actor            text             NOT NULL,
    accept_time      timestamptz      NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, conversion_id, accept_time)
);

-- Organisations whose reading was made again: their conversions are matched anew, those up to the position are due.
CREATE TABLE conversion_rematches (
    organization_id text COLLATE "C" PRIMARY KEY,
    position        text COLLATE "C" NOT NULL,
    request_time    timestamptz      NOT NULL DEFAULT now()
);

-- The last operation over an organisation's reading of which its conversions have heard.
CREATE TABLE conversion_readings (
    organization_id text COLLATE "C" PRIMARY KEY,
    operation_id    text             NOT NULL
);
