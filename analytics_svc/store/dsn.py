"""Where ClickHouse is. Imports no driver: the settings read it."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

DEFAULT_DATABASE = "analytics"
_CONNECT_SECONDS = 5
_STATEMENT_SECONDS = 60
_CLIENT_OPTIONS = frozenset({"ca_cert", "client_cert", "client_cert_key", "server_host_name", "verify"})


@dataclass(frozen=True, slots=True, repr=False)
class Dsn:
    """Where ClickHouse is. Has no repr, for it may hold a password."""

    database: str
    client: dict[str, Any]
    """Arguments of the client."""
    settings: dict[str, str]
    """ClickHouse settings that the DSN carries."""


def parse_dsn(text: str) -> Dsn:
    """Read ``chdb:///directory`` or ``clickhouse[s]://user:password@host:port/database?option=value``.

    ``clickhouses`` is TLS. A server's address is that of one node: what a page needs is done in several statements.
    Raise ValueError, without the text, for anything else.
    """
    parts = urlsplit(text)
    if parts.scheme == "chdb":
        if parts.netloc or not parts.path.startswith("/"):
            raise ValueError("chdb:// needs an absolute path: chdb:///var/lib/trellis/analytics")
        directory = unquote(parts.path).rstrip("/")
        return Dsn(DEFAULT_DATABASE, {"interface": "chdb", "path": directory}, {})
    if parts.scheme not in ("clickhouse", "clickhouses") or not parts.hostname:
        raise ValueError("not chdb:///directory or clickhouse[s]://user:password@host:port/database")
    is_tls = parts.scheme == "clickhouses"
    options = dict(parse_qsl(parts.query))
    client = {
        "interface": "https" if is_tls else "http",
        "host": parts.hostname,
        "port": parts.port or (8443 if is_tls else 8123),
        "username": unquote(parts.username or "default"),
        "password": unquote(parts.password or ""),
        "connect_timeout": _CONNECT_SECONDS,
        "send_receive_timeout": _STATEMENT_SECONDS,
        "query_retries": 0,
        "autogenerate_session_id": False,
        "client_name": "trellis-analytics",
        **{name: options.pop(name) for name in _CLIENT_OPTIONS & options.keys()},
    }
    return Dsn(unquote(parts.path.strip("/")) or DEFAULT_DATABASE, client, options)
