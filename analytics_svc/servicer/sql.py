"""Statements of organisations."""


class SqlMethods:
    """The RPCs of SQL."""
