WITH
    countIf(event_type = 'click') AS m_clicks
SELECT
    params[{d0_key:String}] AS d0,
    {first_step:Int64} + intDiv(toInt64(toUnixTimestamp(event_time)) - {first_step:Int64}, {step_seconds:Int64}) * {step_seconds:Int64} AS t,
    grouping(d0) + grouping(t) AS level,
    m_clicks AS v0
FROM events
PREWHERE organization_id = {organization:String} AND event_time >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AND event_time < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')
WHERE is_bot = 0 AND params[{d0_key:String}] IN {only_0:Array(String)}
GROUP BY d0, t WITH ROLLUP
