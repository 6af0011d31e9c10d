"""Settings of Warden (``AUTH_…``)."""

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class AuthSettings(BaseSettings):
    """What this service needs to be told."""

    model_config = SettingsConfigDict(env_prefix="AUTH_", frozen=True, extra="ignore")

    listen: str = "127.0.0.1:50051"
    """``host:port`` (port 0 picks one) or ``unix:/path``."""
    postgres_dsn: SecretStr
    """``postgresql://user:password@host:5432/warden?sslmode=verify-full``; the role owns the database's tables."""
    postgres_pool_size: int = Field(default=10, ge=2, le=200)
    """Most connections of this process, the one that listens for changes apart."""
    postgres_command_seconds: float = Field(default=5.0, gt=0, le=60)
    """How long a statement, and the wait for a connection, may take."""
    key_pepper: SecretStr = Field(min_length=32)
    """Keys the hashes of all keys. The gateways need the same one (``GATEWAY_KEY_PEPPER``). Changing it ends every key.
    At least 32 characters."""
    allow_fixed_keys: bool = False
    """True lets the operator choose a key's text, and lets such keys open things. For demonstrations only."""
