-- 1: rows change hands by a claim, whose operation does it again: only what counts them is put in order.
ALTER TABLE intents ADD COLUMN IF NOT EXISTS is_of_claim UInt8
