-- One page of the feed, as the engine decoded it, on its way into `events`. Emptied before each page and gone with the
-- engine. Its columns are the fields of trellis.capture.v1.Event that the reading has a use for.
CREATE TABLE IF NOT EXISTS arrivals
(
    organization_id   String,
    event_id          UUID,
    event_time_ms     Int64,
    event_type        String,
    click_id          String,
    external_click_id String,
    user_id           String,
    campaign_id       String,
    scheme            String,
    host              String,
    target            String,
    ip                String,
    marks             Array(String),
    journal_id        String,
    sequence          UInt64
)
ENGINE = Memory
