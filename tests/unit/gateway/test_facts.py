"""A rule is told the same of a click while it is routed as it is told of it in history (P7)."""
