-- Query in ClickHouse for customer journey
SELECT 
    event_time,
    source,
    medium,
    campaign_id,
    event_type,
    conversion_value
FROM events
WHERE 
    organization_id = 'org_acmecorp'
    AND user_id = 'usr_customer123'
ORDER BY event_time;
