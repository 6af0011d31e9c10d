"""What visitors do one after the other: funnels, retention, journeys and paths.

Each module has a question as data, compiles it to a statement, and makes the answer of its rows; pure functions all.
What exactly is counted: ``docs/behavior.md``.
"""
