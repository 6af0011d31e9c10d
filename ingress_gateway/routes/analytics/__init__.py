"""``/api/v1/analytics``: reports, behaviour and realtime. Everything here translates; analytics_svc knows the answers.

`question` reads what was asked for, `slices` the part that every report shares, `numbers` writes what came back, and
`asking` goes there and back. The other modules are the routes, by subject.
"""
