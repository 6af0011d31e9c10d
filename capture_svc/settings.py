"""Settings of capture_svc (``CAPTURE_…``)."""

import os

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from capture_svc.mirror.settings import BigQuerySettings
from svc_runtime.clickhouse import Dsn, parse_dsn

_DATABASE = "capture"


class CaptureSettings(BaseSettings):
    """What one replica of capture_svc needs to know."""

    # CAPTURE_BIGQUERY_MAX_ROWS is `max_rows` of `bigquery`: the first underscore alone divides.
    model_config = SettingsConfigDict(
        env_prefix="CAPTURE_", env_nested_delimiter="_", env_nested_max_split=1, frozen=True, extra="ignore"
    )

    listen: str = "127.0.0.1:50053"
    """Where to listen: ``host:port`` or ``unix:/path``."""
    clickhouse_dsn: SecretStr
    """``chdb:///directory`` for the engine in this process, or ``clickhouse[s]://user:password@host:port/database``.
    More options of the DSN are ClickHouse settings, for example ``?insert_quorum=auto`` on a cluster."""
    clickhouse_cluster: str = Field(default="", pattern=r"^[\w.-]*$")
    """Name of the ClickHouse cluster: tables are created on all of it and replicated. Empty: one server."""
    auth_target: str = "127.0.0.1:50051"
    """gRPC target of auth_svc, which knows secret keys, and hosts when the unclaimed are replayed."""
    replica: str = Field(default_factory=lambda: os.uname().nodename, min_length=1)
    """Name of this replica, kept over restarts and never shared by two that run: it numbers events by this name."""
    writer_count: int = Field(default=3, ge=1, le=64)
    """Inserts that may run at once."""
    reader_count: int = Field(default=2, ge=1, le=64)
    """Queries that may run at once."""
    longest_query_seconds: int = Field(default=20, ge=1, le=600)
    """Time limit of a query, in ClickHouse."""
    unclaimed_per_day: int = Field(default=50_000, ge=0)
    """Unclaimed requests kept per UTC day by each replica; more are counted and dropped, newest first."""
    unclaimed_bytes_per_day: int = Field(default=256 * 1024 * 1024, ge=0)
    """Bytes of unclaimed requests kept per UTC day by each replica."""
    bigquery: BigQuerySettings = BigQuerySettings()
    """The mirror (``CAPTURE_BIGQUERY_…``); off until it has a project."""

    @field_validator("clickhouse_dsn")
    @classmethod
    def _dsn_is_readable(cls, value: SecretStr) -> SecretStr:
        parse_dsn(value.get_secret_value(), default_database=_DATABASE)
        return value

    @property
    def dsn(self) -> Dsn:
        """The DSN, read."""
        return parse_dsn(self.clickhouse_dsn.get_secret_value(), default_database=_DATABASE)
