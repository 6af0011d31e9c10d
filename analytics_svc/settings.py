"""Settings of analytics_svc (``ANALYTICS_…``)."""

import os
from pathlib import Path

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from analytics_svc.retention import DEFAULT_DAYS, LONGEST_DAYS
from svc_runtime.clickhouse import Dsn, parse_dsn

_DATABASE = "analytics"
MIB, GIB = 1024**2, 1024**3


class AnalyticsSettings(BaseSettings):
    """What analytics_svc needs beside what every process of the mesh shares."""

    model_config = SettingsConfigDict(env_prefix="ANALYTICS_", frozen=True, extra="ignore")

    listen: str = "127.0.0.1:50054"
    """Address of the gRPC server: ``host:port`` or ``unix:/path``."""
    clickhouse_dsn: SecretStr
    """``chdb:///directory`` for the engine in this process, or
    ``clickhouse[s]://user:password@host:port/database?option=value`` for one node of a server."""
    capture_target: str = "127.0.0.1:50053"
    """Where capture_svc listens."""
    auth_target: str = "127.0.0.1:50051"
    """Where Warden listens: checks the keys of internal callers."""
    redis_url: SecretStr | None = None
    """``redis[s]://…`` or ``unix://…`` of the cache of results; not set: results are kept in this process alone."""
    query_threads: int = Field(default=4, ge=2, le=64)
    """Queries that run at a time. One place is kept free of organisations' own SQL."""
    query_memory_bytes: int = Field(default=4 * GIB, ge=64 * MIB)
    """Most memory of all queries together; each may use one share of `query_threads`."""
    sql_clickhouse_dsn: SecretStr | None = None
    """As which user of the server organisations' own SQL runs: the tenants' reader of `server_policies.sql`, in the
    role of the organisation. Not set: as `clickhouse_dsn`, where the guard stands alone."""
    sql_run_seconds: int = Field(default=30, ge=1, le=300)
    """Longest time of an organisation's statement."""
    sql_rows_to_read: int = Field(default=2_000_000_000, ge=1)
    """Most rows that an organisation's statement may read."""
    sql_result_rows: int = Field(default=100_000, ge=1, le=10_000_000)
    """Most rows of the answer to an organisation's statement."""
    find_window_days: int = Field(default=90, ge=1, le=LONGEST_DAYS)
    """UTC days of clicks among which one is looked for whose id a conversion has cut short or in another case."""
    page_event_count: int = Field(default=10_000, ge=1, le=100_000)
    """Most events wanted in one page of the feed."""
    write_interval_seconds: float = Field(default=0.2, ge=0, le=5)
    """Shortest time from the start of one insert to the start of the next."""
    retention_days: int = Field(default=DEFAULT_DAYS, ge=1, le=LONGEST_DAYS)
    """UTC days for which the reading keeps events; an organisation, or all, may be given others by `SetRetention`. The
    raw events are not touched."""
    tier_volume: str = ""
    """Volume of the server's storage policy for old events; empty: they stay where they are. Not for the engine in
    this process."""
    tier_after_days: int = Field(default=90, ge=1)
    """Age at which events go to `tier_volume`, when they are merged next."""

    rebuild_parallel: int = Field(default_factory=lambda: 2 if (os.cpu_count() or 1) >= 4 else 1, ge=1, le=8)
    """Months that are made again at a time."""
    geoip_paths: tuple[Path, ...] = ()
    """MMDB files of places and networks, as a JSON list; earlier ones win field by field. None: every place is unknown.
    A file that changes is taken within a minute."""

    @field_validator("redis_url")
    @classmethod
    def _is_a_redis_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None or not url.get_secret_value():
            return None
        if not url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("not redis://, rediss:// or unix://")
        return url

    @field_validator("clickhouse_dsn", "sql_clickhouse_dsn")
    @classmethod
    def _is_a_dsn(cls, dsn: SecretStr | None) -> SecretStr | None:
        if dsn is not None:
            parse_dsn(dsn.get_secret_value(), default_database=_DATABASE)
        return dsn

    @property
    def dsn(self) -> Dsn:
        """The DSN, read. A server's address is that of one node: what a page needs is done in several statements."""
        return parse_dsn(self.clickhouse_dsn.get_secret_value(), default_database=_DATABASE)

    @property
    def sql_dsn(self) -> Dsn:
        """The DSN of organisations' own SQL."""
        own = self.sql_clickhouse_dsn or self.clickhouse_dsn
        return parse_dsn(own.get_secret_value(), default_database=_DATABASE)
