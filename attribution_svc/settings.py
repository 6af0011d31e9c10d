"""Settings of attribution_svc (``ATTRIBUTION_…``)."""

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class AttributionSettings(BaseSettings):
    """What attribution_svc needs beside what every process of the mesh shares."""

    model_config = SettingsConfigDict(env_prefix="ATTRIBUTION_", frozen=True, extra="ignore")

    listen: str = "127.0.0.1:50052"
    """Address of the gRPC server: ``host:port`` or ``unix:/path``."""
    postgres_dsn: SecretStr
    """``postgresql://user:password@host:port/database``, or with ``?host=/directory`` for a unix socket."""
    postgres_pool_size: int = Field(default=10, ge=2, le=200)
    """Most connections of this replica's pool; the routing feed holds one more."""
    auth_target: str = "127.0.0.1:50051"
    """Where auth_svc listens; asked about secret keys that internal callers send."""
    capture_target: str = "127.0.0.1:50053"
    """Where capture_svc listens; its feed is followed for conversions."""
    analytics_target: str = "127.0.0.1:50054"
    """Where analytics_svc listens; asked for the journeys of visitors."""
