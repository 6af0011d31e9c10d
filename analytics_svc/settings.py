"""Settings of analytics_svc (``ANALYTICS_…``)."""

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from svc_runtime.clickhouse import Dsn, parse_dsn

_DATABASE = "analytics"


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
    query_threads: int = Field(default=4, ge=1, le=64)
    """Queries that run at a time."""
    page_event_count: int = Field(default=10_000, ge=1, le=100_000)
    """Most events wanted in one page of the feed."""
    write_interval_seconds: float = Field(default=0.2, ge=0, le=5)
    """Shortest time from the start of one insert to the start of the next."""

    @field_validator("clickhouse_dsn")
    @classmethod
    def _is_a_dsn(cls, dsn: SecretStr) -> SecretStr:
        parse_dsn(dsn.get_secret_value(), default_database=_DATABASE)
        return dsn

    @property
    def dsn(self) -> Dsn:
        """The DSN, read. A server's address is that of one node: what a page needs is done in several statements."""
        return parse_dsn(self.clickhouse_dsn.get_secret_value(), default_database=_DATABASE)
