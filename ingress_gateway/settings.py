"""Settings of a gateway worker (``GATEWAY_…``)."""

import ipaddress
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

KIB, MIB, GIB = 1024, 1024**2, 1024**3
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class GatewaySettings(BaseSettings):
    """One worker: one process, one journal, one share of the port."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", frozen=True, extra="ignore")

    data_dir: Path
    """Where journals and snapshots live. It must survive restarts: what is acknowledged and not shipped is there."""
    spare_journal_dir: Path | None = None
    """A directory on another disk, written when the first one fails."""
    http_host: str = "127.0.0.1"
    """Address to listen on."""
    http_port: int = Field(default=8080, ge=0, le=65535)
    """Port; shared by all workers through SO_REUSEPORT. 0 picks a free one."""
    worker: int = Field(default=0, ge=0, le=255)
    """Index of this worker on this machine, from 0."""
    workers: int = Field(default=1, ge=1, le=256)
    """Number of workers on this machine."""
    key_pepper: SecretStr = Field(min_length=16)
    """Keys are kept as HMACs under it; the same value as Warden's."""
    auth_target: str = "127.0.0.1:50051"
    """Warden's gRPC address."""
    attribution_target: str = "127.0.0.1:50052"
    """attribution_svc's gRPC address."""
    capture_target: str = "127.0.0.1:50053"
    """capture_svc's gRPC address."""
    analytics_target: str = "127.0.0.1:50054"
    """analytics_svc's gRPC address."""
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = (
        ipaddress.ip_network("127.0.0.0/8"),
        ipaddress.ip_network("::1/128"),
    )
    """Networks, comma separated, whose X-Forwarded-For and X-Forwarded-Proto are believed."""

    geoip_paths: Annotated[tuple[Path, ...], NoDecode] = ()
    """MMDB files, comma separated, for rules about places; earlier ones win. Without any, places are unknown."""

    journal_disk_bytes: int = Field(default=8 * GIB, ge=32 * MIB)
    """Most bytes of this worker's journal; beyond it API routes answer 503 and redirects go on unrecorded."""
    journal_segment_bytes: int = Field(default=16 * MIB, ge=64 * KIB)
    """Size of a journal file."""
    journal_pending_bytes: int = Field(default=32 * MIB, ge=MIB)
    """Most bytes that wait in memory for the disk."""
    redirect_budget_ms: int = Field(default=20, ge=1, le=1000)
    """How long a redirect waits for the disk."""
    batch_ms: int = Field(default=200, ge=10, le=10_000)
    """Age at which a batch leaves for capture_svc."""

    max_line_bytes: int = Field(default=16 * KIB, ge=KIB)
    """Longest request line, and longest single header."""
    max_header_count: int = Field(default=128, ge=8)
    """Most header lines."""
    max_event_bytes: int = Field(default=MIB, ge=KIB)
    """Largest body of one event, and of one item of a batch, after decoding."""
    max_batch_bytes: int = Field(default=16 * MIB, ge=KIB)
    """Largest body of a batch, after decoding."""
    max_batch_items: int = Field(default=10_000, ge=1)
    """Most items in a batch."""
    max_upload_bytes: int = Field(default=50 * MIB, ge=KIB)
    """Largest file of conversions, before and after unzipping."""
    max_upload_rows: int = Field(default=100_000, ge=1)
    """Most rows in a file of conversions."""
    header_seconds: float = Field(default=10.0, gt=0)
    """Longest time from the first byte of a request to the end of its headers."""
    body_seconds: float = Field(default=15.0, gt=0)
    """Time for a body, plus a second for each `body_bytes_per_second`: who sends at that pace is not cut."""
    body_bytes_per_second: int = Field(default=4 * KIB, ge=1)
    """Slowest honest pace of a body."""
    api_seconds: float = Field(default=10.0, gt=0)
    """Longest time that a management or query call waits for a service."""
    query_seconds: float = Field(default=60.0, gt=0)
    """Longest time that a report or a statement may take."""
    max_streams: int = Field(default=100, ge=0)
    """Most streams of server-sent events of this worker."""
    max_streams_per_organization: int = Field(default=20, ge=0)
    """Most of them that one organisation may have."""
    idle_seconds: float = Field(default=75.0, gt=0)
    """How long an idle connection is kept."""
    max_connections: int = Field(default=20_000, ge=10)
    """Most open connections of this worker; more are closed at once."""
    unclaimed_per_second: int = Field(default=50, ge=0)
    """Most requests of unknown hosts and keys kept per second; more are answered, counted and forgotten."""

    @field_validator("geoip_paths", mode="before")
    @classmethod
    def _paths(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(ipaddress.ip_network(part.strip(), strict=False) for part in value.split(",") if part.strip())
        return value

    @model_validator(mode="after")
    def _journal_can_rotate(self) -> "GatewaySettings":
        if self.journal_segment_bytes > self.journal_disk_bytes:
            # The file that is being written is never removed: the bound would be reached for ever.
            raise ValueError(
                f"journal_segment_bytes is {self.journal_segment_bytes}, more than journal_disk_bytes, "
                f"{self.journal_disk_bytes}"
            )
        return self

    @property
    def name(self) -> str:
        """The worker's name in logs and metrics."""
        return f"w{self.worker}"
