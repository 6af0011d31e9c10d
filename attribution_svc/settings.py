"""Settings of attribution_svc (``ATTRIBUTION_…``)."""

import ipaddress
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Port = Annotated[int, Field(ge=1, le=65535)]


class AttributionSettings(BaseSettings):
    """What attribution_svc needs beside what every process of the mesh shares."""

    model_config = SettingsConfigDict(env_prefix="ATTRIBUTION_", frozen=True, extra="ignore")

    listen: str = "127.0.0.1:50052"
    """Address of the gRPC server: ``host:port`` or ``unix:/path``."""
    postgres_dsn: SecretStr
    """``postgresql://user:password@host:port/database``, or with ``?host=/directory`` for a unix socket."""
    postgres_pool_size: int = Field(default=10, ge=2, le=200)
    """Most connections of this replica's pool; the routing feed and the lead over conversions hold one more each."""
    auth_target: str = "127.0.0.1:50051"
    """Where auth_svc listens; asked about secret keys that internal callers send."""
    capture_target: str = "127.0.0.1:50053"
    """Where capture_svc listens; its feed is followed for conversions."""
    credit_reports: int = Field(default=2, ge=1, le=64)
    """Reports of attribution models that are made at a time, one of each organisation; others wait."""
    analytics_target: str = "127.0.0.1:50054"
    """Where analytics_svc listens; asked for the journeys of visitors."""
    webhook_allowed_networks: Annotated[tuple[Network, ...], NoDecode] = ()
    """Private networks that webhooks may be sent into, separated by commas; none by default: only the internet."""
    webhook_allowed_ports: Annotated[tuple[Port, ...], NoDecode] = (80, 443, 8080, 8443)
    """Ports that webhooks may be sent to, separated by commas."""
    webhook_concurrency: int = Field(default=100, ge=1, le=10_000)
    """Most requests to receivers of webhooks at a time, of this replica; one organisation has a quarter."""
    webhook_concurrency_each: int = Field(default=5, ge=1, le=1_000)
    """Most of them to one webhook."""
    webhook_attempt_seconds: float = Field(default=15.0, gt=0, le=120)
    """Longest that one request may take, redirects included."""
    webhook_log_days: int = Field(default=30, ge=1, le=3650)
    """How long deliveries that have ended are kept, with what was answered."""

    @field_validator("webhook_allowed_networks", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(ipaddress.ip_network(part.strip()) for part in value.split(",") if part.strip())
        return value

    @field_validator("webhook_allowed_ports", mode="before")
    @classmethod
    def _ports(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
