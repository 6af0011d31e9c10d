"""The statements by which conversions get their clicks."""

_COLUMNS = (
    *("match_state", "orphan_reason", "touch_event_id", "touch_time", "touch_click_id", "touch_external_click_id"),
    *("campaign_id", "campaign_version", "rule_id", "destination_id", "touch_user_id", "source", "medium", "channel"),
    *("is_outside_window", "is_accepted", "suggestions", "match_count", "next_match_time"),
)
_SET = ", ".join(f"{name} = found.{name}" for name in _COLUMNS)
_COMPARED = ("match_state", "touch_event_id", "campaign_id")
_HAS_CHANGED = " OR ".join(f"c.{name} <> found.{name}" for name in _COMPARED)

DUE = "SELECT * FROM conversions WHERE next_match_time <= now() ORDER BY next_match_time LIMIT $1"
# As the clock has it: who waited for others has a transaction that began before they made one due.
BY_KEY = """
SELECT c.*, coalesce(c.next_match_time <= clock_timestamp(), false) AS is_due
FROM unnest($1::text[], $2::text[]) AS wanted (organization_id, conversion_id)
JOIN conversions c ON c.organization_id = wanted.organization_id AND c.conversion_id = wanted.conversion_id
"""
EVENT_TIMES = """
SELECT e.organization_id, e.event_id, e.event_time
FROM unnest($1::text[], $2::text[]) AS wanted (organization_id, event_id)
JOIN conversion_events e ON e.organization_id = wanted.organization_id AND e.event_id = wanted.event_id
"""
PUT_MATCHES = f"""
UPDATE conversions c SET {_SET}, update_time = CASE WHEN {_HAS_CHANGED} THEN now() ELSE c.update_time END
FROM json_populate_recordset(NULL::conversions, $1::json) AS found
WHERE c.organization_id = found.organization_id AND c.conversion_id = found.conversion_id
"""  # noqa: S608 - the columns are ours
MAKE_DUE = "UPDATE conversions SET next_match_time = now() WHERE organization_id = $1 AND conversion_id = $2"
ACCEPT = """
INSERT INTO conversion_accepts (organization_id, conversion_id, click_event_id, click_event_time, actor)
VALUES ($1, $2, $3, $4, $5)
"""
ORPHAN_SUMS = """
SELECT orphan_reason AS reason, currency, count(*) AS conversion_count,
       least(coalesce(sum(value_micros), 0), 9223372036854775807)::bigint AS value_micros
FROM conversions
WHERE organization_id = $1 AND match_state = 'orphan' AND merged_into = '' AND NOT is_test
  AND create_time >= coalesce($2::timestamptz, '-infinity') AND create_time < coalesce($3::timestamptz, 'infinity')
GROUP BY orphan_reason, currency ORDER BY conversion_count DESC, orphan_reason, currency
"""
COUNTS = """
SELECT (SELECT count(*) FROM conversions c
        WHERE c.organization_id = given.organization_id AND c.campaign_id = given.campaign_id
          AND c.conversion_time >= given.start_time AND c.is_counted AND c.merged_into = '' AND c.campaign_id <> '')
       AS count
FROM unnest($1::text[], $2::text[], $3::timestamptz[]) WITH ORDINALITY
    AS given (organization_id, campaign_id, start_time, place)
ORDER BY given.place
"""
# One organisation after the other, by the primary key: however many conversions there are.
HEARD = """
WITH RECURSIVE known (organization_id) AS (
    (SELECT organization_id FROM conversions ORDER BY organization_id LIMIT 1)
    UNION ALL
    SELECT (SELECT c.organization_id FROM conversions c WHERE c.organization_id > known.organization_id
            ORDER BY c.organization_id LIMIT 1)
    FROM known WHERE known.organization_id IS NOT NULL
)
SELECT organization_id, coalesce(operation_id, '') AS operation_id
FROM known LEFT JOIN conversion_readings USING (organization_id) WHERE organization_id IS NOT NULL
"""
HEAR = """
INSERT INTO conversion_readings (organization_id, operation_id) VALUES ($1, $2)
ON CONFLICT (organization_id) DO UPDATE SET operation_id = excluded.operation_id
"""
BEGIN_REMATCH = """
INSERT INTO conversion_rematches (organization_id, position) VALUES ($1, '')
ON CONFLICT (organization_id) DO UPDATE SET position = '', request_time = now()
"""
NEXT_REMATCH = "SELECT organization_id, position FROM conversion_rematches ORDER BY request_time LIMIT 1"
SPREAD = """
UPDATE conversions SET next_match_time = CASE WHEN merged_into = '' THEN now() END, match_count = 0
WHERE organization_id = $1 AND conversion_id IN (
    SELECT conversion_id FROM conversions WHERE organization_id = $1 AND conversion_id > $2
    ORDER BY conversion_id LIMIT $3)
RETURNING conversion_id
"""
MOVE_REMATCH = "UPDATE conversion_rematches SET position = $2 WHERE organization_id = $1"
END_REMATCH = "DELETE FROM conversion_rematches WHERE organization_id = $1"
