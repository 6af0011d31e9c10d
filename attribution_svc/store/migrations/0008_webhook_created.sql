-- A webhook hears of the creation of a conversion once, also when its click is lost and found again.
CREATE UNIQUE INDEX webhook_deliveries_created ON webhook_deliveries (organization_id, webhook_id, conversion_id)
    WHERE kind = 'conversion.created';
