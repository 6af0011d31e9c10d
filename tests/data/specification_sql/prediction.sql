-- Predict campaign performance based on historical patterns
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
