-- Real-time fraud detection query
SELECT 
    ip,
    country,
    COUNT(*) as click_count,
    COUNT(DISTINCT user_agent) as ua_count,
    COUNT(DISTINCT click_id) as unique_clicks,
    AVG(time_between_clicks) as avg_click_interval
FROM (
    SELECT 
        ip,
        country,
        user_agent,
        click_id,
        event_time,
        event_time - LAG(event_time) OVER (PARTITION BY ip ORDER BY event_time) as time_between_clicks
    FROM events
    WHERE 
        organization_id = 'org_acmecorp'
        AND event_time >= now() - INTERVAL 1 HOUR
)
GROUP BY ip, country
HAVING 
    click_count > 100 
    OR (click_count > 20 AND ua_count = 1)
    OR avg_click_interval < 1
ORDER BY click_count DESC;
