-- Understand the complete customer journey
WITH customer_journey AS (
  SELECT 
    click_id,
    campaign_id,
    source,
    event_time,
    conversion_value,
    ROW_NUMBER() OVER (PARTITION BY session_id ORDER BY event_time) as touch_sequence
  FROM events 
  WHERE organization_id = 'your_org'
    AND session_id IN (SELECT session_id FROM events WHERE conversion_value > 0)
)
SELECT 
  touch_sequence,
  source,
  avg(conversion_value) as attributed_value,
  count(*) as touch_count
FROM customer_journey
GROUP BY touch_sequence, source
ORDER BY touch_sequence;
