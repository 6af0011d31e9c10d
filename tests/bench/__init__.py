"""Measurements: ``python -m tests.bench`` prints a table and writes ``build/bench.json``.

On a machine whose speed is not known only ratios of one run mean anything, so what is measured and what it is measured
against run in turn, many short times, and the median of the ratios counts.
"""
