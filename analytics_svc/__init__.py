"""analytics_svc: the reading of the raw events that reports are made from.

So far it follows capture_svc's feed and keeps a first, plain copy of a few columns in its own ClickHouse database,
each event exactly once. One process follows at a time: two would each add what they do not see of the other.
Enrichment, reports and queries come with the next release; it serves no RPCs of its own yet.
"""
