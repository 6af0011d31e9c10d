"""Conversions: what partners and pages report, made one of each order, with a state and a value.

`event` is what came, `fold` what it amounts to, `book` what a caller may ask; `follow` reads the feed.
"""
