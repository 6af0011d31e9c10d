-- Identify suspicious traffic patterns automatically
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
