-- Update ClickHouse with conversion
UPDATE events
SET 
    conversion_event = 'purchase',
    conversion_value = 99.99,
    conversion_time = now()
WHERE 
    organization_id = 'org_acmecorp'
    AND click_id = 'fb_123abc';

-- Also store in PostgreSQL for quick lookups
INSERT INTO conversions (
    organization_id, click_id, event_id, 
    conversion_value, metadata, created_at
) VALUES (
    'org_acmecorp', 'fb_123abc', 'evt_conv_123',
    99.99, '{"order_id": "ORD-456789"}', NOW()
);
