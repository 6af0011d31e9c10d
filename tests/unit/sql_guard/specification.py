"""The SQL of the specification's documents, as it stands there."""

TIME_TRAVEL = """-- Find all traffic that would match a campaign created today
-- but applied to traffic from 6 months ago
SELECT count(*) as potential_attributed_traffic
FROM events 
WHERE organization_id = 'your_org'
  AND event_time BETWEEN '2023-07-01' AND '2023-12-31'
  AND source = 'facebook'
  AND medium = 'cpc'
  AND campaign_id IS NULL; -- unattributed traffic
"""  # noqa: W291 - as it stands in the document

JOURNEYS = """-- Understand the complete customer journey
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
"""  # noqa: W291 - as it stands in the document

FRAUD = """-- Identify suspicious traffic patterns automatically
SELECT 
  source,
  country,
  device_type,
  count(*) as clicks,
  count(DISTINCT ip_address) as unique_ips,
  avg(fraud_score) as avg_fraud_score,
  clicks / unique_ips as clicks_per_ip
FROM events 
WHERE organization_id = 'your_org'
  AND event_time > now() - INTERVAL 24 HOUR
GROUP BY source, country, device_type
HAVING clicks_per_ip > 10 OR avg_fraud_score > 70
ORDER BY avg_fraud_score DESC;
"""  # noqa: W291 - as it stands in the document

PREDICTION = """-- Predict campaign performance based on historical patterns
WITH historical_performance AS (
  SELECT 
    source,
    medium,
    country,
    device_type,
    avg(conversion_rate) as historical_cvr,
    avg(conversion_value) as historical_aov
  FROM campaign_performance_daily
  WHERE organization_id = 'your_org'
    AND date BETWEEN now() - INTERVAL 90 DAY AND now() - INTERVAL 1 DAY
  GROUP BY source, medium, country, device_type
)
SELECT 
  h.*,
  r.estimated_daily_traffic,
  (h.historical_cvr * r.estimated_daily_traffic * h.historical_aov) as predicted_daily_revenue
FROM historical_performance h
JOIN traffic_projections r ON (h.source = r.source AND h.medium = r.medium)
ORDER BY predicted_daily_revenue DESC;
"""  # noqa: W291 - as it stands in the document

JOURNEY_OF_ONE = """-- Query in ClickHouse for customer journey
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
"""  # noqa: W291 - as it stands in the document

REALTIME = """
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
    """  # noqa: W291 - as it stands in the document

SUSPICIOUS = """-- Real-time fraud detection query
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
"""  # noqa: W291 - as it stands in the document

STATEMENTS = {
    "time travel": TIME_TRAVEL,
    "journeys": JOURNEYS,
    "fraud": FRAUD,
    "prediction": PREDICTION,
    "journey of one": JOURNEY_OF_ONE,
    "realtime": REALTIME,
    "suspicious": SUSPICIOUS,
}


def parameters(sql: str) -> list[object]:
    """Return a value for each `?` of a statement: the organisation that the document's code would pass."""
    return ["org_somebody_else"] * sql.count("?")
