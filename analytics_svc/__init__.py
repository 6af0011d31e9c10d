"""analytics_svc: the reading of the raw events that reports are made from.

It follows capture_svc's feed into ClickHouse, enriched, each event exactly once, and answers questions about it. One
process follows at a time: two would each add what they do not see of the other.
"""
