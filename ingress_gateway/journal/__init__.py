"""The journal: what is acknowledged is on disk first.

``journal`` is what the gateway talks to: it groups events, has them written, and tells who waits (``waiting``).
``segments`` writes the files in a thread of its own, ``frame`` knows their bytes, ``disk`` does the system calls,
``recovery`` reads them back after a crash, ``backlog`` is what is on disk and not acknowledged.
"""
