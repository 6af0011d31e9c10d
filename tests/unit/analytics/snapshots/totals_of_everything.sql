WITH
    countIf(is_bot = 0) AS m_events,
    countIf(event_type = 'click' AND is_bot = 0) AS m_clicks,
    uniqCombined64If(14)(user_id, user_id != '' AND is_bot = 0) AS m_users,
    uniqCombined64If(14)(session_id, session_id != '' AND is_bot = 0) AS m_sessions,
    countIf(is_conversion = 1 AND is_bot = 0) AS m_conversions,
    ifNull(sumIf(value, (is_conversion = 1 OR is_adjustment = 1) AND currency = {currency:String} AND currency != '' AND is_bot = 0), 0) AS m_revenue,
    countIf(is_conversion = 1 AND isNotNull(value) AND currency = {currency:String} AND currency != '' AND is_bot = 0) AS m_orders,
    ifNull(sumIf(cost, cost_currency = {currency:String} AND cost_currency != '' AND is_bot = 0), 0) AS m_cost,
    countIf(is_bot = 1) AS m_bots,
    uniqCombined64If(14)(ip, ip != '' AND is_bot = 0) AS m_ips
SELECT
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
    m_bots AS v14,
    m_ips AS v15
FROM events
PREWHERE organization_id = {organization:String} AND event_time >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AND event_time < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')
WHERE 1
