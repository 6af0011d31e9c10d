"""Settings of analytics_svc (``ANALYTICS_…``)."""

import os
from pathlib import Path

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from analytics_svc.identity.person import DEFAULT_MOST_NEIGHBOURS
from analytics_svc.retention import DEFAULT_DAYS, LONGEST_DAYS
from svc_runtime.clickhouse import Dsn, parse_dsn

_DATABASE = "analytics"
LEAST_SECRET_CHARACTERS = 32
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
    identity_secret: SecretStr | None = None
    """Key of the hashes that stand for logins, e-mail addresses and orders in persons' edges, at least 32 characters.
    Not set: made from the mesh secret. With another one all edges are made again, and what was said about values is
    not known any more."""
    identity_most_neighbours: int = Field(default=DEFAULT_MOST_NEIGHBOURS, ge=1, le=4_000)
    """Most visitors, logins or addresses that a value or a visitor may have beside it: with more it joins nobody."""
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

    @field_validator("identity_secret")
    @classmethod
    def _is_long_enough(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and len(secret.get_secret_value()) < LEAST_SECRET_CHARACTERS:
            raise ValueError(f"has less than {LEAST_SECRET_CHARACTERS} characters")
        return secret

    @property
    def dsn(self) -> Dsn:
        """The DSN, read. A server's address is that of one node: what a page needs is done in several statements."""
        return parse_dsn(self.clickhouse_dsn.get_secret_value(), default_database=_DATABASE)

    @property
    def sql_dsn(self) -> Dsn:
        """The DSN of organisations' own SQL."""
        own = self.sql_clickhouse_dsn or self.clickhouse_dsn
        return parse_dsn(own.get_secret_value(), default_database=_DATABASE)
