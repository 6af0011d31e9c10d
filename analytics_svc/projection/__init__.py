"""The projection: what the raw events become, row by row. A row is a function of its raw event, the enrichment version,
the operator's GeoIP files and the organisation's mappings alone, so the reading can be made again at any time.

`read` says what a row is, one event at a time, in Python. `store.derive` gives the same rows faster: the engine takes
the events apart and picks values (`scratch`, `statements`), Python reads each *different* user agent, address or set of
parameter names once (`readings`). What the engine does not do exactly as Python does, it leaves to Python.
"""
