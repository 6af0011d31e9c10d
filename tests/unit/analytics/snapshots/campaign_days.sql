SELECT min(day), max(day), count()
FROM rollup_day
PREWHERE organization_id = {organization:String} AND dimension = 'campaign_id'
WHERE value = {campaign:String}
