-- Which partner sent a conversion: fields of trellis.capture.v1.Event since partners have tokens of their own.
ALTER TABLE events ${on_cluster}
    ADD COLUMN IF NOT EXISTS partner_id LowCardinality(String) AFTER tags,
    ADD COLUMN IF NOT EXISTS network LowCardinality(String) AFTER partner_id
