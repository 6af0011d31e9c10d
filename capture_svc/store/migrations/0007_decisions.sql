-- Which rule sent a click where: fields of trellis.capture.v1.Event since gateways route by rules.
ALTER TABLE events ${on_cluster}
    ADD COLUMN IF NOT EXISTS rule_id LowCardinality(String) AFTER key_id,
    ADD COLUMN IF NOT EXISTS destination_id LowCardinality(String) AFTER rule_id,
    ADD COLUMN IF NOT EXISTS tags Array(LowCardinality(String)) AFTER destination_id
