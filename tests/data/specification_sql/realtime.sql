
        SELECT 
            toStartOfMinute(event_time) as minute,
            count(*) as clicks,
            countIf(conversion_value > 0) as conversions,
            sum(conversion_value) as revenue
        FROM events
        WHERE 
            organization_id = ?
            AND event_time >= now() - INTERVAL 1 HOUR
        GROUP BY minute
        ORDER BY minute DESC
        LIMIT 60
    