WITH
    sum(p_clicks) AS m_clicks,
    uniqCombined64Merge(14)(p_users) AS m_users
SELECT
    t,
    grouping(t) AS level,
    m_clicks AS v0,
    m_users AS v1
FROM (
SELECT
    {first_step:Int64} + intDiv(toInt64(toUnixTimestamp(toDateTime(day, 'UTC'))) - {first_step:Int64}, {step_seconds:Int64}) * {step_seconds:Int64} AS t,
    sum(r.clicks) AS p_clicks,
    uniqCombined64StateIf(14)('', 0) AS p_users
FROM rollup_day AS r
PREWHERE organization_id = {organization:String} AND dimension = {b0_dimension:String} AND (day >= toDate(toDateTime({b0_0_start:UInt32}, 'UTC')) AND day < toDate(toDateTime({b0_0_end:UInt32}, 'UTC'))) AND is_bot = 0
WHERE 1
GROUP BY t
HAVING sum(r.events) != 0
UNION ALL
SELECT
    {first_step:Int64} + intDiv(toInt64(toUnixTimestamp(time)) - {first_step:Int64}, {step_seconds:Int64}) * {step_seconds:Int64} AS t,
    toUInt64(0) AS p_clicks,
    uniqCombined64MergeState(14)(r.users) AS p_users
FROM rollup_unique AS r
PREWHERE organization_id = {organization:String} AND dimension = {b1_dimension:String} AND grain = 'day' AND (time >= toDateTime({b1_0_start:UInt32}, 'UTC') AND time < toDateTime({b1_0_end:UInt32}, 'UTC')) AND is_bot = 0
WHERE 1
GROUP BY t
)
GROUP BY t WITH ROLLUP
