WITH
    sum(p_revenue) AS m_revenue,
    uniqCombined64Merge(14)(p_users) AS m_users
SELECT
    t,
    grouping(t) AS level,
    m_revenue AS v0,
    m_users AS v1
FROM (
SELECT
    roundDown(toInt64(toUnixTimestamp(minute)), {steps:Array(Int64)}) AS t,
    sumIf(r.revenue, currency = {currency:String} AND currency != '') AS p_revenue,
    uniqCombined64StateIf(14)('', 0) AS p_users
FROM rollup_minute AS r
PREWHERE organization_id = {organization:String} AND (minute >= toDateTime({b0_0_start:UInt32}, 'UTC') AND minute < toDateTime({b0_0_end:UInt32}, 'UTC')) AND is_bot = 0
WHERE 1
GROUP BY t
HAVING sum(r.events) != 0
UNION ALL
SELECT
    roundDown(toInt64(toUnixTimestamp(event_time)), {steps:Array(Int64)}) AS t,
    ifNull(sumIf(value, (is_conversion = 1 OR is_adjustment = 1) AND currency = {currency:String} AND currency != ''), 0) AS p_revenue,
    uniqCombined64StateIf(14)('', 0) AS p_users
FROM events
PREWHERE organization_id = {organization:String} AND event_time >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AND event_time < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AND (event_time >= fromUnixTimestamp64Milli({b1_0_start:Int64}, 'UTC') AND event_time < fromUnixTimestamp64Milli({b1_0_end:Int64}, 'UTC'))
WHERE is_bot = 0
GROUP BY t
UNION ALL
SELECT
    roundDown(toInt64(toUnixTimestamp(time)), {steps:Array(Int64)}) AS t,
    toDecimal128(0, 6) AS p_revenue,
    uniqCombined64MergeState(14)(r.users) AS p_users
FROM rollup_unique AS r
PREWHERE organization_id = {organization:String} AND dimension = {b2_dimension:String} AND grain = 'hour' AND (time >= toDateTime({b2_0_start:UInt32}, 'UTC') AND time < toDateTime({b2_0_end:UInt32}, 'UTC')) AND is_bot = 0
WHERE 1
GROUP BY t
UNION ALL
SELECT
    roundDown(toInt64(toUnixTimestamp(event_time)), {steps:Array(Int64)}) AS t,
    toDecimal128(0, 6) AS p_revenue,
    uniqCombined64StateIf(14)(user_id, user_id != '') AS p_users
FROM events
PREWHERE organization_id = {organization:String} AND event_time >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AND event_time < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AND (event_time >= fromUnixTimestamp64Milli({b3_0_start:Int64}, 'UTC') AND event_time < fromUnixTimestamp64Milli({b3_0_end:Int64}, 'UTC') OR event_time >= fromUnixTimestamp64Milli({b3_1_start:Int64}, 'UTC') AND event_time < fromUnixTimestamp64Milli({b3_1_end:Int64}, 'UTC'))
WHERE is_bot = 0
GROUP BY t
)
GROUP BY t WITH ROLLUP
