"""The journal: what is acknowledged is on disk first.

``disk`` does the system calls, ``frame`` knows the bytes, ``segments`` writes files in a thread of its own,
``recovery`` reads them back after a crash, ``journal`` is what the gateway talks to.
"""
