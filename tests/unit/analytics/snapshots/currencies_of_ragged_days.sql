SELECT revenue_currency, cost_currency, sum(conversions), sum(revenue), sum(events)
FROM (
SELECT currency AS revenue_currency, cost_currency, sum(r.conversions) AS conversions, sum(r.revenue) AS revenue, sum(r.events) AS events
FROM rollup_day AS r
PREWHERE organization_id = {organization:String} AND dimension = {b0_dimension:String} AND (day >= toDate(toDateTime({b0_0_start:UInt32}, 'UTC')) AND day < toDate(toDateTime({b0_0_end:UInt32}, 'UTC'))) AND is_bot = 0
WHERE 1
GROUP BY revenue_currency, cost_currency
HAVING sum(r.events) != 0
UNION ALL
SELECT currency AS revenue_currency, cost_currency, sum(r.conversions) AS conversions, sum(r.revenue) AS revenue, sum(r.events) AS events
FROM rollup_minute AS r
PREWHERE organization_id = {organization:String} AND (minute >= toDateTime({b1_0_start:UInt32}, 'UTC') AND minute < toDateTime({b1_0_end:UInt32}, 'UTC')) AND is_bot = 0
WHERE 1
GROUP BY revenue_currency, cost_currency
HAVING sum(r.events) != 0
UNION ALL
SELECT if((is_conversion = 1 OR is_adjustment = 1) AND isNotNull(value), currency, '') AS revenue_currency, if(isNotNull(cost), events.cost_currency, '') AS cost_currency, countIf(is_conversion = 1) AS conversions, ifNull(sumIf(value, (is_conversion = 1 OR is_adjustment = 1)), 0) AS revenue, count() AS events
FROM events
PREWHERE organization_id = {organization:String} AND event_time >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AND event_time < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AND (event_time >= fromUnixTimestamp64Milli({b2_0_start:Int64}, 'UTC') AND event_time < fromUnixTimestamp64Milli({b2_0_end:Int64}, 'UTC'))
WHERE is_bot = 0 AND ((is_conversion = 1 OR is_adjustment = 1) OR isNotNull(cost))
GROUP BY revenue_currency, cost_currency
)
GROUP BY revenue_currency, cost_currency
