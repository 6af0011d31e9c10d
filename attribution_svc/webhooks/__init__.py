"""Telling others of conversions: postbacks to traffic sources and networks, signed webhooks to anybody.

A *webhook* is a destination that an organisation set up, of either kind. The planner reads the log of changes to
conversions and puts a *delivery* in the queue for every webhook that wants the change; the dispatcher takes deliveries
out, sends them through a guard that refuses inner networks, and writes down what was answered.

At least once: a delivery is sent again until it was acknowledged, under the same id. Whoever must not count twice keeps
the ids that it has seen.
"""
