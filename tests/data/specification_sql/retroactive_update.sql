-- ClickHouse automatically updates historical data
ALTER TABLE events
UPDATE 
    campaign_id = 'tiktok_organic_q2_2024',
    tags = ['tiktok', 'organic', 'social']
WHERE 
    organization_id = 'org_acmecorp'
    AND timestamp BETWEEN '2024-03-01' AND '2024-06-01'
    AND campaign_id IS NULL
    AND (
        referer LIKE '%tiktok.com%' 
        OR referer LIKE '%vm.tiktok.com%'
    );

-- Result: 15,420 events attributed
