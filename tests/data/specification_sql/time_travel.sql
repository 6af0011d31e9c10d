-- Find all traffic that would match a campaign created today
-- but applied to traffic from 6 months ago
SELECT count(*) as potential_attributed_traffic
FROM events 
WHERE organization_id = 'your_org'
  AND event_time BETWEEN '2023-07-01' AND '2023-12-31'
  AND source = 'facebook'
  AND medium = 'cpc'
  AND campaign_id IS NULL; -- unattributed traffic
