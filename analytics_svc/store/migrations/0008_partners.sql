-- The partner whose token the sender of a conversion had, and that partner's label of its network; '' for all others.
ALTER TABLE events ADD COLUMN IF NOT EXISTS partner_id LowCardinality(String);
ALTER TABLE events ADD COLUMN IF NOT EXISTS network LowCardinality(String)
