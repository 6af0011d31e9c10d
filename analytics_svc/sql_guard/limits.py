"""How large a statement may be, and how much it may use."""

from dataclasses import dataclass

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class StatementLimits:
    """Bounds on the text, checked before and right after it is parsed."""

    text_bytes: int = 64 * 1024
    """Of the statement in UTF-8."""
    tokens: int = 10_000
    """Words, numbers, strings and signs."""
    bracket_depth: int = 24
    """Brackets within brackets; the parser recurses."""
    tree_depth: int = 100
    """Expressions within expressions; a chain of AND, of OR or of UNION counts as one."""
    selects: int = 50
    """SELECTs in the statement: each reads a table."""
    parameters: int = 1_000
    """Values that are bound, the items of lists included."""


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """Bounds on the run, which the engine keeps: it stops the query with an error and never cuts an answer short."""

    run_seconds: int = 30
    memory_bytes: int = 2048 * MEBIBYTE
    rows_to_read: int = 2_000_000_000
    bytes_to_read: int = 200_000 * MEBIBYTE
    result_rows: int = 100_000
    result_bytes: int = 256 * MEBIBYTE
    join_bytes: int = 512 * MEBIBYTE
    temporary_bytes: int = 8192 * MEBIBYTE
    """On disk, of what does not fit into the query's memory."""
    threads: int = 2

    def settings(self) -> dict[str, str]:
        """Return ClickHouse's settings for one query."""
        return {
            # Reads only. 2 and not 1, with which the engine would refuse the other settings of this very query; a
            # tenant cannot use the difference, as a statement with SETTINGS is refused.
            "readonly": "2",
            "max_execution_time": str(self.run_seconds),
            "timeout_overflow_mode": "throw",
            "max_memory_usage": str(self.memory_bytes),
            "max_rows_to_read": str(self.rows_to_read),
            "max_bytes_to_read": str(self.bytes_to_read),
            "read_overflow_mode": "throw",
            "max_result_rows": str(self.result_rows),
            "max_result_bytes": str(self.result_bytes),
            "result_overflow_mode": "throw",
            "max_bytes_in_join": str(self.join_bytes),
            "join_overflow_mode": "throw",
            "max_bytes_in_set": str(self.join_bytes),
            "set_overflow_mode": "throw",
            # What grows beyond this goes to disk in time: a hash table that grows needs its size a second time.
            "max_bytes_before_external_group_by": str(self.memory_bytes // 4),
            "max_bytes_before_external_sort": str(self.memory_bytes // 4),
            "max_temporary_data_on_disk_size_for_query": str(self.temporary_bytes),
            "max_threads": str(self.threads),
            "max_ast_depth": "500",
            "max_ast_elements": "50000",
            "max_expanded_ast_elements": "200000",
            "max_subquery_depth": "100",
            "max_query_size": str(4 * MEBIBYTE),
            "allow_ddl": "0",
            "allow_introspection_functions": "0",
            # The views and CTEs of a statement are resolved by the rules of the new analyzer.
            "enable_analyzer": "1",
            # Neither cache knows about tenants.
            "use_query_cache": "0",
            "use_query_condition_cache": "0",
            # A query whose caller left ends.
            "cancel_http_readonly_queries_on_client_close": "1",
            "session_timezone": "UTC",
        }
