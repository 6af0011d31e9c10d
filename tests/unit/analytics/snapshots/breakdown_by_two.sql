WITH
    ifNull(sumIf(value, (is_conversion = 1 OR is_adjustment = 1) AND currency = {currency:String} AND currency != '' AND is_bot = 0), 0) AS m_revenue,
    ifNull(sumIf(cost, cost_currency = {currency:String} AND cost_currency != '' AND is_bot = 0), 0) AS m_cost,
    countIf(is_bot = 1) AS m_bots
SELECT
    formatDateTime(event_time, '%H', {d0_time_zone:String}) AS d0,
    headers[{d1_key:String}] AS d1,
    if(m_cost = 0, 0, toFloat64(m_revenue) / toFloat64(m_cost)) AS v0,
    m_bots AS v1
FROM events
PREWHERE organization_id = {organization:String} AND event_time >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AND event_time < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')
WHERE ((params[{f0:String}] = {f1:String})) AND (toString(campaign_id) IN {f_d0:Array(String)}) AND (toString(formatDateTime(event_time, '%H', {d0_time_zone:String})), toString(headers[{d1_key:String}])) IN (SELECT arrayJoin(arrayZip({only_0:Array(String)}, {only_1:Array(String)})))
GROUP BY d0, d1
ORDER BY v1 ASC NULLS LAST, d0, d1
LIMIT {row_limit:UInt64} OFFSET {row_offset:UInt64}
