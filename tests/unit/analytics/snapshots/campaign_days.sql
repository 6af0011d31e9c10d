SELECT min(day), max(day), count()
FROM (
SELECT day FROM rollup_day
PREWHERE organization_id = {organization:String} AND dimension = 'campaign_id'
WHERE value = {campaign:String}
GROUP BY day HAVING sum(events) != 0
)
