SELECT toUnixTimestamp(min(minute)), toUnixTimestamp(max(minute))
FROM (
SELECT minute FROM rollup_minute
PREWHERE organization_id = {organization:String} AND toDate(minute, 'UTC') IN ({first:Date}, {last:Date})
WHERE campaign_id = {campaign:String}
GROUP BY minute HAVING sum(events) != 0
)
