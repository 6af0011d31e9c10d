-- What an amount without a currency is in, by network.
ALTER TABLE conversion_rules ADD COLUMN currencies jsonb NOT NULL DEFAULT '{}';
