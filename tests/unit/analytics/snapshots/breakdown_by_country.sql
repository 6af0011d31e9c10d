WITH
    sum(p_events) AS m_events,
    sum(p_clicks) AS m_clicks,
    uniqCombined64Merge(14)(p_users) AS m_users,
    uniqCombined64Merge(14)(p_sessions) AS m_sessions,
    sum(p_conversions) AS m_conversions,
    sum(p_revenue) AS m_revenue,
    sum(p_orders) AS m_orders,
    sum(p_cost) AS m_cost,
    sum(p_bots) AS m_bots
SELECT
    d0,
    m_events AS v0,
    m_clicks AS v1,
    m_users AS v2,
    m_sessions AS v3,
    m_conversions AS v4,
    if(m_clicks = 0, NULL, 100 * m_conversions / m_clicks) AS v5,
    m_revenue AS v6,
    if(m_orders = 0, NULL, toFloat64(m_revenue) / m_orders) AS v7,
    if(m_clicks = 0, NULL, toFloat64(m_revenue) / m_clicks) AS v8,
    m_cost AS v9,
    if(m_clicks = 0, NULL, toFloat64(m_cost) / m_clicks) AS v10,
    if(m_conversions = 0, NULL, toFloat64(m_cost) / m_conversions) AS v11,
    m_revenue - m_cost AS v12,
    if(m_cost = 0, 0, toFloat64(m_revenue) / toFloat64(m_cost)) AS v13,
    m_bots AS v14
FROM (
SELECT
    value AS d0,
    sumIf(r.events, is_bot = 0) AS p_events,
    sumIf(r.clicks, is_bot = 0) AS p_clicks,
    uniqCombined64StateIf(14)('', 0) AS p_users,
    uniqCombined64StateIf(14)('', 0) AS p_sessions,
    sumIf(r.conversions, is_bot = 0) AS p_conversions,
    sumIf(r.revenue, currency = {currency:String} AND currency != '' AND is_bot = 0) AS p_revenue,
    sumIf(r.conversions, currency = {currency:String} AND currency != '' AND is_bot = 0) AS p_orders,
    sumIf(r.cost, cost_currency = {currency:String} AND cost_currency != '' AND is_bot = 0) AS p_cost,
    sumIf(r.events, is_bot = 1) AS p_bots
FROM rollup_day AS r
PREWHERE organization_id = {organization:String} AND dimension = {b0_dimension:String} AND (day >= toDate(toDateTime({b0_0_start:UInt32}, 'UTC')) AND day < toDate(toDateTime({b0_0_end:UInt32}, 'UTC')))
WHERE 1
GROUP BY d0
HAVING sum(r.events) != 0
UNION ALL
SELECT
    ifNull(toString(country), '') AS d0,
    countIf(is_bot = 0) AS p_events,
    countIf(event_type = 'click' AND is_bot = 0) AS p_clicks,
    uniqCombined64StateIf(14)(user_id, user_id != '' AND is_bot = 0) AS p_users,
    uniqCombined64StateIf(14)(session_id, session_id != '' AND is_bot = 0) AS p_sessions,
    countIf(is_conversion = 1 AND is_bot = 0) AS p_conversions,
    ifNull(sumIf(value, (is_conversion = 1 OR is_adjustment = 1) AND currency = {currency:String} AND currency != '' AND is_bot = 0), 0) AS p_revenue,
    countIf(is_conversion = 1 AND isNotNull(value) AND currency = {currency:String} AND currency != '' AND is_bot = 0) AS p_orders,
    ifNull(sumIf(cost, cost_currency = {currency:String} AND cost_currency != '' AND is_bot = 0), 0) AS p_cost,
    countIf(is_bot = 1) AS p_bots
FROM events
PREWHERE organization_id = {organization:String} AND event_time >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AND event_time < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AND (event_time >= fromUnixTimestamp64Milli({b1_0_start:Int64}, 'UTC') AND event_time < fromUnixTimestamp64Milli({b1_0_end:Int64}, 'UTC') OR event_time >= fromUnixTimestamp64Milli({b1_1_start:Int64}, 'UTC') AND event_time < fromUnixTimestamp64Milli({b1_1_end:Int64}, 'UTC'))
WHERE 1
GROUP BY d0
UNION ALL
SELECT
    value AS d0,
    toUInt64(0) AS p_events,
    toUInt64(0) AS p_clicks,
    uniqCombined64MergeStateIf(14)(r.users, is_bot = 0) AS p_users,
    uniqCombined64MergeStateIf(14)(r.sessions, is_bot = 0) AS p_sessions,
    toUInt64(0) AS p_conversions,
    toDecimal128(0, 6) AS p_revenue,
    toUInt64(0) AS p_orders,
    toDecimal128(0, 6) AS p_cost,
    toUInt64(0) AS p_bots
FROM rollup_unique AS r
PREWHERE organization_id = {organization:String} AND dimension = {b2_dimension:String} AND grain = 'day' AND (time >= toDateTime({b2_0_start:UInt32}, 'UTC') AND time < toDateTime({b2_0_end:UInt32}, 'UTC'))
WHERE 1
GROUP BY d0
)
GROUP BY d0
ORDER BY v1 DESC NULLS LAST, d0
LIMIT {row_limit:UInt64} OFFSET {row_offset:UInt64}
